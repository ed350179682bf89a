import assert from "node:assert/strict";
import { ConfigError, ConflictError, UnavailableError } from "../../../../pipeline/errors.ts";
import type { ResultColumn } from "../../../../pipeline/plan/plan.ts";
import type { Snapshot } from "../../../../pipeline/sinks/lake/delta/table.ts";
import type { LakeSink } from "../../../../pipeline/sinks/lake/results/lake_sink.ts";
import type { ResultValue, Sink } from "../../../../pipeline/sinks/sink.ts";
import { VirtualClock } from "../../../../pipeline/testing/virtual_clock.ts";
import { COLUMNS, resultRows } from "../../../contracts/sink_contract.ts";
import { watchedStore } from "./failing_store.ts";
import { TABLE, type TestLake, testLake } from "./lake_subject.ts";

const HOUR = 3_600_000;
const START = Date.UTC(2026, 0, 1, 22);
const live = new AbortController().signal;

/** A final row of a key and an hour. */
function row(account: string, { hour = 0, revision = 1, total = "1.00" } = {}): ResultValue[] {
  const start = START + hour * HOUR;
  return [account, 1, start, start + HOUR, total, revision, true];
}

async function write(sink: Sink, rows: readonly (readonly ResultValue[])[], columns = COLUMNS): Promise<void> {
  await sink.write(resultRows(columns, rows), { epoch: 1, signal: live });
}

async function resumed(sink: LakeSink): Promise<LakeSink> {
  await sink.resume(null, { signal: live });
  return sink;
}

async function assertTable(lake: TestLake, rows: readonly (readonly ResultValue[])[], columns = COLUMNS) {
  const texts = (list: readonly (readonly ResultValue[])[]) => list.map((values) => JSON.stringify(values)).sort();
  assert.deepEqual(texts(await lake.read(columns)), texts(rows));
}

async function snapshotOf({ reader }: TestLake): Promise<Snapshot> {
  return await (await reader.table(TABLE))!.snapshot();
}

/** Waits for what happens in the background, in real time. */
async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 500 && !await isSo(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.ok(await isSo());
}

Deno.test("rows are committed once the first of them has waited so long, though no more come", async () => {
  const clock = new VirtualClock();
  await using lake = await testLake({ clock });
  const sink = await resumed(lake.sink(COLUMNS, { flush: { everyMs: 10_000, rows: 1_000 } }));
  await write(sink, [row("a")]);
  await clock.pass(6_000);
  await write(sink, [row("b")]);
  await clock.pass(3_900);
  assert.deepEqual([sink.status().rowsWaiting, sink.status().rowsCommitted], [2, 0]);
  await clock.pass(200);
  await until(() => sink.status().rowsWaiting === 0);
  await assertTable(lake, [row("a"), row("b")]);
  assert.deepEqual([sink.status().version, sink.status().committedMs], [(await snapshotOf(lake)).version, clock.now()]);
});

Deno.test("rows are committed once so many wait, whatever the time", async () => {
  const clock = new VirtualClock();
  await using lake = await testLake({ clock });
  const sink = await resumed(lake.sink(COLUMNS, { flush: { everyMs: 10_000_000, rows: 3 } }));
  await write(sink, [row("a"), row("b")]);
  await clock.settle();
  assert.equal(sink.status().rowsWaiting, 2);
  await write(sink, [row("c")]);
  await until(() => sink.status().rowsWaiting === 0);
  await assertTable(lake, [row("a"), row("b"), row("c")]);
});

Deno.test("an end commits what waits, and a pipeline that rests goes on committing until then", async () => {
  await using lake = await testLake();
  const sink = await resumed(lake.sink(COLUMNS));
  await write(sink, [row("a")]);
  await sink[Symbol.asyncDispose]();
  await assertTable(lake, [row("a")]);
  assert.deepEqual([...Deno.readDirSync(`${lake.folder}/journal`)], []);
});

Deno.test("each day of windows has its partition, and a row is in that of its window's start", async () => {
  await using lake = await testLake();
  const sink = await resumed(lake.sink(COLUMNS));
  await write(sink, [row("a"), row("a", { hour: 1 }), row("a", { hour: 2 })]);
  await sink.flush();
  const { files, partitionColumns } = await snapshotOf(lake);
  assert.deepEqual(partitionColumns, ["window_date"]);
  assert.deepEqual(files.map(({ partitionValues, stats }) => [partitionValues.window_date, stats!.numRecords]).sort(), [
    ["2026-01-01", 2],
    ["2026-01-02", 1],
  ]);
});

