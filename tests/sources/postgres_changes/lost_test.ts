import assert from "node:assert/strict";
import { startRegistry } from "../../../broker/registry/mod.ts";
import { ConfigError, UnavailableError } from "../../../pipeline/errors.ts";
import { createRegistryClient } from "../../../pipeline/log/registry_client.ts";
import { parseLsn } from "../../../pipeline/sources/postgres_changes/lsn.ts";
import { startPostgres } from "../../sinks/postgres_server.ts";
import { startTestPostgres } from "../../servers/postgres.ts";
import { borrowPostgres, dropSlots, testDatabase, whenFree } from "./database.ts";
import { Topics } from "./topics.ts";

const TABLE = `CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1), (2, 2)`;

Deno.test("a slot that is gone, or that somebody else read from, stops the source until its definition says otherwise", async () => {
  await using server = await borrowPostgres();
  await using database = await testDatabase(server);
  const { sql, url, slot } = database;
  await sql.unsafe(TABLE);
  const topics = new Topics(url, { tables: ["t"], slot });
  await topics.run();
  await sql`INSERT INTO t VALUES (3, 3)`;
  await whenFree(sql, slot);
  await sql`SELECT pg_replication_slot_advance(${slot}, pg_current_wal_lsn())`;
  await assert.rejects(topics.run(), (error: Error) => {
    assert.ok(error instanceof ConfigError);
    assert.match(
      error.message,
      /slot .*: changes since .* are lost: somebody else read from the slot, up to .*lostSlot/,
    );
    return true;
  });
  await dropSlots(sql);
  await sql`DELETE FROM t WHERE id = 1`;
  await assert.rejects(topics.run(), /changes since .* are lost: the slot is gone/);
  const before = topics.records.length;
  const again = topics.with({ lostSlot: "snapshot" });
  await again.run();
  await sql`INSERT INTO t VALUES (4, 4)`;
  await again.run();
  assert.deepEqual((await again.read()).slice(before).map(({ key, value }) => `${value!.op} ${key}`), [
    "t {}",
    'r {"id":2}',
    'r {"id":3}',
    'c {"id":4}',
  ]);
  assert.deepEqual([...(await again.applied()).get("cdc.public.t")!.keys()], ['{"id":2}', '{"id":3}', '{"id":4}']);
});

Deno.test("a publication that was dropped and made again is noticed: it published nothing meanwhile", async () => {
  await using server = await borrowPostgres();
  await using database = await testDatabase(server);
  const { sql, url, slot } = database;
  await sql.unsafe(TABLE);
  const topics = new Topics(url, { tables: ["t"], slot });
  await topics.run();
  await sql.unsafe(`DROP PUBLICATION tailrace_shop`);
  await sql.unsafe(`CREATE PUBLICATION tailrace_shop FOR TABLE t`);
  await assert.rejects(topics.run(), /publication tailrace_shop was dropped, and published nothing then/);
});

Deno.test("what a person has to set is said all at once, and never with a password", async () => {
  await using server = await borrowPostgres();
  await using database = await testDatabase(server);
  const { sql, url, slot } = database;
  await sql.unsafe(`CREATE TABLE keyless (v int); CREATE TABLE blind (id int PRIMARY KEY);
    ALTER TABLE blind REPLICA IDENTITY NOTHING; ${TABLE}; CREATE PUBLICATION mine FOR TABLE blind`);
  await assert.rejects(
    new Topics(url, { tables: ["keyless", "blind", "t", "nowhere"], slot }).run(),
    (error: Error) => {
      assert.ok(error instanceof ConfigError);
      assert.deepEqual(error.faults.map(({ where }) => where), [
        "table public.keyless",
        "table public.blind",
        "table public.nowhere",
      ]);
      return true;
    },
  );
  await assert.rejects(
    new Topics(url, { tables: ["t"], slot, publication: "mine" }).run(),
    /publication mine: lacks tables: ALTER PUBLICATION "mine" ADD TABLE "public"."t"/,
  );
  const wrong = new URL(url);
  wrong.password = "not-the-one";
  await assert.rejects(new Topics(wrong.href, { tables: ["t"], slot }).run(), (error: Error) => {
    assert.ok(error instanceof ConfigError);
    assert.match(error.message, /PostgreSQL .*password authentication failed.*check user and password/);
    assert.ok(!error.message.includes("not-the-one"));
    return true;
  });
  await sql.unsafe(`CREATE ROLE poor_${slot} LOGIN PASSWORD 'secret-of-the-poor'`);
  try {
    const poor = new URL(url);
    poor.username = `poor_${slot}`;
    poor.password = "secret-of-the-poor";
    await assert.rejects(new Topics(poor.href, { tables: ["t"], slot }).run(), /ConfigError: .*REPLICATION/);
  } finally {
    await sql.unsafe(`DROP ROLE poor_${slot}`);
  }
});

