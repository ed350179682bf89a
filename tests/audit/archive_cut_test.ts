import assert from "node:assert/strict";
import { type ArchiveCut, cutArchive, firstOffsets, leastEventTime } from "../../pipeline/audit/archive_cut.ts";
import type { Plan } from "../../pipeline/plan/plan.ts";
import { planOf } from "../../pipeline/plan/compile.ts";
import { count, pipeline, postgres, topic, tumbling } from "../../pipeline/mod.ts";
import { archiveAppId } from "../../pipeline/sinks/lake/archive/archive.ts";
import type { Lake } from "../../pipeline/sinks/lake/lake.ts";
import type { ObjectStore } from "../../pipeline/sinks/lake/object_store.ts";
import { temporaryLake, write } from "../sinks/lake/delta/lake_fixture.ts";
import { type ArchivedRecord, archiveRows, archiveSchema } from "./archived.ts";

const BASE = Date.UTC(2026, 4, 1, 12);
const MINUTE = 60_000;
const signal = new AbortController().signal;

const plan: Plan = await planOf(
  pipeline({
    name: "p",
    from: topic("in", {
      schema: {
        type: "record",
        name: "R",
        fields: [{
          name: "of",
          type: {
            type: "record",
            name: "S",
            fields: [{ name: "at", type: { type: "long", logicalType: "timestamp-micros" } }],
          },
        }],
      },
      eventTime: "of.at",
    }),
    groupBy: [],
    window: tumbling("1 minute"),
    select: { n: count() },
    to: [postgres("p")],
  }),
  new Map(),
);

const PARTITIONED = { table: "in", schema: archiveSchema(plan), partitionColumns: ["ingest_date"] };

/** A record of a partition in each of some minutes, at offsets from `offset` on. */
function records(partition: number, offset: number, minutes: readonly number[]): ArchivedRecord[] {
  return minutes.map((minute, i) => ({
    partition,
    offset: offset + i,
    record: { of: { at: new Date(BASE + minute * MINUTE).toISOString() } },
  }));
}

/** Commits each list as a file of its own. */
async function commit(lake: Lake, files: readonly ArchivedRecord[][], topicId: string | null = null): Promise<void> {
  const table = await lake.ensureTable("in", PARTITIONED);
  for (const records of files) {
    const base = await table.snapshot();
    const ends = new Map(records.map(({ partition, offset }) => [partition, offset + 1]));
    const applications = Array.from(ends, ([partition, version]) => ({
      appId: archiveAppId("in", topicId, partition),
      version,
    }));
    const add = await write(lake, archiveRows(plan, records), PARTITIONED);
    await table.commit({ operation: "WRITE", add, applications }, { base });
  }
}

/** A store that notes how many files are read at a time. */
function counting(store: ObjectStore, reads: number[]): ObjectStore {
  const local = store.local.bind(store);
  return Object.defineProperty(store, "local", {
    value: (...args: Parameters<ObjectStore["local"]>) => {
      reads.push(args[0].length);
      return local(...args);
    },
  });
}

interface Made {
  readonly lake: Lake;
  readonly reads: number[];
  /** How often the tail was asked for. */
  tails: number;
  cut(options?: { isEnough?: boolean; waiting?: number }): Promise<ArchiveCut | null>;
}

async function withArchive(work: (made: Made) => Promise<void>): Promise<void> {
  await using fixture = await temporaryLake();
  const reads: number[] = [];
  const lake = fixture.reopen({ wrap: (store) => counting(store, reads) });
  const made: Made = {
    lake,
    reads,
    tails: 0,
    cut: ({ isEnough = true, waiting = 1 } = {}) =>
      cutArchive(plan, {
        archive: {
          topic: "in",
          table: "in",
          // Boundary: these two are looked at.
          status: () =>
            ({ state: "running", rowsWaiting: waiting }) as ReturnType<
              Parameters<typeof cutArchive>[1]["archive"]["status"]
            >,
          tail: async () => {
            made.tails++;
            const path = `${fixture.folder}/../tail_${made.tails}.parquet`;
            const sql = archiveRows(plan, records(2, 40, [7]));
            await lake.database.use((connection) => connection.run(`COPY (${sql}) TO '${path}'`));
            return {
              snapshot: await (await lake.table("in"))!.snapshot(),
              path,
              positions: new Map([[0, 20], [1, 12], [2, 41]]),
              maxEventTimeMs: new Map(),
              [Symbol.dispose]: () => Deno.removeSync(path),
            };
          },
        },
        lake,
        topicId: null,
        isEnough: () => isEnough,
        signal,
      }),
  };
  await work(made);
}