Deno.test("a revised row takes the old one's place: only files of its window are read, only its own is rewritten", async () => {
  const read: string[] = [];
  await using lake = await testLake({
    store: (store) =>
      watchedStore(store, (moment, call, keys) => {
        if (moment === "before" && call === "local") read.push(...keys);
        return Promise.resolve();
      }),
  });
  const sink = await resumed(lake.sink(COLUMNS));
  for (let hour = 0; hour < 4; hour++) {
    await write(sink, [row("a", { hour }), row("b", { hour })]);
    await sink.flush();
  }
  assert.deepEqual(read, [], "a window that is new needs no look");
  const before = await snapshotOf(lake);
  const newer = row("a", { hour: 2, revision: 2, total: "9.00" });
  await write(sink, [newer, row("c", { hour: 4 })]);
  await sink.flush();
  assert.equal(read.length, 1);
  const after = await snapshotOf(lake);
  const kept = before.files.filter(({ path }) => after.files.some((file) => file.path === path));
  assert.deepEqual([before.files.length, kept.length, after.files.length], [4, 3, 5]);
  const others = [0, 1, 2, 3].flatMap((hour) => [row("a", { hour }), row("b", { hour })]);
  others.splice(4, 1);
  await assertTable(lake, [...others, newer, row("c", { hour: 4 })]);
});

Deno.test("rows that are in the table already change nothing, not even its version", async () => {
  await using lake = await testLake();
  const sink = await resumed(lake.sink(COLUMNS));
  await write(sink, [row("a", { revision: 5 }), row("b")]);
  await sink.flush();
  const { version } = await snapshotOf(lake);
  await write(sink, [row("a", { revision: 5 }), row("b")]);
  await sink.flush();
  await write(sink, [row("a", { revision: 4, total: "7.00" })]);
  await sink.flush();
  assert.equal((await snapshotOf(lake)).version, version);
  assert.equal(sink.status().rowsWaiting, 0);
});

Deno.test("a file of which every row is revised is removed, not rewritten", async () => {
  await using lake = await testLake();
  const sink = await resumed(lake.sink(COLUMNS));
  await write(sink, [row("a"), row("b")]);
  await sink.flush();
  await write(sink, [row("a", { revision: 2 }), row("b", { revision: 2 })]);
  await sink.flush();
  assert.equal((await snapshotOf(lake)).files.length, 1);
  await assertTable(lake, [row("a", { revision: 2 }), row("b", { revision: 2 })]);
});

/** A lake that can go away, and says how often it was asked meanwhile. */
function outage() {
  const state = { isAway: false, asked: 0 };
  const store: Parameters<typeof testLake>[0] = {
    store: (inner) =>
      watchedStore(inner, () => {
        if (!state.isAway) return Promise.resolve();
        state.asked++;
        return Promise.reject(new UnavailableError("the lake is away"));
      }),
  };
  return { state, store };
}

Deno.test("while the lake is away rows go on being kept, up to a bound; afterwards all are there", async () => {
  const { state, store } = outage();
  const clock = new VirtualClock();
  await using lake = await testLake({ ...store, clock });
  const reasons: (string | null)[] = [];
  const sink = await resumed(lake.sink(COLUMNS, {
    flush: { everyMs: 1_000, rows: 1_000 },
    rowsWaitingMax: 4,
    onWaiting: (reason) => reasons.push(reason),
  }));
  state.isAway = true;
  await write(sink, [row("a"), row("b")]);
  await clock.pass(1_000);
  await until(() => sink.status().reason !== null);
  await write(sink, [row("c")]);
  await write(sink, [row("d"), row("e")]);
  await assert.rejects(write(sink, [row("f")]), (error: unknown) => {
    assert.ok(error instanceof UnavailableError, String(error));
    assert.equal(error.message, "5 rows wait for lake:results, as many as may: the lake is away");
    return true;
  });
  const { asked } = state;
  await clock.pass(120_000);
  await clock.settle();
  assert.ok(state.asked - asked <= 8, `asked ${state.asked - asked} times in two minutes`);
  state.isAway = false;
  await until(async () => {
    await clock.pass(30_000);
    return sink.status().rowsWaiting === 0;
  });
  await write(sink, [row("f")]);
  await sink.flush();
  await assertTable(lake, ["a", "b", "c", "d", "e", "f"].map((account) => row(account)));
  assert.deepEqual(reasons, ["the lake is away", null]);
  assert.equal(sink.status().reason, null);
});

