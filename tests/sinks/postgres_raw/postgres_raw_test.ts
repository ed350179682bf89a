import assert from "node:assert/strict";
import { systemClock } from "../../../pipeline/clock.ts";
import { deliveryColumns } from "../../../pipeline/deliveries/columns.ts";
import { ConfigError, UnavailableError } from "../../../pipeline/errors.ts";
import type { ResultColumn } from "../../../pipeline/plan/plan.ts";
import { createPostgresRawSink } from "../../../pipeline/sinks/postgres_raw/postgres_raw_sink.ts";
import { postgresTable } from "../../../pipeline/sinks/postgres_raw/definition.ts";
import { postgresTableKind } from "../../../pipeline/sinks/postgres_raw/kind.ts";
import { withRetry } from "../../../pipeline/sinks/retry.ts";
import { RejectedRowsError, type ResultRows, type ResultValue, type Sink } from "../../../pipeline/sinks/sink.ts";
import { secret } from "../../../pipeline/secrets.ts";
import { KEYED_PRODUCT_COLUMNS, PRODUCT, PRODUCT_COLUMNS, productRows, span, START_MS } from "../delivered_rows.ts";
import { despiteLimit } from "../despite_limit.ts";
import { type PostgresServer, startPostgres } from "../postgres_server.ts";
import { readTable, withClient } from "../postgres_subject.ts";

let server: PostgresServer;
Deno.test.beforeAll(async () => {
  server = await startPostgres();
});
Deno.test.afterAll(async () => await server[Symbol.asyncDispose]());

let tables = 0;
const nextTable = () => `raw_${tables++}`;

function open(
  table: string,
  { columns = PRODUCT_COLUMNS, ...more }: {
    columns?: readonly ResultColumn[];
    statementMsMax?: number;
    copyRowsMin?: number;
  } = {},
): Promise<Sink> {
  return createPostgresRawSink({ url: server.url, table, columns, delivery: "shop", topic: "products", ...more });
}

const write = (sink: Sink, rows: ResultRows, signal = new AbortController().signal) =>
  sink.write(rows, { epoch: 1, signal });

const sql = (text: string) => withClient(server.url, (client) => client.unsafe(text));

async function offsets(table: string): Promise<number[][]> {
  const rows = await sql(`SELECT kafka_partition p, kafka_offset o FROM ${table} ORDER BY 1, 2`);
  return rows.map(({ p, o }) => [Number(p), Number(o)]);
}

for (const [how, copyRowsMin] of [["COPY", 1], ["INSERT", Infinity]] as const) {
  Deno.test(`by ${how}: each field has a column of its type, JSON is jsonb, and where a record was is the primary key`, async () => {
    const table = nextTable();
    await using sink = await open(table, { copyRowsMin });
    await write(sink, productRows([7, 8, 12], { partition: 2 }));
    assert.deepEqual(
      [
        ...await sql(`SELECT id, name, price::text, tags, tags->>1 AS second, changed, kafka_partition, kafka_offset,
        kafka_timestamp FROM ${table} ORDER BY kafka_offset`),
      ].map((row) => ({ ...row })),
      [7, 8, 12].map((offset) => ({
        id: String(offset),
        name: `product ${offset}`,
        price: `${offset}.50`,
        tags: ["a", `${offset % 3}`],
        second: `${offset % 3}`,
        changed: offset % 2 === 0 ? null : new Date(START_MS + offset),
        kafka_partition: 2,
        kafka_offset: String(offset),
        kafka_timestamp: new Date(START_MS + offset),
      })),
    );
    await assert.rejects(sql(`INSERT INTO ${table} SELECT * FROM ${table}`), /duplicate key/);
  });

  Deno.test(`by ${how}: U+0000 and its pictures are told apart, in text and in JSON`, async () => {
    const table = nextTable();
    await using sink = await open(table, { copyRowsMin });
    const texts = ["a\0b", "a\u2400b", "\\u0000", 'quo"te', "\\\\", "{}", "NULL"];
    await write(
      sink,
      productRows(span(0, texts.length), {
        more: (offset) => ({ name: texts[offset], tags: JSON.stringify([texts[offset]]) }),
      }),
    );
    const rows = await sql(`SELECT name, tags->>0 AS tag FROM ${table} ORDER BY kafka_offset`);
    assert.deepEqual(rows.map(({ name }) => name), ["a\u2400b", "a\u2410\u2400b", ...texts.slice(2)]);
    assert.deepEqual(rows.map(({ tag }) => tag), ["a\u2400b", "a\u2410\u2400b", ...texts.slice(2)]);
  });
}

