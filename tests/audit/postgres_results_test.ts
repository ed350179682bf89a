import assert from "node:assert/strict";
import { PostgresResults } from "../../pipeline/audit/postgres_results.ts";
import { compareRows } from "../../pipeline/audit/compare.ts";
import { repairOf } from "../../pipeline/audit/repair.ts";
import { asPostgresKeeps } from "../../pipeline/audit/result_values.ts";
import { TooManyRowsError } from "../../pipeline/audit/expected_rows.ts";
import { TableDigests } from "../../pipeline/audit/table_digests.ts";
import { WindowBook } from "../../pipeline/audit/window_book.ts";
import { ConflictError } from "../../pipeline/errors.ts";
import { claimOwnership } from "../../pipeline/sinks/ownership.ts";
import { migrate } from "../../pipeline/sinks/migrate.ts";
import { createPostgresSink } from "../../pipeline/sinks/postgres.ts";
import { resultRows } from "../contracts/sink_contract.ts";
import { COLUMNS, MINUTE, row, ROWS, START } from "./all_types.ts";
import { type PostgresServer, startPostgres } from "../sinks/postgres_server.ts";
import { withDatabase } from "../sinks/postgres_subject.ts";

let server: PostgresServer;
Deno.test.beforeAll(async () => {
  server = await startPostgres();
});
Deno.test.afterAll(async () => await server[Symbol.asyncDispose]());

const MIGRATIONS = new URL("../../migrations", import.meta.url).pathname;
const signal = new AbortController().signal;
const RANGE = { fromMs: START, toMs: START + 10 * MINUTE };

async function withTable(
  work: (
    results: PostgresResults,
    options: { sql: Parameters<Parameters<typeof withDatabase>[1]>[0]; token: number },
  ) => Promise<void>,
  rows = ROWS,
): Promise<void> {
  await withDatabase(server.url, async (sql, _another, url) => {
    await migrate(sql, MIGRATIONS);
    const { token } = await claimOwnership(sql, { pipeline: "p", process: "test" });
    {
      await using sink = await createPostgresSink({ url, table: "t", columns: COLUMNS });
      await sink.write(resultRows(COLUMNS, rows), { epoch: 1, signal });
    }
    await work(new PostgresResults(sql, { table: "t", columns: COLUMNS }), { sql, token });
  });
}

const expected = () => ({ rows: asPostgresKeeps(resultRows(COLUMNS, ROWS)), slack: null });

Deno.test("rows of all types are read as they were written", async () => {
  await withTable(async (results) => {
    const { rows, digests } = await results.rows(RANGE, { rowsMax: 10 });
    assert.deepEqual([rows.length, digests.length], [4, 4]);
    assert.deepEqual(compareRows(expected(), rows, { generation: 0 }), []);
    await assert.rejects(results.rows(RANGE, { rowsMax: 3 }), TooManyRowsError);
  });
});

Deno.test("a digest is the sum of its rows', and another one when a row is changed, added or removed", async () => {
  await withTable(async (results, { sql }) => {
    const { rows, digests } = await results.rows(RANGE, { rowsMax: 10 });
    const starts = rows.values[3];
    const [first, second] = await results.digests(RANGE);
    const sum = digests.reduce((total, digest, i) => starts[i] === START ? total + digest : total, 0n);
    assert.deepEqual(first, { windowStartMs: START, rows: 3, digest: String(sum) });
    assert.equal(second.windowStartMs, START + MINUTE);
    const digest = async () => (await results.digests(RANGE))[0]?.digest;
    const seen = new Set([first.digest]);
    for (
      const change of [
        "UPDATE t SET mean = '0' WHERE mean = '-0' AND shop IS NULL",
        "UPDATE t SET total = total + 0.01 WHERE shop = 'a'",
        "INSERT INTO t SELECT 'z', code, day, window_start, window_end, n, total, mean, small, raw, opened, last, is_open, revision, final FROM t WHERE shop IS NULL",
        "DELETE FROM t WHERE shop = 'z'; UPDATE t SET final = false WHERE shop IS NULL",
      ]
    ) {
      await sql.unsafe(change);
      const now = await digest();
      // Of -0 and 0 PostgreSQL says that they are the same.
      if (!change.includes("'-0'")) assert.ok(!seen.has(now), change);
      seen.add(now);
    }
    // A write of the same is no change.
    const before = await digest();
    await sql.unsafe("UPDATE t SET n = n, updated_at = now()");
    assert.equal(await digest(), before);
  });
});

Deno.test("the table is walked back from a time by rows, and its windows counted", async () => {
  const rows = Array.from(
    { length: 30 },
    (_, i) => row({ shop: `s${i % 3}`, window_start: START + Math.floor(i / 3) * MINUTE }),
  );
  await withTable(async (results) => {
    const end = START + 10 * MINUTE;
    assert.equal(await results.backFrom(end, 3), START + 8 * MINUTE);
    assert.equal(await results.backFrom(end, 30), null);
    assert.equal(await results.first(), START);
    assert.equal(await results.windowsBefore(end, 100), 10);
    assert.equal(await results.windowsBefore(START + 4 * MINUTE, 100), 4);
    assert.equal(await results.windowsBefore(end, 6), 6);
    assert.equal(await results.windowsBefore(START, 6), 0);
  }, rows);
});

