import assert from "node:assert/strict";
import { ConfigError, MalformedRecordError } from "../../../../pipeline/errors.ts";
import { appendColumns, type AppendColumnsOptions } from "../../../../pipeline/sinks/lake/columns/append_columns.ts";
import type { ColumnField } from "../../../../pipeline/sinks/lake/columns/held_columns.ts";
import { CODED_TEXTS_MAX } from "../../../../pipeline/sinks/lake/columns/text_codes.ts";
import { keyOf } from "../../../../pipeline/sinks/lake/delta/data_path.ts";
import { deltaField, deltaSchema, deltaTypeOf } from "../../../../pipeline/sinks/lake/delta/schema.ts";
import type { DeltaTable } from "../../../../pipeline/sinks/lake/delta/table.ts";
import type { Lake } from "../../../../pipeline/sinks/lake/lake.ts";
import { ask, temporaryLake } from "../delta/lake_fixture.ts";
import { batchesOf, batchOf, type Value } from "./column_batches.ts";

const LONG: ColumnField = { name: "id", type: { type: "long", nullable: false } };
const TEXT: ColumnField = { name: "note", type: { type: "string", nullable: true } };

async function made(lake: Lake, fields: readonly ColumnField[], partitionColumns: string[] = []): Promise<DeltaTable> {
  const schema = deltaSchema(fields.map(({ name, type }) => deltaField(name, deltaTypeOf(type))));
  return await lake.ensureTable("t", { schema, partitionColumns });
}

async function append(
  lake: Lake,
  options: Pick<AppendColumnsOptions, "table" | "fields"> & Partial<AppendColumnsOptions> & {
    readonly rows: readonly (readonly Value[])[];
    readonly lengths?: readonly number[];
  },
) {
  const { rows, lengths, fields } = options;
  return await appendColumns(lake, { ...options, batches: batchesOf(fields, rows, lengths) });
}

/** How DuckDB's reader finds a column stored, in all groups of rows. */
async function encodingsOf(lake: Lake, table: DeltaTable, column: string): Promise<unknown[]> {
  const { files } = await table.snapshot();
  using local = await lake.store.local(files.map((file) => keyOf("t", file)));
  const paths = local.paths.map((path) => `'${path}'`).join(", ");
  const sql = `SELECT DISTINCT encodings, compression, type FROM parquet_metadata([${paths}]) ` +
    `WHERE path_in_schema = '${column}'`;
  return await lake.database.use(async (connection) => (await connection.runAndReadAll(sql)).getRowsJson());
}

