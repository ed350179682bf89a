import assert from "node:assert/strict";
import type postgres from "postgres";
import { createAuditor } from "../../pipeline/audit/auditor.ts";
import type { Auditor } from "../../pipeline/audit/audit.ts";
import { systemClock } from "../../pipeline/clock.ts";
import type { Definition } from "../../pipeline/definition.ts";
import { count, kafka, lake, pipeline, postgres as table, sum, topic, tumbling } from "../../pipeline/mod.ts";
import { planOf } from "../../pipeline/plan/compile.ts";
import { type Plan, resultColumns } from "../../pipeline/plan/plan.ts";
import type { Settled } from "../../pipeline/runtime/settled.ts";
import type { PipelineStatus } from "../../pipeline/runtime/status.ts";
import { LakeDatabase } from "../../pipeline/sinks/lake/database.ts";
import type { Lake } from "../../pipeline/sinks/lake/lake.ts";
import { createKafkaSink } from "../../pipeline/sinks/kafka.ts";
import { migrate } from "../../pipeline/sinks/migrate.ts";
import { claimOwnership } from "../../pipeline/sinks/ownership.ts";
import { RESULTS_PARTITION_COLUMN, resultsSchema } from "../../pipeline/sinks/lake/results/results_schema.ts";
import { createPostgresSink } from "../../pipeline/sinks/postgres.ts";
import { createSetAsideSink } from "../../pipeline/sinks/set_aside.ts";
import type { ResultValue, Sink } from "../../pipeline/sinks/sink.ts";
import { pipelineStatus } from "../api/fake_deps.ts";
import { resultRows } from "../contracts/sink_contract.ts";
import { MemoryLog } from "../sinks/memory_log.ts";
import { type PostgresServer, startPostgres } from "../sinks/postgres_server.ts";
import { withDatabase } from "../sinks/postgres_subject.ts";
import { temporaryLake, write } from "../sinks/lake/delta/lake_fixture.ts";
import { type ArchivedRecord, archiveRows, archiveSchema } from "./archived.ts";

let server: PostgresServer;
Deno.test.beforeAll(async () => {
  server = await startPostgres();
});
Deno.test.afterAll(async () => await server[Symbol.asyncDispose]());

const MIGRATIONS = new URL("../../migrations", import.meta.url).pathname;
const MINUTE = 60_000;
const BASE = Date.UTC(2026, 4, 1, 12);
const signal = new AbortController().signal;

const SALES = pipeline({
  name: "sales",
  from: topic("in", {
    schema: {
      type: "record",
      name: "Sale",
      fields: [
        { name: "shop", type: "string" },
        { name: "pieces", type: "int" },
        { name: "at", type: { type: "long", logicalType: "timestamp-millis" } },
      ],
    },
    eventTime: "at",
    allowedLateness: "1s",
  }),
  groupBy: ["shop"],
  window: tumbling("1 minute"),
  select: { n: count(), pieces: sum("pieces") },
  to: [table("sales"), kafka("sales")],
});

/** The same with its results in the lake, which are due there a moment after they are written. */
const IN_LAKE = { ...SALES, to: [table("sales"), lake("sales", { flushEvery: "100ms" })] };
/** By the audit's clock, which a test sets on: that much does not go by on the slowest machine. */
const LAKE_MS = 3_600_000;