Deno.test("a change of a column's type that readers cannot follow stops with what to do, and goes on once it is allowed", async () => {
  await using server = await borrowPostgres();
  await using database = await testDatabase(server);
  const folder = await Deno.makeTempDir();
  await using registry = await startRegistry({ host: "127.0.0.1", port: 0, dataDir: folder });
  const { sql, url, slot } = database;
  await sql.unsafe(TABLE);
  const topics = new Topics(url, { tables: ["t"], slot }, { registry: createRegistryClient({ url: registry.url }) });
  await topics.run();
  await sql.unsafe(`ALTER TABLE t ALTER v TYPE text; INSERT INTO t VALUES (3, 'three')`);
  await assert.rejects(
    topics.run(),
    /ConfigError: table public.t: its columns changed .*PUT \/config\/cdc.public.t-value/,
  );
  const allowed = await fetch(`${registry.url}/config/cdc.public.t-value`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ compatibility: "NONE" }),
  });
  assert.equal(allowed.status, 200, await allowed.text());
  await topics.run();
  assert.deepEqual((await topics.read()).at(-1)!.value!.after, { id: 3, v: "three" });
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a table that is not written does not hold the log: the slot moves with what others write", async () => {
  await using server = await borrowPostgres();
  await using database = await testDatabase(server);
  const { sql, url, slot } = database;
  await sql.unsafe(`${TABLE}; CREATE TABLE busy (v text)`);
  const topics = new Topics(url, { tables: ["t"], slot, heartbeat: "100ms" });
  await topics.run();
  const written = topics.records.length;
  const confirmed = async () => {
    const [row] =
      await sql`SELECT confirmed_flush_lsn::text AS lsn FROM pg_replication_slots WHERE slot_name = ${slot}`;
    return parseLsn(row.lsn);
  };
  const stop = new AbortController();
  const running = topics.run({ isBounded: false, signal: stop.signal }).catch((error) => {
    if (!stop.signal.aborted) throw error;
  });
  try {
    await sql`INSERT INTO busy SELECT repeat('x', 1000) FROM generate_series(1, 3000)`;
    const [{ lsn }] = await sql`SELECT pg_current_wal_lsn()::text AS lsn`;
    for (const deadline = performance.now() + 60_000; await confirmed() < parseLsn(lsn);) {
      assert.ok(performance.now() < deadline, "the slot moves");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    // What is confirmed was committed before: a slot ahead of the position would look like one that somebody else moved.
    assert.ok(await confirmed() <= parseLsn(topics.position!.lsn));
  } finally {
    stop.abort();
    await running;
  }
  assert.equal(topics.records.length, written);
  await topics.run();
});

Deno.test("a transaction of 100,000 changes comes in pieces, and a resend goes on inside it", async () => {
  await using server = await borrowPostgres();
  await using database = await testDatabase(server);
  const { sql, url, slot } = database;
  await sql.unsafe(`CREATE TABLE t (id int PRIMARY KEY, v text)`);
  const topics = new Topics(url, { tables: ["t"], slot });
  await topics.run();
  await sql`INSERT INTO t SELECT i, 'value ' || i FROM generate_series(1, 100000) i`;
  await sql`INSERT INTO t VALUES (0, 'after')`;
  let batches = 0;
  await topics.run({ fate: () => ++batches < 5 ? "commit" : "commit untold" });
  const { partial } = topics.position!;
  assert.ok(partial !== null && partial.changes > 0 && partial.changes < 100_000, JSON.stringify(partial));
  await topics.run();
  const ids = (await topics.read()).map(({ value }) => value!.after!.id);
  assert.deepEqual(ids, [...Array.from({ length: 100_000 }, (_, i) => i + 1), 0]);
  assert.ok(topics.batches.every(({ records }) => records <= 8_192));
});

Deno.test("a server that dies is an outage, and what was written before and after it comes once", async () => {
  await using server = await startTestPostgres();
  await using database = await testDatabase(server);
  const { sql, url, slot } = database;
  await sql.unsafe(TABLE);
  const topics = new Topics(url, { tables: ["t"], slot });
  await topics.run();
  await sql`INSERT INTO t VALUES (3, 3)`;
  const running = assert.rejects(topics.run({ isBounded: false }), UnavailableError);
  while (topics.records.length < 3) await new Promise((resolve) => setTimeout(resolve, 20));
  await server.down({ kill: true });
  await running;
  await assert.rejects(topics.run(), UnavailableError);
  await server.up();
  await sql`INSERT INTO t VALUES (4, 4)`;
  await topics.run();
  assert.deepEqual((await topics.read()).map(({ key }) => key), [1, 2, 3, 4].map((id) => `{"id":${id}}`));
});

Deno.test("a slot that the server gave up is told with the server's reason", async () => {
  await using server = await startTestPostgres();
  await using database = await testDatabase(server);
  const { sql, url, slot } = database;
  await sql.unsafe(TABLE);
  const topics = new Topics(url, { tables: ["t"], slot });
  await topics.run();
  await whenFree(sql, slot);
  await sql`ALTER SYSTEM SET idle_replication_slot_timeout = '1s'`;
  await sql`SELECT pg_reload_conf()`;
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  await sql`INSERT INTO t VALUES (3, 3)`;
  await sql`CHECKPOINT`;
  await assert.rejects(
    topics.run(),
    /ConfigError: slot .*changes since .* are lost: the server gave up the slot \(idle_timeout\)/,
  );
  await topics.with({ lostSlot: "snapshot" }).run();
});

Deno.test("a server that is shut down waits for no reader", async () => {
  // pg_ctl asks once, without a harder way after a while, and gives up when the server waits on and on for the reader.
  await using server = await startPostgres({ settings: ["wal_sender_timeout=0"] });
  await using database = await testDatabase({ ...server, database: () => Promise.resolve(server.url) });
  const { sql, url, slot } = database;
  await sql.unsafe(`${TABLE}; CREATE TABLE busy (v text)`);
  const topics = new Topics(url, { tables: ["t"], slot, heartbeat: "1h" });
  await topics.run();
  const running = assert.rejects(topics.run({ isBounded: false }), UnavailableError);
  await sql`INSERT INTO busy SELECT repeat('x', 1000) FROM generate_series(1, 1000)`;
  await new Promise((resolve) => setTimeout(resolve, 300));
  await server.stop("fast");
  await running;
  await server.start();
});