Deno.test("a bound in bytes is held too, and a write waits while a flush makes room", async () => {
  await using lake = await testLake();
  const sink = await resumed(lake.sink(COLUMNS, { bytesWaitingMax: 500 }));
  for (let i = 0; i < 20; i++) await write(sink, [row(`account ${i} ${"x".repeat(100)}`)]);
  await sink.flush();
  assert.equal((await lake.read(COLUMNS)).length, 20);
  assert.ok((await snapshotOf(lake)).version > 3, "rows were committed before the flush was asked for");
});

Deno.test("a write that waits for room ends with its signal", async () => {
  const gate = Promise.withResolvers<void>();
  await using lake = await testLake({
    store: (store) =>
      watchedStore(store, (moment, call) => moment === "before" && call === "take" ? gate.promise : Promise.resolve()),
  });
  const sink = await resumed(lake.sink(COLUMNS, { rowsWaitingMax: 1 }));
  await write(sink, [row("a")]);
  const controller = new AbortController();
  const reason = new Error("stopping");
  const rows = resultRows(COLUMNS, [row("b")]);
  const waiting = assert.rejects(sink.write(rows, { epoch: 1, signal: controller.signal }), reason);
  setTimeout(() => controller.abort(reason), 20);
  await waiting;
  gate.resolve();
  await sink.flush();
  await assertTable(lake, [row("a")]);
});

Deno.test("a pipeline starts while the lake is away, and an end then does not wait for it", async () => {
  const { state, store } = outage();
  await using lake = await testLake(store);
  state.isAway = true;
  const first = await resumed(lake.sink(COLUMNS));
  await write(first, [row("a")]);
  await assert.rejects(first.flush(), UnavailableError);
  await first[Symbol.asyncDispose]();
  const second = await resumed(lake.sink(COLUMNS));
  await write(second, [row("b")]);
  assert.deepEqual([second.status().rowsWaiting, second.pending().snapshot, second.pending().length], [2, null, 2]);
  state.isAway = false;
  await second.flush();
  await assertTable(lake, [row("a"), row("b")]);
});

Deno.test("what another process left in the journal is committed at the start, without new rows", async () => {
  await using lake = await testLake();
  const first = await resumed(lake.sink(COLUMNS));
  await write(first, [row("a")]);
  const second = await resumed(lake.sink(COLUMNS));
  await until(() => second.status().rowsCommitted === 1);
  await assertTable(lake, [row("a")]);
  // The first one was only slow: it finds its rows there.
  await first.flush();
  assert.equal(first.status().rowsCommitted, 0);
  await assertTable(lake, [row("a")]);
});

Deno.test("a crash between the commit and the removal of the journal doubles nothing, and commits nothing again", async () => {
  await using lake = await testLake();
  const first = await resumed(lake.sink(COLUMNS));
  await write(first, [row("a"), row("b")]);
  const [{ name }] = [...Deno.readDirSync(`${lake.folder}/journal`)];
  const bytes = await Deno.readFile(`${lake.folder}/journal/${name}`);
  await first.flush();
  await write(first, [row("a", { revision: 2 })]);
  await first.flush();
  const { version } = await snapshotOf(lake);
  await Deno.writeFile(`${lake.folder}/journal/${name}`, bytes);
  const second = await resumed(lake.sink(COLUMNS));
  await second.flush();
  assert.deepEqual([second.status().rowsCommitted, second.status().rowsWaiting], [0, 0]);
  assert.equal((await snapshotOf(lake)).version, version);
  assert.deepEqual([...Deno.readDirSync(`${lake.folder}/journal`)], []);
  await assertTable(lake, [row("a", { revision: 2 }), row("b")]);
});

