import assert from "node:assert/strict";
import { ConfigError, UnavailableError } from "../../../pipeline/errors.ts";
import { borrowPostgres, rowsOf, testDatabase } from "./database.ts";
import type { TestPostgres } from "../../servers/postgres.ts";
import { Topics } from "./topics.ts";

let server: TestPostgres;
Deno.test.beforeAll(async () => void (server = await borrowPostgres()));
Deno.test.afterAll(async () => await server[Symbol.asyncDispose]());

const PARTED = `
  CREATE TABLE orders (id int, region text, v text, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
  CREATE TABLE orders_north PARTITION OF orders FOR VALUES IN ('north');
  CREATE TABLE orders_south PARTITION OF orders FOR VALUES IN ('south') PARTITION BY RANGE (id);
  CREATE TABLE orders_south_1 PARTITION OF orders_south FOR VALUES FROM (0) TO (100);
  INSERT INTO orders SELECT i, CASE WHEN i % 2 = 0 THEN 'north' ELSE 'south' END, 'first' FROM generate_series(1, 90) i`;

Deno.test("a partitioned table is one table, however its rows move between partitions and whatever partitions come", async () => {
  await using database = await testDatabase(server);
  const { sql, url, slot } = database;
  await sql.unsafe(PARTED);
  const topics = new Topics(url, { tables: ["orders"], slot });
  // Some while its rows are read for the first time.
  topics.bounds = { batchRecords: 20 };
  let batches = 0;
  await topics.run({ fate: () => ++batches < 3 ? "commit" : "lose" });
  await sql.unsafe(`UPDATE orders SET v = 'second' WHERE id % 3 = 0; DELETE FROM orders WHERE id % 10 = 0`);
  await topics.run();
  await sql.unsafe(`
    UPDATE orders SET region = 'south' WHERE id IN (2, 4);
    CREATE TABLE orders_west PARTITION OF orders FOR VALUES IN ('west');
    CREATE TABLE orders_south_2 PARTITION OF orders_south FOR VALUES FROM (100) TO (200);
    INSERT INTO orders VALUES (1, 'west', 'new'), (150, 'south', 'new');
    DELETE FROM orders WHERE id = 6`);
  await topics.run();
  const applied = await topics.applied();
  assert.deepEqual([...applied.keys()], ["cdc.public.orders"]);
  const rows = await rowsOf(
    sql,
    `SELECT json_build_object('id', id, 'region', region)::text AS key, to_json(orders)::text AS row FROM orders`,
  );
  const sorted = (of: ReadonlyMap<string, unknown>) =>
    [...of].map(([key, row]) => JSON.stringify([JSON.parse(key), row])).sort();
  assert.deepEqual(sorted(applied.get("cdc.public.orders")!), sorted(rows));
  const moved = (await topics.read()).filter(({ key }) => /"id":2,/.test(key)).slice(-3);
  assert.deepEqual(moved.map(({ key, value }) => `${value?.op ?? "-"} ${JSON.parse(key).region}`), [
    "d north",
    "- north",
    "c south",
  ]);
});

