import assert from "node:assert/strict";
import { join } from "node:path";
import { postgresClient } from "../../pipeline/postgres_client.ts";
import { appendColumns } from "../../pipeline/sinks/lake/columns/append_columns.ts";
import type { ColumnField } from "../../pipeline/sinks/lake/columns/held_columns.ts";
import { CODED_TEXTS_MAX } from "../../pipeline/sinks/lake/columns/text_codes.ts";
import { LakeDatabase } from "../../pipeline/sinks/lake/database.ts";
import { deltaField, deltaSchema, deltaTypeOf } from "../../pipeline/sinks/lake/delta/schema.ts";
import { createDiskStore } from "../../pipeline/sinks/lake/disk_store.ts";
import { createMaintenance } from "../../pipeline/sinks/lake/maintenance/maintenance.ts";
import { openLake } from "../../pipeline/sinks/lake/open_lake.ts";
import { temporaryFolder, until } from "../e2e/harness.ts";
import { Buffer } from "node:buffer";
import { encoded, framed, good, plainRecipe, startOfRun, transaction, TRANSACTION_TEXT } from "../faults/records.ts";
import { register, TOPIC, World } from "../faults/world.ts";
import { orphans, plainRows } from "../lake/plain_table.ts";
import { differences, type TableRow } from "../lake/rows.ts";
import { batchesOf, type Value } from "../sinks/lake/columns/column_batches.ts";
import { ask, availableReaders, type Question } from "./lake/read_tables.ts";
import { TABLE, TableLife, type TableState } from "./lake/table_states.ts";

const readers = await availableReaders();

/** A question and what it must give. */
interface Expected extends Question {
  readonly what: string;
  readonly rows: TableState["rows"];
}

/** Everything that is asked of every reader, at once because some take long to start. */
async function readByAll(t: Deno.TestContext, expected: readonly Expected[], folder: string): Promise<void> {
  for (const reader of readers) {
    await t.step(`${reader} reads ${expected.length} states`, async () => {
      const answers = await ask(reader, expected, folder);
      const found = answers.flatMap(({ rows }, i) =>
        differences(expected[i].rows, rows).map((difference) => `${expected[i].what}: ${difference}`)
      );
      assert.deepEqual(found, []);
      for (const [i, { version }] of answers.entries()) {
        if (expected[i].version !== null) assert.equal(version, expected[i].version);
      }
    });
  }
}

