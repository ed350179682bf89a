import assert from "node:assert/strict";
import type postgres from "postgres";
import { systemClock } from "../../../pipeline/clock.ts";
import { parseSchema, type RecordType } from "../../../pipeline/codec/schema.ts";
import { postgresClient } from "../../../pipeline/postgres_client.ts";
import type { SourcePosition } from "../../../pipeline/sources/source.ts";
import { postgresRows, type PostgresRowsOptions } from "../../../pipeline/sources/postgres_rows/definition.ts";
import { AHEAD_MAX, type Progress } from "../../../pipeline/sources/postgres_rows/progress.ts";
import { changesQuery, type Query, sweepQuery } from "../../../pipeline/sources/postgres_rows/queries.ts";
import { inspectTable } from "../../../pipeline/sources/postgres_rows/table.ts";
import { Server } from "../../../pipeline/sources/postgres_rows/server.ts";
import { postgresRowsKind } from "../../../pipeline/sources/postgres_rows/kind.ts";
import { ConfigError, UnavailableError } from "../../../pipeline/errors.ts";
import { secret } from "../../../pipeline/secrets.ts";
import { type PostgresServer, startPostgres } from "../../sinks/postgres_server.ts";
import { type Opening, readAll, readBatches, type Reading } from "../read_source.ts";

const SCHEMA = {
  type: "record",
  name: "Product",
  fields: [
    { name: "id", type: "long" },
    { name: "name", type: "string" },
    { name: "price", type: { type: "bytes", logicalType: "decimal", precision: 10, scale: 2 } },
    { name: "last_updated", type: { type: "long", logicalType: "timestamp-micros" } },
  ],
};

let server: PostgresServer;
let sql: postgres.Sql;
Deno.test.beforeAll(async () => {
  server = await startPostgres({ settings: ["max_prepared_transactions=4"] });
  sql = postgresClient(server.url, { max: 10 });
  await sql`SELECT 1`;
});
Deno.test.afterAll(async () => {
  await sql.end();
  await server[Symbol.asyncDispose]();
});

/** A connection of its own, for a transaction that stays open. */
function client(): postgres.Sql {
  return postgresClient(server.url);
}

/** A table of its own, with rows that were changed an hour ago. */
async function products(name: string, rows = 0, { index = true } = {}): Promise<string> {
  await sql.unsafe(`DROP TABLE IF EXISTS ${name};
    CREATE TABLE ${name} (id bigint PRIMARY KEY, name text NOT NULL, price numeric(10, 2), last_updated timestamptz NOT NULL DEFAULT now());
    ${index ? `CREATE INDEX ON ${name} (last_updated, id);` : ""}
    INSERT INTO ${name} SELECT i, 'product ' || i, i / 100.0, now() - interval '1 hour' - i % 7 * interval '1 second'
      FROM generate_series(1, ${rows}) i`);
  return name;
}

function read(table: string, options: Partial<PostgresRowsOptions & Opening & Reading> = {}) {
  const { overlap, every, sweep, cursor = ["last_updated", "id"], timeZone, columns, database, ...rest } = options;
  const given = { overlap, every, sweep, timeZone, columns, database };
  const chosen = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const spec = postgresRows({ table, cursor, ...chosen });
  return readAll(postgresRowsKind, spec, { schema: SCHEMA, key: "id", databaseUrl: server.url, ...rest });
}

const ids = (values: readonly Record<string, unknown>[]) => values.map(({ id }) => Number(id));

Deno.test("the rows that are there are read in the order of their change, then those that change", async () => {
  const table = await products("ordered", 5_000);
  const first = await read(table);
  assert.equal(new Set(ids(first.values)).size, 5_000);
  const order = first.values.map(({ last_updated, id }) => `${last_updated} ${String(id).padStart(9)}`);
  assert.deepEqual(order, order.toSorted());
  assert.ok(first.batches >= 3, "a batch is no larger than 2,000 rows");
  assert.deepEqual((await read(table, { position: first.position })).values, []);
  await sql.unsafe(`UPDATE ${table} SET price = 9.99, last_updated = now() WHERE id IN (17, 4)`);
  await sql.unsafe(`INSERT INTO ${table} VALUES (6000, 'new', 1, now())`);
  const second = await read(table, { position: first.position });
  assert.deepEqual(ids(second.values), [4, 17, 6000]);
  assert.equal(second.values[0].price, "9.99");
  assert.deepEqual((await read(table, { position: second.position })).values, []);
});