Deno.test("a publication that has a table's partitions, and not the table, is told how to be set", async () => {
  await using database = await testDatabase(server);
  const { sql, url, slot } = database;
  await sql.unsafe(`${PARTED}; CREATE PUBLICATION mine FOR TABLE orders`);
  const topics = new Topics(url, { tables: ["orders"], slot, publication: "mine" });
  await assert.rejects(
    topics.run(),
    /publication mine: publishes the partitions of public\.orders.*ALTER PUBLICATION "mine" SET \(publish_via_partition_root/,
  );
  await sql.unsafe(`ALTER PUBLICATION "mine" SET (publish_via_partition_root = true)`);
  await topics.run();
  assert.equal(topics.records.length, 90);
});

Deno.test("row filters and column lists of a publication hold for the rows that are there and for changes", async () => {
  await using database = await testDatabase(server);
  const { sql, url, slot } = database;
  await sql.unsafe(`
    CREATE TABLE people (id int PRIMARY KEY, name text, secret text, hidden boolean NOT NULL);
    ALTER TABLE people REPLICA IDENTITY USING INDEX people_pkey;
    INSERT INTO people SELECT i, 'name ' || i, 'secret', false FROM generate_series(1, 6) i;
    CREATE PUBLICATION mine FOR TABLE people (id, name) WHERE (id > 2)`);
  const topics = new Topics(url, { tables: ["people"], slot, publication: "mine" });
  await topics.run();
  await sql.unsafe(`
    INSERT INTO people VALUES (7, 'new', 'secret', false), (0, 'new', 'secret', false);
    UPDATE people SET name = 'other' WHERE id IN (2, 3);
    UPDATE people SET id = 1000 WHERE id = 1;
    UPDATE people SET id = -4 WHERE id = 4;
    DELETE FROM people WHERE id IN (2, 5)`);
  await topics.run();
  const read = await topics.read();
  assert.deepEqual(read.map(({ key, value }) => `${value?.op ?? "-"} ${key}`), [
    'r {"id":3}',
    'r {"id":4}',
    'r {"id":5}',
    'r {"id":6}',
    'c {"id":7}',
    'u {"id":3}',
    'c {"id":1000}',
    'd {"id":4}',
    '- {"id":4}',
    'd {"id":5}',
    '- {"id":5}',
  ]);
  assert.ok(!JSON.stringify(read).includes("secret"));
  assert.deepEqual(Object.keys(read[0].value!.after!), ["id", "name"]);
});

for (
  const { title, change, then, problem, after } of [
    {
      title: "is dropped",
      change: "DROP TABLE t",
      then: /table public\.t was dropped, or is called otherwise/,
      problem: /ConfigError: table public\.t: is not there/,
      after: null,
    },
    {
      title: "is taken out of the source's own publication",
      change: "ALTER PUBLICATION tailrace_shop DROP TABLE t; UPDATE t SET v = 7",
      then: /table public\.t was taken out of publication tailrace_shop/,
      problem: null,
      after: [['{"id":1}', { id: 1, v: 7 }], ['{"id":2}', { id: 2, v: 7 }]],
    },
    {
      title: "is taken out of the publication and put back",
      change: "ALTER PUBLICATION tailrace_shop DROP TABLE t; DELETE FROM t WHERE id = 1; " +
        "ALTER PUBLICATION tailrace_shop ADD TABLE t",
      then: /table public\.t was taken out of publication tailrace_shop/,
      problem: null,
      after: [['{"id":2}', { id: 2, v: 2 }]],
    },
    {
      title: "loses its publication",
      change: "DROP PUBLICATION tailrace_shop",
      then: /publication tailrace_shop was dropped/,
      problem: /ConfigError: slot .*are lost: publication tailrace_shop was dropped/,
      after: null,
    },
  ]
) {
  Deno.test(`a table that ${title} while it is read is told, though the log says nothing`, async () => {
    await using database = await testDatabase(server);
    const { sql, url, slot } = database;
    await sql.unsafe(`CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1), (2, 2);
      CREATE TABLE other (id int PRIMARY KEY)`);
    const topics = new Topics(url, { tables: ["t", "other"], slot, heartbeat: "100ms" });
    await topics.run();
    const running = topics.run({ isBounded: false });
    running.catch(() => {});
    await sql`INSERT INTO other VALUES (1)`;
    while (topics.records.length < 3) await new Promise((resolve) => setTimeout(resolve, 20));
    await sql.unsafe(change);
    await assert.rejects(running, (error: Error) => {
      assert.ok(error instanceof UnavailableError, `${error}`);
      assert.match(error.message, then);
      return true;
    });
    if (problem !== null) {
      return await assert.rejects(topics.run(), (error: Error) => {
        assert.ok(error instanceof ConfigError);
        assert.match(`${error}`, problem);
        return true;
      });
    }
    await topics.run();
    assert.match(topics.logged.join("\n"), /table public\.t was dropped and made again, or not in the publication/);
    assert.deepEqual([...(await topics.applied()).get("cdc.public.t")!], after);
  });
}
