import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import type { ResultColumn } from "../../pipeline/plan/plan.ts";
import { ConfigError } from "../../pipeline/errors.ts";
import { CassandraSession } from "../../pipeline/sinks/cassandra/session.ts";
import { createCassandraSink } from "../../pipeline/sinks/cassandra/sink.ts";
import { untilAvailable } from "../../pipeline/sinks/retry.ts";
import { RejectedRowsError } from "../../pipeline/sinks/sink.ts";
import { borrowCassandra, type BorrowedCassandra, whyNoCassandra } from "../servers/cassandra.ts";
import { KEYSPACE, optionsFor, readTable, withCassandra } from "../sinks/cassandra_subject.ts";
import { column, USER_COLUMNS, userRows, usersOf } from "../sinks/cassandra_rows.ts";

const MIGRATIONS = fileURLToPath(new URL("../../migrations/cassandra", import.meta.url));
const options = () => ({ epoch: 1, signal: new AbortController().signal });

const why = await whyNoCassandra();
if (why !== null) console.log(`Tables of Cassandra are not tested: ${why}`);
else {
  let server: BorrowedCassandra;
  Deno.test.beforeAll(async () => {
    server = await borrowCassandra();
  });
  Deno.test.afterAll(async () => await server[Symbol.asyncDispose]());
  const cql = (statement: string) => withCassandra(server.address, (client) => client.execute(statement));

  Deno.test("a replay of a delivery changes nothing, whatever is newer: a value, a null or that there is none any more", async () => {
    await using session = new CassandraSession({ options: optionsFor(server.address) });
    await using sink = await createCassandraSink({ session, table: "replayed", columns: USER_COLUMNS });
    const history = [
      { id: "a", name: "first", offset: 0 },
      { id: "b", name: "first", offset: 1 },
      { id: "c", name: "first", offset: 2 },
      { id: "d", name: "first", offset: 3 },
      { id: "a", name: "second", offset: 4 },
      { id: "b", name: null, offset: 5 },
      { id: "c", isGone: true as const, offset: 6 },
      { id: "d", isGone: true as const, offset: 7 },
      { id: "d", name: "back", offset: 8 },
    ];
    const expected = new Map([["a", "second"], ["b", null], ["d", "back"]]);
    await sink.write(userRows(history), options());
    assert.deepEqual(await usersOf(server.address, "replayed"), expected);
    for (const user of history) await sink.write(userRows([user]), options());
    await sink.write(userRows(history.slice(0, 4)), options());
    assert.deepEqual(await usersOf(server.address, "replayed"), expected);
  });

  Deno.test("rows that Cassandra can never take are told one by one, and all others are there", async () => {
    await using session = new CassandraSession({ options: optionsFor(server.address) });
    await using sink = await createCassandraSink({ session, table: "refusing", columns: USER_COLUMNS });
    const many = Array.from({ length: 100 }, (_, index) => ({ id: `user-${index}`, name: "fits", offset: index }));
    const users = [
      ...many,
      { id: "", name: "without a key", offset: 100 },
      { id: "x".repeat(70_000), name: "a long key", offset: 101 },
      { id: "large", photo: new Uint8Array(10 * 2 ** 20), offset: 102 },
      { id: "last", name: "fits", offset: 103 },
    ];
    const error = await sink.write(userRows(users), options()).then(() => null, (error) => error);
    assert.ok(error instanceof RejectedRowsError, String(error));
    assert.deepEqual(error.rows.map(({ row }) => row), [100, 101, 102]);
    assert.match(error.rows[0].reason, /user_id is empty/);
    assert.match(error.rows[1].reason, /user_id is 70000 bytes long/);
    assert.match(error.rows[2].reason, /Cassandra refuses the row: .*(large|oversized)/i);
    assert.equal((await usersOf(server.address, "refusing")).size, 101);
  });

  Deno.test("of processes that start at once one applies the migrations, and all find the tables", async () => {
    const keyspace = "migrated";
    const applied: string[] = [];
    await Promise.all(Array.from({ length: 4 }, async () => {
      await using session = new CassandraSession({
        options: optionsFor(server.address, { keyspace }),
        migrations: MIGRATIONS,
        log: (_level, message) => applied.push(message),
      });
      await untilAvailable(() => session.client(), options());
    }));
    assert.equal(applied.filter((message) => message.includes("0001_user_profiles.cql")).length, 1, applied.join());
    const { rows } = await cql(`SELECT user_id FROM ${keyspace}.user_profiles`);
    assert.deepEqual(rows, []);
  });

  Deno.test("a migration that was edited, and one that Cassandra refuses, are told with their file", async () => {
    const folder = await Deno.makeTempDir();
    try {
      const keyspace = "edited";
      const start = async () => {
        await using session = new CassandraSession({
          options: optionsFor(server.address, { keyspace }),
          migrations: folder,
        });
        await session.client();
      };
      await Deno.writeTextFile(`${folder}/0001_a.cql`, "CREATE TABLE IF NOT EXISTS a (k int PRIMARY KEY);");
      await start();
      await Deno.writeTextFile(`${folder}/0001_a.cql`, "CREATE TABLE IF NOT EXISTS a (k text PRIMARY KEY);");
      await assert.rejects(start(), isConfigError(/0001_a.cql: was edited after it was applied/));
      await Deno.writeTextFile(`${folder}/0001_a.cql`, "CREATE TABLE IF NOT EXISTS a (k int PRIMARY KEY);");
      await Deno.writeTextFile(
        `${folder}/0002_b.cql`,
        "-- two\nALTER TABLE a ADD IF NOT EXISTS v int; ALTER TABLE b ADD v int",
      );
      await assert.rejects(start(), isConfigError(/0002_b.cql: Cassandra refuses statement 2: /));
      await Deno.writeTextFile(`${folder}/0002_b.cql`, "ALTER TABLE a ADD IF NOT EXISTS v int");
      await start();
      await Deno.remove(`${folder}/0002_b.cql`);
      await assert.rejects(start(), isConfigError(/0002_b.cql: was applied to this keyspace and is not here/));
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });

  Deno.test("a table whose columns do not fit is told with the statements that mend it, all at once", async () => {
    await using session = new CassandraSession({ options: optionsFor(server.address) });
    await session.client();
    const open = async (table: string, columns = USER_COLUMNS) => {
      await using sink = await createCassandraSink({ session, table, columns });
      return sink.name;
    };
    const origin = "kafka_partition int, kafka_offset bigint, kafka_timestamp timestamp";
    await cql(`CREATE TABLE ${KEYSPACE}.wrong (user_id text PRIMARY KEY, name int, ${origin})`);
    const error = await open("wrong").then(() => null, (error) => error);
    assert.ok(error instanceof ConfigError, String(error));
    assert.deepEqual(error.faults.map(({ where }) => where), ["tests.wrong.name", "tests.wrong.photo"]);
    assert.match(error.faults[0].problem, /is int, which does not hold string; wanted text\. Drop the table/i);
    assert.match(error.faults[1].problem, /missing\. ALTER TABLE "tests"\."wrong" ADD "photo" blob/);
    await cql(error.faults[1].problem.slice(error.faults[1].problem.indexOf("ALTER")));
    await cql(`DROP TABLE ${KEYSPACE}.wrong`);
    await cql(error.faults[0].problem.slice(error.faults[0].problem.indexOf("CREATE")));
    assert.equal(await open("wrong"), "cassandra:tests.wrong");

    await cql(
      `CREATE TABLE ${KEYSPACE}.more (user_id text, name text, photo blob, ${origin}, PRIMARY KEY (user_id, name))`,
    );
    await assert.rejects(open("more"), isConfigError(/the primary key has name, so that one row would be several/));
    await cql(
      `CREATE TABLE ${KEYSPACE}.less (user_id text, name text, photo blob, ${origin}, PRIMARY KEY (kafka_offset))`,
    );
    await assert.rejects(open("less"), isConfigError(/has to have user_id, or different rows would be one/));
  });

  Deno.test("a table may part its rows as it likes, and have columns of its own", async () => {
    await using session = new CassandraSession({ options: optionsFor(server.address) });
    await session.client();
    const columns: ResultColumn[] = [column("user_id", "string", "key"), ...USER_COLUMNS.slice(1)];
    await cql(
      `CREATE TABLE ${KEYSPACE}.parted (user_id text PRIMARY KEY, name text, photo blob, kafka_partition int, ` +
        `kafka_offset bigint, kafka_timestamp bigint, note text)`,
    );
    await cql(`INSERT INTO ${KEYSPACE}.parted (user_id, note) VALUES ('a', 'theirs')`);
    await using sink = await createCassandraSink({ session, table: "parted", columns });
    await sink.write(userRows([{ id: "a", name: "ours", offset: 3 }]), options());
    const { rows } = await cql(`SELECT name, note, kafka_timestamp FROM ${KEYSPACE}.parted`);
    const [row] = rows;
    assert.deepEqual([row.get("name"), row.get("note"), Number(row.get("kafka_timestamp"))], [
      "ours",
      "theirs",
      1_780_000_000_003,
    ]);
  });

  Deno.test("records without a key are each there once, in partitions that do not grow for ever, without tombstones", async () => {
    await using session = new CassandraSession({ options: optionsFor(server.address) });
    const columns = [column("user_id", "string"), ...USER_COLUMNS.slice(1)];
    await using sink = await createCassandraSink({ session, table: "records", columns });
    const rows = userRows([{ id: "a", name: null, offset: 9_999 }, { id: "a", name: "n", offset: 10_000 }], columns);
    await sink.write(rows, options());
    await sink.write(rows, options());
    const found = await withCassandra(server.address, (client) => readTable(client, `${KEYSPACE}.records`, columns));
    assert.deepEqual(found.map(([id, name]) => [id, name]).sort(), [["a", "n"], ["a", null]].sort());
    const blocks = await cql(`SELECT DISTINCT kafka_partition, offset_block FROM ${KEYSPACE}.records`);
    assert.deepEqual(blocks.rows.map((row) => Number(row.get("offset_block"))).sort(), [0, 1]);
    // A null that was written is a cell with a time of its own in its stead; one that was not has none.
    const json = await cql(`SELECT name, writetime(name) AS at FROM ${KEYSPACE}.records`);
    assert.deepEqual(json.rows.map((row) => row.get("at")?.toString() ?? null).sort(), ["20000", null].sort());
  });

  Deno.test("rows with a time to live vanish", async () => {
    await using session = new CassandraSession({ options: optionsFor(server.address) });
    await using sink = await createCassandraSink({ session, table: "brief", columns: USER_COLUMNS, ttlSeconds: 1 });
    await sink.write(userRows([{ id: "a", name: "n", offset: 0 }]), options());
    await new Promise((resolve) => setTimeout(resolve, 2_100));
    assert.equal((await usersOf(server.address, "brief")).size, 0);
  });
}

function isConfigError(message: RegExp): (error: Error) => boolean {
  return (error) => {
    assert.ok(error instanceof ConfigError, String(error));
    assert.match(error.message, message);
    return true;
  };
}
