/**
 * Lives of a table with crashes at any step: a process dies before or after any call to its store, and another goes on.
 *
 *     writer     files, then a commit      MERGE      compaction      vacuum
 *     store      take  putIfAbsent  get ...            ^ dies here: before the call, or after it but before its answer
 *
 * What was acknowledged is there once; what was under way is there once or not at all; nothing else is.
 *
 * @module
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { ConflictError } from "../../../../pipeline/errors.ts";
import type { DeltaTable } from "../../../../pipeline/sinks/lake/delta/table.ts";
import type { Lake } from "../../../../pipeline/sinks/lake/lake.ts";
import { cleanLog, LOG_KEPT_MS } from "../../../../pipeline/sinks/lake/maintenance/clean_log.ts";
import { compact } from "../../../../pipeline/sinks/lake/maintenance/compact.ts";
import { vacuum } from "../../../../pipeline/sinks/lake/maintenance/vacuum.ts";
import type { ObjectStore } from "../../../../pipeline/sinks/lake/object_store.ts";
import { idsOf, type LakeFixture, PARTITIONED, rowsSql, temporaryLake, write } from "./lake_fixture.ts";

class Crash extends Error {}

/** Lets so many calls to a store through, then dies: before the next call, or after it. */
interface Fuse {
  calls: number;
  readonly isAfter: boolean;
  /** Whether the call it dies at changes anything. */
  isChange?: boolean;
}

function crashing(store: ObjectStore, fuse: Fuse): ObjectStore {
  return new Proxy(store, {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      const isCounted = ["get", "put", "putIfAbsent", "take", "remove", "local"].includes(String(name));
      if (!isCounted) return value.bind(target);
      return async (...given: unknown[]) => {
        // The dead do nothing more, whatever their code would do on its way out.
        if (fuse.calls < 0) throw new Crash();
        if (fuse.calls-- > 0) return await value.apply(target, given);
        fuse.isChange = name !== "get" && name !== "local";
        if (fuse.isAfter) await value.apply(target, given);
        throw new Crash();
      };
    },
  });
}

type Step =
  | { readonly kind: "append"; readonly rows: number }
  | { readonly kind: "merge"; readonly rows: number }
  | { readonly kind: "compact" }
  | { readonly kind: "vacuum" };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("append" as const), rows: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("merge" as const), rows: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 2, arbitrary: fc.constant({ kind: "compact" as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: "vacuum" as const }) },
);

/** A process's life: what it does, and when it dies, if at all. */
const life = fc.record({
  steps: fc.array(step, { minLength: 1, maxLength: 8 }),
  calls: fc.integer({ min: 0, max: 60 }),
  isAfter: fc.boolean(),
});

/** What the table must hold: rows by id. Ids are never used twice. */
class World {
  readonly made: LakeFixture;
  rows: readonly number[] = [];
  /** What the rows are instead if the step under way came through. */
  pending: readonly number[] | null = null;
  #next = 0;
  #version = 0;

  constructor(made: LakeFixture) {
    this.made = made;
  }

  async live(steps: readonly Step[], fuse: Fuse): Promise<void> {
    const lake = this.made.reopen({ wrap: (store) => crashing(store, fuse) });
    try {
      const table = await lake.ensureTable("t", PARTITIONED);
      for (const step of steps) await this.#do(step, lake, table);
    } catch (error) {
      if (!(error instanceof Crash)) throw error;
    }
  }

  async #do(step: Step, lake: Lake, table: DeltaTable): Promise<void> {
    if (step.kind === "compact") return void await compact(table, lake);
    if (step.kind === "vacuum") {
      // A month on: all that nobody names goes, and the log's beginning.
      const nowMs = Date.now() + LOG_KEPT_MS + 3_600_000;
      await vacuum({ ...lake, table: "t", nowMs, retentionMs: 0 });
      return void await cleanLog({ ...lake, table: "t", nowMs });
    }
    const [from, to] = [this.#next, this.#next += step.rows];
    const base = await table.snapshot();
    const remove = step.kind === "merge" ? base.files.slice(0, 1) : [];
    const removed = new Set(remove.length > 0 ? await idsOf(this.made.lake, { ...base, files: remove }) : []);
    const add = await write(lake, rowsSql(from, to));
    const version = ++this.#version;
    this.pending = [...this.rows.filter((id) => !removed.has(id)), ...rowsOf(from, to)];
    const applications = [{ appId: "a", version }];
    const { kind } = await table.commit({ operation: step.kind, add, remove, applications }, { base });
    assert.equal(kind, "committed");
    this.rows = this.pending;
    this.pending = null;
  }

