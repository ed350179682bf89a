import assert from "node:assert/strict";
import { join } from "node:path";
import { createApp } from "../../../api/app.ts";
import { createQueryStore, QUERIES_MAX } from "../../../api/sql/query_store.ts";
import { fakeDeps } from "../fake_deps.ts";
import { fakeSql, memoryQueries } from "./fake_sql.ts";
import { askedLake, COMPLETENESS, TRANSACTIONS } from "./small_lake.ts";

function send(method: string, body?: unknown, headers: Record<string, string> = {}): RequestInit {
  return { method, body: JSON.stringify(body), headers: { "content-type": "application/json", ...headers } };
}

Deno.test("the answer's format goes by what the client accepts best, or by `format`", async () => {
  const app = createApp(fakeDeps({ sql: fakeSql() }).deps);
  const type = async (accept: string | null, query = "") => {
    const response = await app.request(`/v1/sql?q=select+1${query}`, { headers: accept === null ? {} : { accept } });
    await response.body?.cancel();
    return [response.status, response.headers.get("content-type")];
  };
  assert.deepEqual(await type(null), [200, "application/json"]);
  assert.deepEqual(await type("text/html, */*;q=0.1"), [200, "application/json"]);
  assert.deepEqual(await type("application/json;q=0.5, text/csv"), [200, "text/csv; charset=utf-8; header=present"]);
  assert.deepEqual(await type("text/*"), [200, "text/csv; charset=utf-8; header=present"]);
  assert.deepEqual(await type("application/vnd.apache.parquet"), [200, "application/vnd.apache.parquet"]);
  assert.deepEqual(await type("image/png", "&format=arrow"), [200, "application/vnd.apache.arrow.stream"]);
  assert.deepEqual(await type("application/x-ndjson;q=0"), [406, "application/problem+json"]);
  assert.equal((await type("text/csv", "&format=xml"))[0], 400);
});

Deno.test("every answer says how far it is complete, in a header and, as JSON, in its body", async () => {
  await using lake = await askedLake();
  const app = createApp(fakeDeps({ sql: lake.service }).deps);
  const response = await app.request(
    "/v1/sql",
    send("POST", { sql: "select $n + count(*) as n from lake.transactions", parameters: { n: 1 } }),
  );
  assert.equal(response.headers.get("cache-control"), "no-store");
  assert.equal(response.headers.get("tailrace-truncated"), "false");
  assert.match(response.headers.get("tailrace-query-id")!, /^[\da-f-]{36}$/);
  assert.deepEqual(JSON.parse(response.headers.get("tailrace-completeness")!), COMPLETENESS);
  const { elapsedMs, ...body } = await response.json();
  assert.equal(typeof elapsedMs, "number");
  assert.deepEqual(body, {
    columns: [{ name: "n", type: "BIGINT" }],
    rows: [{ n: TRANSACTIONS + 1 }],
    truncated: false,
    completeness: COMPLETENESS,
    notes: [],
  });
});

Deno.test("a mistake is a problem that says the line and column", async () => {
  await using lake = await askedLake();
  const app = createApp(fakeDeps({ sql: lake.service }).deps);
  const response = await app.request("/v1/sql", send("POST", { sql: "select 1,\n  nope\nfrom ledger" }));
  assert.equal(response.status, 400);
  const { type, errors } = await response.json();
  assert.equal(type, "/docs#invalid-sql");
  assert.equal(errors[0].where, "sql:2:3");
  assert.match(errors[0].problem, /"nope" not found/);
});

Deno.test("a question is cancelled over HTTP by the id that its client chose", async () => {
  await using lake = await askedLake();
  const app = createApp(fakeDeps({ sql: lake.service }).deps);
  const sql = "select count(*) from range(1000000000000) t(i) where i % 7 = 3";
  const asked = app.request("/v1/sql", send("POST", { sql }, { "tailrace-query-id": "my-question" }));
  const cancel = () => app.request("/v1/sql/my-question", { method: "DELETE" });
  let cancelled = await cancel();
  while (cancelled.status === 404) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    cancelled = await cancel();
  }
  assert.deepEqual(await cancelled.json(), { id: "my-question", state: "cancelled" });
  assert.equal((await (await asked).json()).type, "/docs#query-cancelled");
  assert.equal((await cancel()).status, 404);
});