Deno.test("a journal's file that is removed before its rows are committed is told, not passed over", async () => {
  await using lake = await testLake();
  const sink = await resumed(lake.sink(COLUMNS));
  await write(sink, [row("a")]);
  const [{ name }] = [...Deno.readDirSync(`${lake.folder}/journal`)];
  await Deno.remove(`${lake.folder}/journal/${name}`);
  await assert.rejects(sink.flush(), (error: unknown) => {
    assert.ok(error instanceof ConfigError, String(error));
    assert.match(error.message, /was removed before .* tailrace rewind contract$/);
    return true;
  });
  await assert.rejects(write(sink, [row("b")]), ConfigError);
  await resumed(sink);
  await write(sink, [row("b")]);
  await sink.flush();
  await assertTable(lake, [row("b")]);
});

Deno.test("of a pipeline and its successor elsewhere, whoever flushes when, each row is there once and the newest", async () => {
  for (let order = 0; order < 8; order++) {
    await using lake = await testLake();
    const former = await resumed(lake.sink(COLUMNS, { folder: `${lake.folder}/former` }));
    await write(former, [row("a", { revision: 3 }), row("b", { revision: 3 }), row("c")]);
    if (order & 1) await former.flush();
    await write(former, [row("d", { revision: 2 })]);
    const newer = await resumed(lake.sink(COLUMNS, { folder: `${lake.folder}/newer` }));
    // Frozen here, and back later: it goes on writing what the newer one has computed anew.
    await write(newer, [row("a", { revision: 1e12 + 3, total: "2.00" }), row("d", { revision: 1e12 + 2 })]);
    if (order & 2) await newer.flush();
    await write(former, [row("a", { revision: 4, total: "5.00" }), row("b", { revision: 4, total: "5.00" })]);
    if (order & 4) await Promise.all([former.flush(), newer.flush()]);
    await former.flush();
    await newer.flush();
    await assertTable(lake, [
      row("a", { revision: 1e12 + 3, total: "2.00" }),
      row("b", { revision: 4, total: "5.00" }),
      row("c"),
      row("d", { revision: 1e12 + 2 }),
    ]);
  }
});

Deno.test("of a pipeline and its successor in the same folder, no write that resolved is lost, and no row is there twice", async () => {
  for (let order = 0; order < 8; order++) {
    await using lake = await testLake();
    const former = await resumed(lake.sink(COLUMNS));
    await write(former, [row("a"), row("b")]);
    const newer = await resumed(lake.sink(COLUMNS));
    if (order & 1) await newer.flush();
    await write(newer, [row("c", { revision: 2 })]);
    // It does not know yet, and finds out as it writes.
    await assert.rejects(write(former, [row("b", { revision: 2 })]), (error: unknown) => {
      assert.ok(error instanceof ConflictError, String(error));
      assert.match(
        error.message,
        /another process has taken over the journal of contract for lake\("results"\) in .*journal\./,
      );
      return true;
    });
    if (order & 2) await former.flush().catch((error) => assert.ok(error instanceof ConflictError, String(error)));
    // Whoever is the right one in the end takes it back.
    await resumed(former);
    await write(former, [row("b", { revision: 3 }), row("e")]);
    if (order & 4) await newer.flush().catch((error) => assert.ok(error instanceof ConflictError, String(error)));
    await former.flush();
    await newer.flush().catch((error) => assert.ok(error instanceof ConflictError, String(error)));
    await assertTable(lake, [row("a"), row("b", { revision: 3 }), row("c", { revision: 2 }), row("e")]);
    assert.deepEqual([...Deno.readDirSync(`${lake.folder}/journal`)], []);
  }
});

Deno.test("two processes that merge the same rows at the same moment leave one of each", async () => {
  const arrived = { count: 0, all: Promise.withResolvers<void>() };
  await using lake = await testLake({
    store: (store) =>
      watchedStore(store, async (moment, call) => {
        // Both have looked into the table before either has written its file.
        if (moment !== "before" || call !== "take") return;
        if (++arrived.count === 2) arrived.all.resolve();
        if (arrived.count <= 2) await arrived.all.promise;
      }),
  });
  const [one, two] = ["one", "two"].map((name) => lake.sink(COLUMNS, { folder: `${lake.folder}/${name}` }));
  for (const sink of [one, two]) await write(await resumed(sink), [row("a"), row("b")]);
  await Promise.all([one.flush(), two.flush()]);
  assert.ok(arrived.count >= 2);
  await assertTable(lake, [row("a"), row("b")]);
});

