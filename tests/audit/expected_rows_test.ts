import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import assert from "node:assert/strict";
import { avg, count, max, min, pipeline, postgres, sum, topic, tumbling } from "../../pipeline/mod.ts";
import type { Definition } from "../../pipeline/definition.ts";
import { compareRows } from "../../pipeline/audit/compare.ts";
import { expectedRows, TooManyRowsError } from "../../pipeline/audit/expected_rows.ts";
import { readerFields } from "../../pipeline/audit/reader_fields.ts";
import type { ResultRows } from "../../pipeline/sinks/sink.ts";
import { type TestPipeline, testPipeline, type TestRecord } from "../../pipeline/testing/mod.ts";
import { resultColumns } from "../../pipeline/plan/plan.ts";
import { type ArchivedRecord, archiveRows, archiveSchema, judgedTables } from "./archived.ts";

const BASE = Date.UTC(2026, 4, 1, 12);
const at = (seconds: number) => new Date(BASE + seconds * 1000).toISOString();

const SCHEMA = {
  type: "record",
  name: "Sale",
  fields: [
    { name: "shop", type: ["null", "string"], default: null },
    { name: "id", type: "string", default: "" },
    { name: "amount", type: { type: "bytes", logicalType: "decimal", precision: 12, scale: 2 } },
    { name: "weight", type: "double" },
    { name: "ratio", type: "float" },
    { name: "pieces", type: ["null", "int"], default: null },
    { name: "kind", type: { type: "enum", name: "Kind", symbols: ["a", "b"] } },
    {
      name: "buyer",
      type: {
        type: "record",
        name: "Buyer",
        fields: [{ name: "country", type: "string" }, { name: "age", type: "long" }],
      },
    },
    { name: "open", type: { type: "int", logicalType: "time-millis" } },
    { name: "day", type: { type: "int", logicalType: "date" } },
    { name: "at", type: { type: "long", logicalType: "timestamp-millis" } },
  ],
} as const;

const sale = (record: Partial<TestRecord>): TestRecord => ({
  shop: "s",
  id: "",
  amount: "1.00",
  weight: 1,
  ratio: 0.5,
  pieces: 1,
  kind: "a",
  buyer: { country: "de", age: 30 },
  open: "08:00:00.250",
  day: "2026-05-01",
  at: at(0),
  ...record,
});

function definition(changes: Partial<Definition> = {}): Definition {
  return {
    ...pipeline({
      name: "sales",
      from: topic("sales", { schema: SCHEMA, eventTime: "at", allowedLateness: "5s" }),
      where: "kind = 'a' AND buyer.age > 18",
      groupBy: ["shop", "buyer.country", "day"],
      window: tumbling("1 minute"),
      select: {
        n: count(),
        total: sum("amount"),
        mean: avg("amount"),
        weight: sum("weight"),
        ratio: avg("ratio"),
        largest: max("ratio"),
        pieces: sum("pieces"),
        counted: count("pieces"),
        opened: min("open"),
        last: max("at"),
        oldest: max("buyer.age"),
      },
      to: [postgres("sales")],
    }),
    ...changes,
  } as Definition;
}

/** A test pipeline that notes what it is given, and says what its archive gives. */
class Audited implements AsyncDisposable {
  readonly test: TestPipeline;
  readonly #ends: number[];
  readonly records: ArchivedRecord[] = [];
  readonly #instance: DuckDBInstance;
  readonly connection: DuckDBConnection;

  private constructor(test: TestPipeline, partitions: number, instance: DuckDBInstance, connection: DuckDBConnection) {
    this.test = test;
    this.#ends = Array.from({ length: partitions }, () => 0);
    this.#instance = instance;
    this.connection = connection;
  }

  static async make(given: Definition, partitions = 1): Promise<Audited> {
    const instance = await DuckDBInstance.create(":memory:", { threads: "1" });
    const connection = await instance.connect();
    await connection.run("SET TimeZone = 'UTC'");
    return new Audited(await testPipeline(given, { partitions, now: at(3600) }), partitions, instance, connection);
  }

  async pipe(records: readonly TestRecord[], partition = 0): Promise<void> {
    await this.test.pipe(records, { partition });
    for (const record of records) this.note(record, partition);
  }

