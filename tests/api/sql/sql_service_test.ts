import assert from "node:assert/strict";
import { SqlError } from "../../../api/sql/service.ts";
import { askedLake, TRANSACTIONS } from "./small_lake.ts";

function refusal(kind: SqlError["kind"], words: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof SqlError, String(error));
    assert.deepEqual([error.kind, words.test(error.message)], [kind, true], error.message);
    return true;
  };
}

Deno.test("a question is answered from the files captured for it, which are let go of", async () => {
  await using lake = await askedLake();
  const [told] = await lake.rows(
    "select count(*) as n, sum(amount) as total, count(note) as notes, min(day) as first from lake.transactions",
  );
  assert.deepEqual(told, { n: TRANSACTIONS, total: "62375.00", notes: TRANSACTIONS / 2, first: "2026-11-20" });
  assert.deepEqual(await lake.rows("select * from ledger"), [
    { pipeline: "account_minute", partition: 0, consumed: 1000 },
  ]);
  assert.deepEqual(await lake.rows("select count(*) as n, any_value(account_id) as a from results.account_minute"), [
    { n: 0, a: null },
  ]);
  assert.equal(lake.held(), 0);
});

Deno.test("an earlier version of a table is asked beside the present one", async () => {
  await using lake = await askedLake();
  const rows = await lake.rows(
    "with now as (select count(*) as n from lake.transactions t), /* at ( */ before as (" +
      "select count(transactions.amount) as n from lake.transactions at (version => 0)) select now.n - before.n as more, " +
      "(select count(*) from lake.transactions as x at (timestamp => '2026-11-20 12:00:00')) as n from now, before",
  );
  assert.deepEqual(rows, [{ more: TRANSACTIONS / 2, n: TRANSACTIONS / 2 }]);
  const states = lake.captured.map(({ at }) => JSON.stringify(at ?? "now")).sort();
  assert.deepEqual(states, ['"now"', `{"timeMs":${Date.parse("2026-11-20T12:00:00Z")}}`, '{"version":0}'].sort());
  await assert.rejects(
    lake.rows("from lake.transactions at (version => 1 + 1)"),
    refusal("syntax", /AT takes .* as a constant/),
  );
});

Deno.test("names that a WITH gives hide tables, but not in their own text", async () => {
  await using lake = await askedLake();
  const sql = "with ledger as (select consumed * 2 as twice from ledger), more as (from LEDGER) " +
    "select twice, (with ledger as (select 1 as one) select one from ledger) as one from more";
  assert.deepEqual(await lake.rows(sql), [{ twice: 2000, one: 1 }]);
  assert.equal(lake.captured.length, 1);
  await assert.rejects(
    lake.rows("select * from (with hidden as (select 1) from hidden), hidden"),
    refusal("syntax", /there is no hidden/),
  );
});

Deno.test("of a table that is read by itself only the days are asked for that its conditions let through", async () => {
  await using lake = await askedLake();
  const within = async (sql: string) => {
    const before = lake.captured.length;
    await lake.rows(sql);
    return lake.captured.slice(before).map((name) => name.within);
  };
  const from = "select count(*) from lake.transactions";
  assert.deepEqual(await within(`${from} where day = '2026-11-20' and amount > 3`), [
    [{ column: "day", from: "2026-11-20", to: "2026-11-20" }],
  ]);
  assert.deepEqual(await within(`${from} t where date '2026-11-20' <= t.day and t.day < '2026-11-21'`), [
    [{ column: "day", to: "2026-11-21" }, { column: "day", from: "2026-11-20" }],
  ]);
  assert.deepEqual(await within(`select (${from} where day between '2026-11-20' and '2026-11-21') as n`), [
    [{ column: "day", from: "2026-11-20", to: "2026-11-21" }],
  ]);
  for (
    const sql of [
      `${from} where day = '2026-11-20' or amount > 3`,
      `${from} where not day = '2026-11-20'`,
      `${from} where day <> '2026-11-20'`,
      `${from} t(day) where day = '2026-11-20'`,
      `${from} where (select date '2026-11-20' from ledger) = '2026-11-20'`,
      `${from}, ledger where day = '2026-11-20'`,
      `select (${from} where day = '2026-11-20') + (${from} where day = '2026-11-21') as n`,
    ]
  ) {
    assert.deepEqual((await within(sql)).filter((one) => one !== undefined), [], sql);
  }
});

Deno.test("rows come in the order that was asked for, also where several threads find them", async () => {
  await using lake = await askedLake();
  const bytes = await lake.bytes("select hash(i)::varchar as h from range(400000) t(i) order by hash(i)", "csv");
  const hashes = new TextDecoder().decode(bytes).trim().split("\r\n").slice(1).map(BigInt);
  assert.equal(hashes.length, 400_000);
  assert.ok(hashes.every((hash, i) => i === 0 || hashes[i - 1] <= hash));
});

Deno.test("a service that has ended ends its questions, starts no process and says so", async () => {
  await using lake = await askedLake();
  const sql = "select count(*) from range(1000000000000) t(i) where i % 7 = 3";
  const away = { name: "UnavailableError", message: /stopping/ };
  const asked = assert.rejects(lake.rows(sql), away);
  await lake.service[Symbol.asyncDispose]();
  await asked;
  await assert.rejects(lake.rows("select 1"), away);
});

Deno.test("what is wrong is told with its place", async () => {
  await using lake = await askedLake();
  const place = async (sql: string) => {
    const error = await lake.rows(sql).then(() => null, (error) => error);
    assert.ok(error instanceof SqlError, String(error));
    return [sql.slice(error.at!).split(" ")[0], error.message];
  };
  assert.deepEqual((await place("select 'ü' selec 1"))[0], "1");
  assert.deepEqual((await place("select 'ü', nope from ledger"))[0], "nope");
  assert.deepEqual(await place("select 'ü', read_text('/etc/passwd')"), [
    "read_text('/etc/passwd')",
    "the function read_text is not offered here",
  ]);
});
