import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import type postgres from "postgres";
import { ConfigError, ConflictError, UnavailableError } from "../../pipeline/errors.ts";
import type { LedgerEntry } from "../../pipeline/ledger.ts";
import { migrate } from "../../pipeline/sinks/migrate.ts";
import { claimOwnership, raiseGeneration, readGeneration } from "../../pipeline/sinks/ownership.ts";
import { createPostgresSink } from "../../pipeline/sinks/postgres.ts";
import { writeLedger } from "../../pipeline/sinks/postgres_ledger.ts";
import type { ResultValue } from "../../pipeline/sinks/sink.ts";
import { COLUMNS, resultRows } from "../contracts/sink_contract.ts";
import { type PostgresServer, startPostgres } from "./postgres_server.ts";
import { readTable, withDatabase } from "./postgres_subject.ts";

const MIGRATIONS = fileURLToPath(new URL("../../migrations", import.meta.url));
const START = Date.UTC(2026, 0, 1);
const signal = new AbortController().signal;

let server: PostgresServer;
Deno.test.beforeAll(async () => {
  server = await startPostgres();
});
Deno.test.afterAll(async () => await server[Symbol.asyncDispose]());

function withTables(
  use: (sql: postgres.Sql, another: () => Promise<postgres.Sql>, url: string) => Promise<void>,
): Promise<void> {
  return withDatabase(server.url, async (sql, another, url) => {
    await migrate(sql, MIGRATIONS);
    await use(sql, another, url);
  });
}

function rowsOf(count: number, revision = 1): ResultValue[][] {
  return Array.from({ length: count }, (_, n) => [`a${n}`, 1, START, START + 60_000, "1.00", revision, true]);
}

const entry: LedgerEntry = {
  partition: 0,
  start: 10,
  position: 110,
  consumed: 105,
  aggregated: 60,
  filtered: 20,
  late: 10,
  dead: 7,
  duplicate: 3,
  inFlight: 5,
};

Deno.test("each claim gets the next token, pipelines apart, and the row tells who took over and when", async () => {
  await withTables(async (sql) => {
    const claim = async (pipeline: string, process: string) => (await claimOwnership(sql, { pipeline, process })).token;
    assert.deepEqual([await claim("p", "one:1"), await claim("p", "two:2"), await claim("it's", "one:1")], [1, 2, 1]);
    const rows = await sql`SELECT pipeline, token::int, process, now() - since < '1 minute' AS recent
      FROM tailrace.owners ORDER BY pipeline`;
    assert.deepEqual([...rows], [
      { pipeline: "it's", token: 1, process: "one:1", recent: true },
      { pipeline: "p", token: 2, process: "two:2", recent: true },
    ]);
  });
});

Deno.test("processes that claim at the same time get different tokens, and one is left the owner", async () => {
  await withTables(async (sql, another) => {
    const clients = await Promise.all(Array.from({ length: 5 }, () => another()));
    const claims = await Promise.all(
      clients.map((client, n) => claimOwnership(client, { pipeline: "p", process: `host:${n}` })),
    );
    assert.deepEqual(claims.map(({ token }) => token).sort(), [1, 2, 3, 4, 5]);
    const newest = claims.findIndex(({ token }) => token === 5);
    assert.equal((await sql`SELECT process FROM tailrace.owners`)[0].process, `host:${newest}`);
  });
});