Deno.test("a transaction open for longer than the overlap loses none of its rows, and holds up nobody else's", async () => {
  const table = await products("late", 3);
  let { position } = await read(table, { overlap: "100ms" });
  const open = client();
  const another = client();
  try {
    await open.unsafe(`BEGIN; UPDATE ${table} SET last_updated = now(), price = 1 WHERE id = 1`);
    // It has no number yet, and its time is that of its beginning.
    await another.unsafe("BEGIN; SELECT 1");
    const seen: number[] = [];
    for (let i = 0; i < 5; i++) {
      await sql.unsafe(`INSERT INTO ${table} VALUES (${100 + i}, 'other', 1, now())`);
      await new Promise((resolve) => setTimeout(resolve, 250));
      const look = await read(table, { position, overlap: "100ms" });
      seen.push(...ids(look.values));
      position = look.position;
    }
    assert.deepEqual(seen, [100, 101, 102, 103, 104], "what others committed is there at once, and once");
    await another.unsafe(`UPDATE ${table} SET last_updated = now(), price = 2 WHERE id = 2`);
    await another.unsafe("COMMIT");
    await open.unsafe("COMMIT");
    const last = await read(table, { position, overlap: "100ms" });
    assert.deepEqual(ids(last.values), [1, 2]);
    assert.deepEqual((await read(table, { position: last.position, overlap: "100ms" })).values, []);
  } finally {
    await open.end();
    await another.end();
  }
});

Deno.test("rows written under savepoints, and by prepared transactions, come when these have ended", async () => {
  const table = await products("nested");
  let { position } = await read(table);
  const open = client();
  try {
    await open.unsafe(`BEGIN; INSERT INTO ${table} VALUES (1, 'outer', 1);
      SAVEPOINT a; INSERT INTO ${table} VALUES (2, 'inner', 1); SAVEPOINT b; INSERT INTO ${table} VALUES (3, 'dropped', 1);
      ROLLBACK TO b; INSERT INTO ${table} VALUES (4, 'inner', 1)`);
    await sql.unsafe(`INSERT INTO ${table} VALUES (10, 'other', 1)`);
    const before = await read(table, { position });
    assert.deepEqual(ids(before.values), [10]);
    await open.unsafe(`PREPARE TRANSACTION 'nested'`);
    await sql.unsafe(`INSERT INTO ${table} VALUES (11, 'other', 1)`);
    const prepared = await read(table, { position: before.position });
    assert.deepEqual(ids(prepared.values), [11]);
    await sql.unsafe(`COMMIT PREPARED 'nested'`);
    const after = await read(table, { position: prepared.position });
    assert.deepEqual(ids(after.values).sort(), [1, 2, 4]);
    position = after.position;
    assert.deepEqual((await read(table, { position })).values, []);
  } finally {
    await open.end();
  }
});

Deno.test("a row written with an older time than the overlap is read by the sweep, once, and told", async () => {
  const table = await products("swept", 5);
  let { position } = await read(table, { sweep: "0ms" });
  await sql.unsafe(`UPDATE ${table} SET name = 'without a new time' WHERE id = 3`);
  await sql.unsafe(`INSERT INTO ${table} VALUES (9, 'an old one', 1, '2020-01-01'), (10, 'a new one', 1, now())`);
  const never = await read(table, { position, sweep: "never" });
  assert.deepEqual(ids(never.values), [10]);
  const logged: string[] = [];
  const swept = await read(table, { position, sweep: "0ms", logged });
  assert.deepEqual(ids(swept.values).sort((a, b) => a - b), [3, 9, 10]);
  assert.match(
    logged.join("\n"),
    /warn: swept: 2 rows were written with a last_updated that was too old to be looked for/,
  );
  position = swept.position;
  assert.deepEqual((await read(table, { position, sweep: "0ms" })).values, []);
});

