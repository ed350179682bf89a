import assert from "node:assert/strict";
import { avroType } from "../../../../pipeline/codec/avro_values.ts";
import { parseSchema } from "../../../../pipeline/codec/schema.ts";
import type { AvroSchema } from "../../../../pipeline/plan/plan.ts";
import { ArchiveColumns } from "../../../../pipeline/sinks/lake/archive/archive_columns.ts";
import { ARCHIVE_PARTITION_COLUMN } from "../../../../pipeline/sinks/lake/archive/archive.ts";
import { Archiver, type WrittenTail } from "../../../../pipeline/sinks/lake/archive/archiver.ts";
import { Stager } from "../../../../pipeline/sinks/lake/archive/stager.ts";
import { keyOf } from "../../../../pipeline/sinks/lake/delta/data_path.ts";
import { deltaField } from "../../../../pipeline/sinks/lake/delta/schema.ts";
import type { DeltaTable, Snapshot } from "../../../../pipeline/sinks/lake/delta/table.ts";
import type { Lake } from "../../../../pipeline/sinks/lake/lake.ts";
import { compact } from "../../../../pipeline/sinks/lake/maintenance/compact.ts";
import { readFilesSql } from "../../../../pipeline/sinks/lake/parquet_files.ts";
import { literal } from "../../../../pipeline/sql_text.ts";
import { VirtualClock } from "../../../../pipeline/testing/virtual_clock.ts";
import { temporaryLake } from "../delta/lake_fixture.ts";
import { frameOf } from "./archive_rows.ts";

const SCHEMA = {
  type: "record",
  name: "E",
  fields: [
    { name: "n", type: "long" },
    { name: "about", type: { type: "record", name: "A", fields: [{ name: "m", type: "long" }] } },
  ],
} as const;

interface Subject extends AsyncDisposable {
  readonly lake: Lake;
  readonly table: DeltaTable;
  readonly archiver: Archiver;
  readonly clock: VirtualClock;
  /** Stages records whose `n` goes on from the one before. */
  stage(count: number): Promise<void>;
}

interface SubjectOptions {
  /** Called at the moment of each commit. */
  readonly onCommitted?: (archiver: Archiver) => void;
  /** By schema id; records take them in turn. */
  readonly schemas?: readonly AvroSchema[];
  /** The `n`th record, of that schema. */
  readonly recordOf?: (n: number, schema: number) => unknown;
  readonly dayOf?: (n: number) => number;
}