Deno.test("a question is saved with typed parameters, asked by its name, and forgotten", async () => {
  await using lake = await askedLake();
  const path = join(lake.folder, "queries.json");
  const deps = { sql: lake.service, queries: createQueryStore(path) };
  const app = createApp(fakeDeps(deps).deps);
  const saved = {
    sql: "select count(*) as n, $day as day from lake.transactions where day = $day and amount >= $least",
    about: "Payments of a day",
    parameters: [{ name: "day", type: "date" }, { name: "least", type: "double", default: "0" }],
  };
  assert.equal((await app.request("/v1/queries/of_day", send("PUT", saved))).status, 200);
  // As another process would find it.
  const later = createApp(fakeDeps({ ...deps, queries: createQueryStore(path) }).deps);
  assert.deepEqual((await (await later.request("/v1/queries")).json()).queries, [{ name: "of_day", ...saved }]);
  const rows = async (query: string) => {
    const response = await later.request(`/v1/queries/of_day?${query}`);
    return response.status === 200 ? (await response.json()).rows : await response.json();
  };
  assert.deepEqual(await rows("day=2026-11-21"), [{ n: TRANSACTIONS / 2, day: "2026-11-21" }]);
  assert.deepEqual(await rows("day=2026-11-21&least=124.5"), [{ n: 2, day: "2026-11-21" }]);
  assert.match((await rows("least=x&day=2026-11-21")).detail, /"least" has to be a number/);
  const { errors } = await rows("nope=1&least=1&least=2");
  assert.deepEqual(errors, [
    { where: "query.day", problem: "has to be given: date" },
    { where: "query.least", problem: "is given more than once" },
    { where: "query.nope", problem: "is no parameter of this question; it has: day, least" },
  ]);
  const csv = await later.request("/v1/queries/of_day?day=2026-11-20&format=csv");
  assert.equal(await csv.text(), "n,day\r\n500,2026-11-20\r\n");
  assert.equal((await later.request("/v1/queries/of_day", { method: "DELETE" })).status, 200);
  assert.equal((await later.request("/v1/queries/of_day?day=2026-11-20")).status, 404);
});

Deno.test("what could never be asked is not saved", async () => {
  await using lake = await askedLake();
  const queries = memoryQueries();
  const app = createApp(fakeDeps({ sql: lake.service, queries }).deps);
  const refused = async (body: unknown) =>
    (await (await app.request("/v1/queries/q", send("PUT", body))).json()).errors;
  assert.match((await refused({ sql: "drop view ledger" }))[0].problem, /only SELECT/);
  assert.match((await refused({ sql: "from read_text('/etc/passwd')" }))[0].problem, /not offered/);
  assert.match((await refused({ sql: "select $a" }))[0].problem, /\$a, which has no value/);
  const a = { name: "a", type: "integer" };
  assert.match((await refused({ sql: "select 1", parameters: [a] }))[0].problem, /no \$a/);
  assert.match((await refused({ sql: "select $a", parameters: [{ ...a, default: "x" }] }))[0].problem, /whole number/);
  assert.match((await refused({ sql: "select $a", parameters: [a, a] }))[0].problem, /twice/);
  assert.match(
    (await refused({ sql: "select $limit", parameters: [{ ...a, name: "limit" }] }))[0].problem,
    /must not be/,
  );
  assert.deepEqual(await queries.list(), []);
});

Deno.test("saved questions are kept one change after the other, so many at most, and a damaged file is told", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = join(folder, "queries.json");
    const store = createQueryStore(path);
    assert.deepEqual(await store.list(), []);
    const query = (i: number) => ({ name: `q${i}`, sql: "select 1", about: "", parameters: [] });
    const all = await Promise.all(Array.from({ length: QUERIES_MAX }, (_, i) => store.put(query(i))));
    assert.ok(all.every((isSaved) => isSaved));
    assert.equal((await store.list()).length, QUERIES_MAX);
    assert.equal(await store.put(query(QUERIES_MAX)), false);
    assert.equal(await store.put({ ...query(7), about: "again" }), true);
    assert.equal(await store.remove("q8"), true);
    assert.equal(await store.remove("q8"), false);
    assert.equal((await store.list()).find(({ name }) => name === "q7")!.about, "again");
    await Deno.writeTextFile(path, "{");
    await assert.rejects(store.list(), /is damaged/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