Deno.test("a merge whose file was compacted meanwhile is computed again", async () => {
  let compact: (() => Promise<void>) | null = null;
  await using lake = await testLake({
    store: (store) =>
      watchedStore(store, async (moment, call) => {
        const work = compact;
        if (moment !== "before" || call !== "take" || work === null) return;
        compact = null;
        await work();
      }),
  });
  const sink = await resumed(lake.sink(COLUMNS));
  await write(sink, [row("a"), row("b")]);
  await sink.flush();
  compact = async () => {
    const table = (await lake.lake.table(TABLE))!;
    const base = await table.snapshot();
    const [file] = base.files;
    const path = file.path.replace("part-", "part-compacted-");
    const source = `${lake.folder}/lake/${TABLE}/${decodeURIComponent(file.path)}`;
    await Deno.copyFile(source, `${lake.folder}/lake/${TABLE}/${decodeURIComponent(path)}`);
    const add = [{ ...file, path }];
    await table.commit({ operation: "OPTIMIZE", add, remove: [file], dataChange: false }, { base });
    await Deno.remove(source);
  };
  await write(sink, [row("a", { revision: 2 })]);
  await sink.flush();
  assert.equal(compact, null);
  await assertTable(lake, [row("a", { revision: 2 }), row("b")]);
});

Deno.test("what waits and the snapshot it follows are all rows at every moment of a flush", async () => {
  const seen = new Set<string>();
  let check: (() => Promise<void>) | null = null;
  await using lake = await testLake({ store: (store) => watchedStore(store, async () => await check?.()) });
  const sink = await resumed(lake.sink(COLUMNS));
  const accounts = ["a", "b", "c", "d"];
  await write(sink, accounts.slice(0, 2).map((account) => row(account)));
  await sink.flush();
  await write(sink, [row("c")]);
  await write(sink, [row("d")]);
  check = async () => {
    const former = check;
    check = null;
    for (const given of [null, await snapshotOf(lake)]) {
      using pending = sink.pending(given);
      const rows = (await Array.fromAsync(pending.rows())).flatMap(({ values }) => values[0]);
      assert.equal(rows.length, pending.length);
      const inTable = pending.snapshot!.files.reduce((sum, { stats }) => sum + stats!.numRecords, 0);
      assert.equal(inTable + rows.length, 4, `${inTable} rows in the table and ${rows} waiting`);
      seen.add(`${given === null ? "its own" : "given"}: ${inTable} and ${rows.length}`);
    }
    check = former;
  };
  await sink.flush();
  check = null;
  // The commit is seen by others before the sink hears of it.
  assert.deepEqual([...seen].sort(), ["given: 2 and 2", "given: 4 and 0", "its own: 2 and 2"]);
  using after = sink.pending();
  assert.deepEqual([after.length, after.snapshot!.version], [0, (await snapshotOf(lake)).version]);
});

Deno.test("rows that somebody reads stay readable while they are committed, and their files go afterwards", async () => {
  await using lake = await testLake();
  const sink = await resumed(lake.sink(COLUMNS));
  await write(sink, [row("a")]);
  const pending = sink.pending();
  await write(sink, [row("b")]);
  await sink.flush();
  assert.deepEqual((await Array.fromAsync(pending.rows())).map(({ values }) => values[0]), [["a"]]);
  pending[Symbol.dispose]();
  await write(sink, [row("c")]);
  await sink.flush();
  assert.deepEqual([...Deno.readDirSync(`${lake.folder}/journal`)], []);
});

const column = (name: string, type: ResultColumn["type"]["type"]) =>
  ({ name, role: "value", type: { type, nullable: true } }) as ResultColumn;

/** The columns with others in the place of `total`. */
function columnsWith(...values: ResultColumn[]): ResultColumn[] {
  return [...COLUMNS.slice(0, 4), ...values, ...COLUMNS.slice(5)];
}