Deno.test("who is refused is told which process took over, and since when", async () => {
  await withTables(async (sql, _another, url) => {
    const { token } = await claimOwnership(sql, { pipeline: "p", process: "old:1" });
    await using sink = await createPostgresSink({ url, table: "t", columns: COLUMNS, fence: { pipeline: "p", token } });
    await claimOwnership(sql, { pipeline: "p", process: "new:2" });
    const refused = (error: Error) => {
      assert.ok(error instanceof ConflictError, String(error));
      assert.match(
        error.message,
        /^another process \(new:2, since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\) runs pipeline p now$/,
      );
      return true;
    };
    const write = (count: number) => sink.write(resultRows(COLUMNS, rowsOf(count)), { epoch: 1, signal });
    await assert.rejects(sink.resume(null, { signal }), refused);
    await assert.rejects(write(1), refused);
    await assert.rejects(write(20_000), refused);
    await assert.rejects(writeLedger(sql, { pipeline: "p", token, topic: "t", entries: [entry] }), refused);
    assert.deepEqual(await readTable(sql, "t", COLUMNS), []);
    assert.deepEqual([...await sql`SELECT * FROM tailrace.ledger`], []);
    await sql`DELETE FROM tailrace.owners`;
    await assert.rejects(write(1), /owner of pipeline p was deleted/);
  });
});

Deno.test("without the migrations a fence is a fault of the setting, not of a value", async () => {
  await withDatabase(server.url, async (_sql, _another, url) => {
    await using sink = await createPostgresSink({
      ...{ url, table: "t", columns: COLUMNS, fence: { pipeline: "p", token: 1 } },
    });
    await assert.rejects(sink.resume(null, { signal }), ConfigError);
  });
});

for (const count of [1, 2_000]) {
  Deno.test(`a claim waits for a write of ${count} rows that is under way, which then stands`, async () => {
    await withTables(async (sql, another, url) => {
      const fence = { pipeline: "p", ...await claimOwnership(sql, { pipeline: "p", process: "old:1" }) };
      await using sink = await createPostgresSink({ url, table: "t", columns: COLUMNS, fence });
      // A row that may yet be there: the write waits until that is decided.
      const blocker = await another();
      await blocker.unsafe(`BEGIN; INSERT INTO t (account, shard, window_start, window_end, total, revision, final)
        VALUES ('a0', 1, to_timestamp(${START / 1000}), now(), 0, 1, false)`);
      const writing = sink.write(resultRows(COLUMNS, rowsOf(count)), { epoch: 1, signal });
      await untilTrue(sql, "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'");
      let claimed = false;
      const claimer = await another();
      const claiming = claimOwnership(claimer, { pipeline: "p", process: "new:2", stuckMs: 200 })
        .then(() => claimed = true);
      await untilTrue(sql, "SELECT count(*) = 2 FROM pg_stat_activity WHERE wait_event_type = 'Lock'");
      // It has looked meanwhile whether the write is stuck, and left it alone.
      await new Promise((resolve) => setTimeout(resolve, 500));
      assert.equal(claimed, false);
      await blocker.unsafe("ROLLBACK");
      await Promise.all([writing, claiming]);
      assert.equal((await readTable(sql, "t", COLUMNS)).length, count);
      await assert.rejects(sink.resume(null, { signal }), ConflictError);
    });
  });
}

Deno.test("a process that freezes in the middle of a COPY does not hold the next one up, and its rows never show", async () => {
  await withTables(async (sql, another, url) => {
    const { token } = await claimOwnership(sql, { pipeline: "p", process: "frozen:1" });
    await using next = await createPostgresSink({ url, table: "t", columns: COLUMNS });
    // All of the message is sent, and nothing of what it is to copy.
    const frozen = await another();
    const stream = await frozen.unsafe(
      `SELECT tailrace.hold_ownership('p', ${token}); COPY t FROM STDIN (FORMAT binary)`,
    ).writable();
    stream.on("error", () => {});
    const began = performance.now();
    const claimed = await claimOwnership(await another(), { pipeline: "p", process: "next:2", stuckMs: 300 });
    assert.equal(claimed.token, token + 1);
    assert.ok(performance.now() - began < 30_000);
    await next.write(resultRows(COLUMNS, rowsOf(3)), { epoch: 1, signal });
    assert.deepEqual(await readTable(sql, "t", COLUMNS), rowsOf(3));
  });
});

