import assert from "node:assert/strict";
import { borrowPostgres, testDatabase } from "./database.ts";
import { Topics } from "./topics.ts";

Deno.test("rows that are there come first, then every change of them", async () => {
  await using server = await borrowPostgres();
  await using database = await testDatabase(server);
  const { sql, url, slot } = database;
  await sql.unsafe(`
    CREATE TABLE products (id int PRIMARY KEY, name text, price numeric(10, 2));
    INSERT INTO products SELECT i, 'product ' || i, i / 100.0 FROM generate_series(1, 20000) i`);
  const topics = new Topics(url, { tables: ["products"], slot });
  await topics.run();
  await sql.unsafe(`
    INSERT INTO products VALUES (20001, 'new', 1), (20002, 'also', 2);
    UPDATE products SET price = price + 1 WHERE id <= 3;
    UPDATE products SET id = 30000 WHERE id = 4;
    DELETE FROM products WHERE id = 5`);
  await topics.run();
  const applied = (await topics.applied()).get("cdc.public.products")!;
  assert.equal(applied.size, 20_001);
  assert.deepEqual(applied.get('{"id":1}'), { id: 1, name: "product 1", price: "1.01" });
  assert.equal(applied.has('{"id":4}'), false);
  assert.deepEqual(applied.get('{"id":30000}'), { id: 30000, name: "product 4", price: "0.04" });
  const changes = (await topics.read()).slice(20_000);
  assert.deepEqual(changes.map(({ key, value }) => [key, value?.op ?? null]), [
    ['{"id":20001}', "c"],
    ['{"id":20002}', "c"],
    ['{"id":1}', "u"],
    ['{"id":2}', "u"],
    ['{"id":3}', "u"],
    ['{"id":4}', "d"],
    ['{"id":4}', null],
    ['{"id":30000}', "c"],
    ['{"id":5}', "d"],
    ['{"id":5}', null],
  ]);
});

Deno.test("a truncate and what follows it come in order, without tombstones where none are wanted", async () => {
  await using server = await borrowPostgres();
  await using database = await testDatabase(server);
  const { sql, url, slot } = database;
  await sql.unsafe(
    `CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); INSERT INTO a VALUES (1), (2)`,
  );
  const topics = new Topics(url, { tables: ["a", "public.b"], slot, tombstones: false });
  await topics.run();
  await sql.unsafe(`INSERT INTO b VALUES (7); DELETE FROM a WHERE id = 1; TRUNCATE a, b; INSERT INTO a VALUES (2)`);
  await topics.run();
  assert.deepEqual((await topics.read()).map(({ topic, key, value }) => `${topic} ${value?.op} ${key}`), [
    'cdc.public.a r {"id":1}',
    'cdc.public.a r {"id":2}',
    'cdc.public.b c {"id":7}',
    'cdc.public.a d {"id":1}',
    "cdc.public.a t {}",
    "cdc.public.b t {}",
    'cdc.public.a c {"id":2}',
  ]);
  assert.equal(topics.records.filter(({ partition }) => partition === "all").length, 2);
});

Deno.test("a large value that did not change is said not to be there, and is there with REPLICA IDENTITY FULL", async () => {
  await using server = await borrowPostgres();
  await using database = await testDatabase(server);
  const { sql, url, slot } = database;
  await sql.unsafe(`
    CREATE TABLE pages (id int PRIMARY KEY, body text, views int);
    ALTER TABLE pages ALTER body SET STORAGE EXTERNAL;
    INSERT INTO pages VALUES (1, repeat('x', 20000), 0)`);
  const topics = new Topics(url, { tables: ["pages"], slot });
  await topics.run();
  await sql`UPDATE pages SET views = 1`;
  await sql`ALTER TABLE pages REPLICA IDENTITY FULL`;
  await sql`UPDATE pages SET views = 2`;
  await sql`DELETE FROM pages`;
  await topics.run();
  const [, first, second, gone] = (await topics.read()).map(({ value }) => value!);
  assert.deepEqual([first.before, first.after, first.unavailable], [null, { id: 1, body: null, views: 1 }, ["body"]]);
  const body = "x".repeat(20_000);
  assert.deepEqual([second.before, second.after, second.unavailable], [
    { id: 1, body, views: 1 },
    { id: 1, body, views: 2 },
    [],
  ]);
  assert.deepEqual([gone.before, gone.after], [{ id: 1, body, views: 2 }, null]);
});

Deno.test("columns come and go, and records have the schema of their place in the log", async () => {
  await using server = await borrowPostgres();
  await using database = await testDatabase(server);
  const { sql, url, slot } = database;
  await sql.unsafe(`CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'x')`);
  const topics = new Topics(url, { tables: ["t"], slot });
  await topics.run();
  await sql.unsafe(`UPDATE t SET a = 'y'`);
  await sql.unsafe(`ALTER TABLE t ADD b int, ADD "odd name" text; UPDATE t SET b = 5, "odd name" = 'z'`);
  await sql.unsafe(`ALTER TABLE t DROP a; UPDATE t SET b = 6`);
  await sql.unsafe(`ALTER TABLE t ALTER b TYPE bigint; UPDATE t SET b = 7000000000`);
  await topics.run();
  assert.deepEqual((await topics.read()).map(({ value }) => value!.after), [
    { id: 1, a: "x" },
    { id: 1, a: "y" },
    { id: 1, a: "y", b: 5, odd_name: "z" },
    { id: 1, b: 6, odd_name: "z" },
    { id: 1, b: 7_000_000_000, odd_name: "z" },
  ]);
});