Deno.test("however often and however cut records come again, each is there once", async () => {
  const table = nextTable();
  let state = 7;
  const random = (below: number) => (state = (state * 48271) % 2147483647) % below;
  for (let run = 0; run < 6; run++) {
    await using sink = await open(table, { copyRowsMin: run % 2 === 0 ? 20 : 500 });
    for (const partition of [0, 1]) {
      // From somewhere before the end of the run before, as after a crash.
      for (let at = Math.max(0, run * 100 - random(80)); at < (run + 1) * 100;) {
        const to = Math.min((run + 1) * 100, at + 1 + random(60));
        await write(sink, productRows(span(at, to), { partition }));
        at = to;
      }
    }
  }
  assert.deepEqual(
    await offsets(table),
    [0, 1].flatMap((partition) => span(0, 600).map((offset) => [partition, offset])),
  );
});

Deno.test("two members that write the same records at the same time do not double them", async () => {
  const table = nextTable();
  await using one = await open(table);
  await using other = await open(table);
  await Promise.all([one, other].map((sink) => write(sink, productRows(span(0, 3000)))));
  assert.equal((await offsets(table)).length, 3000);
});

Deno.test("with a key the newest record of each stays, whatever comes again", async () => {
  const table = nextTable();
  const rows = (offsets: number[], partition = 0, of = 10) =>
    productRows(offsets, { columns: KEYED_PRODUCT_COLUMNS, partition, more: (offset) => ({ id: offset % of }) });
  await using sink = await open(table, { columns: KEYED_PRODUCT_COLUMNS });
  await write(sink, rows(span(0, 35)));
  await write(sink, rows(span(10, 20)));
  const names = async () => (await sql(`SELECT name FROM ${table} ORDER BY id`)).map(({ name }) => name);
  assert.deepEqual(await names(), [30, 31, 32, 33, 34, 25, 26, 27, 28, 29].map((offset) => `product ${offset}`));
  await write(sink, rows(span(35, 1035)));
  assert.deepEqual(
    await names(),
    [1030, 1031, 1032, 1033, 1034, 1025, 1026, 1027, 1028, 1029].map((o) => `product ${o}`),
  );
  // The topic got more partitions, and key 0 is in another now, where offsets begin anew; its time goes on.
  const moved = productRows([3], {
    columns: KEYED_PRODUCT_COLUMNS,
    partition: 1,
    more: () => ({ id: 0, name: "moved" }),
  });
  const later = moved.columns.findIndex(({ name }) => name === "kafka_timestamp");
  (moved.values[later] as ResultValue[])[0] = START_MS + 100_000;
  await write(sink, moved);
  await write(sink, rows(span(1030, 1035)));
  assert.equal((await names())[0], "moved");
});

Deno.test("with a key, a record without a value takes its key's row away, whatever comes again", async () => {
  const table = nextTable();
  const rows = (offsets: number[], gone: number[] = [], more: Record<number, Record<string, ResultValue>> = {}) =>
    productRows(offsets, {
      columns: KEYED_PRODUCT_COLUMNS,
      gone,
      more: (offset) => ({ id: offset % 10, ...more[offset] }),
    });
  await using sink = await open(table, { columns: KEYED_PRODUCT_COLUMNS });
  const ids = async () => (await sql(`SELECT id FROM ${table} ORDER BY id`)).map(({ id }) => Number(id));
  await write(sink, rows(span(0, 10)));
  await write(sink, rows([12, 13], [13]));
  assert.deepEqual(await ids(), [0, 1, 2, 4, 5, 6, 7, 8, 9]);
  // In one write: gone and there again, there again and gone, and one that never was.
  await write(sink, rows([14, 15, 24, 25, 33], [14, 25, 33]));
  assert.deepEqual(await ids(), [0, 1, 2, 4, 6, 7, 8, 9]);
  // An older one, as from a process that was cut off, takes nothing newer away.
  await write(sink, rows([36]));
  await write(sink, rows([26], [26]));
  assert.deepEqual(await ids(), [0, 1, 2, 4, 6, 7, 8, 9]);
  // Beside a record that is refused.
  const error = await write(sink, rows([40, 41, 42], [41], { 40: { tags: "[" } })).catch((error) => error);
  assert.deepEqual(error.rows.map(({ row }: { row: number }) => row), [0]);
  assert.deepEqual(await ids(), [0, 2, 4, 6, 7, 8, 9]);
});