Deno.test("a claim does not end connections that write for others, or work", async () => {
  await withTables(async (sql, another) => {
    const { token } = await claimOwnership(sql, { pipeline: "p", process: "busy:1" });
    const busy = await another();
    const working = busy.unsafe(`SELECT tailrace.hold_ownership('p', ${token}); SELECT pg_sleep(1.5)`);
    working.catch(() => {});
    await untilTrue(sql, "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
    await claimOwnership(await another(), { pipeline: "p", process: "next:2", stuckMs: 200 });
    await working;
  });
});

Deno.test("a claim of a server that is away says so", async () => {
  await withTables(async (sql, another) => {
    const other = await another();
    const [{ pid }] = await sql`SELECT pg_backend_pid() AS pid`;
    await other.unsafe("BEGIN; LOCK TABLE tailrace.owners");
    const claiming = assert.rejects(claimOwnership(sql, { pipeline: "p", process: "one:1" }), UnavailableError);
    await untilTrue(other, "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'relation'");
    await other`SELECT pg_terminate_backend(${pid})`;
    await claiming;
    await other.unsafe("COMMIT");
  });
});

Deno.test("a generation begins at 0 and only grows, whoever owns the pipeline", async () => {
  await withTables(async (sql) => {
    assert.equal(await readGeneration(sql, "p"), 0);
    assert.equal(await raiseGeneration(sql, { pipeline: "p" }), 1);
    assert.equal(await raiseGeneration(sql, { pipeline: "p" }), 2);
    assert.equal((await claimOwnership(sql, { pipeline: "p", process: "one:1" })).generation, 2);
    assert.equal(await raiseGeneration(sql, { pipeline: "p", above: 7 }), 8);
    assert.equal(await raiseGeneration(sql, { pipeline: "p", above: 3 }), 9);
    assert.equal(await readGeneration(sql, "p"), 9);
    assert.equal(await readGeneration(sql, "other"), 0);
    assert.equal(await raiseGeneration(sql, { pipeline: "other", above: 4 }), 5);
  });
});

Deno.test("the ledger is written for all partitions at once, replaces, and adds up without what is in flight", async () => {
  await withTables(async (sql) => {
    const { token } = await claimOwnership(sql, { pipeline: "p", process: "one:1" });
    const write = (entries: LedgerEntry[]) => writeLedger(sql, { pipeline: "p", token, topic: "clicks", entries });
    const ledger = async () =>
      (await sql.unsafe(
        `SELECT pipeline, topic, partition, start_offset, position, consumed, aggregated, filtered, late,
        dead, duplicate, difference, now() - committed_at < '1 minute' FROM tailrace.ledger ORDER BY partition`,
      ).values())
        .map((row) => row.map(String).join(" "));
    await write([]);
    await write([entry, { ...entry, partition: 1, inFlight: 0, consumed: 100, position: 9_007_199_254_740_991 }]);
    assert.deepEqual(await ledger(), [
      "p clicks 0 10 110 100 60 20 10 7 3 0 true",
      "p clicks 1 10 9007199254740991 100 60 20 10 7 3 0 true",
    ]);
    await write([{ ...entry, position: 120, aggregated: 70, consumed: 111, inFlight: 1 }]);
    assert.equal((await ledger())[0], "p clicks 0 10 120 110 70 20 10 7 3 0 true");
    // The view tells of one that does not add up; it hides nothing.
    await write([{ ...entry, aggregated: 50 }]);
    assert.equal((await ledger())[0], "p clicks 0 10 110 100 50 20 10 7 3 10 true");
  });
});

Deno.test("everything the migrations make says what it is", async () => {
  await withTables(async (sql) => {
    const silent = await sql`
      SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'tailrace'::regnamespace AND c.relkind IN ('r', 'v')
        AND obj_description(c.oid, 'pg_class') IS NULL`;
    assert.deepEqual([...silent], []);
  });
});

async function untilTrue(sql: postgres.Sql, question: string): Promise<void> {
  for (let i = 0; i < 500; i++) {
    const [[isTrue]] = await sql.unsafe(question).values();
    if (isTrue) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`never true: ${question}`);
}