Deno.test("wherever reading stops, the next one goes on without a loss and without doubles", async () => {
  const table = await products("stopped", 4_500);
  // Many rows of one transaction, few of others, late ones, and one that is still open at the end.
  const open = client();
  try {
    const before: SourcePosition[] = [];
    for await (
      const batch of readBatches(postgresRowsKind, postgresRows({ table, cursor: ["last_updated", "id"] }), {
        schema: SCHEMA,
        databaseUrl: server.url,
      })
    ) before.push(batch.position);
    const position = before.at(-1)!;
    await open.unsafe(`BEGIN; INSERT INTO ${table} SELECT i, 'open', 1, now() FROM generate_series(20001, 22500) i`);
    await sql.unsafe(`UPDATE ${table} SET last_updated = now(), price = 1 WHERE id <= 4100`);
    await sql.unsafe(`UPDATE ${table} SET last_updated = now(), price = 2 WHERE id BETWEEN 50 AND 60`);
    await sql.unsafe(`UPDATE ${table} SET name = 'late' WHERE id > 4200`);
    const version = (row: Record<string, unknown>) => `${row.id} ${row.name} ${row.price}`;
    const spec = postgresRows({ table, cursor: ["last_updated", "id"], sweep: "0ms" });
    const options = { schema: SCHEMA, databaseUrl: server.url };
    const whole = await readAll(postgresRowsKind, spec, { ...options, position });
    // What is late is swept once the transaction has ended that was open before.
    assert.equal(new Set(whole.values.map(version)).size, 4_100);
    assert.equal(whole.values.length, 4_100);
    // Each run takes one batch, is dropped, and what it had read ahead is forgotten; the open one ends in the middle.
    const seen: string[] = [];
    let at: SourcePosition = position;
    let runs = 0;
    for (let isDone = false; !isDone; runs++) {
      assert.ok(runs < 100);
      isDone = true;
      for await (const batch of readBatches(postgresRowsKind, spec, { ...options, position: at })) {
        seen.push(...batch.values.map(version));
        at = batch.position;
        isDone = batch.values.length === 0 && runs > 3;
        break;
      }
      if (runs === 1) await open.unsafe("COMMIT");
    }
    assert.equal(new Set(seen).size, seen.length, "nothing twice");
    assert.equal(seen.length, 4_100 + 300 + 2_500);
    assert.ok(runs >= 6, `${runs} runs`);
    // The same from every position of the first reading.
    for (const [i, from] of before.entries()) {
      const again = await readAll(postgresRowsKind, spec, { ...options, position: from });
      const newest = new Map(again.values.map((row) => [row.id, version(row)]));
      if (i < before.length - 1) assert.ok(newest.size >= 4_400);
      for (const row of whole.values) assert.equal(newest.get(row.id), version(row));
    }
  } finally {
    await open.end();
  }
});