Deno.test("a value of every type is read back as it was, nulls too, whatever the batches' lengths", async () => {
  const types: readonly ColumnField["type"][] = [
    { type: "long", nullable: false },
    { type: "int", nullable: true },
    { type: "boolean", nullable: true },
    { type: "float", nullable: true },
    { type: "double", nullable: true },
    { type: "string", nullable: true },
    { type: "bytes", nullable: true },
    { type: "uuid", nullable: true },
    { type: "enum", symbols: ["A", "a symbol that is longer", "Ö"], nullable: true },
    { type: "decimal", precision: 18, scale: 2, nullable: true },
    { type: "decimal", precision: 38, scale: 3, nullable: true },
    { type: "date", nullable: true },
    { type: "time-millis", nullable: true },
    { type: "time-micros", nullable: true },
    { type: "timestamp-millis", nullable: true },
    { type: "timestamp-micros", nullable: true },
  ];
  const fields = types.map((type, i) => ({ name: `c${i}`, type }));
  const texts = ["", "é", "twelve bytes", "thirteen byte", "a text that is longer still: Zoë 🚚", "x"];
  const row = (n: number): Value[] => {
    const values: Value[] = [
      BigInt(n),
      (n % 2 === 0 ? 1 : -1) * (n % 2 ** 31),
      n % 2,
      n / 4,
      -n / 3,
      texts[n % texts.length],
      Uint8Array.from({ length: n % 30 }, (_, i) => 255 - i),
      `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`,
      n % 3,
      BigInt(-n) * 1_000_000_007n,
      Uint8Array.of(n % 2 === 0 ? 0xff : 0x00, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
      n - 5_000,
      n % 86_400_000,
      BigInt(n) * 1_000_003n,
      BigInt(n) * 1_000_003n - 10_000_000n,
      BigInt(n) * 1_000_000_007n - 10_000_000_000n,
    ];
    return values.map((value, i) => i > 0 && n % 7 === i % 7 ? null : value);
  };
  const rows = Array.from({ length: 7_000 }, (_, n) => row(n));
  await using made_ = await temporaryLake();
  const { lake } = made_;
  const table = await made(lake, fields);
  await append(lake, { table, fields, rows, lengths: [1, 2047, 100, 2048, 3, 64] });
  const shown = fields.map(({ name, type }) => {
    switch (type.type) {
      case "bytes":
        return `hex(${name})`;
      case "timestamp-millis":
      case "timestamp-micros":
        return `epoch_us(${name})::VARCHAR`;
      case "date":
        return `datediff('day', DATE '1970-01-01', ${name})::VARCHAR`;
      case "float":
      case "double":
        return name;
      default:
        return `${name}::VARCHAR`;
    }
  });
  const found = await ask(lake, await table.snapshot(), `SELECT ${shown.join(", ")} FROM t ORDER BY c0`);
  assert.equal(found.length, rows.length);
  const symbols = ["A", "a symbol that is longer", "Ö"];
  for (const [n, values] of rows.entries()) {
    const expected = values.map((value, i) => {
      const { type } = types[i];
      if (value === null) return null;
      if (type === "boolean") return value === 1 ? "true" : "false";
      if (type === "enum") return symbols[Number(value)];
      if (type === "bytes") return (value as Uint8Array).toHex().toUpperCase();
      if (type === "timestamp-millis") return String(BigInt(value as bigint) * 1000n);
      if (type === "time-millis") return String(Number(value) * 1000);
      if (type === "decimal") return decimalText(value, types[i] as { scale: number });
      return type === "float" || type === "double" ? value : String(value);
    });
    assert.deepEqual(found[n], expected, `row ${n}`);
  }
});

function decimalText(value: Value, { scale }: { readonly scale: number }): string {
  const unscaled = value instanceof Uint8Array
    ? BigInt.asIntN(8 * value.length, BigInt(`0x${value.toHex()}`))
    : BigInt(value as bigint);
  const digits = String(unscaled < 0n ? -unscaled : unscaled).padStart(scale + 1, "0");
  return `${unscaled < 0n ? "-" : ""}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

Deno.test("few texts are written as their dictionary, and DuckDB, which is given their codes, says they are text", async () => {
  await using made_ = await temporaryLake();
  const { lake } = made_;
  for (const distinct of [1, 255, 256, 257, 5_000]) {
    const fields = [LONG, TEXT];
    const table = await lake.ensureTable(`of_${distinct}`, {
      schema: deltaSchema(fields.map(({ name, type }) => deltaField(name, deltaTypeOf(type)))),
      partitionColumns: [],
    });
    const text = (n: number) => `${"a text of some length "[n % 2]}${n % distinct}${"-".repeat(n % distinct % 40)}`;
    const rows = Array.from({ length: 6_000 }, (_, n) => [BigInt(n), text(n % distinct)]);
    await append(lake, { table, fields, rows });
    const found = await ask(lake, await table.snapshot(), "SELECT id::INT, note FROM t ORDER BY id");
    assert.deepEqual(found, rows.map(([id, note]) => [Number(id), note]));
    // Readers leave groups of rows out by what the file says of its texts.
    const last = text(distinct - 1);
    const asked = `SELECT count(*)::INT FROM t WHERE note = '${last}'`;
    const expected = rows.filter(([, note]) => note === last).length;
    assert.deepEqual(await ask(lake, await table.snapshot(), asked), [[expected]]);
  }
  const table = (await lake.table("of_5000"))!;
  const { files: [{ stats }] } = await table.snapshot();
  assert.deepEqual([stats?.nullCount.note, stats?.numRecords], [0, 6_000]);
});

Deno.test("a column that comes to have too many texts for codes keeps every one, those from before as well", async () => {
  await using made_ = await temporaryLake();
  const { lake } = made_;
  const fields = [LONG, TEXT];
  const table = await made(lake, fields);
  const note = (n: number) => n % 11 === 0 ? null : n % 2 === 0 ? `n${n}` : `a longer text, number ${n}, and its end`;
  const rows = Array.from({ length: 2 * CODED_TEXTS_MAX + 5_000 }, (_, n) => [BigInt(n), note(n)]);
  await append(lake, { table, fields, rows, lengths: [700, 1_000] });
  const found = await ask(lake, await table.snapshot(), "SELECT id::INT, note FROM t ORDER BY id");
  assert.equal(found.length, rows.length);
  for (const [n, row] of found.entries()) assert.deepEqual(row, [n, note(n)]);
});

Deno.test("a text with a zero byte is kept, and so are those before it", async () => {
  await using made_ = await temporaryLake();
  const { lake } = made_;
  const fields = [LONG, TEXT];
  const table = await made(lake, fields);
  const notes = ["a", null, "a text longer than that", "zero\0byte", "after", "another\0 that is longer too"];
  const rows = Array.from({ length: 3_000 }, (_, n) => [BigInt(n), n < 2_500 ? notes[n % 3] : notes[n % 6]]);
  await append(lake, { table, fields, rows });
  const found = await ask(lake, await table.snapshot(), "SELECT id::INT, note FROM t ORDER BY id");
  assert.deepEqual(found, rows.map(([id, note]) => [Number(id), note]));
});

Deno.test("a column without any value is null", async () => {
  await using made_ = await temporaryLake();
  const { lake } = made_;
  const fields = [LONG, TEXT];
  const table = await made(lake, fields);
  await append(lake, { table, fields, rows: Array.from({ length: 2_100 }, (_, n) => [BigInt(n), null]) });
  const snapshot = await table.snapshot();
  assert.deepEqual(await ask(lake, snapshot, "SELECT count(*)::INT, count(note)::INT FROM t"), [[2_100, 0]]);
  assert.deepEqual(snapshot.files[0].stats?.nullCount, { id: 0, note: 2_100 });
});

Deno.test("the log bounds the texts of a file that has them by their codes", async () => {
  await using made_ = await temporaryLake();
  const { lake } = made_;
  const fields = [LONG, TEXT];
  const table = await made(lake, fields);
  const rows = Array.from({ length: 500 }, (_, n): Value[] => [BigInt(n), n % 5 === 4 ? null : `note ${n % 50}`]);
  await append(lake, { table, fields, rows });
  const { files } = await table.snapshot();
  assert.deepEqual(files.map(({ stats }) => stats), [{
    numRecords: 500,
    minValues: { id: 0, note: "note 0" },
    maxValues: { id: 499, note: "note 8" },
    nullCount: { id: 0, note: 100 },
  }]);
  const [[encodings, compression, type]] = await encodingsOf(lake, table, "note") as string[][];
  assert.deepEqual([encodings, compression, type], ["RLE_DICTIONARY", "ZSTD", "BYTE_ARRAY"]);
});

Deno.test("what no table can hold is refused by its name and row, and nothing is committed", async () => {
  await using made_ = await temporaryLake();
  const { lake } = made_;
  const at: ColumnField = { name: "at", type: { type: "timestamp-millis", nullable: false } };
  const fields = [LONG, TEXT, at];
  const table = await made(lake, fields);
  const bad = Uint8Array.of(0x61, 0xff);
  await assert.rejects(append(lake, { table, fields, rows: [[1n, "a", 0n], [2n, bad, 0n]] }), (error) => {
    assert.ok(error instanceof MalformedRecordError);
    assert.match(error.message, /^note of row 1 is not UTF-8 text$/);
    return true;
  });
  await assert.rejects(
    append(lake, { table, fields, rows: [[1n, "a", 400_000_000_000_000n]] }),
    /^MalformedRecordError: at of row 0 is not within the years 1 to 9999$/,
  );
  const { version, files } = await table.snapshot();
  assert.deepEqual([version, files], [0, []]);
});

Deno.test("rows beyond what may be held become files of their own, in one commit", async () => {
  await using made_ = await temporaryLake();
  const { lake } = made_;
  const fields = [LONG, TEXT];
  const table = await made(lake, fields);
  const rows = Array.from({ length: 20_480 }, (_, n) => [BigInt(n), `note ${n}`]);
  await append(lake, { table, fields, rows, heldBytes: 60_000 });
  const snapshot = await table.snapshot();
  assert.equal(snapshot.version, 1);
  assert.ok(snapshot.files.length >= 3, `${snapshot.files.length} files`);
  const sql = "SELECT count(*)::INT, count(DISTINCT note)::INT, sum(id)::INT FROM t";
  assert.deepEqual(await ask(lake, snapshot, sql), [[20_480, 20_480, 20_480 * 20_479 / 2]]);
});

Deno.test("several appends at once are each a commit with all of its rows", async () => {
  await using made_ = await temporaryLake();
  const { lake } = made_;
  const fields = [LONG, TEXT];
  const table = await made(lake, fields);
  await Promise.all(Array.from({ length: 4 }, (_, k) => {
    const rows = Array.from({ length: 10_000 }, (_, n) => [BigInt(10_000 * k + n), `append ${k}, note ${n % 100}`]);
    return append(lake, { table, fields, rows });
  }));
  const snapshot = await table.snapshot();
  assert.equal(snapshot.version, 4);
  const sql = "SELECT note[8]::INT AS k, count(*)::INT, min(id)::INT, max(id)::INT FROM t GROUP BY k ORDER BY k";
  assert.deepEqual(
    await ask(lake, snapshot, sql),
    [0, 1, 2, 3].map((k) => [k, 10_000, 10_000 * k, 10_000 * k + 9_999]),
  );
});

Deno.test("rows go to the partitions that they name, or to the one that is told", async () => {
  await using made_ = await temporaryLake();
  const { lake } = made_;
  const fields = [LONG, TEXT];
  const table = await made(lake, fields, ["note"]);
  const rows = Array.from({ length: 5_000 }, (_, n) => [BigInt(n), ["a", "b", null][n % 3]]);
  await append(lake, { table, fields, rows });
  const told = rows.map(([id]) => [id]);
  await append(lake, { table, fields: [LONG], rows: told, partitionValues: { note: "c" } });
  const snapshot = await table.snapshot();
  const count = (value: string | null) =>
    snapshot.files.filter(({ partitionValues }) => partitionValues.note === value)
      .reduce((sum, { stats }) => sum + stats!.numRecords, 0);
  assert.deepEqual(["a", "b", null, "c"].map(count), [1_667, 1_667, 1_666, 5_000]);
  await assert.rejects(append(lake, { table, fields, rows, partitionValues: { note: "c" } }), ConfigError);
});

Deno.test("a column that the table has not, or as another type, is a fault, and one that the rows have not is null", async () => {
  await using made_ = await temporaryLake();
  const { lake } = made_;
  const table = await made(lake, [LONG, TEXT]);
  const wrong: ColumnField = { name: "note", type: { type: "long", nullable: true } };
  const other: ColumnField = { name: "other", type: { type: "long", nullable: true } };
  await assert.rejects(append(lake, { table, fields: [wrong, other], rows: [[1n, 1n]] }), (error) => {
    assert.ok(error instanceof ConfigError);
    assert.deepEqual(error.faults.map(({ problem }) => problem), [
      `its column note is "string" and the rows' is long`,
      "it has no column other",
    ]);
    return true;
  });
  await append(lake, { table, fields: [LONG], rows: [[7n]] });
  assert.deepEqual(await ask(lake, await table.snapshot(), "SELECT id::INT, note FROM t"), [[7, null]]);
});

Deno.test("an append that an application repeats adds nothing", async () => {
  await using made_ = await temporaryLake();
  const { lake } = made_;
  const table = await made(lake, [LONG]);
  const once = () =>
    append(lake, { table, fields: [LONG], rows: [[1n]], applications: [{ appId: "load", version: 1, after: null }] });
  assert.equal((await once()).kind, "committed");
  assert.equal((await once()).kind, "superseded");
  assert.deepEqual(await ask(lake, await table.snapshot(), "SELECT count(*)::INT FROM t"), [[1]]);
});

Deno.test("an append that is aborted ends with the reason and commits nothing", async () => {
  await using made_ = await temporaryLake();
  const { lake } = made_;
  const table = await made(lake, [LONG]);
  const stop = new AbortController();
  const batches = function* () {
    for (let n = 0;; n++) {
      if (n === 20) stop.abort(new Error("enough"));
      yield batchOf([LONG], Array.from({ length: 2_048 }, (_, i) => [BigInt(i)]));
    }
  };
  const { signal } = stop;
  await assert.rejects(appendColumns(lake, { table, fields: [LONG], batches: batches(), signal }), /enough/);
  assert.equal((await table.snapshot()).version, 0);
});
