import assert from "node:assert/strict";
import { join } from "node:path";
import { QueryError } from "../../api/deps.ts";
import type { Capture, CapturedRelation, RelationName } from "../../api/sql/catalog.ts";
import type { CatalogPipeline } from "../../api/sql/capture_moment.ts";
import { stage, stagedSql } from "../../api/sql/capture_rows.ts";
import { type CatalogDeps, createSqlCatalog } from "../../api/sql/lake_catalog.ts";
import { UnavailableError } from "../../pipeline/errors.ts";
import type { Letters } from "../../pipeline/letters/letters.ts";
import { type Plan, resultColumns } from "../../pipeline/plan/plan.ts";
import { type Archive, archiveAppId, type ArchiveTail } from "../../pipeline/sinks/lake/archive/archive.ts";
import type { LakeDatabase } from "../../pipeline/sinks/lake/database.ts";
import { deltaField, deltaSchema } from "../../pipeline/sinks/lake/delta/schema.ts";
import type { Lake } from "../../pipeline/sinks/lake/lake.ts";
import { writeFiles } from "../../pipeline/sinks/lake/parquet_files.ts";
import type { LakeSink } from "../../pipeline/sinks/lake/results/lake_sink.ts";
import type { ResultRows, ResultValue } from "../../pipeline/sinks/sink.ts";
import { identifier, literal } from "../../pipeline/sql_text.ts";
import { eventPlan } from "../runtime/logs.ts";
import { Random } from "../simulation/random.ts";
import { TABLE, testLake } from "../sinks/lake/results/lake_subject.ts";

const base = await eventPlan({ allowedLateness: "1000ms" });
const PLAN: Plan = { ...base, sinks: [{ kind: "lake", table: TABLE, flush: { everyMs: 3_600_000, rows: 1e6 } }] };
const COLUMNS = resultColumns(PLAN);
const START = Date.parse("2026-11-20T21:00:00Z");
const SECOND = 1_000;
const { signal } = new AbortController();

/** A row of `events`: key, number of the window, records, revision (as many unless told), final. */
type Row = readonly [k: string | null, window: number, n: number, final: boolean, revision?: number];

function rows(...list: readonly Row[]): ResultRows {
  const values = list.map(([k, window, n, final, revision = n]): ResultValue[] => {
    const start = START + window * SECOND;
    return [k, start, start + SECOND, n, String(2 * n), revision, final];
  });
  return { columns: COLUMNS, length: list.length, values: COLUMNS.map((_, c) => values.map((row) => row[c])) };
}

/** A pipeline whose state a test sets by hand. */
class HandPipeline implements CatalogPipeline {
  readonly plan = PLAN;
  open: ResultRows = rows();
  underWay: ResultRows | null = null;
  position = 0;
  watermarkMs = -Infinity;
  settledAt: { readonly position: number; readonly watermarkMs: number } | null = null;
  readonly lakeSink?: CatalogPipeline["lakeSink"];

  constructor(sink?: LakeSink) {
    if (sink) this.lakeSink = sink;
  }

  unsettled() {
    const { open, underWay, watermarkMs } = this;
    return { positions: new Map([[0, this.position]]), watermarkMs, open, underWay };
  }

  settled() {
    if (this.settledAt === null) return null;
    const { position, watermarkMs } = this.settledAt;
    const buckets = { consumed: 0, aggregated: 0, filtered: 0, late: 0, dead: 0, duplicate: 0 };
    const partition = {
      partition: 0,
      start: 0,
      position,
      maxEventTimeMs: null,
      raisedToMs: null,
      buckets,
      redriven: [],
    };
    return {
      generation: 0,
      floorMs: null,
      topicId: null,
      epoch: 1,
      savedAtMs: 0,
      watermarkMs,
      partitions: [partition],
    } as unknown as ReturnType<CatalogPipeline["settled"]>;
  }

  ledger() {
    const buckets = { consumed: 5, aggregated: 3, filtered: 1, late: 1, dead: 0, duplicate: 0 };
    return [{ partition: 0, start: 0, position: this.position, inFlight: 0, ...buckets }];
  }
}

interface World extends AsyncDisposable {
  readonly lake: Lake;
  readonly sink: LakeSink;
  readonly pipeline: HandPipeline;
  readonly scratch: string;
  capture(...names: readonly (string | RelationName)[]): Promise<Capture>;
  catalog(changes?: Partial<CatalogDeps>): ReturnType<typeof createSqlCatalog>;
}