Deno.test("a connection that is lost while a batch is written ends no table early", async () => {
  const table = await products("cut_off", 7_000);
  const spec = postgresRows({ table, cursor: ["last_updated", "id"] });
  const seen: number[] = [];
  let position: SourcePosition | null = null;
  let cuts = 0;
  for (let isWhole = false; !isWhole;) {
    try {
      for await (
        const batch of readBatches(postgresRowsKind, spec, { schema: SCHEMA, databaseUrl: server.url, position })
      ) {
        seen.push(...ids(batch.values));
        position = batch.position;
        if (cuts === 3) continue;
        cuts++;
        await sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tailrace'`;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      isWhole = true;
    } catch (error) {
      assert.ok(error instanceof UnavailableError, String(error));
    }
  }
  assert.equal(cuts, 3);
  assert.equal(seen.length, 7_000);
  assert.equal(new Set(seen).size, 7_000);
});

Deno.test("every type comes exactly, and a value that the schema has no room for is rejected with its row", async () => {
  await sql.unsafe(`DROP TABLE IF EXISTS typed; DROP TYPE IF EXISTS mood; CREATE TYPE mood AS ENUM ('good', 'bad');
    CREATE TABLE typed (k1 text COLLATE "C" NOT NULL, k2 uuid NOT NULL, changed timestamp, price numeric, big bigint, day date,
      clock time, at timestamptz, doc jsonb, tags text[], m mood, flag boolean, ratio double precision, raw bytea, PRIMARY KEY (k1, k2));
    INSERT INTO typed VALUES
      ('a', '00000000-0000-0000-0000-00000000000a', '2026-01-31 10:00:00.123456', 12345678901234567890.12, 9007199254740993, '2026-02-28',
        '12:30:00.25', '2026-01-31 10:00:00.123456+02', '{"n": 1.50}', '{x,NULL}', 'good', true, 0.1, '\\x00ff'),
      ('b', '00000000-0000-0000-0000-00000000000b', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
      ('c', '00000000-0000-0000-0000-00000000000c', '2026-01-31 10:00:01', 'NaN', 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'NaN', NULL),
      ('d', '00000000-0000-0000-0000-00000000000d', '2026-01-31 10:00:02', 1, 1, NULL, NULL, 'infinity', NULL, NULL, NULL, NULL, 1, NULL)`);
  const optional = (type: unknown) => ["null", type];
  const schema = {
    type: "record",
    name: "Typed",
    fields: [
      { name: "k1", type: "string" },
      { name: "id", type: { type: "string", logicalType: "uuid" } },
      { name: "changed", type: optional({ type: "long", logicalType: "local-timestamp-millis" }) },
      { name: "price", type: optional({ type: "bytes", logicalType: "decimal", precision: 30, scale: 2 }) },
      { name: "big", type: optional("long") },
      { name: "day", type: optional({ type: "int", logicalType: "date" }) },
      { name: "clock", type: optional({ type: "int", logicalType: "time-millis" }) },
      { name: "at", type: optional({ type: "long", logicalType: "timestamp-micros" }) },
      { name: "doc", type: optional("string") },
      { name: "tags", type: optional({ type: "array", items: optional("string") }) },
      { name: "m", type: optional({ type: "enum", name: "Mood", symbols: ["good", "bad"] }) },
      { name: "flag", type: optional("boolean") },
      { name: "ratio", type: optional("double") },
      { name: "raw", type: optional("bytes") },
      { name: "absent", type: optional("string"), default: null },
    ],
  };
  const spec = postgresRows({ table: "typed", cursor: ["changed", "k1", "k2"], columns: { id: "k2" } });
  const { values, rejected } = await readAll(postgresRowsKind, spec, { schema, databaseUrl: server.url });
  assert.deepEqual(values[0], {
    k1: "a",
    id: "00000000-0000-0000-0000-00000000000a",
    changed: "2026-01-31T10:00:00.123",
    price: "12345678901234567890.12",
    big: "9007199254740993",
    day: "2026-02-28",
    clock: "12:30:00.250",
    at: "2026-01-31T08:00:00.123456Z",
    doc: '{"n": 1.50}',
    tags: ["x", null],
    m: "good",
    flag: true,
    ratio: 0.1,
    raw: "\0ÿ",
    absent: null,
  });
  assert.deepEqual(values[1].k1, "b", "a row without a time comes with those that are there, after the others");
  assert.deepEqual(rejected.map(({ reason, where }) => [where, reason]), [
    [
      "typed, k1 c, k2 00000000-0000-0000-0000-00000000000c, changed 2026-01-31 10:00:01",
      'price is "NaN", not a decimal such as "12.50"',
    ],
    [
      "typed, k1 d, k2 00000000-0000-0000-0000-00000000000d, changed 2026-01-31 10:00:02",
      'at is "infinity+00", not a time such as "2026-01-31T12:30:00Z" with its zone',
    ],
  ]);
});

Deno.test("what keeps a table from being read is told at once, with what to do", async () => {
  await products("unfit", 1, { index: false });
  await sql.unsafe("CREATE OR REPLACE VIEW unfit_view AS SELECT * FROM unfit");
  const fails = (table: string, options: Parameters<typeof read>[1], message: RegExp) =>
    assert.rejects(read(table, options), (error: Error) => {
      assert.ok(error instanceof ConfigError, `${error}`);
      assert.match(error.message, message);
      return true;
    });
  await fails("shop.nothing", {}, /from\.table shop\.nothing: there is no such table/);
  await fails("unfit_view", {}, /is no table: rows of a view do not say which transaction wrote them/);
  await fails(
    "unfit",
    { cursor: ["price", "name"] },
    /cursor\[0\]: price is numeric\(10,2\), not a time[^]*name does not tell rows/,
  );
  await fails(
    "unfit",
    { cursor: ["changed", "id"] },
    /unfit has no column changed; it has id, name, price, last_updated/,
  );
  await fails(
    "unfit",
    { columns: { nme: "name", price: "cost" } },
    /columns\.nme: is no field of Product[^]*no column cost/,
  );
  await fails(
    "unfit",
    { database: secret("shop_url") },
    /secret shop_url: is not set: give it as TAILRACE_SECRET_SHOP_URL/,
  );
  const env = { TAILRACE_SECRET_SHOP_URL: "postgres://nobody:secret@127.0.0.1:1/x" };
  await assert.rejects(read("unfit", { database: secret("shop_url"), env }), (error: Error) => {
    assert.ok(error instanceof UnavailableError, `${error}`);
    assert.doesNotMatch(error.message, /:secret/);
    return true;
  });
  const logged: string[] = [];
  await read("unfit", { logged });
  assert.match(
    logged.join(),
    /unfit has no index that begins with last_updated: .* CREATE INDEX CONCURRENTLY ON unfit \(last_updated, id\)/,
  );
});

Deno.test("a user without rights is told of the grant that is missing, and which transactions it cannot see", async () => {
  await products("granted", 2);
  await sql.unsafe("DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN");
  const databaseUrl = server.url.replace("postgres@", "reader@");
  await assert.rejects(read("granted", { databaseUrl }), /GRANT SELECT ON granted TO/);
  await sql.unsafe("GRANT SELECT ON granted TO reader");
  const logged: string[] = [];
  assert.equal((await read("granted", { databaseUrl, logged })).values.length, 2);
  assert.match(logged.join(), /GRANT pg_read_all_stats/);
  await sql.unsafe("DROP OWNED BY reader; DROP ROLE reader");
});

Deno.test("a table that was made anew is read again from its first row, and that is told", async () => {
  await products("anew", 3);
  const { position } = await read("anew");
  await products("anew", 2);
  const logged: string[] = [];
  assert.deepEqual(ids((await read("anew", { position, logged })).values).sort(), [1, 2]);
  assert.match(logged.join(), /warn: anew: the table was made anew; rows of the whole table are read again/);
});

Deno.test("after a server was restored, rows of the time that is in doubt are read again", async () => {
  await products("restored", 3);
  const { position } = await read("restored");
  await sql.unsafe("INSERT INTO restored VALUES (4, 'new', 1, now())");
  const known = position as { origin: Record<string, string>; settled: number };
  const promoted = { ...known, origin: { ...known.origin, timeline: "0000FFFF" } };
  const logged: string[] = [];
  assert.deepEqual(ids((await read("restored", { position: promoted, logged })).values), [4]);
  assert.match(
    logged.join(),
    /a standby has taken over, or the server was restored; rows changed since 20.* are read again/,
  );
  const rewound = { ...known, settled: known.settled + 1_000_000 };
  assert.deepEqual(ids((await read("restored", { position: rewound })).values), [4]);
});

Deno.test("while many write at once, with savepoints, rollbacks and pauses, every row's last state comes, none twice, in order", async () => {
  const table = await products("busy", 40);
  await sql.unsafe(`UPDATE ${table} SET name = '0'`);
  const spec = postgresRows({ table, cursor: ["last_updated", "id"], overlap: "0ms", sweep: "never" });
  const options = { schema: SCHEMA, databaseUrl: server.url };
  const seen: { id: number; version: number }[] = [];
  let position: SourcePosition | null = null;
  let isWriting = true;
  const take = async () => {
    for await (const batch of readBatches(postgresRowsKind, spec, { ...options, position })) {
      seen.push(...batch.values.map(({ id, name }) => ({ id: Number(id), version: Number(name) })));
      position = batch.position;
      if (Math.random() < 0.3) break;
    }
  };
  const pause = () => new Promise((resolve) => setTimeout(resolve, 30 * Math.random()));
  const change = (id: number) =>
    `UPDATE ${table} SET name = (name::int + 1)::text, last_updated = now() WHERE id = ${id};`;
  const write = async () => {
    const own = client();
    try {
      for (let i = 0; i < 25; i++) {
        const [first, second, third] = [0, 0, 0].map(() => 1 + Math.floor(40 * Math.random())).sort((a, b) => a - b);
        await own.unsafe(`BEGIN; ${change(first)}`);
        await pause();
        await own.unsafe(`SAVEPOINT s; ${change(second)} ${Math.random() < 0.3 ? "ROLLBACK TO s;" : ""}`);
        await pause();
        await own.unsafe(`${change(third)} ${Math.random() < 0.2 ? "ROLLBACK" : "COMMIT"}`);
      }
    } finally {
      await own.end();
    }
  };
  const writers = Promise.all(Array.from({ length: 5 }, write)).finally(() => isWriting = false);
  while (isWriting) await take();
  await writers;
  for (let before = -1; before < seen.length;) {
    before = seen.length;
    for (let i = 0; i < 3; i++) await take();
  }
  const last = new Map<number, number>();
  for (const { id, version } of seen) {
    assert.ok(version > (last.get(id) ?? -1), `${id} came with ${version} after ${last.get(id)}`);
    last.set(id, version);
  }
  const now = await sql.unsafe(`SELECT id::int AS id, name::int AS version FROM ${table} ORDER BY id`);
  assert.deepEqual(now.map(({ id, version }) => [id, version]), [...last].sort(([a], [b]) => a - b));
  assert.ok(seen.length > 100, `${seen.length} changes were seen`);
});

Deno.test("with ten thousand transactions read ahead of one that is open, reading waits, and says for whom", async () => {
  const table = await products("crowded");
  const { position } = await read(table);
  const open = client();
  const ending = new AbortController();
  const waits: (string | null)[] = [];
  const seen: number[] = [];
  try {
    await open.unsafe(`SET application_name = 'forgetful'; BEGIN; INSERT INTO ${table} VALUES (1, 'open', 1)`);
    await sql.unsafe(
      `DO $$ BEGIN FOR i IN 2..10101 LOOP INSERT INTO ${table} VALUES (i, 'other', 1, now()); COMMIT; END LOOP; END $$`,
    );
    const spec = postgresRows({ table, cursor: ["last_updated", "id"], every: "50ms" });
    const options = {
      schema: SCHEMA,
      databaseUrl: server.url,
      isBounded: false,
      signal: ending.signal,
      waits,
      position,
    };
    const reading = (async () => {
      for await (const batch of readBatches(postgresRowsKind, spec, options)) {
        seen.push(...ids(batch.values));
        assert.ok(JSON.stringify(batch.position).length < 200_000);
      }
    })();
    const until = async (isDone: () => boolean) => {
      for (let i = 0; i < 2_400 && !isDone(); i++) await new Promise((resolve) => setTimeout(resolve, 25));
    };
    await until(() => waits.length > 0);
    assert.equal(seen.length, AHEAD_MAX);
    assert.match(
      waits[0]!,
      /^rows of crowded wait for process \d+ \(forgetful\) of postgres in postgres, whose transaction is open for \d+ s$/,
    );
    await open.unsafe("COMMIT");
    await until(() => seen.length === 10_101);
    assert.deepEqual(seen.toSorted((a, b) => a - b), Array.from({ length: 10_101 }, (_, i) => i + 1));
    await until(() => waits.at(-1) === null);
    assert.equal(waits.at(-1), null);
    ending.abort();
    await reading;
  } finally {
    ending.abort();
    await open.end();
  }
});

Deno.test("who holds reading back is named, also a prepared transaction, and to a user who sees little", async () => {
  const table = await products("held");
  const open = client();
  await sql.unsafe(`DROP ROLE IF EXISTS looker; CREATE ROLE looker LOGIN; GRANT SELECT ON ${table} TO looker`);
  const url = new URL(server.url);
  url.username = "looker";
  const [strong, weak] = [new Server(server.url, table), new Server(url.href, table)];
  const { signal } = new AbortController();
  try {
    assert.equal(await strong.holder(signal), null);
    await open.unsafe(`SET application_name = 'batch job'; BEGIN; INSERT INTO ${table} VALUES (1, 'open', 1)`);
    assert.match((await strong.holder(signal))!.who, /^process \d+ \(batch job\) of postgres in postgres$/);
    const seen = (await weak.holder(signal))!;
    assert.match(seen.who, /^process \d+ .*of postgres in postgres$/);
    assert.equal(seen.seconds, null);
    await open.unsafe(`PREPARE TRANSACTION 'nightly'`);
    assert.equal((await weak.holder(signal))!.who, "the prepared transaction nightly of postgres in postgres");
    await open.unsafe(`ROLLBACK PREPARED 'nightly'`);
  } finally {
    await open.end();
    await strong[Symbol.asyncDispose]();
    await weak[Symbol.asyncDispose]();
    await sql.unsafe(`DROP OWNED BY looker; DROP ROLE looker`);
  }
});

Deno.test("a partitioned table is read as one, rows that move between partitions and new partitions included", async () => {
  await sql.unsafe(`DROP TABLE IF EXISTS parted;
    CREATE TABLE parted (id bigint, name text NOT NULL, price numeric(10, 2), last_updated timestamptz NOT NULL DEFAULT now(),
      region int NOT NULL, PRIMARY KEY (id, region)) PARTITION BY RANGE (region);
    CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
    CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10) TO (20);
    CREATE INDEX ON parted (last_updated, id, region);
    INSERT INTO parted SELECT i, 'row', 1, now() - interval '1 hour', i % 20 FROM generate_series(1, 5000) i`);
  const cursor: [string, string, string] = ["last_updated", "id", "region"];
  const logged: string[] = [];
  const first = await read("parted", { cursor, logged });
  assert.deepEqual(ids(first.values).sort((a, b) => a - b), Array.from({ length: 5_000 }, (_, i) => i + 1));
  assert.deepEqual(logged, [], "its index is found");
  await sql.unsafe(`UPDATE parted SET region = 15, last_updated = now() WHERE id = 1;
    CREATE TABLE parted_3 PARTITION OF parted FOR VALUES FROM (20) TO (30);
    INSERT INTO parted VALUES (6000, 'new', 1, now(), 25);
    UPDATE parted SET price = 2, last_updated = now() WHERE id IN (7, 17)`);
  const next = await read("parted", { cursor, position: first.position });
  assert.deepEqual(ids(next.values).sort((a, b) => a - b), [1, 7, 17, 6_000]);
  assert.deepEqual((await read("parted", { cursor, position: next.position })).values, []);
});

Deno.test("a cursor of days finds every change of the day, each once", async () => {
  await sql.unsafe(
    `DROP TABLE IF EXISTS daily; CREATE TABLE daily (id bigint PRIMARY KEY, name text, price numeric(10, 2),
      day date NOT NULL);
    INSERT INTO daily SELECT i, 'n', 1, current_date - i::int FROM generate_series(1, 10) i`,
  );
  const schema = { ...SCHEMA, fields: SCHEMA.fields.slice(0, 3) };
  const options = { cursor: ["day", "id"] as [string, string], schema };
  let { values, position } = await read("daily", options);
  assert.deepEqual(ids(values), [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
  for (let i = 0; i < 3; i++) {
    await sql`UPDATE daily SET price = price + 1, day = current_date WHERE id IN (2, 5)`;
    ({ values, position } = await read("daily", { ...options, position, sweep: "never" }));
    assert.deepEqual(ids(values), [2, 5]);
  }
  await sql`INSERT INTO daily VALUES (11, 'of last week', 1, current_date - 7)`;
  ({ values } = await read("daily", { ...options, position, sweep: "never" }));
  assert.deepEqual(values, []);
  assert.deepEqual(ids((await read("daily", { ...options, position, sweep: "0ms" })).values), [11]);
});

Deno.test("times without a zone are in the one that is told: in a wrong one they look old", async () => {
  await sql.unsafe(`DROP TABLE IF EXISTS zoned; CREATE TABLE zoned (id bigint PRIMARY KEY, name text NOT NULL,
      price numeric(10, 2), last_updated timestamp NOT NULL); CREATE INDEX ON zoned (last_updated, id)`);
  const here = { timeZone: "America/Los_Angeles", sweep: "never" as const };
  const right = await read("zoned", here);
  const wrong = await read("zoned", { ...here, timeZone: "Asia/Tokyo" });
  await sql`INSERT INTO zoned VALUES (1, 'now', 1, now() AT TIME ZONE 'America/Los_Angeles'),
    (2, 'an hour ago', 1, (now() - interval '1 hour') AT TIME ZONE 'America/Los_Angeles')`;
  assert.deepEqual(ids((await read("zoned", { ...here, position: right.position })).values), [1]);
  const late = { ...here, timeZone: "Asia/Tokyo", position: wrong.position };
  assert.deepEqual((await read("zoned", late)).values, []);
  assert.deepEqual(ids((await read("zoned", { ...late, sweep: "0ms" })).values).sort(), [1, 2], "the sweep has them");
});

Deno.test("a statement that takes too long ends, and the next one goes on where it was", async () => {
  const table = await products("patient", 7_000);
  let minutes = 0;
  // Each look at this clock finds a quarter of an hour gone.
  const clock = {
    ...systemClock,
    now: () => Date.now(),
    monotonic: () => 15 * 60_000 * ++minutes,
    sleep: async () => {},
  };
  const seen: number[] = [];
  const spec = postgresRows({ table, cursor: ["last_updated", "id"] });
  const options = { schema: SCHEMA, databaseUrl: server.url, clock };
  let position: SourcePosition | null = null;
  for await (const batch of readBatches(postgresRowsKind, spec, options)) {
    seen.push(...ids(batch.values));
    position = batch.position;
  }
  assert.deepEqual(seen.toSorted((a, b) => a - b), Array.from({ length: 7_000 }, (_, i) => i + 1));
  await sql.unsafe(`UPDATE ${table} SET last_updated = now()`);
  const again: number[] = [];
  for await (const batch of readBatches(postgresRowsKind, spec, { ...options, position })) {
    again.push(...ids(batch.values));
  }
  assert.deepEqual(again, Array.from({ length: 7_000 }, (_, i) => i + 1));
});

Deno.test("a row last written four billion transactions ago is in no look, and in one sweep at most", async () => {
  const name = await products("ancient", 1);
  const [{ xid, oid }] = await sql.unsafe(
    `SELECT xmin::text AS xid, '${name}'::regclass::oid::text AS oid FROM ${name}`,
  );
  const record = parseSchema(SCHEMA) as RecordType;
  const spec = postgresRows({ table: name, cursor: ["last_updated", "id"] });
  const table = await inspectTable(sql, spec, record);
  // As the numbers are when all of them were given once more.
  const seems = 2 ** 32 + Number(xid);
  const at = (settled: number, from: number): Progress => ({
    origin: { system: "1", timeline: "1", oid },
    snapshot: null,
    settled,
    ahead: [],
    within: null,
    steps: [[seems - 50, new Date(Date.now() - 60_000).toISOString()]],
    sweep: { from, within: null, doneAtMs: 0 },
  });
  const rows = async ({ text, parameters }: Query) => (await sql.unsafe(text, parameters as string[])).length;
  const options = { table, zone: null };
  assert.equal(await rows(changesQuery(at(seems - 5, seems - 5), seems + 5, options)), 0);
  assert.equal(await rows(sweepQuery(at(seems + 5, seems - 5), options)), 1);
  assert.equal(await rows(sweepQuery(at(seems + 9, seems + 5), options)), 0);
  assert.equal(await rows(sweepQuery(at(seems - 5, seems - 9), options)), 0);
});

Deno.test("a server that does not answer is given up after a while", async () => {
  const table = await products("locked", 1);
  const open = client();
  try {
    await open.unsafe(`BEGIN; LOCK TABLE ${table}`);
    await using slow = new Server(server.url, table, { answerMsMax: 200 });
    const { signal } = new AbortController();
    await assert.rejects(
      slow.ask(async (sql) => await sql.unsafe(`SELECT * FROM ${table}`), signal),
      (error: Error) => {
        assert.ok(error instanceof UnavailableError);
        assert.match(error.message, /PostgreSQL gave no answer about locked in 0\.2 s/);
        return true;
      },
    );
    await open.unsafe("COMMIT");
  } finally {
    await open.end();
  }
});

Deno.test("while it reads on, changes come within a moment, and a server that stops is said to be away", async () => {
  const table = await products("live", 2);
  const ending = new AbortController();
  const spec = postgresRows({ table, cursor: ["last_updated", "id"], every: "50ms" });
  const seen: number[] = [];
  const reading = (async () => {
    for await (
      const batch of readBatches(postgresRowsKind, spec, {
        schema: SCHEMA,
        databaseUrl: server.url,
        isBounded: false,
        signal: ending.signal,
      })
    ) seen.push(...ids(batch.values));
  })();
  reading.catch(() => {});
  const until = async (count: number) => {
    for (let i = 0; i < 3_000 && seen.length < count; i++) await new Promise((resolve) => setTimeout(resolve, 20));
  };
  await until(2);
  for (let i = 3; i <= 6; i++) {
    await sql.unsafe(`INSERT INTO ${table} VALUES (${i}, 'live', 1, now())`);
    await until(i);
  }
  assert.deepEqual(seen.sort(), [1, 2, 3, 4, 5, 6]);
  await server.stop();
  try {
    await assert.rejects(reading, UnavailableError);
  } finally {
    await server.start();
  }
});