/** A pipeline whose records, commits and results a test makes by hand: two shops, one sale of each a minute. */
class World {
  readonly plan: Plan;
  readonly sql: postgres.Sql;
  readonly log = new MemoryLog({ partitions: 1 });
  readonly sinks: Sink[] = [];
  readonly auditor: Auditor;
  readonly logged: string[] = [];
  archived: ArchivedRecord[] = [];
  /** Offsets up to which the archive has come; all unless told. */
  archivedTo = Infinity;
  firstOffset = 0;
  state: PipelineStatus["state"] = "running";
  lakeWaits = false;
  /** How far the audit's clock was set on. */
  aheadMs = 0;
  settled: Settled | null = null;
  readonly #lake: Lake;
  #windows = 0;
  #epoch = 0;
  token = 0;
  #partition: Settled["partitions"][number] = {
    partition: 0,
    start: 0,
    position: 0,
    maxEventTimeMs: null,
    raisedToMs: null,
    buckets: { consumed: 0, aggregated: 0, filtered: 0, late: 0, dead: 0, duplicate: 0 },
    redriven: [],
  };

  constructor(
    plan: Plan,
    sql: postgres.Sql,
    { database, folder, lake }: { database: LakeDatabase; folder: string; lake: Lake },
  ) {
    this.plan = plan;
    this.sql = sql;
    this.#lake = lake;
    const snapshot = {
      table: "in",
      version: 0,
      committedMs: 0,
      schema: archiveSchema(plan),
      partitionColumns: ["ingest_date"],
      files: [],
      applications: new Map(),
    };
    let tails = 0;
    this.auditor = createAuditor({
      plan,
      archive: {
        topic: "in",
        table: "in",
        // Boundary: the auditor asks for these two.
        status: () =>
          ({ rowsWaiting: this.archived.length, state: "running" }) as ReturnType<
            Parameters<typeof createAuditor>[0]["archive"]["status"]
          >,
        tail: async () => {
          const path = `${folder}/tail_${tails++}.parquet`;
          const held = this.archived.filter(({ offset }) => offset >= this.firstOffset && offset < this.archivedTo);
          await database.use((connection) => connection.run(`COPY (${archiveRows(plan, held)}) TO '${path}'`));
          const end = Math.min(this.archivedTo, this.archived.length);
          return {
            snapshot,
            path,
            positions: new Map([[0, end]]),
            maxEventTimeMs: new Map(),
            [Symbol.dispose]: () => Deno.removeSync(path),
          };
        },
      },
      lake,
      database,
      log: this.log,
      history: { load: () => Promise.resolve([]), append: () => Promise.resolve(), replace: () => Promise.resolve() },
      sql,
      clock: { ...systemClock, now: () => this.now() },
      pipeline: {
        settled: () => this.settled,
        status: () =>
          pipelineStatus({
            state: this.state,
            watermarkMs: this.settled?.watermarkMs ?? null,
            partitions: [{
              partition: 0,
              position: this.#partition.position,
              end: 0,
              lagRecords: 0,
              lagSeconds: 0,
              watermarkMs: null,
              idle: false,
            }],
          }),
      },
      fence: () => ({ pipeline: "sales", token: this.token }),
      onLog: (level, message) => this.logged.push(`${level} ${message}`),
      pace: { quietMs: 40, busyMs: 20, secondLookMs: 30, lakeMs: LAKE_MS - 100 },
      lakeWaits: () => this.lakeWaits,
    });
  }

  now(): number {
    return systemClock.now() + this.aheadMs;
  }

  row(shop: string, window: number, changes: Readonly<Record<string, ResultValue>> = {}): ResultValue[] {
    const start = BASE + window * MINUTE;
    const values: Record<string, ResultValue> = {
      shop,
      window_start: start,
      window_end: start + MINUTE,
      n: 1,
      pieces: window,
      revision: 1,
      final: true,
      ...changes,
    };
    return resultColumns(this.plan).map(({ name }) => values[name]);
  }

  async write(rows: ResultValue[][]): Promise<void> {
    for (const sink of this.sinks) {
      await sink.write(resultRows(resultColumns(this.plan), rows), { epoch: this.#epoch, signal });
    }
  }

  /** Rows as the table in the lake has them from now on. */
  async keepInLake(rows: ResultValue[][]): Promise<void> {
    const columns = resultColumns(this.plan);
    const options = { schema: resultsSchema(columns), partitionColumns: [RESULTS_PARTITION_COLUMN] };
    const kept = await this.#lake.ensureTable("sales", options);
    const values = rows.map((row) =>
      `(${[...row, "2026-05-01"].map((value) => typeof value === "string" ? `'${value}'` : value)})`
    );
    const names = options.schema.fields.map(({ name }) => name);
    const start =
      "REPLACE (make_timestamptz(window_start * 1000) AS window_start, make_timestamptz(window_end * 1000) AS window_end)";
    const sql = `SELECT * ${start} FROM (VALUES ${values}) AS rows(${names})`;
    const base = await kept.snapshot();
    const add = await write(this.#lake, sql, { table: "sales", ...options });
    await kept.commit({ operation: "MERGE", add, remove: base.files }, { base });
  }

  /** Sales of a window, all of which are archived and published. */
  async pass(windows: number, { shops = ["a", "b"] } = {}): Promise<void> {
    for (let i = 0; i < windows; i++) {
      const window = this.#windows++;
      for (const shop of shops) this.sell(shop, window);
      await this.write(shops.map((shop) => this.row(shop, window)));
    }
    this.commit();
  }

  sell(shop: string, window: number, headers?: Record<string, string>): number {
    const at = new Date(BASE + window * MINUTE + 1_000).toISOString();
    const offset = this.archived.length;
    this.archived.push({ partition: 0, offset, record: { shop, pieces: window, at }, headers });
    return offset;
  }

  /** The pipeline saves a checkpoint: all that was sold is read, and all windows have closed. */
  commit(changes: Partial<Settled> & { redriven?: Settled["partitions"][number]["redriven"] } = {}): void {
    const { redriven = this.#partition.redriven, ...rest } = changes;
    const maxEventTimeMs = BASE + this.#windows * MINUTE - MINUTE + 1_000;
    this.#partition = { ...this.#partition, position: this.archived.length, maxEventTimeMs, redriven };
    this.settled = {
      generation: this.settled?.generation ?? 0,
      floorMs: null,
      topicId: null,
      epoch: ++this.#epoch,
      savedAtMs: this.now(),
      watermarkMs: BASE + this.#windows * MINUTE,
      partitions: [this.#partition],
      ...rest,
    };
  }

  /** Waits for what the audit comes to, while the pipeline goes on to commit. */
  async until(what: string, holds: () => boolean, { commits = true, ms = 60_000 } = {}): Promise<void> {
    const end = Date.now() + ms;
    while (!holds()) {
      if (Date.now() > end) {
        throw new Error(`${what}: ${JSON.stringify(this.auditor.status())} ${this.logged.join("\n")}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
      if (commits) this.commit();
    }
  }

  /** Lets the audit go round some times. */
  async rounds(): Promise<void> {
    const until = Date.now() + 400;
    await this.until("time passes", () => Date.now() > until);
  }

  /** Lets the audit end some passes: one under way, one that finds what differs, and those that look at it again. */
  async passes(): Promise<void> {
    for (let i = 0; i < 5; i++) {
      const { lastPassMs } = this.auditor.status();
      await this.until("a pass", () => this.auditor.status().lastPassMs !== lastPassMs);
    }
  }

  counts(): string[] {
    return this.auditor.status().differences.map(({ kind, counts }) =>
      `${kind}: ${counts.wrong} wrong, ${counts.missing} missing, ${counts.extra} extra`
    );
  }
}

async function audited(
  work: (world: World) => Promise<void>,
  { before, definition = SALES }: { before?: (world: World) => Promise<void>; definition?: Definition } = {},
) {
  await withDatabase(server.url, async (_sql, another, url) => {
    const plan = await planOf(definition, new Map());
    await using made = await temporaryLake();
    const folder = await Deno.makeTempDir({ prefix: "tailrace_audit_" });
    await using database = new LakeDatabase({ scratch: `${folder}/scratch`, memoryBytesMax: 2 ** 28, threads: 1 });
    const sql = await another();
    await migrate(sql, MIGRATIONS);
    const world = new World(plan, sql, { database, folder, lake: made.lake });
    world.token = (await claimOwnership(sql, { pipeline: "sales", process: "test" })).token;
    const columns = resultColumns(plan);
    const publisher = world.log.publisher("tailrace.sales");
    world.sinks.push(await createPostgresSink({ url, table: "sales", columns, pipeline: "sales" }));
    const registry = { register: () => Promise.resolve(1) };
    if (plan.sinks.some(({ kind }) => kind === "kafka")) {
      world.sinks.push(
        await createKafkaSink({ publisher, log: world.log, registry, topic: "sales", columns, pipeline: "sales" }),
      );
    }
    for (const sink of world.sinks) await sink.resume(null, { signal });
    await before?.(world);
    const stop = new AbortController();
    const running = world.auditor.run(stop.signal);
    try {
      await work(world);
    } finally {
      stop.abort();
      await running;
      for (const sink of world.sinks) await sink[Symbol.asyncDispose]();
      await Deno.remove(folder, { recursive: true });
    }
  });
}

const agrees = (world: World, windows: number) => () => {
  const { state, agreeing } = world.auditor.status();
  return state === "agrees" && agreeing === windows;
};

Deno.test("windows are audited as they close, and those from before the start, newest first", async () => {
  await audited(async (world) => {
    await world.until("the past", agrees(world, 30));
    await world.pass(3);
    await world.until("new windows", agrees(world, 33));
    const { range, oldestMs, rows, lastPassMs } = world.auditor.status();
    assert.deepEqual([range, oldestMs], [{ fromMs: BASE, toMs: BASE + 33 * MINUTE }, BASE]);
    assert.ok(rows >= 66 && lastPassMs !== null);
    await world.rounds();
    assert.deepEqual(world.counts(), []);
  }, { before: (world) => world.pass(30) });
});

Deno.test("a row changed, one removed and one added by hand are found, told, and mended", async () => {
  await audited(async (world) => {
    await world.until("all is well", agrees(world, 10));
    await world.sql`UPDATE sales SET pieces = 77 WHERE shop = 'a' AND window_start = ${new Date(BASE)}`;
    await world.sql`DELETE FROM sales WHERE window_start = ${new Date(BASE + 5 * MINUTE)}`;
    await world.sql`INSERT INTO sales SELECT 'z', window_start, window_end, n, pieces, revision, final FROM sales
      WHERE shop = 'a' AND window_start = ${new Date(BASE + 9 * MINUTE)}`;
    await world.until("found", () => world.auditor.status().differing === 3);
    assert.deepEqual(world.counts(), ["postgres: 1 wrong, 2 missing, 1 extra"]);
    const found = world.auditor.differences({ limit: 10 });
    assert.deepEqual(found.map(({ kind, key, place }) => [kind, key[0], place.name]), [
      ["extra", "z", "sales"],
      ["missing", "a", "sales"],
      ["missing", "b", "sales"],
      ["wrong", "a", "sales"],
    ]);
    assert.deepEqual(found.at(-1)!.columns, ["pieces"]);
    const repairing = world.auditor.repair({ signal });
    let report: Awaited<typeof repairing> | null = null;
    repairing.then((done) => report = done, () => {});
    await world.until("mended", () => report !== null);
    assert.deepEqual(await repairing, { rewritten: 1, inserted: 2, deleted: 1, left: 0, rewindToMs: null });
    assert.equal(world.auditor.status().differing, 0);
    assert.equal((await world.sql`SELECT count(*)::int AS n FROM sales`)[0].n, 20);
  }, { before: (world) => world.pass(10) });
});

Deno.test("a difference that was there before the audit began is found, too", async () => {
  await audited(async (world) => {
    await world.until("found", () => world.auditor.status().differing === 1);
    assert.equal(world.auditor.status().agreeing, 4);
  }, {
    before: async (world) => {
      await world.pass(5);
      await world.sql`UPDATE sales SET pieces = 77 WHERE shop = 'a' AND window_start = ${new Date(BASE)}`;
    },
  });
});

Deno.test("a topic that was empty is audited from its first window on, however long that takes to close", async () => {
  await audited(async (world) => {
    for (const shop of ["a", "b"]) world.sell(shop, 0);
    world.commit({ watermarkMs: -Infinity });
    await world.until("nothing to audit", () => world.auditor.status().reason === "no window has closed yet", {
      commits: false,
    });
    await world.write([world.row("a", 0), world.row("b", 0)]);
    world.commit({ watermarkMs: BASE + MINUTE });
    const isAudited = () => world.auditor.status().state === "agrees";
    await world.until("the first window", isAudited, { commits: false });
    const { agreeing, range, oldestMs } = world.auditor.status();
    assert.deepEqual([agreeing, range, oldestMs], [1, { fromMs: BASE, toMs: BASE + MINUTE }, BASE]);
    assert.deepEqual(world.logged, []);
  });
});

Deno.test("what the pipeline wrote and has not committed yet is no difference", async () => {
  await audited(async (world) => {
    await world.until("all is well", agrees(world, 3));
    // A record comes back: its window's new row is written, and committed only later.
    const offset = world.sell("a", 1, { "tailrace.redrive.offset": "2" });
    await world.write([world.row("a", 1, { n: 2, pieces: 2, revision: 2 })]);
    await world.until("suspected", () => world.auditor.status().suspected === 1, { commits: false });
    const until = Date.now() + 500;
    await world.until("time passes", () => Date.now() > until, { commits: false });
    assert.deepEqual(world.counts(), []);
    assert.equal(world.auditor.status().suspected, 1);
    world.commit({ redriven: [{ source: 2, offset, windowStartMs: BASE + MINUTE }] });
    await world.until("counted", () => world.auditor.status().suspected === 0 && agrees(world, 3)());
    await world.rounds();
    assert.deepEqual(world.counts(), []);
  }, { before: (world) => world.pass(3) });
});

Deno.test("while the archive is behind, windows it does not hold whole are not audited", async () => {
  await audited(async (world) => {
    await world.until("all is well", agrees(world, 3));
    world.archivedTo = world.archived.length;
    await world.pass(2);
    await world.rounds();
    assert.equal(world.auditor.status().audited, 3);
    world.archivedTo = Infinity;
    await world.until("caught up", agrees(world, 5));
    await world.sql`DELETE FROM sales WHERE window_start = ${new Date(BASE)} AND shop = 'a'`;
    await world.until("found", () => world.auditor.status().differing === 1);
  }, { before: (world) => world.pass(3) });
});

Deno.test("a record set aside does not count; the window that lacks it agrees", async () => {
  await audited(async (world) => {
    const write = createSetAsideSink({
      publisher: world.log.publisher("tailrace.sales.aside"),
      log: world.log,
      pipeline: "sales",
      topic: "in",
    });
    await write.resume(null, { signal });
    const offset = world.sell("a", 0);
    await write.write([{
      topic: "in",
      partition: 0,
      offset,
      timestampMs: 0,
      key: null,
      value: null,
      headers: [],
      why: "late",
      reason: "closed",
      schemaId: 1,
      windowStartMs: BASE,
    }], { epoch: 1, signal });
    world.commit();
    await world.rounds();
    await world.until("all is well", agrees(world, 3));
    assert.deepEqual(world.counts(), []);
  }, { before: (world) => world.pass(3) });
});

Deno.test("a row missing in the topic is told, and asks for a rewind", async () => {
  await audited(async (world) => {
    await world.until("all is well", agrees(world, 2));
    const [stored] = world.sinks;
    for (const shop of ["a", "b"]) world.sell(shop, 2);
    await stored.write(resultRows(resultColumns(world.plan), ["a", "b"].map((shop) => world.row(shop, 2))), {
      epoch: 9,
      signal,
    });
    const topicOnly = world.sinks[1];
    await topicOnly.write(resultRows(resultColumns(world.plan), [world.row("b", 2)]), { epoch: 9, signal });
    const watermarkMs = BASE + 3 * MINUTE;
    world.commit({ watermarkMs });
    await world.until("found", () => {
      world.commit({ watermarkMs });
      return world.auditor.status().differing === 1;
    }, { commits: false });
    assert.deepEqual(world.counts(), ["kafka: 0 wrong, 1 missing, 0 extra"]);
    const repairing = world.auditor.repair({ signal });
    let report: Awaited<typeof repairing> | null = null;
    repairing.then((done) => report = done, () => {});
    await world.until("answered", () => {
      world.commit({ watermarkMs });
      return report !== null;
    }, { commits: false });
    assert.deepEqual(await repairing, {
      rewritten: 0,
      inserted: 0,
      deleted: 0,
      left: 1,
      rewindToMs: BASE + 2 * MINUTE,
    });
  }, { before: (world) => world.pass(2) });
});

Deno.test("after a rewind all is audited anew, as far as the new computation has come", async () => {
  await audited(async (world) => {
    await world.until("all is well", agrees(world, 4));
    await world.sql`UPDATE sales SET pieces = 5 WHERE window_start = ${new Date(BASE + 3 * MINUTE)} AND shop = 'a'`;
    const next = { generation: 1, watermarkMs: BASE + 2 * MINUTE };
    await world.write(
      [0, 1].flatMap((window) => ["a", "b"].map((shop) => world.row(shop, window, { revision: 1e12 + 1 }))),
    );
    world.commit(next);
    await world.until("the first two", () => {
      world.commit(next);
      return world.auditor.status().agreeing === 2;
    }, { commits: false });
    assert.deepEqual(world.counts(), []);
    await world.write(
      [2, 3].flatMap((window) => ["a", "b"].map((shop) => world.row(shop, window, { revision: 1e12 + 1 }))),
    );
    world.commit({ generation: 1 });
    await world.until("all of them", agrees(world, 4));
  }, { before: (world) => world.pass(4) });
});

Deno.test("windows whose first records the archive does not hold are told as such", async () => {
  await audited(async (world) => {
    await world.until("looked", () => world.auditor.status().notAuditable.length === 1);
    await world.rounds();
    const { notAuditable, differing, audited } = world.auditor.status();
    assert.deepEqual(notAuditable, [{ reason: "the archive begins after their first records", windows: 3 }]);
    assert.deepEqual([differing, audited], [0, 0]);
  }, {
    before: async (world) => {
      world.firstOffset = 1;
      await world.pass(3);
    },
  });
});

const sales = (world: World, windows: number) =>
  Array.from({ length: windows }, (_, window) => ["a", "b"].map((shop) => world.row(shop, window))).flat();

Deno.test("the lake is compared once its rows are due there, and looked at again while it differs", async () => {
  await audited(async (world) => {
    await world.until("all is well, but for the lake", agrees(world, 3));
    // Not due yet, and so not missing.
    await world.passes();
    assert.deepEqual(world.counts(), []);
    await world.keepInLake(sales(world, 3).slice(1));
    world.aheadMs += 2 * LAKE_MS;
    await world.until("found", () => world.auditor.status().differing === 1);
    assert.deepEqual(world.counts(), ["lake: 0 wrong, 1 missing, 0 extra"]);
    await world.keepInLake([...sales(world, 3).slice(1), world.row("a", 0, { pieces: 7 })]);
    await world.until("another one", () => world.counts()[0]?.includes("1 wrong"));
    await world.keepInLake(sales(world, 3));
    await world.until("none", agrees(world, 3));
  }, { definition: IN_LAKE, before: (world) => world.pass(3) });
});

Deno.test("a row that a record came back to is due in the lake later again; while rows wait for the lake nothing is", async () => {
  await audited(async (world) => {
    await world.keepInLake(sales(world, 3));
    await world.until("all is well, but for the lake", agrees(world, 3));
    world.aheadMs += 2 * LAKE_MS;
    await world.passes();
    await world.until("the lake was compared", agrees(world, 3));
    assert.deepEqual(world.counts(), []);
    const offset = world.sell("a", 1, { "tailrace.redrive.offset": "2" });
    const row = world.row("a", 1, { n: 2, pieces: 2, revision: 2 });
    await world.write([row]);
    world.commit({ redriven: [{ source: 2, offset, windowStartMs: BASE + MINUTE }] });
    world.aheadMs += LAKE_MS / 2;
    await world.passes();
    assert.deepEqual(world.counts(), [], "not yet due");
    world.lakeWaits = true;
    world.aheadMs += 2 * LAKE_MS;
    await world.passes();
    assert.deepEqual(world.counts(), [], "it waits");
    world.lakeWaits = false;
    await world.until("it should be there", () => world.auditor.status().differing === 1);
    assert.deepEqual(world.counts(), ["lake: 1 wrong, 0 missing, 0 extra"]);
    await world.keepInLake(sales(world, 3).with(2, row));
    await world.until("it is there", agrees(world, 3));
  }, { definition: IN_LAKE, before: (world) => world.pass(3) });
});