Deno.test("keys that are null are one key, and a delivery's own long comes as bigint or number", async () => {
  const schema = {
    type: "record" as const,
    name: "T",
    fields: [{ name: "k", type: ["null", "long"] as const, default: null }, { name: "v", type: "int" as const }],
  };
  const columns = deliveryColumns(schema as never, { key: ["k"] });
  const table = nextTable();
  await using sink = await open(table, { columns });
  const keys = [null, 5, 5n, 2n ** 60n, null, 5];
  const rows = (from: number) =>
    productRows(span(from, from + keys.length), {
      columns,
      more: (offset) => ({ k: keys[offset - from], v: offset - from }),
    });
  await write(sink, rows(0));
  await write(sink, rows(10));
  const found = await withClient(server.url, (client) => readTable(client, table, columns));
  assert.deepEqual(
    found.map(([k, v]) => [k === null ? null : String(k), v]).toSorted((a, b) => Number(a[1]) - Number(b[1])),
    [
      ["1152921504606846976", 3],
      [null, 4],
      ["5", 5],
    ],
  );
});

Deno.test("records that the table's own constraints refuse are named, and all others are there", async () => {
  const table = nextTable();
  await using first = await open(table);
  await first[Symbol.asyncDispose]();
  await sql(`ALTER TABLE ${table} ADD CHECK (name <> 'product 700'), ADD UNIQUE (name)`);
  await using sink = await open(table);
  const rows = productRows(span(0, 1000), {
    more: (offset): Record<string, ResultValue> =>
      offset === 13 ? { name: "product 12" } : offset === 40 ? { tags: "[" } : {},
  });
  const error = await write(sink, rows).catch((error) => error);
  assert.ok(error instanceof RejectedRowsError, String(error));
  assert.deepEqual(error.rows.map(({ row }) => row), [13, 40, 700]);
  assert.match(error.rows[2].reason, /check constraint/);
  assert.equal((await offsets(table)).length, 997);
  // As after a crash before the three were set aside.
  const again = await write(sink, rows).catch((error) => error);
  assert.deepEqual(again.rows.map(({ row }: { row: number }) => row), [13, 40, 700]);
  assert.equal((await offsets(table)).length, 997);
});

Deno.test("a newest record that is refused leaves the one before it", async () => {
  const table = nextTable();
  await using sink = await open(table, { columns: KEYED_PRODUCT_COLUMNS });
  const rows = productRows([1, 2, 3], {
    columns: KEYED_PRODUCT_COLUMNS,
    more: (offset) => ({ id: 1, ...offset === 3 ? { tags: '["\\ud800"]' } : {} }),
  });
  const error = await write(sink, rows).catch((error) => error);
  assert.deepEqual(error.rows.map(({ row }: { row: number }) => row), [2]);
  assert.deepEqual(await offsets(table), [[0, 2]]);
});

Deno.test("a server that is down for a while has everything once it is back", async () => {
  const table = nextTable();
  await using inner = await open(table);
  const waits: (string | null)[] = [];
  const sink = withRetry(inner, { firstDelayMs: 20, delayMsMax: 100, onWaiting: (reason) => waits.push(reason) });
  await write(sink, productRows(span(0, 600)));
  await server.stop("immediate");
  const written = write(sink, productRows(span(600, 1800)));
  await systemClock.sleep(300);
  await server.start();
  await written;
  assert.equal((await offsets(table)).length, 1800);
  assert.match(waits[0]!, /PostgreSQL does not serve/);
  assert.equal(waits.at(-1), null);
});