const minutesOf = (made: Made, cut: ArchiveCut, [from, to]: [number, number]) =>
  cut.read(
    { fromMs: BASE + from * MINUTE, toMs: BASE + to * MINUTE },
    (relation) =>
      made.lake.database.use(async (connection) => {
        const reader = await connection.runAndReadAll(
          `SELECT (epoch_ms("of".at) - ${BASE}) / ${MINUTE} FROM (${relation}) ORDER BY 1`,
        );
        return reader.getRows().map(([minute]) => Number(minute));
      }),
    signal,
  );

Deno.test("without a table there is nothing, and the committed table says how far it goes", async () => {
  await withArchive(async (made) => {
    assert.equal(await made.cut(), null);
    await commit(made.lake, [records(0, 10, [0, 1]), records(1, 5, [2])]);
    using cut = (await made.cut())!;
    assert.deepEqual([...cut.positions], [[0, 12], [1, 6]]);
    assert.deepEqual([cut.doubt, made.tails, leastEventTime(plan, cut.snapshot)], [null, 0, BASE]);
  });
});

Deno.test("only files that may hold records of the time are read", async () => {
  await withArchive(async (made) => {
    await commit(made.lake, [records(0, 0, [0, 1]), records(0, 2, [2, 3]), records(0, 4, [4, 5])]);
    using cut = (await made.cut())!;
    made.reads.length = 0;
    assert.deepEqual(await minutesOf(made, cut, [2, 3]), [2, 3]);
    assert.deepEqual(await minutesOf(made, cut, [1, 5]), [0, 1, 2, 3, 4, 5]);
    assert.deepEqual(await minutesOf(made, cut, [8, 9]), []);
    assert.deepEqual(made.reads, [1, 3, 0]);
  });
});

Deno.test("what waits behind the table is asked for when the table is not enough, and not too much waits", async () => {
  await withArchive(async (made) => {
    await commit(made.lake, [records(0, 0, [0])]);
    {
      using cut = (await made.cut({ isEnough: false }))!;
      assert.deepEqual([made.tails, cut.positions.get(2)], [1, 41]);
      assert.deepEqual(await minutesOf(made, cut, [5, 9]), [7]);
    }
    using far = (await made.cut({ isEnough: false, waiting: 1e9 }))!;
    assert.deepEqual([made.tails, far.positions.get(2)], [1, undefined]);
  });
});

Deno.test("the first offset of each partition is found in the files that may hold it, and behind the table", async () => {
  await withArchive(async (made) => {
    const offsets = async (options = {}) => {
      using cut = (await made.cut(options))!;
      made.reads.length = 0;
      const first = await made.lake.database.use((connection) =>
        firstOffsets(connection, cut, { lake: made.lake, topic: "in", signal })
      );
      return Object.fromEntries(first);
    };
    // Partition 1 is far ahead of the others; its first records come later.
    const later = Array.from({ length: 20 }, (_, i) => records(0, 100 + i, [i]));
    await commit(made.lake, [[...records(0, 3, [0, 1]), ...records(1, 9, [0])], ...later]);
    assert.deepEqual(await offsets(), { 0: 3, 1: 9 });
    assert.deepEqual(made.reads, [16], "later files hold later offsets only");
    // As somebody may have moved them.
    const table = (await made.lake.table("in"))!;
    const add = await write(made.lake, archiveRows(plan, records(1, 7, [1])), PARTITIONED);
    await table.commit({ operation: "OPTIMIZE", add }, { base: await table.snapshot() });
    assert.deepEqual(await offsets(), { 0: 3, 1: 7 });
    assert.deepEqual(await offsets({ isEnough: false }), { 0: 3, 1: 7, 2: 40 });
  });
});

Deno.test("an archive of two topics of one name is doubtful", async () => {
  await withArchive(async (made) => {
    await commit(made.lake, [records(0, 0, [0])], "one");
    await commit(made.lake, [records(0, 0, [1])], "two");
    using cut = (await made.cut())!;
    assert.match(cut.doubt!, /topic in was deleted and created anew/);
  });
});