/** A pipeline with a real sink and table, and the catalog over them. */
async function world(changes: Partial<CatalogDeps> = {}): Promise<World> {
  const parts = new AsyncDisposableStack();
  const test = parts.use(await testLake());
  const sink = test.sink(COLUMNS, { pipeline: PLAN.name });
  await sink.resume(null, { signal });
  const pipeline = new HandPipeline(sink);
  const scratch = `${test.folder}/questions`;
  const catalog = (more: Partial<CatalogDeps> = {}) =>
    createSqlCatalog({ lake: test.lake, archives: [], pipelines: [pipeline], scratch, ...changes, ...more });
  const one = catalog();
  return {
    lake: test.lake,
    sink,
    pipeline,
    scratch,
    catalog,
    capture: async (...names) => await one.capture(names.map(named), { signal }),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

function named(name: string | RelationName): RelationName {
  if (typeof name !== "string") return name;
  const [first, second] = name.split(".");
  return second === undefined ? { schema: null, name: first } : { schema: first as "lake", name: second };
}

/** What a captured relation holds, read as a question does it; columns as text. */
async function read(database: LakeDatabase, { columns, files }: CapturedRelation): Promise<string[]> {
  const none = columns.map(({ name, type }) => `NULL::${type} AS ${identifier(name)}`).join(", ");
  const scans = files.map(({ path, partitions }) => {
    const given = Object.entries(partitions).map(([name, value]) =>
      `, ${value === null ? "NULL" : literal(value)} AS ${identifier(name)}`
    );
    return `SELECT *${given.join("")} FROM read_parquet(${literal(path)}, hive_partitioning = false)`;
  });
  const all = [`SELECT ${none} WHERE false`, ...scans].join(" UNION ALL BY NAME ");
  const shown = columns.map(({ name, type }) => `CAST(CAST(${identifier(name)} AS ${type}) AS VARCHAR)`);
  return await database.use(async (connection) => {
    const found = await connection.runAndReadAll(`SELECT concat_ws('|', ${shown.join(", ")}) FROM (${all}) ORDER BY 1`);
    return found.getRows().map(([text]) => String(text));
  });
}

/** `key window n revision final`, in order. */
async function results(database: LakeDatabase, relation: CapturedRelation): Promise<string[]> {
  const found = await read(database, {
    ...relation,
    columns: relation.columns.filter(({ name }) => ["k", "window_start", "n", "revision", "final"].includes(name)),
  });
  return found.map((text) => {
    const parts = text.split("|");
    const [start, ...rest] = parts.splice(-4);
    const window = (Date.parse(start.replace(" ", "T").replace("+00", "Z")) - START) / SECOND;
    return [parts[0] ?? "none", window, ...rest].join(" ");
  });
}

async function write(sink: LakeSink, rows: ResultRows): Promise<void> {
  await sink.write(rows, { epoch: 1, signal });
}

Deno.test("results are the table, the journal, the rows under way and the open windows, each key and window once", async () => {
  await using made = await world();
  const { sink, pipeline, lake } = made;
  await write(sink, rows(["a", 0, 3, true], ["b", 0, 1, true], [null, 0, 7, true]));
  await sink.flush();
  await write(sink, rows(["a", 1, 4, true]));
  pipeline.underWay = rows(["a", 1, 4, true], ["b", 1, 2, true], ["a", 3, 1, false]);
  pipeline.open = rows(["a", 2, 5, false], ["a", 3, 2, false]);
  await using capture = await made.capture("results.events", "live.events");
  const [all, live] = capture.relations;
  assert.deepEqual(await results(lake.database, all), [
    "none 0 7 7 true",
    "a 0 3 3 true",
    "a 1 4 4 true",
    "a 2 5 5 false",
    "a 3 2 2 false",
    "b 0 1 1 true",
    "b 1 2 2 true",
  ]);
  assert.deepEqual(await results(lake.database, live), ["a 2 5 5 false", "a 3 2 2 false"]);
  assert.deepEqual(all.columns, live.columns);
});

Deno.test("a newer row replaces the table's, which stays as it is; an older one does not", async () => {
  await using made = await world();
  const { sink, pipeline, lake } = made;
  await write(sink, rows(["a", 0, 3, true], ["b", 0, 1, true], ["c", 0, 9, true]));
  await sink.flush();
  const before = (await (await lake.table(TABLE))!.snapshot()).files;
  // A record came back to a; after a restart the window of c is open again, with fewer records than it was published with.
  pipeline.underWay = rows(["a", 0, 4, true]);
  pipeline.open = rows(["c", 0, 2, false], ["d", 0, 1, false]);
  await using capture = await made.capture("results.events", `lake.${TABLE}`);
  assert.deepEqual(await results(lake.database, capture.relations[0]), [
    "a 0 4 4 true",
    "b 0 1 1 true",
    "c 0 9 9 true",
    "d 0 1 1 false",
  ]);
  assert.deepEqual(await results(lake.database, capture.relations[1]), [
    "a 0 3 3 true",
    "b 0 1 1 true",
    "c 0 9 9 true",
  ]);
  assert.deepEqual((await (await lake.table(TABLE))!.snapshot()).files, before);
});

Deno.test("a final row comes before an early one of the same revision", async () => {
  await using made = await world();
  await write(made.sink, rows(["a", 0, 3, true]));
  made.pipeline.open = rows(["a", 0, 3, false]);
  await using capture = await made.capture("results.events");
  assert.deepEqual(await results(made.lake.database, capture.relations[0]), ["a 0 3 3 true"]);
});

/** What a pipeline that read `records` of the events holds: keys and windows in turn, each window closed four windows on. */
class Model {
  readonly pipeline: HandPipeline;
  readonly #sink: LakeSink;
  readonly #random: Random;
  readonly #open = new Map<string, number>();
  readonly #closed = new Map<string, number>();
  /** The counts at every position, by key and window. */
  readonly states: ReadonlyMap<string, number>[] = [new Map()];

  constructor(pipeline: HandPipeline, sink: LakeSink, random: Random) {
    this.pipeline = pipeline;
    this.#sink = sink;
    this.#random = random;
  }

  /** One epoch: records are read, windows close, and what is final is written. */
  async epoch(number: number): Promise<void> {
    const finals = new Map<string, number>();
    for (let i = this.#random.int(1, 6); i > 0; i--) {
      const window = Math.max(0, number - this.#random.int(0, 7));
      const id = `${this.#random.pick(["a", "b", "c"])} ${window}`;
      const before = this.#closed.get(id);
      // Closed already: it came back, and the window is published once more.
      if (before !== undefined || window <= number - 4) {
        this.#closed.set(id, (before ?? 0) + 1);
        finals.set(id, (before ?? 0) + 1);
      } else this.#open.set(id, (this.#open.get(id) ?? 0) + 1);
      this.states.push(new Map([...this.#closed, ...this.#open]));
    }
    for (const [id, n] of this.#open) {
      if (Number(id.split(" ")[1]) > number - 4) continue;
      this.#open.delete(id);
      this.#closed.set(id, n);
      finals.set(id, n);
    }
    this.pipeline.position = this.states.length - 1;
    this.pipeline.open = this.#rows(this.#open, false);
    if (finals.size === 0) return;
    this.pipeline.underWay = this.#rows(finals, true);
    await this.#sink.write(this.pipeline.underWay, { epoch: number, signal });
    this.pipeline.underWay = null;
  }

  #rows(of: ReadonlyMap<string, number>, final: boolean): ResultRows {
    return rows(...Array.from(of, ([id, n]): Row => [id.split(" ")[0], Number(id.split(" ")[1]), n, final]));
  }
}

Deno.test("while rows move from open windows to the table, every capture is a state that the pipeline was in", async () => {
  for (const seed of [1, 2, 3]) {
    await using made = await world();
    const random = new Random(seed);
    const model = new Model(made.pipeline, made.sink, random.fork());
    const writer = (async () => {
      for (let number = 0; number < 60; number++) {
        await model.epoch(number);
        if (random.chance(0.15)) void made.sink.flush().catch(() => {});
        if (random.chance(0.5)) await new Promise((resolve) => setTimeout(resolve, random.int(0, 8)));
      }
    })();
    let isWriting = true;
    const written = writer.finally(() => isWriting = false);
    const seen = new Set<number>();
    do {
      await using capture = await made.capture("results.events");
      const position = capture.completeness[0].offsets["0"];
      const expected = Array.from(model.states[position], ([id, n]) => `${id} ${n}`).sort();
      const found = (await results(made.lake.database, capture.relations[0])).map((row) =>
        row.replace(/ \d+ \w+$/, "")
      );
      assert.deepEqual(found.sort(), expected, `seed ${seed}, position ${position}`);
      seen.add(position);
    } while (isWriting);
    await written;
    assert.ok(seen.size > 5, `${seen.size} states were seen`);
  }
});

Deno.test("lake and topics together have every record once, at the snapshot that the tail goes on from", async () => {
  await using made = await world();
  const { lake } = made;
  const { archive, commit, read: readRows } = await archived(lake, made.scratch);
  await commit([0, 1, 2]);
  archive.offsets = [3, 4];
  archive.onTail = () => commit([3, 4]);
  const catalog = made.catalog({ archives: [archive] });
  {
    await using capture = await catalog.capture([named("lake.raw"), named("topics.t")], { signal });
    const [table, tail] = capture.relations;
    assert.deepEqual([await readRows(table), await readRows(tail)], [[0, 1, 2], [3, 4]]);
    assert.deepEqual(capture.completeness, [{
      topic: "t",
      offsets: { "0": 5 },
      watermark: "2026-11-20T21:00:03.000Z",
    }]);
    assert.equal(archive.open, 1);
  }
  assert.equal(archive.open, 0, "the tail is let go of");
  await using capture = await catalog.capture([named("lake.raw")], { signal });
  assert.deepEqual(await readRows(capture.relations[0]), [0, 1, 2, 3, 4]);
  assert.deepEqual(capture.completeness, [{ topic: "t", offsets: { "0": 5 }, watermark: null }]);
});

/** A table of offsets and days with an archive over it, whose tail a test sets by hand. */
async function archived(lake: Lake, scratch: string) {
  const fields = [deltaField("kafka_offset", "long"), deltaField("ingest_date", "date")];
  const schema = deltaSchema(fields);
  const partitionColumns = ["ingest_date"];
  const table = await lake.ensureTable("raw", { schema, partitionColumns });
  const query = (offsets: readonly number[], day = "2026-11-20") =>
    `SELECT unnest([${offsets.join(", ")}])::BIGINT AS kafka_offset, DATE '${day}' AS ingest_date`;
  const commit = async (offsets: readonly number[], day?: string): Promise<void> => {
    const base = await table.snapshot();
    const add = await lake.database.use((connection) =>
      writeFiles(connection, query(offsets, day), { store: lake.store, table: "raw", schema, partitionColumns })
    );
    const applications = [{ appId: archiveAppId("t", null, 0), version: offsets.at(-1)! + 1 }];
    assert.equal((await table.commit({ operation: "WRITE", add, applications }, { base })).kind, "committed");
  };
  const archive = {
    topic: "t",
    table: "raw",
    offsets: [] as readonly number[],
    onTail: (): Promise<void> => Promise.resolve(),
    open: 0,
    async tail(): Promise<ArchiveTail> {
      const snapshot = await table.snapshot();
      const path = join(scratch, `tail-${crypto.randomUUID()}.parquet`);
      await Deno.mkdir(scratch, { recursive: true });
      await lake.database.use((connection) =>
        connection.run(`COPY (${query(archive.offsets)}) TO '${path}' (FORMAT parquet)`)
      );
      archive.open++;
      await archive.onTail();
      return {
        snapshot,
        path,
        positions: new Map([[0, archive.offsets.at(-1)! + 1]]),
        maxEventTimeMs: new Map([[0, START + 4 * SECOND]]),
        [Symbol.dispose]: () => void archive.open--,
      };
    },
    status: () => {
      throw new Error("not asked for");
    },
    flush: () => Promise.resolve(),
  } satisfies Archive & Record<string, unknown>;
  const readRows = async (relation: CapturedRelation) => {
    const only = { ...relation, columns: relation.columns.filter(({ name }) => name === "kafka_offset") };
    return (await read(lake.database, only)).map(Number);
  };
  return { archive, commit, read: readRows };
}

Deno.test("earlier versions, and only the days that a question needs", async () => {
  await using made = await world();
  const { commit, read: readRows } = await archived(made.lake, made.scratch);
  await commit([0, 1], "2026-11-20");
  await commit([2], "2026-11-21");
  const lake = { schema: "lake", name: "raw" } as const;
  await using capture = await made.capture(
    { ...lake, at: { version: 1 } },
    { ...lake, within: [{ column: "ingest_date", from: "2026-11-21" }] },
    { ...lake, at: { version: 2 }, within: [{ column: "ingest_date", to: "2026-11-20" }, { column: "kafka_offset" }] },
  );
  assert.deepEqual(await Promise.all(capture.relations.map(readRows)), [[0, 1], [2], [0, 1]]);
  assert.deepEqual(capture.relations[1].files[0].partitions, { ingest_date: "2026-11-21" });
  assert.deepEqual(capture.completeness[0].offsets, { "0": 2 }, "the least of all");
  await assert.rejects(made.capture({ ...lake, at: { version: 9 } }), /lake\.raw has no version 9/);
  await assert.rejects(made.capture({ ...lake, at: { timeMs: 0 } }), /no state as of 1970-01-01T00:00:00\.000Z/);
});

Deno.test("the same table with different ranges is captured once, whole", async () => {
  await using made = await world();
  const { commit, read: readRows } = await archived(made.lake, made.scratch);
  await commit([0], "2026-11-20");
  await commit([1], "2026-11-21");
  const lake = { schema: "lake", name: "raw" } as const;
  await using capture = await made.capture(
    { ...lake, within: [{ column: "ingest_date", from: "2026-11-21" }] },
    { ...lake, within: [{ column: "ingest_date", to: "2026-11-20" }] },
  );
  assert.equal(capture.relations.length, 1);
  assert.deepEqual(await readRows(capture.relations[0]), [0, 1]);
});

Deno.test("more bytes than may be fetched for a question are refused, and what to do is said", async () => {
  await using made = await world();
  const { commit } = await archived(made.lake, made.scratch);
  await commit([0], "2026-11-20");
  await commit([1], "2026-11-21");
  const { files } = await (await made.lake.table("raw"))!.snapshot();
  const catalog = made.catalog({ fetchBytesMax: files[0].bytes });
  const lake = { schema: "lake", name: "raw" } as const;
  await assert.rejects(catalog.capture([lake], { signal }), (error) => {
    assert.ok(error instanceof QueryError && error.where === "sql");
    assert.match(error.message, /^lake\.raw has 1 MB in files .* at most 1 MB .*: raise TAILRACE_LAKE_CACHE/);
    return true;
  });
  const day = [{ column: "ingest_date", from: "2026-11-21", to: "2026-11-21" }];
  await using capture = await catalog.capture([{ ...lake, within: day }], { signal });
  assert.equal(capture.relations[0].files.length, 1);
});

Deno.test("more rows in memory than a question takes are refused", async () => {
  await using made = await world({ rowsMax: 3 });
  made.pipeline.open = rows(["a", 0, 1, false], ["b", 0, 1, false], ["c", 0, 1, false]);
  await using capture = await made.capture("live.events");
  assert.equal(capture.relations[0].files.length, 1);
  await assert.rejects(made.capture("live.events", "ledger"), /ledger has 1 rows in memory; a question takes 3/);
});

Deno.test("names that there are not are refused with those that there are", async () => {
  await using made = await world();
  const { archive } = await archived(made.lake, made.scratch);
  const catalog = made.catalog({ archives: [archive], pipelines: [made.pipeline, new OtherPipeline()] });
  const cases: readonly [string | RelationName, RegExp][] = [
    ["lake.nope", /^there is no lake\.nope; there are: lake\.raw, lake\.results$/],
    ["lake.../x", /^there is no lake\./],
    ["live.nope", /^there is no live\.nope; there are: live\.events, live\.other$/],
    ["results.nope", /^there is no results\.nope; there are: results\.events$/],
    ["results.other", /^results\.other: the pipeline keeps no history in the lake; add lake\("other"\) to its `to`/],
    ["topics.nope", /^there is no topics\.nope; there are: topics\.t$/],
    ["topics.u", /^topics\.u: the topic is not archived; add archive: lake\(\)/],
    ["nope", /^there is no nope; there are: ledger$/],
    ["dead_letters", /^there is no dead_letters; there are: ledger$/],
    [{ schema: "live", name: "events", at: { version: 1 } }, /^live\.events has no earlier versions/],
  ];
  for (const [name, problem] of cases) {
    await assert.rejects(catalog.capture([named(name)], { signal }), (error) => {
      assert.ok(error instanceof QueryError, String(error));
      assert.match(error.message, problem);
      return true;
    });
  }
});

class OtherPipeline extends HandPipeline {
  override readonly plan: typeof PLAN = { ...PLAN, name: "other", topic: "u", sinks: [] };
}

Deno.test("results wait until the pipeline has seen its table", async () => {
  await using made = await world();
  const early = made.catalog({ pipelines: [Object.assign(new HandPipeline(), { lakeSink: { pending: () => null } })] });
  await assert.rejects(early.capture([named("results.events")], { signal }), UnavailableError);
});

Deno.test("a table of results is complete up to what waits for it", async () => {
  await using made = await world();
  const { sink, pipeline } = made;
  pipeline.settledAt = { position: 40, watermarkMs: START + 5 * SECOND };
  await write(sink, rows(["a", 0, 1, true]));
  await sink.flush();
  const watermark = async () => {
    await using capture = await made.capture(`lake.${TABLE}`);
    assert.deepEqual(capture.completeness[0].offsets, { "0": 40 });
    return capture.completeness[0].watermark;
  };
  assert.equal(await watermark(), "2026-11-20T21:00:05.000Z");
  await write(sink, rows(["a", 3, 1, true]));
  assert.equal(await watermark(), "2026-11-20T21:00:03.000Z");
  await sink.flush();
  assert.equal(await watermark(), "2026-11-20T21:00:05.000Z");
});

Deno.test("an answer is as far as all of its relations are", async () => {
  await using made = await world();
  const { pipeline } = made;
  pipeline.position = 50;
  pipeline.watermarkMs = START;
  pipeline.settledAt = { position: 40, watermarkMs: START - SECOND };
  await using capture = await made.capture("results.events", `lake.${TABLE}`, "ledger");
  const watermark = new Date(START - SECOND).toISOString();
  assert.deepEqual(capture.completeness, [{ topic: "t", offsets: { "0": 40 }, watermark }]);
});

Deno.test("the ledger, and the newest letters with a note when there are more", async () => {
  const letter = {
    kind: "late" as const,
    topic: "t",
    partition: 0,
    pipeline: "events",
    source: { topic: "t", partition: 0, offset: 7 },
    originalOffset: 7,
    timestampMs: START,
    cause: "window had closed",
    schemaId: 1,
    attempt: 0,
    windowStartMs: null,
    isBatch: false,
    key: { bytes: 2, start: "é" },
    valueBytes: 10,
    redriven: false,
  };
  const letters: Pick<Letters, "list"> = {
    list: ({ limit, cursor = "0" }) => {
      const from = Number(cursor);
      const some = Array.from({ length: Math.min(limit, 2_500 - from) }, (_, i) => ({ ...letter, offset: from + i }));
      const next = from + some.length;
      return Promise.resolve({ letters: some, next: next < 2_500 ? String(next) : null });
    },
  };
  await using made = await world({ letters });
  made.pipeline.position = 5;
  await using capture = await made.capture("ledger", "dead_letters");
  assert.deepEqual(capture.notes, []);
  const [ledger, dead] = capture.relations;
  assert.deepEqual(await read(made.lake.database, ledger), ["events|t|0|0|5|5|3|1|1|0|0|0"]);
  const found = await read(made.lake.database, dead);
  assert.equal(found.length, 2_500);
  assert.equal(found[0], "late|t|0|0|events|0|7|7|2026-11-20 21:00:00+00|window had closed|1|0|false|é|2|10");
  const few = made.catalog({ lettersMax: 1_200, scratch: `${made.scratch}/few` });
  await using first = await few.capture([named("dead_letters")], { signal });
  assert.deepEqual(first.notes, ["dead_letters has the newest 1200 late records and dead letters; there are more"]);
  assert.equal((await read(made.lake.database, first.relations[0])).length, 1_200);
});

Deno.test("all types of results keep every digit", async () => {
  await using made = await world();
  const types = [
    { type: "decimal", precision: 38, scale: 2 },
    { type: "decimal", precision: 38, scale: 20 },
    { type: "decimal", precision: 9, scale: 4 },
    { type: "long" },
    { type: "date" },
    { type: "time-millis" },
    { type: "timestamp-micros" },
    { type: "bytes" },
    { type: "double" },
  ] as const;
  const columns = types.map((type, i) => ({
    name: `v${i}`,
    role: "value" as const,
    type: { ...type, nullable: true } as (typeof COLUMNS)[number]["type"],
  }));
  const line = (...values: ResultValue[]): ResultValue[] => values;
  const list = [
    line(
      "999999999999999999999999999999999999.99",
      "0.00000000000000000001",
      "-12345.6789",
      2n ** 63n - 1n,
      20_778,
      1,
      1,
      new Uint8Array([0, 255]),
      0.1,
    ),
    line("-123456789012345678.10", "1.50000000000000000000", "0.0001", -5, -1, 0, -1, new Uint8Array(), NaN),
    line("0.05", null, null, null, null, null, null, null, null),
  ];
  const open: ResultRows = { columns, length: list.length, values: columns.map((_, c) => list.map((row) => row[c])) };
  const found = await made.lake.database.use(async (connection) => {
    await stage(connection, [open], { table: "staged", columns, signal });
    const texts = columns.map(({ name }) => `coalesce(CAST(${name} AS VARCHAR), 'null')`);
    const query = `SELECT concat_ws('|', ${texts.join(", ")}) FROM (${stagedSql("staged", columns)})`;
    return (await connection.runAndReadAll(query)).getRows().map(([text]) => String(text));
  });
  assert.deepEqual(found, [
    "999999999999999999999999999999999999.99|0.00000000000000000001|-12345.6789|9223372036854775807|2026-11-21|1000|" +
    "1970-01-01 00:00:00.000001+00|\\x00\\xFF|0.1",
    "-123456789012345678.10|1.50000000000000000000|0.0001|-5|1969-12-31|0|1969-12-31 23:59:59.999999+00||nan",
    "0.05|null|null|null|null|null|null|null|null",
  ]);
});

Deno.test("a capture that is broken off, or disposed of, leaves nothing behind; nor does a process that was killed", async () => {
  await using made = await world();
  await Deno.mkdir(`${made.scratch}/captures/left`, { recursive: true });
  made.pipeline.open = rows(...Array.from({ length: 50_000 }, (_, i): Row => [`k${i}`, 0, 1, false]));
  const there = () => Array.from(Deno.readDirSync(`${made.scratch}/captures`), ({ name }) => name);
  {
    await using capture = await made.capture("live.events");
    assert.equal(there().length, 1, "what was left is gone");
    assert.ok(capture.relations[0].files[0].path.startsWith("/"));
  }
  assert.deepEqual(there(), []);
  const ended = new AbortController();
  const work = made.catalog().capture([named("live.events"), named("ledger")], { signal: ended.signal });
  setTimeout(() => ended.abort(new Error("enough")), 5);
  await assert.rejects(work, /enough/);
  assert.deepEqual(there(), []);
});

Deno.test("what can be asked is listed with its columns", async () => {
  await using made = await world();
  const { archive } = await archived(made.lake, made.scratch);
  const infos = await made.catalog({ archives: [archive], letters: { list: () => Promise.reject() } }).relations();
  const shown = infos.map(({ schema, name, columns }) => `${schema ?? "-"}.${name} ${columns.length}`);
  assert.deepEqual(shown, [
    "lake.raw 2",
    "lake.results 8",
    "topics.t 2",
    "live.events 7",
    "results.events 7",
    "-.ledger 12",
    "-.dead_letters 17",
  ]);
  const live = infos.find(({ schema }) => schema === "live")!;
  assert.deepEqual(live.columns.map(({ type }) => type), [
    "VARCHAR",
    "TIMESTAMP WITH TIME ZONE",
    "TIMESTAMP WITH TIME ZONE",
    "BIGINT",
    "DECIMAL(38,0)",
    "BIGINT",
    "BOOLEAN",
  ]);
});

Deno.test("a hundred thousand open rows are captured well within a second, on a machine that does nothing else", async () => {
  await using made = await world();
  made.pipeline.open = rows(...Array.from({ length: 100_000 }, (_, i): Row => [`A-${i}`, i % 60, 1, false]));
  await (await made.capture("live.events"))[Symbol.asyncDispose]();
  const began = performance.now();
  await using capture = await made.capture("results.events");
  const took = performance.now() - began;
  assert.equal(capture.relations[0].files.length, 1);
  // Other work shares the machine that runs this: only what grows faster than the rows takes so long.
  assert.ok(took < 30_000, `${took.toFixed()} ms`);
});