Deno.test("a statement that takes too long, or that nobody waits for any more, is given up, and the next write goes through", async () => {
  const table = nextTable();
  await using sink = await despiteLimit(() => open(table, { statementMsMax: 200 }));
  await withClient(server.url, async (locking) => {
    await locking.begin(async (transaction) => {
      await transaction.unsafe(`LOCK TABLE ${table}`);
      await assert.rejects(write(sink, productRows([1])), UnavailableError);
      const stop = new AbortController();
      const waiting = write(sink, productRows([1]), stop.signal);
      stop.abort(new Error("stopping"));
      await assert.rejects(waiting, /stopping/);
    });
  });
  await despiteLimit(async () => await write(sink, productRows([1, 2])));
  assert.deepEqual(await offsets(table), [[0, 1], [0, 2]]);
});

Deno.test("a full disk is waited for, not taken for a fault of the records", async () => {
  const table = nextTable();
  await using sink = await open(table);
  await sql(`CREATE FUNCTION ${table}_full() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$;
    CREATE TRIGGER full_disk BEFORE INSERT ON ${table} EXECUTE FUNCTION ${table}_full()`);
  for (const count of [3, 1000]) {
    await assert.rejects(write(sink, productRows(span(0, count))), (error: Error) => {
      return error instanceof UnavailableError && /could not extend file/.test(error.message);
    });
  }
  await sql(`DROP TRIGGER full_disk ON ${table}`);
  await write(sink, productRows(span(0, 1000)));
  assert.equal((await offsets(table)).length, 1000);
});

Deno.test("a table that is there may have more than the records, and must have what they need", async () => {
  const table = nextTable();
  await sql(`CREATE TABLE ${table} (id bigint, name varchar(20), price numeric(10,2), changed timestamptz,
    kafka_partition integer, kafka_offset bigint, kafka_timestamp timestamptz, note text NOT NULL)`);
  const error = await open(table).catch((error) => error);
  assert.ok(error instanceof ConfigError, String(error));
  assert.deepEqual(error.faults.map(({ where }) => where), [`${table}.name`, `${table}.tags`, `${table}.note`, table]);
  assert.match(error.message, /ALTER TABLE "public"."raw_\d+" ADD COLUMN "tags" jsonb/);
  await sql(`ALTER TABLE ${table} ALTER COLUMN name TYPE text, ADD COLUMN tags jsonb, ALTER COLUMN note SET DEFAULT 'x';
    CREATE UNIQUE INDEX ON ${table} (kafka_partition, kafka_offset)`);
  await using sink = await open(table);
  await write(sink, productRows(span(0, 700)));
  assert.equal((await sql(`SELECT count(*)::int AS n FROM ${table} WHERE note = 'x'`))[0].n, 700);
});

Deno.test("a database that nobody serves, and one that lets nobody in, are told apart", async () => {
  const away = createPostgresRawSink({
    url: "postgres://postgres@127.0.0.1:1/postgres",
    table: "t",
    columns: PRODUCT_COLUMNS,
    delivery: "shop",
    topic: "products",
  });
  await assert.rejects(away, UnavailableError);
  const url = new URL(server.url);
  url.pathname = "/nowhere";
  const wrong = createPostgresRawSink({
    url: url.href,
    table: "t",
    columns: PRODUCT_COLUMNS,
    delivery: "shop",
    topic: "products",
  });
  await assert.rejects(wrong, ConfigError);
});

Deno.test("a definition says which table it is", () => {
  const plan = { name: "d", topic: "t", schema: PRODUCT, key: [], columns: PRODUCT_COLUMNS, to: [] } as never;
  assert.deepEqual(postgresTableKind.check(postgresTable("shop.raw"), plan), []);
  for (const wrong of ["", "a.b.c", "a\0", "x".repeat(64), ".a"]) {
    assert.equal(postgresTableKind.check(postgresTable(wrong), plan).length, 1, wrong);
  }
  assert.equal(postgresTableKind.claim(postgresTable("raw")), 'postgres("raw")');
  assert.equal(postgresTableKind.claim(postgresTable("public.raw")), 'postgres("raw")');
  assert.equal(
    postgresTableKind.describe(postgresTable("raw", { database: secret("shop") })),
    "PostgreSQL table raw of shop",
  );
});