Deno.test("a definition that gains and loses results goes on in its table; what is missing is null", async () => {
  await using lake = await testLake();
  const first = await resumed(lake.sink(COLUMNS));
  await write(first, [row("a"), row("b")]);
  await first.flush();
  // Some still wait in the old columns when the new definition starts.
  await write(first, [row("c")]);
  const columns = columnsWith(column("n", "long"), column("mean", "double"));
  const second = await resumed(lake.sink(columns));
  const [start, end] = [START + HOUR, START + 2 * HOUR];
  await write(
    second,
    [["b", 1, START, START + HOUR, 8, 0.5, 2, true], ["d", 1, start, end, 7, null, 1, true]],
    columns,
  );
  await second.flush();
  await first.flush();
  const all = [...COLUMNS.slice(0, 5), ...columns.slice(4, 6), ...COLUMNS.slice(5)];
  const wide = (values: ResultValue[], n: number | null = null, mean: number | null = null) => [
    ...values.slice(0, 5),
    n,
    mean,
    ...values.slice(5),
  ];
  const b = wide(row("b", { revision: 2 }), 8, 0.5);
  const d = wide(row("d", { hour: 1 }), 7);
  b[4] = d[4] = null;
  await assertTable(lake, [wide(row("a")), b, wide(row("c")), d], all);
  const names = (await snapshotOf(lake)).schema.fields.map(({ name }) => name);
  assert.deepEqual(names, [...COLUMNS.map(({ name }) => name), "window_date", "n", "mean"]);
});

Deno.test("a result whose type became wider is written anew as that, and a narrower one is widened as it comes", async () => {
  await using lake = await testLake();
  const typed = (type: ResultColumn["type"]) => columnsWith({ name: "total", role: "value", type });
  const narrow = typed({ type: "long", nullable: true });
  const wide = typed({ type: "decimal", precision: 25, scale: 4, nullable: true });
  const values = (account: string, total: ResultValue) => [...row(account).slice(0, 4), total, 1, true];
  const first = await resumed(lake.sink(narrow));
  await write(first, [values("a", 5)], narrow);
  await first.flush();
  await write(first, [values("b", -9223372036854775808n)], narrow);
  const second = await resumed(lake.sink(wide));
  await write(second, [values("c", "0.1234")], wide);
  await second.flush();
  const third = await resumed(lake.sink(narrow));
  await write(third, [values("d", 7)], narrow);
  await third.flush();
  await assertTable(lake, [
    values("a", "5.0000"),
    values("b", "-9223372036854775808.0000"),
    values("c", "0.1234"),
    values("d", "7.0000"),
  ], wide);
});

Deno.test("a table that cannot take the results is a fault that names it, the column, and what to do", async () => {
  await using lake = await testLake();
  await resumed(lake.sink(COLUMNS));
  const fault = async (columns: readonly ResultColumn[], expected: RegExp) => {
    await assert.rejects(resumed(lake.sink(columns)), (error: unknown) => {
      assert.ok(error instanceof ConfigError, String(error));
      assert.match(error.message, expected);
      return true;
    });
  };
  await fault(
    columnsWith(column("total", "string")),
    /lake\.results: total is decimal\(38,2\), and string does not fit beside it: write into a table of another name/,
  );
  await fault(
    columnsWith(column("Total", "string")),
    /column total and the result Total differ in upper and lower case/,
  );
  await fault(
    COLUMNS.filter(({ name }) => name !== "shard"),
    /told apart by \(account, shard, window_start\), and the definition's by \(account, window_start\)\. Name another table/,
  );
  await lake.lake.ensureTable("raw", {
    schema: {
      type: "struct",
      fields: (await snapshotOf(lake)).schema.fields.map((field) => ({ ...field, metadata: {} })),
    },
    partitionColumns: ["window_date"],
  });
  await assert.rejects(
    resumed(lake.sink(COLUMNS, { table: "raw" })),
    /lake\("raw"\): .* is not one of a pipeline's results/,
  );
});

Deno.test("a table nobody writes to is looked at now and then, as compaction replaces its files", async () => {
  const clock = new VirtualClock();
  await using lake = await testLake({ clock });
  const sink = await resumed(lake.sink(COLUMNS));
  await write(sink, [row("a")]);
  await sink.flush();
  const table = (await lake.lake.table(TABLE))!;
  const { version } = await table.snapshot();
  await table.commit({ operation: "OPTIMIZE", dataChange: false }, { base: await table.snapshot() });
  assert.equal(sink.pending().snapshot!.version, version);
  await clock.pass(600_000);
  await until(() => sink.pending().snapshot!.version === version + 1);
});