Deno.test("values of all types are what the table has", async () => {
  await using server = await borrowPostgres();
  await using database = await testDatabase(server);
  const { sql, url, slot } = database;
  await sql.unsafe(`
    CREATE TYPE mood AS ENUM ('sad', 'happy');
    CREATE DOMAIN cents AS numeric(8, 2);
    CREATE TABLE t (
      id uuid, part smallint, PRIMARY KEY (id, part),
      yes boolean, big bigint, small real, number double precision, price numeric(30, 4), bare numeric, odd numeric(4, 2),
      day date, old date, clock time, local timestamp, moment timestamptz, far timestamptz, never timestamptz, span interval,
      raw bytea, doc jsonb, words text[], grid int[][], flags boolean[], docs jsonb[], feeling mood, amount cents, net inet,
      empty text
    );
    INSERT INTO t VALUES (
      '6ba7b810-9dad-11d1-80b4-00c04fd430c8', -7,
      true, -9223372036854775808, 0.1, 'NaN', -12345678901234567890.1234, 1.50, 'NaN',
      '2026-01-31', '0044-03-15 BC', '23:59:59.000001', '1969-12-31 23:59:59.5', '2026-01-31 12:30:00.25+02',
      '9999-12-31 00:00:00.000001Z', 'infinity', '1 day 02:03',
      '\\x00ff10', '{"a": [1, "é"]}', '{a,"b \\"q\\"",NULL,"{}"}', '{{1,2},{3,4}}', '{t,f}', array['{"x":1}'::jsonb], 'happy',
      12.30, '10.0.0.1/8', null
    )`);
  const topics = new Topics(url, { tables: ["t"], slot });
  await topics.run();
  await sql`UPDATE t SET empty = ''`;
  await topics.run();
  const [snapshot, change] = await topics.read();
  const key = '{"id":"6ba7b810-9dad-11d1-80b4-00c04fd430c8","part":-7}';
  assert.deepEqual([snapshot.key, change.key], [key, key]);
  const expected = {
    id: "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
    part: -7,
    yes: true,
    big: "-9223372036854775808",
    small: 0.1,
    number: "NaN",
    price: "-12345678901234567890.1234",
    bare: "1.50",
    odd: null,
    day: "2026-01-31",
    old: "-000043-03-15",
    clock: "23:59:59.000001",
    local: "1969-12-31T23:59:59.500000",
    moment: "2026-01-31T10:30:00.250000Z",
    far: "9999-12-31T00:00:00.000001Z",
    never: null,
    span: "P1DT2H3M",
    raw: "\u0000\u00ff\u0010",
    doc: '{"a": [1, "é"]}',
    words: '["a","b \\"q\\"",null,"{}"]',
    grid: "[[1,2],[3,4]]",
    flags: "[true,false]",
    docs: '[{"x": 1}]',
    feeling: "happy",
    amount: "12.30",
    net: "10.0.0.1/8",
    empty: null,
  };
  assert.deepEqual({ ...snapshot.value!.after, small: 0.1 }, expected);
  assert.deepEqual({ ...change.value!.after, small: 0.1 }, { ...expected, empty: "" });
  assert.equal(Math.fround(Number(snapshot.value!.after!.small)), Math.fround(0.1));
  assert.deepEqual(snapshot.value!.unavailable, ["odd", "never"]);
});

Deno.test("a table that is new in the definition is read whole, while changes of the others go on", async () => {
  await using server = await borrowPostgres();
  await using database = await testDatabase(server);
  const { sql, url, slot } = database;
  await sql.unsafe(`CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY);
    INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)`);
  const first = new Topics(url, { tables: ["a"], slot });
  await first.run();
  await sql.unsafe(`INSERT INTO a VALUES (2); INSERT INTO b VALUES (2)`);
  const second = first.with({ tables: ["b", "a"] });
  await second.run();
  await sql.unsafe(`INSERT INTO a VALUES (3); DELETE FROM b WHERE id = 1`);
  await second.run();
  assert.deepEqual((await second.read()).map(({ topic, key, value }) => `${topic} ${value?.op ?? "-"} ${key}`), [
    'cdc.public.a r {"id":1}',
    'cdc.public.a c {"id":2}',
    'cdc.public.b r {"id":1}',
    'cdc.public.b r {"id":2}',
    'cdc.public.a c {"id":3}',
    'cdc.public.b d {"id":1}',
    'cdc.public.b - {"id":1}',
  ]);
});

Deno.test("a table that was dropped and made again is emptied for its readers, and read again", async () => {
  await using server = await borrowPostgres();
  await using database = await testDatabase(server);
  const { sql, url, slot } = database;
  await sql.unsafe(`CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)`);
  const topics = new Topics(url, { tables: ["t"], slot });
  await topics.run();
  await sql.unsafe(`INSERT INTO t VALUES (3)`);
  await sql.unsafe(`DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t VALUES (2, 5)`);
  await topics.run();
  const applied = (await topics.applied()).get("cdc.public.t")!;
  assert.deepEqual([...applied], [['{"id":2}', { id: 2, a: 5 }]]);
});