  note(
    record: TestRecord | null,
    partition = 0,
    { headers, fault }: Pick<ArchivedRecord, "headers" | "fault"> = {},
  ): void {
    this.records.push({ partition, offset: this.#ends[partition]++, record, headers, fault });
  }

  async expected(options: { counted?: [number, number][]; rowsMax?: number } = {}) {
    const { plan } = this.test;
    const tables = await judgedTables(this.connection, {
      read: this.#ends.map((end, partition) => [partition, 0, end]),
      aside: [...this.test.late(), ...this.test.dead()].map(({ partition, offset }) => [partition, offset]),
      counted: options.counted,
    });
    return await expectedRows(this.connection, plan, {
      archive: `(${archiveRows(plan, this.records)})`,
      fields: readerFields(plan, archiveSchema(plan)),
      tables,
      range: { fromMs: BASE - 3_600_000, toMs: BASE + 24 * 3_600_000 },
      generation: 0,
      rowsMax: options.rowsMax,
    });
  }

  /** What the pipeline published. */
  published(): ResultRows {
    const columns = resultColumns(this.test.plan);
    const rows = this.test.results();
    const values = columns.map(({ name, type: { type } }) =>
      rows.map((row) => {
        const value = row[name];
        if (value === null) return null;
        if (type.startsWith("timestamp")) return Date.parse(value as string);
        if (type === "date") return Date.parse(value as string) / 86_400_000;
        if (type === "time-millis") return Date.parse(`1970-01-01T${value}Z`);
        return value;
      })
    );
    return { columns, length: rows.length, values };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.test.close();
    this.connection.closeSync();
    this.#instance.closeSync();
  }
}

Deno.test("the archive gives the rows that the pipeline published, of all types, over partitions and windows", async () => {
  await using audited = await Audited.make(definition(), 2);
  const some = (from: number) =>
    Array.from({ length: 200 }, (_, i) =>
      sale({
        shop: [null, "Ä\u0000", "s"][i % 3],
        amount: `${i % 7}.${String(i % 100).padStart(2, "0")}`,
        weight: [0.1, 1e17, -1e17, 3.3][i % 4],
        ratio: i / 7,
        pieces: i % 5 === 0 ? null : i,
        kind: i % 11 === 0 ? "b" : "a",
        buyer: { country: i % 2 ? "de" : "fr", age: i % 90 },
        open: `0${i % 10}:00:00.${100 + i}`,
        day: i % 50 === 0 ? "1969-12-31" : "2026-05-01",
        at: at(from + (i % 60)),
      }));
  await audited.pipe(some(0), 0);
  await audited.pipe(some(0), 1);
  await audited.pipe(some(60), 0);
  await audited.pipe(some(60), 1);
  await audited.test.closeWindows();
  const expected = await audited.expected();
  assert.ok(expected.rows.length > 10);
  assert.deepEqual(compareRows(expected, audited.published(), { generation: 0 }), []);
});

Deno.test("late records and dead letters do not count, nor does what comes back for another pipeline or a second time", async () => {
  await using audited = await Audited.make(definition());
  await audited.pipe([sale({ at: at(1) }), sale({ at: at(130) })]);
  await audited.pipe([sale({ at: at(2), amount: "9.00" })]);
  await audited.test.pipeBytes(new Uint8Array([1, 2, 3]));
  audited.note(null);
  const [late] = audited.test.late();
  assert.equal(late.offset, 2);
  await audited.test.redrive(late);
  audited.note(sale({ at: at(2), amount: "9.00" }), 0, { headers: { "tailrace.redrive.offset": "2" } });
  await audited.test.redrive(late);
  audited.note(sale({ at: at(2), amount: "9.00" }), 0, { headers: { "tailrace.redrive.offset": "2" } });
  await audited.pipe([sale({ at: at(300) })]);
  await audited.test.closeWindows();
  assert.deepEqual(audited.test.ledger().duplicate, 1);
  const expected = await audited.expected({ counted: [[0, 4]] });
  assert.deepEqual(compareRows(expected, audited.published(), { generation: 0 }), []);
  // Were it not said that it counted, its window would have one record less.
  const without = await audited.expected();
  const [{ kind, columns }] = compareRows(without, audited.published(), { generation: 0 });
  assert.deepEqual([kind, columns.includes("n"), columns.includes("revision")], ["wrong", true, true]);
});

Deno.test("a record counts whatever field the archive could not keep, as the pipeline does not read that", async () => {
  await using audited = await Audited.make(definition());
  await audited.pipe([sale({})]);
  await audited.test.pipe([sale({ id: "no text" })]);
  audited.note(sale({ id: null }), 0, { fault: "id is not UTF-8 text" });
  await audited.test.closeWindows();
  const expected = await audited.expected();
  assert.equal(expected.rows.length, 1);
  assert.deepEqual(compareRows(expected, audited.published(), { generation: 0 }), []);
});

Deno.test("headers that were merely copied make no record one that came back", async () => {
  await using audited = await Audited.make(definition());
  await audited.test.pipe([sale({})], { headers: { "tailrace.redrive.offset": "7" } });
  audited.note(sale({}), 0, { headers: { "tailrace.redrive.offset": "7" } });
  await audited.test.pipe([sale({})], { headers: { "tailrace.redrive.offset": "x" } });
  audited.note(sale({}), 0, { headers: { "tailrace.redrive.offset": "x" } });
  await audited.test.closeWindows();
  const expected = await audited.expected();
  assert.equal(expected.rows.length, 1);
  assert.deepEqual(compareRows(expected, audited.published(), { generation: 0 }), []);
});

Deno.test("repeats are left out as dedupe leaves them out: by partition, before and after, in chains", async () => {
  await using audited = await Audited.make({ ...definition(), dedupe: { by: "id", within: "20s" } } as Definition, 2);
  let seed = 7;
  const random = (n: number) => (seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31) % n;
  for (let round = 0; round < 8; round++) {
    for (const partition of [0, 1]) {
      await audited.pipe(
        Array.from({ length: 60 }, () =>
          sale({
            id: `i${random(40)}`,
            kind: random(6) === 0 ? "b" : "a",
            at: at(round * 40 + random(70)),
          })),
        partition,
      );
    }
  }
  await audited.test.closeWindows();
  const { late, duplicate, aggregated } = audited.test.ledger();
  assert.ok(late > 0 && duplicate > 0 && aggregated > 0, JSON.stringify(audited.test.ledger()));
  const expected = await audited.expected();
  assert.deepEqual(compareRows(expected, audited.published(), { generation: 0 }), []);
});

Deno.test("what differs is told by kind, key, window and column, old and new", async () => {
  await using audited = await Audited.make(definition());
  await audited.pipe([sale({ shop: "a" }), sale({ shop: "b" }), sale({ shop: "c" }), sale({ shop: "d", weight: 0.1 })]);
  await audited.test.closeWindows();
  const expected = await audited.expected();
  const rows = audited.published();
  const shops = rows.values[0];
  const values = rows.values.map((column) => [...column]);
  const column = (name: string) => rows.columns.findIndex((one) => one.name === name);
  values[column("total")][shops.indexOf("a")] = "1.01";
  values[0][shops.indexOf("b")] = "z";
  // As far off as a double can tell.
  values[column("weight")][shops.indexOf("d")] = 0.1 + 2 ** -50;
  const found = compareRows(expected, { ...rows, values }, { generation: 0 });
  assert.deepEqual(
    found.map(({ kind, key, columns, windowStartMs }) => [kind, key[0], windowStartMs, columns.length]).sort(),
    [["extra", "z", BASE, 18], ["missing", "b", BASE, 18], ["wrong", "a", BASE, 1]].concat([["wrong", "d", BASE, 1]])
      .sort(),
  );
  const wrong = found.find(({ key }) => key[0] === "a")!;
  assert.deepEqual(wrong.columns, ["total"]);
  assert.deepEqual([wrong.expected![column("total")], wrong.actual![column("total")]], ["1.00", "1.01"]);
});

Deno.test("rows of an earlier generation are right when they are the same, and left alone where nothing is expected", async () => {
  await using audited = await Audited.make(definition());
  await audited.pipe([sale({})]);
  await audited.test.closeWindows();
  const published = audited.published();
  const expected = await audited.expected();
  assert.deepEqual(compareRows(expected, published, { generation: 3 }), []);
  const nothing = { rows: { ...expected.rows, length: 0, values: expected.rows.values.map(() => []) }, slack: null };
  assert.deepEqual(compareRows(nothing, published, { generation: 3 }), []);
  assert.equal(compareRows(nothing, published, { generation: 0 })[0].kind, "extra");
  const future = { ...published, values: published.values.map((column) => [...column]) };
  future.values[future.columns.findIndex(({ role }) => role === "revision")][0] = 4e12 + 1;
  assert.deepEqual(compareRows(expected, future, { generation: 3 })[0].columns, ["revision"]);
});

Deno.test("more rows than are held are told, not read", async () => {
  await using audited = await Audited.make(definition());
  await audited.pipe([sale({ shop: "a" }), sale({ shop: "b" })]);
  await assert.rejects(audited.expected({ rowsMax: 1 }), TooManyRowsError);
});
