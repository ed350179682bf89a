import assert from "node:assert/strict";
import { testPipeline } from "../../pipeline/testing/mod.ts";
import accountMinute from "../../streams/account_minute.ts";
import { transaction } from "./transaction.ts";

Deno.test("an account's minute is its approved payments: how many, how much, the mean and the largest", async () => {
  await using test = await testPipeline(accountMinute);
  await test.pipe([
    transaction("12:00:00", { amount: "0.10" }),
    transaction("12:00:30", { amount: "0.20" }),
    transaction("12:00:59.999", { amount: "0.30" }),
    transaction("12:01:00", { amount: "7.00" }),
    transaction("12:00:30", { account_id: "b", amount: "9999999999.99" }),
    transaction("12:00:30", { status: "declined" }),
    transaction("12:00:30", { status: "reversed" }),
    transaction("12:00:30", { amount: "0.00" }),
    transaction("12:00:30", { amount: "-5.00" }),
  ]);
  await test.closeWindows();
  const minute = { window_start: "2026-05-01T12:00:00.000Z", window_end: "2026-05-01T12:01:00.000Z", final: true };
  assert.deepEqual(test.results(), [
    { account_id: "a", ...minute, n: 3, total: "0.60", mean: 0.2, largest: "0.30", revision: 3 },
    {
      account_id: "b",
      ...minute,
      n: 1,
      total: "9999999999.99",
      mean: 9999999999.99,
      largest: "9999999999.99",
      revision: 1,
    },
    {
      account_id: "a",
      window_start: "2026-05-01T12:01:00.000Z",
      window_end: "2026-05-01T12:02:00.000Z",
      n: 1,
      total: "7.00",
      mean: 7,
      largest: "7.00",
      revision: 1,
      final: true,
    },
  ]);
  assert.deepEqual(test.ledger(), { consumed: 9, aggregated: 5, filtered: 4, late: 0, dead: 0, duplicate: 0 });
});

Deno.test("payments may come five seconds out of order; after that their minute has closed and they are late", async () => {
  await using test = await testPipeline(accountMinute);
  await test.pipe([transaction("12:00:10"), transaction("12:01:04.999"), transaction("12:00:20")]);
  const late = transaction("12:00:30");
  await test.pipe([transaction("12:01:05"), late, transaction("12:01:00")]);
  assert.deepEqual(test.results().map(({ n, final }) => [n, final]), [[2, true]]);
  assert.deepEqual(test.late().map(({ record, window }) => [record, window]), [[late, "2026-05-01T12:00:00.000Z"]]);
  await test.closeWindows();
  assert.deepEqual(test.results().map(({ n }) => n), [2, 3]);
});

Deno.test("the running minute is shown every second, each time with a higher revision", async () => {
  await using test = await testPipeline(accountMinute);
  for (const second of ["01", "02", "03"]) {
    await test.pipe(transaction(`12:00:${second}`));
    await test.advanceWallTime("1s");
  }
  assert.deepEqual(test.updates().map(({ total, revision, final }) => [total, revision, final]), [
    ["10.00", 1, false],
    ["20.00", 2, false],
    ["30.00", 3, false],
  ]);
});

Deno.test("what is no transaction goes to the dead letters, and the rest counts", async () => {
  await using test = await testPipeline(accountMinute);
  await test.pipeBytes(new TextEncoder().encode(`{"amount": 5}`));
  await test.pipeBytes(Uint8Array.of(0, 0, 0, 0, test.schemaId, 255, 255, 255, 255, 15));
  await test.pipe(transaction("12:00:00", { account_id: "x".repeat(2_000) }));
  await test.pipe(transaction("12:00:00"));
  assert.deepEqual(test.dead().map(({ offset }) => offset), [0, 1, 2]);
  assert.match(test.dead()[0].reason, /does not start with a schema id/);
  assert.match(test.dead()[2].reason, /the group key is no UTF-8 text, or longer than 1024 bytes/);
  assert.deepEqual(test.panes().map(({ n }) => n), [1]);
});

Deno.test("with dedupe a payment that a producer sends twice counts once, within ten minutes and after a restart too", async () => {
  const once = { ...accountMinute, dedupe: { by: "transaction_id", within: "10 minutes" } } as const;
  await using test = await testPipeline(once);
  const paid = transaction("12:00:10");
  const id = String(paid.transaction_id);
  await test.pipe([paid, paid, transaction("12:00:50", { transaction_id: id.toUpperCase() })]);
  await test.pipe(transaction("12:05:00"));
  await test.restart();
  await test.pipe([
    transaction("12:10:50", { transaction_id: id }),
    transaction("12:20:50.001", { transaction_id: id }),
  ]);
  await test.closeWindows();
  assert.deepEqual(test.results().map(({ window_start, n }) => [String(window_start).slice(11, 16), n]), [
    ["12:00", 1],
    ["12:05", 1],
    ["12:20", 1],
  ]);
  assert.deepEqual(test.ledger(), { consumed: 6, aggregated: 3, filtered: 0, late: 0, dead: 0, duplicate: 3 });
});

Deno.test("a declined try that is sent again when approved is no duplicate: what is filtered was never seen", async () => {
  const once = { ...accountMinute, dedupe: { by: "transaction_id", within: "10 minutes" } } as const;
  await using test = await testPipeline(once);
  const paid = transaction("12:00:10");
  await test.pipe([{ ...paid, status: "declined" }, paid]);
  assert.deepEqual(test.panes().map(({ n }) => n), [1]);
});

Deno.test("a quiet partition holds the minute open until it counts as idle, and a restart in between changes nothing", async () => {
  const play = async (isRestarted: boolean) => {
    await using test = await testPipeline(accountMinute, { partitions: 2 });
    const restart = async () => isRestarted ? await test.restart() : undefined;
    await test.pipe(transaction("12:00:10"), { partition: 0 });
    await restart();
    await test.pipe([transaction("12:00:20"), transaction("12:01:10")], { partition: 1 });
    const before = test.results().filter(({ final }) => final);
    await restart();
    // Also since a restart, and its first record, for longer than idleAfter.
    for (const second of ["15", "20", "25", "30", "35"]) {
      await test.advanceWallTime("5s");
      await test.pipe(transaction(`12:01:${second}`), { partition: 1 });
    }
    await restart();
    await test.advanceWallTime("11s");
    return [before, test.results(), test.ledger()];
  };
  const [before, after] = await play(false) as [unknown[], Record<string, unknown>[]];
  assert.deepEqual(before, []);
  assert.deepEqual(after.map(({ n, final }) => [n, final]), [[2, true], [6, false]]);
  assert.deepEqual(await play(true), await play(false));
});
