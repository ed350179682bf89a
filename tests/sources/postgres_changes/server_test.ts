import assert from "node:assert/strict";
import type postgres from "postgres";
import { ConfigError, UnavailableError } from "../../../pipeline/errors.ts";
import { readPostmaster } from "../../../broker/postgres_postmaster.ts";
import { postgresClient } from "../../../pipeline/postgres_client.ts";
import { startTestPostgres } from "../../servers/postgres.ts";
import { startPostgres } from "../../sinks/postgres_server.ts";
import { dropSlots, testDatabase, whenFree } from "./database.ts";
import { type Fate, Topics } from "./topics.ts";

const TABLE = `CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1), (2, 2)`;

/** A server with settings of its own, and a client of it. */
async function serverWith(...settings: readonly string[]) {
  const server = await startPostgres({ settings });
  const sql = postgresClient(server.url, { max: 2 });
  return {
    url: server.url,
    sql,
    server,
    async [Symbol.asyncDispose]() {
      await sql.end();
      await server[Symbol.asyncDispose]();
    },
  };
}

const slotOf = async (sql: postgres.Sql, slot: string) =>
  (await sql`SELECT * FROM pg_replication_slots WHERE slot_name = ${slot}`)[0];

Deno.test("a server without logical decoding is told which setting it lacks, and nothing is made on it", async () => {
  await using database = await serverWith("wal_level=replica");
  const { sql, url } = database;
  await sql.unsafe(TABLE);
  await assert.rejects(new Topics(url, { tables: ["t"] }).run(), (error: Error) => {
    assert.ok(error instanceof ConfigError);
    assert.match(error.message, /has wal_level = replica: set wal_level = logical \(ALTER SYSTEM SET wal_level/);
    return true;
  });
  assert.equal((await sql`SELECT FROM pg_publication`).length, 0);
});

Deno.test("log that the server removed from under a slot is lost: told, never passed over, and read anew where that is wanted", async () => {
  await using database = await serverWith("max_slot_wal_keep_size=16MB", "max_wal_size=64MB", "min_wal_size=32MB");
  const { sql, url } = database;
  await sql.unsafe(`${TABLE}; CREATE TABLE busy (v text)`);
  const topics = new Topics(url, { tables: ["t"] });
  await topics.run();
  await sql`INSERT INTO t VALUES (3, 3)`;
  await sql`DELETE FROM t WHERE id = 1`;
  await whenFree(sql, "tailrace_shop");
  for (let i = 0; (await slotOf(sql, "tailrace_shop")).wal_status !== "lost"; i++) {
    assert.ok(i < 20, "the slot is lost");
    await sql`INSERT INTO busy SELECT repeat('x', 1000) FROM generate_series(1, 16000)`;
    await sql`SELECT pg_switch_wal()`;
    await sql`CHECKPOINT`;
  }
  const { lsn } = topics.position!;
  for (let tries = 0; tries < 2; tries++) {
    await assert.rejects(topics.run(), (error: Error) => {
      assert.ok(error instanceof ConfigError);
      assert.match(
        error.message,
        /slot tailrace_shop: changes since .* are lost: the server gave up the slot \(wal_rem/,
      );
      assert.match(error.message, /max_slot_wal_keep_size.*lostSlot: "snapshot"/);
      return true;
    });
    assert.equal(topics.position!.lsn, lsn);
  }
  const again = topics.with({ lostSlot: "snapshot" });
  await again.run();
  assert.match(again.logged.join("\n"), /are lost: .* All rows are read again/);
  await sql`INSERT INTO t VALUES (4, 4)`;
  await again.run();
  assert.deepEqual([...(await again.applied()).get("cdc.public.t")!.keys()], ['{"id":2}', '{"id":3}', '{"id":4}']);
  assert.equal((await slotOf(sql, "tailrace_shop")).wal_status, "reserved");
});

Deno.test("a slot that is lost while it is read stops the source, too", async () => {
  await using database = await serverWith("max_slot_wal_keep_size=16MB", "max_wal_size=64MB", "min_wal_size=32MB");
  const { sql, url } = database;
  await sql.unsafe(`${TABLE}; CREATE TABLE busy (v text)`);
  const topics = new Topics(url, { tables: ["t"] });
  await topics.run();
  let isHeld = true;
  // Kafka takes its time with a batch, and the server writes on.
  const running = topics.run({
    isBounded: false,
    fate: async (): Promise<Fate> => {
      while (isHeld) await new Promise((resolve) => setTimeout(resolve, 20));
      return "commit";
    },
  });
  running.catch(() => {});
  await sql`INSERT INTO t VALUES (3, 3)`;
  for (let i = 0; (await slotOf(sql, "tailrace_shop")).wal_status !== "lost"; i++) {
    assert.ok(i < 20, "the slot is lost");
    await sql`INSERT INTO busy SELECT repeat('x', 1000) FROM generate_series(1, 16000)`;
    await sql`SELECT pg_switch_wal()`;
    await sql`CHECKPOINT`;
  }
  isHeld = false;
  await assert.rejects(running, (error: Error) => error instanceof UnavailableError || error instanceof ConfigError);
  await assert.rejects(topics.run(), /ConfigError: slot tailrace_shop: changes since .* are lost: the server gave up/);
});

Deno.test("an idle table holds nothing back while another one writes 100 MB: the slot's oldest log moves on", async () => {
  await using database = await serverWith("max_wal_size=256MB");
  const { sql, url } = database;
  await sql.unsafe(`${TABLE}; CREATE TABLE busy (v text)`);
  const topics = new Topics(url, { tables: ["t"], heartbeat: "200ms" });
  await topics.run();
  const written = topics.records.length;
  const stop = new AbortController();
  const running = topics.run({ isBounded: false, signal: stop.signal }).catch((error) => {
    if (!stop.signal.aborted) throw error;
  });
  const heldBytes = async () => {
    const [{ held }] = await sql`SELECT (pg_current_wal_lsn() - restart_lsn)::bigint AS held
      FROM pg_replication_slots WHERE slot_name = 'tailrace_shop'`;
    return Number(held);
  };
  try {
    const [{ before }] = await sql`SELECT pg_current_wal_lsn()::text AS before`;
    for (let i = 0; i < 10; i++) await sql`INSERT INTO busy SELECT repeat('x', 1000) FROM generate_series(1, 10000)`;
    const [{ bytes }] = await sql`SELECT (pg_current_wal_lsn() - ${before}::pg_lsn)::bigint AS bytes`;
    assert.ok(Number(bytes) > 100e6, `${bytes} bytes were written`);
    for (const deadline = performance.now() + 90_000; await heldBytes() > 20e6;) {
      // The oldest log that is needed moves with the server's notes of the transactions under way, which it makes every 15 s.
      await sql`SELECT pg_log_standby_snapshot()`;
      assert.ok(performance.now() < deadline, `${await heldBytes()} bytes of log are held`);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  } finally {
    stop.abort();
    await running;
  }
  assert.equal(topics.records.length, written);
});

Deno.test("a server that is frozen, with its connection open, is given up after a silence, and goes on when it is back", async () => {
  await using database = await serverWith();
  const { sql, url } = database;
  await sql.unsafe(TABLE);
  const topics = new Topics(url, { tables: ["t"] });
  await topics.run();
  topics.bounds = { silentMaxMs: 5_000 };
  let failure: Error | null = null;
  const running = topics.run({ isBounded: false }).catch((error) => void (failure = error));
  await sql`INSERT INTO t VALUES (3, 3)`;
  while (topics.records.length < 3) await new Promise((resolve) => setTimeout(resolve, 20));
  // A server that has nothing to send answers when it is asked: that is no silence.
  await new Promise((resolve) => setTimeout(resolve, 8_000));
  assert.equal(failure, null);
  // Only now: earlier the slot may still have been held by the run before.
  const pid = (await slotOf(sql, "tailrace_shop")).active_pid!;
  Deno.kill(pid, "SIGSTOP");
  try {
    const began = performance.now();
    await running;
    assert.match(String(failure), /UnavailableError: PostgreSQL 127\.0\.0\.1:\d+\/postgres: nothing came for \d+ s/);
    assert.ok(performance.now() - began < 60_000);
  } finally {
    Deno.kill(pid, "SIGCONT");
  }
  await sql`INSERT INTO t VALUES (4, 4)`;
  await whenFree(sql, "tailrace_shop");
  topics.bounds = {};
  await topics.run();
  assert.deepEqual((await topics.read()).map(({ key }) => key), [1, 2, 3, 4].map((id) => `{"id":${id}}`));
  await dropSlots(sql);
});

Deno.test("a server that freezes while its rows are read is given up, and they are read on when it is back", async () => {
  await using server = await startTestPostgres();
  await using database = await testDatabase(server);
  const { sql, url, slot } = database;
  const rows = 30_000;
  await sql`CREATE TABLE t (id int PRIMARY KEY, v text)`;
  await sql`INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, ${rows}::int) i`;
  const topics = new Topics(url, { tables: ["t"], slot });
  topics.bounds = { silentMaxMs: 500, batchRecords: 1_000 };
  const postmaster = (await readPostmaster(server.cluster))!.pid;
  let frozen: number[] = [];
  const fate = async (): Promise<Fate> => {
    if (frozen.length > 0) return "commit";
    const [{ pid }] =
      await sql`SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT "id", "v" FROM%' AND pid <> pg_backend_pid()`;
    frozen = [postmaster, pid];
    for (const one of frozen) Deno.kill(one, "SIGSTOP");
    return "commit";
  };
  try {
    await assert.rejects(topics.run({ fate }), (error: Error) => {
      assert.ok(error instanceof UnavailableError, `${error}`);
      assert.match(error.message, /no answer within 2 s/);
      return true;
    });
  } finally {
    for (const one of frozen) Deno.kill(one, "SIGCONT");
  }
  const before = topics.records.length;
  assert.ok(before > 0 && before < rows, `${before} rows came before`);
  topics.bounds = { batchRecords: 1_000 };
  await topics.run();
  assert.deepEqual(
    (await topics.read()).map(({ value }) => `${value!.op}${value!.after!.id}`),
    Array.from({ length: rows }, (_, i) => `r${i + 1}`),
  );
});