Deno.test("a repair rewrites, inserts and deletes, and leaves everything else", async () => {
  await withTable(async (results, { sql, token }) => {
    await sql`UPDATE t SET total = 99, revision = 4, updated_at = '2020-01-01' WHERE shop = 'a'`;
    await sql`DELETE FROM t WHERE shop IS NULL`;
    await sql.unsafe(
      `INSERT INTO t SELECT NULL, '00000000-0000-4000-8000-0000000000ff', day, window_start, window_end, n,
      total, mean, small, raw, opened, last, is_open, revision, final FROM t WHERE shop = 'a'`,
    );
    const rows = await results.rows(RANGE, { rowsMax: 10 });
    const differences = compareRows(expected(), rows.rows, { generation: 0 });
    assert.deepEqual(differences.map(({ kind }) => kind).sort(), ["extra", "extra", "missing", "wrong", "wrong"]);
    const [repair] = repairOf(differences, { expected: expected(), rows });
    assert.deepEqual(await results.repair(repair, { pipeline: "p", token }), { rewritten: 2, inserted: 1, deleted: 2 });
    const after = await results.rows(RANGE, { rowsMax: 10 });
    assert.deepEqual(compareRows(expected(), after.rows, { generation: 0 }), []);
    // Once more does nothing: the rows are not as they were seen.
    assert.deepEqual(await results.repair(repair, { pipeline: "p", token }), { rewritten: 0, inserted: 0, deleted: 0 });
  });
});

Deno.test("a row that was written since it was seen is not touched by a repair", async () => {
  await withTable(async (results, { sql, token }) => {
    await sql`UPDATE t SET n = 7 WHERE shop = 'a'`;
    const rows = await results.rows(RANGE, { rowsMax: 10 });
    const [repair] = repairOf(compareRows(expected(), rows.rows, { generation: 0 }), { expected: expected(), rows });
    await sql`UPDATE t SET n = 8 WHERE shop = 'a'`;
    assert.deepEqual(await results.repair(repair, { pipeline: "p", token }), { rewritten: 0, inserted: 0, deleted: 0 });
  });
});

Deno.test("a process that lost the pipeline repairs nothing", async () => {
  await withTable(async (results, { sql, token }) => {
    await sql`UPDATE t SET n = 7 WHERE shop = 'a'`;
    const rows = await results.rows(RANGE, { rowsMax: 10 });
    const [repair] = repairOf(compareRows(expected(), rows.rows, { generation: 0 }), { expected: expected(), rows });
    await claimOwnership(sql, { pipeline: "p", process: "another" });
    await assert.rejects(results.repair(repair, { pipeline: "p", token }), ConflictError);
    assert.equal((await sql`SELECT n::int FROM t WHERE shop = 'a'`)[0].n, 7);
  });
});

Deno.test("digests take in the newest rows each time, and the others slice by slice until they begin again", async () => {
  const rows = Array.from(
    { length: 40 },
    (_, i) => row({ shop: `s${i % 2}`, window_start: START + Math.floor(i / 2) * MINUTE }),
  );
  await withTable(async (results, { sql }) => {
    const book = new WindowBook({ sizeMs: MINUTE, offsetMs: 0 });
    const range = { fromMs: START, toMs: START + 20 * MINUTE };
    for (const { windowStartMs, digest } of await results.digests(range)) {
      book.agree(windowStartMs, new Map([["t", digest]]));
    }
    const digests = new TableDigests([results], book, { newest: 8, slice: 12 });
    assert.deepEqual([...await digests.look(range)], []);
    const change = (window: number) =>
      sql`UPDATE t SET n = n + 1 WHERE window_start = ${new Date(START + window * MINUTE)}`;
    // Changed, removed and added: in the newest rows, and in what the next slices reach.
    await change(19);
    await sql`DELETE FROM t WHERE window_start = ${new Date(START)}`;
    await sql`UPDATE t SET window_start = window_start + INTERVAL '30 seconds' WHERE shop = 's0'
      AND window_start = ${new Date(START + 5 * MINUTE)}`;
    const seen = new Set<number>();
    for (let looks = 1;; looks++) {
      for (const start of await digests.look(range)) seen.add((start - START) / MINUTE);
      if (looks === 1) assert.ok(seen.has(19) && !seen.has(0), `${[...seen]}`);
      if (seen.size === 4) break;
      assert.ok(looks < 4, `found after ${looks} looks: ${[...seen]}`);
    }
    assert.deepEqual([...seen].sort((a, b) => a - b), [0, 5, 5.5, 19]);
    // And from the newest again.
    await change(14);
    for (let looks = 0; looks < 3; looks++) {
      for (const start of await digests.look(range)) seen.add((start - START) / MINUTE);
    }
    assert.ok(seen.has(14));
  }, rows);
});
