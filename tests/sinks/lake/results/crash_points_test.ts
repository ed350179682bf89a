import assert from "node:assert/strict";
import { type Disk, systemDisk } from "../../../../pipeline/disk.ts";
import { UnavailableError } from "../../../../pipeline/errors.ts";
import { compact } from "../../../../pipeline/sinks/lake/maintenance/compact.ts";
import type { ResultValue } from "../../../../pipeline/sinks/sink.ts";
import { COLUMNS, resultRows } from "../../../contracts/sink_contract.ts";
import { Random } from "../../../simulation/random.ts";
import { watchedStore } from "./failing_store.ts";
import { TABLE, testLake } from "./lake_subject.ts";

const MINUTE = 60_000;
const START = Date.UTC(2026, 0, 1, 23, 55);
const SEEDS = Number(Deno.env.get("LAKE_SEEDS") ?? 10);
const FIRST_SEED = Number(Deno.env.get("LAKE_SEED") ?? 1);
/** Later than most calls of one process. */
const CALLS_MAX = 150;
/** How many calls of a hundred fail. */
const FAILURES = 2;

class Death extends Error {}

/** Writes as a pipeline makes them: windows of all keys, some revised by later ones. `values[revision]` never differs. */
function* epochs(random: Random, count: number): Generator<ResultValue[][]> {
  const revisions = new Map<string, number>();
  for (let epoch = 0; epoch < count; epoch++) {
    const windows = [epoch, ...random.chance(0.5) ? [random.int(0, epoch)] : []];
    yield [...new Set(windows)].flatMap((window) => {
      const keys = ["a", "b", null, "d"].filter(() => random.chance(0.8));
      return keys.map((key): ResultValue[] => {
        const revision = (revisions.get(`${key} ${window}`) ?? 0) + 1;
        revisions.set(`${key} ${window}`, revision);
        const start = START + window * MINUTE;
        return [key, 1, start, start + MINUTE, `${revision}.25`, revision, true];
      });
    });
  }
}

Deno.test("whatever call of store or disk fails or ends the process, every final row is there once, and its newest", async () => {
  const met = new Set<string>();
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
    const random = new Random(seed);
    let watch = (_moment: "before" | "after", _call: string): Promise<void> => Promise.resolve();
    await using lake = await testLake({ store: (store) => watchedStore(store, (moment, call) => watch(moment, call)) });
    const writes = [...epochs(random, 8)];
    /** What a checkpoint says: the writes before it are durable. */
    let saved = 0;
    for (let process = 0; saved < writes.length; process++) {
      // Many while it begins; the last process is left in peace, so that all comes to an end.
      const diesAt = process < 6 ? random.pick([random.int(1, 25), random.int(1, CALLS_MAX)]) : Infinity;
      const diesWhen = random.pick(["before", "after"]);
      const draws = random.fork();
      let calls = 0;
      let isDead = false;
      const mine = async (moment: "before" | "after", call: string) => {
        await Promise.resolve();
        if (isDead) throw new Death();
        if (moment === "before") calls++;
        if (calls >= diesAt && moment === diesWhen) {
          isDead = true;
          met.add(`dies ${moment} ${call}`);
          throw new Death();
        }
        if (draws.int(1, 200) > FAILURES) return;
        met.add(`fails ${moment} ${call}`);
        throw new UnavailableError(`seed ${seed}`);
      };
      watch = mine;
      const sink = lake.sink(COLUMNS, {
        flush: { everyMs: random.pick([1, 3_600_000]), rows: random.pick([3, 1_000]) },
        disk: watchedDisk(mine),
      });
      try {
        await again(() => sink.resume(null, { signal: new AbortController().signal }));
        // What was read since the checkpoint is read again.
        for (let i = saved; i < writes.length; i++) {
          const rows = resultRows(COLUMNS, writes[i]);
          await again(() => sink.write(rows, { epoch: i, signal: new AbortController().signal }));
          if (random.chance(0.5)) saved = i + 1;
          if (random.chance(0.4)) await again(() => sink.flush());
          if (random.chance(0.2)) {
            await again(async () => {
              const table = await lake.reader.table(TABLE);
              if (table !== null) await compact(table, lake.reader);
            });
          }
        }
        saved = writes.length;
      } catch (error) {
        assert.ok(isDead, `seed ${seed}: ${(error as Error).stack}`);
      }
      // Of a process that died nothing is heard any more.
      await Promise.resolve(sink[Symbol.asyncDispose]()).catch(() => {});
    }
    watch = () => Promise.resolve();
    const last = lake.sink(COLUMNS);
    await last.resume(null, { signal: new AbortController().signal });
    await last.flush();
    const newest = new Map<string, ResultValue[]>();
    for (const row of writes.flat()) newest.set(`${row[0]} ${row[2]}`, row);
    const texts = (rows: Iterable<readonly ResultValue[]>) => Array.from(rows, (row) => JSON.stringify(row)).sort();
    const command = `LAKE_SEED=${seed} LAKE_SEEDS=1 deno test -A ${import.meta.filename}`;
    assert.deepEqual(texts(await lake.read(COLUMNS)), texts(newest.values()), command);
    assert.deepEqual([...Deno.readDirSync(`${lake.folder}/journal`)], [], command);
  }
  assert.ok(SEEDS < 10 || met.size >= 20, `few places met: ${[...met]}`);
});

/** Repeats what fails for now, as the pipeline does. */
async function again(work: () => Promise<void>): Promise<void> {
  for (let tries = 0; tries < 20; tries++) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof UnavailableError) || error.cause instanceof Death) throw error;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
  throw new Error("not done after 20 tries");
}

/** The machine's disk, asked around each call. A crash of the process keeps what was written, synced or not. */
function watchedDisk(watch: (moment: "before" | "after", call: string) => Promise<void>): Disk {
  const around = async <T>(call: string, work: () => Promise<T>): Promise<T> => {
    await watch("before", call);
    const result = await work();
    await watch("after", call);
    return result;
  };
  return {
    makeFolder: (path) => around("makeFolder", () => systemDisk.makeFolder(path)),
    makeNewFolder: (path) => around("makeNewFolder", () => systemDisk.makeNewFolder(path)),
    list: (path) => around("list", () => systemDisk.list(path)),
    read: (path) => around("read", () => systemDisk.read(path)),
    open: async (path, from) => {
      await watch("before", "open");
      const file = await systemDisk.open(path, from);
      return {
        // In halves, so that a death tears it.
        write: async (bytes) => {
          const half = bytes.length >> 1;
          await around("write", () => file.write(bytes.subarray(0, half)));
          await around("write", () => file.write(bytes.subarray(half)));
        },
        truncate: (length) => around("truncate", () => file.truncate(length)),
        sync: () => around("sync", () => file.sync()),
        [Symbol.dispose]: () => file[Symbol.dispose](),
      };
    },
    rename: (from, to) => around("rename", () => systemDisk.rename(from, to)),
    remove: (path) => around("remove", () => systemDisk.remove(path)),
    syncFolder: (path) => around("syncFolder", () => systemDisk.syncFolder(path)),
  };
}
