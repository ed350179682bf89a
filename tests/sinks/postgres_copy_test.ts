import assert from "node:assert/strict";
import { createPostgresSink } from "../../pipeline/sinks/postgres.ts";
import { copyIn, CopyPolicy, copyStatement } from "../../pipeline/sinks/postgres_copy.ts";
import { CopyEncoder } from "../../pipeline/sinks/postgres_binary.ts";
import type { ResultValue } from "../../pipeline/sinks/sink.ts";
import { COLUMNS, resultRows } from "../contracts/sink_contract.ts";
import { type PostgresServer, startPostgres } from "./postgres_server.ts";
import { readTable, withDatabase } from "./postgres_subject.ts";

let server: PostgresServer;
Deno.test.beforeAll(async () => {
  server = await startPostgres({ settings: ["log_min_error_statement=error", "track_counts=on"] });
});
Deno.test.afterAll(async () => await server[Symbol.asyncDispose]());

const signal = new AbortController().signal;
const START = Date.UTC(2026, 0, 1);
const STATEMENT = copyStatement("t", COLUMNS);

function rowsOf(accounts: number, revision = 1, from = 0): ResultValue[][] {
  return Array.from({ length: accounts }, (_, i) => [`a${from + i}`, 1, START, START + 60_000, "1.00", revision, true]);
}

function encoded(rows: ResultValue[][]): Uint8Array {
  return new CopyEncoder().encode(resultRows(COLUMNS, rows), 0, rows.length)!;
}

Deno.test("a COPY that meets a row already there rejects, writes nothing, and leaves the connection usable", async () => {
  await withDatabase(server.url, async (sql, _another, url) => {
    await using _sink = await createPostgresSink({ url, table: "t", columns: COLUMNS });
    await copyIn(sql, STATEMENT, encoded(rowsOf(3)));
    for (const size of [4, 20_000]) {
      // The last row is the one that is there: the server says so after the last byte.
      const rows = [...rowsOf(size - 1, 1, 100), ...rowsOf(1)];
      await assert.rejects(copyIn(sql, STATEMENT, encoded(rows)), { code: "23505" });
      // And the first: it says so while bytes are still coming.
      await assert.rejects(copyIn(sql, STATEMENT, encoded(rows.reverse())), { code: "23505" });
    }
    assert.deepEqual(await readTable(sql, "t", COLUMNS), rowsOf(3));
  });
});

Deno.test("a COPY that failed does not end the next one, though a command comes before that", async () => {
  await withDatabase(server.url, async (sql, _another, url) => {
    await using _sink = await createPostgresSink({ url, table: "t", columns: COLUMNS });
    const statement = `SELECT 1;\n${STATEMENT}`;
    await copyIn(sql, statement, encoded(rowsOf(1)));
    for (let round = 1; round <= 3; round++) {
      const rows = rowsOf(600, 1, 1_000 * round);
      await assert.rejects(copyIn(sql, statement, encoded([...rows, ...rowsOf(1)])), { code: "23505" });
      await copyIn(sql, statement, encoded(rows));
    }
    assert.equal((await readTable(sql, "t", COLUMNS)).length, 1 + 3 * 600);
  });
});

Deno.test("a COPY whose connection breaks rejects", async () => {
  await withDatabase(server.url, async (sql, another, url) => {
    await using _sink = await createPostgresSink({ url, table: "t", columns: COLUMNS });
    const [{ pid }] = await sql`SELECT pg_backend_pid() AS pid`;
    const other = await another();
    await other.unsafe("BEGIN; LOCK TABLE t");
    const copying = assert.rejects(copyIn(sql, STATEMENT, encoded(rowsOf(5_000))), { code: "CONNECTION_CLOSED" });
    await other.unsafe("SELECT pg_sleep(0.1)");
    await other`SELECT pg_terminate_backend(${pid})`;
    await copying;
    await other.unsafe("COMMIT");
  });
});

Deno.test("a COPY into a table that is gone rejects", async () => {
  await withDatabase(server.url, async (sql) => {
    await assert.rejects(copyIn(sql, STATEMENT, encoded(rowsOf(1))), { code: "42P01" });
  });
});

Deno.test("new rows are copied, rows already there upserted, and writes at the same time take turns", async () => {
  await withDatabase(server.url, async (sql, _another, url) => {
    await using sink = await createPostgresSink({ url, table: "t", columns: COLUMNS });
    const write = async (rows: ResultValue[][]) => await sink.write(resultRows(COLUMNS, rows), { epoch: 1, signal });
    await Promise.all([write(rowsOf(2_000)), write(rowsOf(2_000, 1, 2_000)), write(rowsOf(2_000, 2, 1_000))]);
    const rows = await readTable(sql, "t", COLUMNS);
    assert.equal(rows.length, 4_000);
    assert.equal(rows.filter((row) => row[5] === 2).length, 2_000);
  });
});

Deno.test("a pipeline of updates soon hardly tries to copy, and one of closed windows always does", () => {
  const tries = (chunks: number, collides: (chunk: number) => boolean) => {
    const policy = new CopyPolicy();
    let count = 0;
    for (let chunk = 0; chunk < chunks; chunk++) {
      if (!policy.worthTrying()) continue;
      count++;
      if (collides(chunk)) policy.collided();
      else policy.succeeded();
    }
    return count;
  };
  assert.equal(tries(1_000, () => false), 1_000);
  assert.equal(tries(10_000, () => true), 26);
  assert.equal(tries(1_000, (chunk) => chunk === 0), 1_000 - 4, "one collision after a restart costs four tries");
});