  /** What another process finds. */
  async check(): Promise<void> {
    const lake = this.made.reopen();
    const table = await lake.table("t");
    const found = table === null ? [] : await idsOf(lake, await table.snapshot());
    const isPending = this.pending !== null && same(found, this.pending);
    if (!isPending) assert.deepEqual(found, this.rows.toSorted((a, b) => a - b));
    else this.rows = this.pending!;
    this.pending = null;
  }
}

function rowsOf(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}

function same(found: readonly number[], rows: readonly number[]): boolean {
  return found.length === rows.length && rows.toSorted((a, b) => a - b).every((id, i) => id === found[i]);
}

Deno.test("whenever a process dies, the next finds every acknowledged row once, and no other", async () => {
  await using home = await temporaryLake();
  const { database } = home.lake;
  await fc.assert(
    fc.asyncProperty(fc.array(life, { minLength: 2, maxLength: 4 }), async (lives) => {
      await using made = await temporaryLake({ database });
      const world = new World(made);
      for (const { steps, calls, isAfter } of lives) {
        await world.live(steps, { calls, isAfter });
        await world.check();
      }
    }),
    { numRuns: 15 },
  );
});

Deno.test("a crash at each single call of a table's life leaves it readable, with what was acknowledged", async () => {
  const steps: Step[] = [
    ...Array.from({ length: 4 }, () => ({ kind: "append", rows: 1 } as const)),
    { kind: "merge", rows: 2 },
    { kind: "compact" },
    ...Array.from({ length: 4 }, () => ({ kind: "append", rows: 1 } as const)),
    { kind: "vacuum" },
  ];
  await using home = await temporaryLake();
  const { database } = home.lake;
  let isDone = false;
  let crashes = 0;
  for (let calls = 0; !isDone; calls++) {
    let isChange = true;
    for (const isAfter of [false, true]) {
      // To die before or after a look is the same.
      if (!isChange) break;
      await using made = await temporaryLake({ database });
      const world = new World(made);
      const fuse: Fuse = { calls, isAfter };
      await world.live(steps, fuse);
      isDone = fuse.calls >= 0;
      isChange = fuse.isChange === true;
      if (!isDone) crashes++;
      await world.check();
      // Another takes over: it writes on, and cleans up after the dead.
      await world.live([{ kind: "append", rows: 1 }, { kind: "compact" }, { kind: "vacuum" }], {
        calls: Infinity,
        isAfter,
      });
      await world.check();
      const files = (await (await made.lake.table("t"))!.snapshot()).files.length;
      const objects = await Array.fromAsync(made.lake.store.list("t/day="));
      assert.equal(objects.length, files, `after a crash at call ${calls}`);
    }
  }
  assert.ok(crashes > 60, `${crashes} crashes`);
});

Deno.test("of two who merge the same file one is told so, and its rows are not there", async () => {
  await using made = await temporaryLake();
  const table = await made.lake.ensureTable("t", PARTITIONED);
  const { snapshot: base } = await table.commit({ operation: "WRITE", add: await write(made.lake, rowsSql(0, 3)) }, {
    base: await table.snapshot(),
  });
  const others = [made.reopen(), made.reopen()];
  const outcomes = await Promise.allSettled(others.map(async (lake, i) => {
    const add = await write(lake, rowsSql(10 * (i + 1), 10 * (i + 1) + 1));
    return await (await lake.table("t"))!.commit({ operation: "MERGE", add, remove: base.files }, { base });
  }));
  const won = outcomes.findIndex(({ status }) => status === "fulfilled");
  const lost = outcomes.find(({ status }) => status === "rejected") as PromiseRejectedResult;
  assert.ok(lost.reason instanceof ConflictError);
  assert.deepEqual(await idsOf(made.lake, await table.snapshot()), [10 * (won + 1)]);
});