async function copy(from: string, to: string): Promise<void> {
  const { success, stderr } = await new Deno.Command("cp", { args: ["-r", from, to] }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
}

Deno.test({
  name: "delta-rs, Spark and DuckDB read a table in every state as it was written",
  fn: async (t) => {
    await using folder = temporaryFolder();
    const lakeFolder = join(folder.path, "lake");
    const expected: Expected[] = [];
    await using lake = openLake({
      store: createDiskStore({ folder: lakeFolder }),
      database: new LakeDatabase({ scratch: join(folder.path, "scratch"), memoryBytesMax: 512 * 2 ** 20, threads: 2 }),
    });
    const table = join(lakeFolder, TABLE);
    await lake.database.use(async (connection) => {
      const life = await TableLife.begin(lake, connection);
      await life.append(["2026-11-20", "2026-11-21", null], 20);
      await life.append(["2026-11-21"], 5);
      await life.addColumn();
      await life.append(["2026-11-21", "2026-11-22"], 7, { note: "new" });
      await life.merge("2026-11-21", "merged");
      await life.widenColumn();
      // Past a checkpoint of the log.
      while (life.states.at(-1)!.version < 12) await life.append(["2026-11-23"], 1, { note: "small" });
      const maintenance = createMaintenance({ lake, now: () => Date.now() + 1_000 });
      const compacted = await maintenance.compact(TABLE, {});
      assert.ok(compacted.filesRemoved > compacted.filesAdded, JSON.stringify(compacted));
      await life.rested("after a compaction");
      for (const { what, version, rows } of life.states) expected.push({ table, version, what, rows });
      expected.push({ ...expected.at(-1)!, version: null, what: "the newest" });
      // Earlier versions go with a vacuum: of another copy.
      await copy(table, `${table}-before`);
      const { filesRemoved } = await maintenance.vacuum(TABLE, { retentionMs: 0 });
      assert.ok(filesRemoved > 0);
      assert.deepEqual(await orphans(table), []);
      await life.merge("2026-11-22", "after the vacuum");
      const { rows } = life.states.at(-1)!;
      for (const old of expected.splice(0)) expected.push({ ...old, table: `${table}-before` });
      expected.push({ table, version: null, what: "after a vacuum and a merge", rows });
    });
    await t.step("the plain reader does", async () => {
      for (const { table, version, what, rows } of expected) {
        assert.deepEqual(differences(rows, await plainRows(table, { version: version ?? undefined })), [], what);
      }
    });
    await readByAll(t, expected, folder.path);
  },
});

Deno.test({
  name: "delta-rs, Spark and DuckDB read what was appended as columns, with codes for its texts and without",
  fn: async (t) => {
    await using folder = temporaryFolder();
    const lakeFolder = join(folder.path, "lake");
    await using lake = openLake({
      store: createDiskStore({ folder: lakeFolder }),
      database: new LakeDatabase({ scratch: join(folder.path, "scratch"), memoryBytesMax: 512 * 2 ** 20, threads: 2 }),
    });
    const fields: readonly ColumnField[] = [
      { name: "id", type: { type: "long", nullable: false } },
      { name: "few", type: { type: "string", nullable: true } },
      { name: "note", type: { type: "string", nullable: true } },
      { name: "kind", type: { type: "enum", symbols: ["CARD", "a transfer to an account"], nullable: true } },
      { name: "ratio", type: { type: "double", nullable: true } },
      { name: "at", type: { type: "timestamp-millis", nullable: true } },
      { name: "raw", type: { type: "bytes", nullable: true } },
      { name: "none", type: { type: "string", nullable: true } },
    ];
    const table = await lake.ensureTable("columns", {
      schema: deltaSchema(fields.map(({ name, type }) => deltaField(name, deltaTypeOf(type)))),
      partitionColumns: [],
    });
    const texts = ["", "twelve bytes", "Zoë and a 🚚, longer", null, "thirteen byte"];
    const rows = Array.from({ length: CODED_TEXTS_MAX + 3_000 }, (_, n): Value[] => [
      BigInt(n),
      texts[n % texts.length],
      n % 9 === 8 ? null : n % 2 === 0 ? `n${n}` : `a longer text, number ${n}`,
      n % 3 === 2 ? null : n % 3,
      n % 4 === 3 ? null : n / 8,
      n % 6 === 5 ? null : BigInt(n) * 86_400_123n - 1_000_000_000n,
      n % 7 === 6 ? null : Uint8Array.from({ length: n % 20 }, (_, i) => 250 + i),
      null,
    ]);
    // The first append has codes for all texts; the second comes to have too many.
    const cut = 4_000;
    for (const part of [rows.slice(0, cut), rows.slice(cut)]) {
      await appendColumns(lake, { table, fields, batches: batchesOf(fields, part, [2_048, 77]) });
    }
    const symbols = ["CARD", "a transfer to an account"];
    const expected = rows.map(([id, few, note, kind, ratio, at, raw]): TableRow => ({
      id: String(id),
      few: few as string | null,
      note: note as string | null,
      kind: kind === null ? null : symbols[Number(kind)],
      ratio: ratio as number | null,
      at: at === null ? null : String(1_000n * (at as bigint)),
      raw: raw === null ? null : (raw as Uint8Array).toHex(),
      none: null,
    }));
    const at = join(lakeFolder, "columns");
    assert.deepEqual(differences(expected, await plainRows(at)), []);
    await readByAll(t, [{ table: at, version: 2, what: "columns", rows: expected }], folder.path);
  },
});

/** How far the event time of the run goes on without a pause: windows close only behind it. */
const RECORDS = 4_000;

Deno.test({
  name: "other readers find every record of the log and PostgreSQL's final rows in the lake of a running Tailrace",
  fn: async (t) => {
    await using folder = temporaryFolder();
    // From a number on, records come with a schema that has a field more, and a double where there was none.
    const later = { from: Infinity, id: 0 };
    const startMs = startOfRun();
    const seed = 11;
    await using world = await World.open({
      seed,
      rate: 800,
      recipe: ({ schemaId }) => {
        const plain = plainRecipe(seed, schemaId, startMs);
        return (n) => {
          if (n < later.from) return plain(n);
          const of = transaction(seed, n, startMs);
          const more = Buffer.alloc(8);
          more.writeDoubleLE(n / 7);
          return { ...good(n, of, schemaId), value: framed(later.id, Buffer.concat([encoded(of), more])) };
        };
      },
    });
    const schema = JSON.parse(TRANSACTION_TEXT);
    schema.fields.push({ name: "weight", type: "double", default: 0 });
    later.id = await register(world.addresses.registryUrl, `${TOPIC}-more`, JSON.stringify(schema));
    await until("half of the records are sent", () => world.load.next > RECORDS / 2);
    await world.load.pause();
    later.from = world.load.next;
    world.load.resume();
    await world.kill();
    await world.start();
    await until("all records are sent", () => world.load.next > RECORDS);
    // The oracle compares with the log and with PostgreSQL; the other readers then with what it read.
    const findings = await world.check();
    assert.equal(findings.total, 0, findings.describe().join("\n"));
    await world.load.pause();
    await compacted(world, TOPIC);
    const tables = [TOPIC, world.pipeline].map((name) => join(world.lake.folder, name));
    const expected = await Promise.all(tables.map(async (table): Promise<Expected> => ({
      table,
      version: null,
      what: table.slice(table.lastIndexOf("/") + 1),
      rows: await plainRows(table),
    })));
    const [archive, results] = expected;
    const places = archive.rows.map((row) => `${row.kafka_partition}/${row.kafka_offset}`);
    assert.equal(new Set(places).size, archive.rows.length);
    assert.ok(archive.rows.some(({ weight }) => typeof weight === "number"), "rows of both schemas");
    assert.ok(archive.rows.some(({ weight }) => weight === null));
    await t.step("the results are PostgreSQL's final rows", async () => {
      assert.ok(results.rows.length > 0);
      assert.deepEqual(differences(await finalRows(world.addresses.databaseUrl, world.pipeline), results.rows), []);
    });
    await readByAll(t, expected, folder.path);
  },
});

/** Asks for a compaction and a vacuum, and waits until the table has few files. */
async function compacted(world: World, table: string): Promise<void> {
  const at = `${world.tailrace!.url}/v1/lake/${table}`;
  const ask = async (path: string, body?: unknown) => {
    const headers = { "content-type": "application/json" };
    const init = body === undefined ? {} : { method: "POST", headers, body: JSON.stringify(body) };
    const answer = await fetch(at + path, init);
    assert.ok(answer.ok, `${path}: ${answer.status}`);
    return await answer.json();
  };
  const before = (await ask("")).files;
  await ask("/compact", {});
  const after = await until("the table is compacted", async () => {
    const { files } = await ask("");
    return files < before && files;
  });
  assert.ok(after <= 2, `${after} files of ${before}`);
  await ask("/vacuum", { retentionHours: 0, force: true });
  const folder = join(world.lake.folder, table);
  await until("the files from before are gone", async () => (await orphans(folder)).length === 0);
}

/** The final rows of a pipeline's table as the lake has them. */
async function finalRows(databaseUrl: string, table: string): Promise<TableRow[]> {
  const sql = postgresClient(databaseUrl);
  try {
    const micros = (column: string) => `(extract(epoch FROM ${column}) * 1000000)::bigint::text AS ${column}`;
    const rows = await sql.unsafe(`
      SELECT account_id, ${micros("window_start")}, ${micros("window_end")}, n::text, total::text, mean, largest::text,
        revision::text, final, to_char(window_start AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS window_date
      FROM ${table} WHERE final`);
    return rows.map((row) => ({ ...row }));
  } finally {
    await sql.end();
  }
}