/** An archive of one partition. */
async function subject(options: SubjectOptions = {}): Promise<Subject> {
  const { onCommitted = () => {}, schemas = [SCHEMA as AvroSchema] } = options;
  const { recordOf = (n: number) => ({ n, about: { m: -n } }), dayOf = () => 21 } = options;
  const parts = new AsyncDisposableStack();
  const { lake } = parts.use(await temporaryLake());
  const clock = new VirtualClock();
  const archive = new ArchiveColumns(null);
  archive.admit(parseSchema(schemas[0]));
  const partitionColumns = [ARCHIVE_PARTITION_COLUMN];
  const table = await lake.ensureTable("events", { schema: archive.schema(), partitionColumns });
  const connection = await lake.database.connect();
  parts.defer(() => connection.closeSync());
  const stager = new Stager(new Map([[0, 0]]), {
    clock,
    archive,
    eventTime: null,
    schemaById: (id) => Promise.resolve(schemas[id]),
  });
  const ending = new AbortController();
  const archiver: Archiver = new Archiver(await table.snapshot(), new Map(), {
    topic: "events",
    topicId: null,
    table,
    store: lake.store,
    database: lake.database,
    connection,
    archive,
    stager,
    flush: { everyMs: 3_600_000_000, rows: 1_000_000 },
    clock,
    signal: ending.signal,
    onWaiting: () => {},
    onCommitted: () => onCommitted(archiver),
  });
  parts.defer(() => archiver.end());
  parts.defer(() => ending.abort());
  const types = schemas.map((schema) => avroType(schema));
  let next = 0;
  return {
    lake,
    table,
    archiver,
    clock,
    async stage(count) {
      const first = next;
      next += count;
      const records = Array.from({ length: next }, (_, n) => ({
        timestampMs: Date.UTC(2026, 10, dayOf(n)),
        key: null,
        value: types[n % types.length].encodeFramed(n % types.length, recordOf(n, n % types.length)),
      }));
      const frame = frameOf(records);
      const part = { partition: 0, frame, start: 0, end: frame.length, fromOffset: first, highWatermark: next };
      await stager.take(part, () => null);
    },
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

/** The values of `n` in a snapshot and what waits behind it. */
async function numbersOf(lake: Lake, { snapshot, path }: Pick<WrittenTail, "snapshot" | "path">): Promise<number[]> {
  const { files, schema, partitionColumns } = snapshot;
  using local = await lake.store.local(files.map((file) => keyOf("events", file)));
  const found = files.map(({ partitionValues }, i) => ({ path: local.paths[i], partitionValues }));
  const parts = [readFilesSql(found, schema, partitionColumns)];
  if (path !== null) parts.push(`SELECT n FROM read_parquet(${literal(path)})`);
  const sql = parts.map((part) => `SELECT n FROM (${part})`).join(" UNION ALL ");
  return await lake.database.use(async (connection) =>
    (await connection.runAndReadAll(`SELECT n::INTEGER FROM (${sql}) ORDER BY n`)).getRows().map(([n]) => Number(n))
  );
}

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);

Deno.test("a tail asked for at the moment of a commit has none of the rows that are in its snapshot", async () => {
  const tails: Promise<WrittenTail>[] = [];
  await using it = await subject({ onCommitted: (archiver) => tails.push(archiver.tail()) });
  await it.stage(50);
  const before = it.archiver.tail();
  await it.archiver.flush();
  assert.equal(it.archiver.rowsWaiting, 0);
  assert.equal(tails.length, 1);
  for (const tail of [await before, await tails[0]]) {
    assert.deepEqual(await numbersOf(it.lake, tail), numbers(50));
    assert.deepEqual(tail.positions, new Map([[0, 50]]));
  }
});

Deno.test("whoever asks for a flush waits until what is read is in the table, also when another asked first", async () => {
  await using it = await subject();
  await it.stage(10);
  const first = it.archiver.flush();
  await it.stage(10);
  const inTable = async () => await numbersOf(it.lake, { snapshot: await it.table.snapshot(), path: null });
  await Promise.all([
    first,
    ...[1, 2].map(async () => {
      await it.archiver.flush();
      assert.deepEqual(await inTable(), numbers(20));
    }),
  ]);
});

Deno.test("an archive of a topic that is silent follows its table as it is compacted", async () => {
  await using it = await subject();
  for (let i = 0; i < 3; i++) {
    await it.stage(10);
    await it.archiver.flush();
  }
  const { snapshot } = await it.archiver.tail();
  await compact(it.table, { store: it.lake.store, database: it.lake.database });
  await it.lake.store.remove(snapshot.files.map((file) => keyOf("events", file)));
  await it.clock.pass(600_000);
  assert.equal(it.archiver.keepUp(), null);
  let tail = await it.archiver.tail();
  for (let tries = 0; tries < 100 && tail.snapshot.version === snapshot.version; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    tail = await it.archiver.tail();
  }
  assert.equal(tail.snapshot.version, snapshot.version + 1);
  assert.deepEqual(await numbersOf(it.lake, tail), numbers(30));
});

Deno.test("columns of any type that others add to the table, in records too, are null in what is archived", async () => {
  await using it = await subject();
  const base: Snapshot = await it.table.snapshot();
  const texts = { type: "array", elementType: "string", containsNull: true } as const;
  const fields = base.schema.fields.map((field) =>
    typeof field.type !== "string" && field.type.type === "struct"
      ? { ...field, type: { ...field.type, fields: [...field.type.fields, deltaField("tags", texts)] } }
      : field
  );
  const schema = { ...base.schema, fields: [...fields, deltaField("notes", texts)] };
  await it.table.commit({ operation: "ADD COLUMNS", schema }, { base });
  await it.stage(10);
  await it.archiver.flush();
  const tail = await it.archiver.tail();
  assert.deepEqual(await numbersOf(it.lake, tail), numbers(10));
  assert.equal(tail.snapshot.schema.fields.at(-1)?.name, "notes");
});

/** What the table and a tail behind it have, in the order of `n`. */
async function rowsOf(
  lake: Lake,
  { snapshot, path }: Pick<WrittenTail, "snapshot" | "path">,
  columns: string,
): Promise<unknown[][]> {
  const { files, schema, partitionColumns } = snapshot;
  using local = await lake.store.local(files.map((file) => keyOf("events", file)));
  const found = files.map(({ partitionValues }, i) => ({ path: local.paths[i], partitionValues }));
  const table = readFilesSql(found, schema, partitionColumns);
  const sql = path === null ? table : `${table} UNION ALL BY NAME SELECT * FROM read_parquet(${literal(path)})`;
  return await lake.database.use(async (connection) =>
    (await connection.runAndReadAll(`SELECT ${columns} FROM (${sql}) ORDER BY n`)).getRows()
  );
}

const fieldsWith = (...others: readonly unknown[]) => [
  { name: "n", type: "long" },
  { name: "kind", type: { type: "enum", name: "Kind", symbols: ["ONE", "ANOTHER", "ONE_THAT_IS_LONG"] } },
  { name: "home", type: { type: "record", name: "Home", fields: [{ name: "place", type: "string" }] } },
  { name: "tags", type: { type: "array", items: "string" } },
  ...others,
];
const TEXTS: AvroSchema = {
  type: "record",
  name: "T",
  fields: fieldsWith({ name: "city", type: ["null", "string"] }),
};
/** A field more, and one that is a number. */
const LATER: AvroSchema = {
  type: "record",
  name: "T",
  fields: fieldsWith({ name: "city", type: "long" }, { name: "note", type: "string" }),
};
const KINDS = ["ONE", "ANOTHER", "ONE_THAT_IS_LONG"];
const CITIES = ["Zürich", "Köniz", "a city whose name is long", ""];
const record = (n: number, schema: number) => ({
  n,
  kind: KINDS[n % 3],
  city: schema === 1 ? n : n % 4 === 2 ? null : CITIES[(n >> 2) % 4],
  home: { place: `place ${n % 5}` },
  tags: n % 2 === 0 ? [] : [`tag ${n}`],
  ...schema === 1 ? { note: `note ${n}` } : {},
});
const SHOWN = "n, kind, city, home.place, tags";
const shown = (n: number, schema: number) => {
  const { kind, city, home, tags } = record(n, schema);
  return [BigInt(n), kind, schema === 1 ? null : city, home.place, JSON.stringify(tags)];
};

Deno.test("texts are the same in the tail and in the table, and the log knows their bounds, on several days too", async () => {
  await using it = await subject({ schemas: [TEXTS], recordOf: record, dayOf: (n) => n < 40 ? 21 : 22 });
  const expected = (count: number) => numbers(count).map((n) => shown(n, 0));
  for (const count of [30, 60]) {
    await it.stage(30);
    assert.deepEqual(await rowsOf(it.lake, await it.archiver.tail(), SHOWN), expected(count));
    await it.archiver.flush();
    assert.deepEqual(await rowsOf(it.lake, await it.archiver.tail(), SHOWN), expected(count));
  }
  const { files } = await it.table.snapshot();
  // The first flush is of one day, the second of two.
  assert.equal(files.length, 3);
  for (const { stats } of files) {
    assert.equal(stats?.minValues?.kind, "ANOTHER");
    assert.equal(stats?.maxValues?.kind, "ONE_THAT_IS_LONG");
    assert.equal(stats?.minValues?.city, "");
    assert.equal(stats?.maxValues?.city, "a city whose name is long");
  }
});

Deno.test("rows of schemas that differ in their columns are archived by one flush, with the texts of each", async () => {
  await using it = await subject({ schemas: [TEXTS, LATER], recordOf: record });
  await it.stage(50);
  const columns = `${SHOWN}, city_long, note`;
  const expected = numbers(50).map((n) => [
    ...shown(n, n % 2),
    n % 2 === 1 ? BigInt(n) : null,
    n % 2 === 1 ? `note ${n}` : null,
  ]);
  assert.deepEqual(await rowsOf(it.lake, await it.archiver.tail(), columns), expected);
  await it.archiver.flush();
  const tail = await it.archiver.tail();
  assert.equal(tail.path, null);
  assert.deepEqual(await rowsOf(it.lake, tail, columns), expected);
});
