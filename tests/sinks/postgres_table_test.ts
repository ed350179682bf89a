import assert from "node:assert/strict";
import { ConfigError, UnavailableError } from "../../pipeline/errors.ts";
import type { ResultColumn } from "../../pipeline/plan/plan.ts";
import { createPostgresSink } from "../../pipeline/sinks/postgres.ts";
import type { ResultValue } from "../../pipeline/sinks/sink.ts";
import { COLUMNS, resultRows } from "../contracts/sink_contract.ts";
import { despiteLimit } from "./despite_limit.ts";
import { type PostgresServer, startPostgres } from "./postgres_server.ts";
import { readTable, withClient, withDatabase } from "./postgres_subject.ts";

let server: PostgresServer;
Deno.test.beforeAll(async () => {
  server = await startPostgres();
});
Deno.test.afterAll(async () => await server[Symbol.asyncDispose]());

const signal = new AbortController().signal;
const START = Date.UTC(2026, 0, 1, 23, 59);
const ROW: ResultValue[] = ["a", 1, START, START + 60_000, "12.50", 3, true];

const NOT_NULL_KEY = COLUMNS.filter(({ name }) => name !== "shard")
  .map((column) => column.role === "key" ? { ...column, type: { ...column.type, nullable: false } } : column);

async function writeOnce(options: Parameters<typeof createPostgresSink>[0], rows: ResultValue[][]): Promise<void> {
  await using sink = await createPostgresSink(options);
  await sink.write(resultRows(options.columns, rows), { epoch: 1, signal });
}

Deno.test("a table has the key as primary key, an index on window_start, and comments", async () => {
  await withDatabase(server.url, async (sql, _another, url) => {
    await writeOnce({ url, table: "t", columns: NOT_NULL_KEY, pipeline: "account_minute" }, [ROW.toSpliced(1, 1)]);
    const indexes = await sql`SELECT pg_get_indexdef(indexrelid) AS text FROM pg_index WHERE indrelid = 't'::regclass`;
    const texts = indexes.map(({ text }) => text).sort();
    assert.match(texts[0], /CREATE INDEX t_window_start ON public\.t USING btree \(window_start\)/);
    assert.match(texts[1], /CREATE UNIQUE INDEX t_pkey ON public\.t USING btree \(account, window_start\)/);
    const [{ comment }] = await sql`SELECT obj_description('t'::regclass) AS comment`;
    assert.match(comment, /pipeline account_minute/);
    const [{ uncommented }] = await sql`SELECT count(*)::int AS uncommented FROM pg_attribute
      WHERE attrelid = 't'::regclass AND attnum > 0 AND col_description(attrelid, attnum) IS NULL`;
    assert.equal(uncommented, 0);
    const [{ recent }] = await sql`SELECT updated_at > now() - interval '1 minute' AS recent FROM t`;
    assert.equal(recent, true);
  });
});

Deno.test("the BI view shows numbers, times, the UTC day and is_final", async () => {
  await withDatabase(server.url, async (sql, _another, url) => {
    await writeOnce({ url, table: "t", columns: COLUMNS }, [ROW]);
    await sql`SET TIME ZONE 'Asia/Tokyo'`;
    const [row] =
      await sql`SELECT account, total::text, window_date::text, is_final, window_end > window_start AS ordered
      FROM bi.t`;
    assert.deepEqual({ ...row }, {
      account: "a",
      total: "12.50",
      window_date: "2026-01-01",
      is_final: true,
      ordered: true,
    });
    const [{ type }] = await sql`SELECT format_type(atttypid, atttypmod) AS type FROM pg_attribute
      WHERE attrelid = 'bi.t'::regclass AND attname = 'total'`;
    assert.equal(type, "numeric(38,2)");
  });
});

Deno.test("a sink starts again on its own table, and many may start at once", async () => {
  await withDatabase(server.url, async (sql, _another, url) => {
    await Promise.all(
      Array.from({ length: 6 }, (_, shard) => writeOnce({ url, table: "t", columns: COLUMNS }, [ROW.with(1, shard)])),
    );
    await writeOnce({ url, table: "t", columns: COLUMNS }, [ROW]);
    assert.equal((await readTable(sql, "t", COLUMNS)).length, 6);
  });
});

Deno.test("a table with other columns is refused, with every difference and what to do", async () => {
  await withDatabase(server.url, async (sql, _another, url) => {
    await sql.unsafe("CREATE TABLE t (account text, total double precision, note text)");
    await assert.rejects(createPostgresSink({ url, table: "t", columns: COLUMNS }), (error: Error) => {
      assert.ok(error instanceof ConfigError);
      assert.match(error.message, /t\.total: the table there has type double precision, wanted numeric\(38,2\)/);
      assert.match(
        error.message,
        /t\.window_start: the table there has no such column, wanted timestamp with time zone/,
      );
      assert.match(error.message, /t\.note: the table there has this column \(text\)/);
      assert.match(error.message, /ALTER TABLE .* RENAME TO/);
      return true;
    });
    const [{ view }] = await sql`SELECT to_regclass('bi.t') AS view`;
    assert.equal(view, null, "nothing was made");
  });
});

Deno.test("a table without the unique index is refused", async () => {
  await withDatabase(server.url, async (sql, _another, url) => {
    await writeOnce({ url, table: "t", columns: COLUMNS }, []);
    await sql.unsafe("DROP INDEX t_key; CREATE UNIQUE INDEX ON t (account, shard, window_start)");
    await assert.rejects(createPostgresSink({ url, table: "t", columns: COLUMNS }), {
      name: "ConfigError",
      message: /no unique index over \(account, shard, window_start\) with NULLS NOT DISTINCT/,
    });
  });
});

Deno.test("names that PostgreSQL would cut or that are taken are refused, all at once", async () => {
  const long = "x".repeat(64);
  const columns: ResultColumn[] = COLUMNS.map((column, index) =>
    index === 0 ? { ...column, name: long } : index === 4 ? { ...column, name: "updated_at" } : column
  );
  await withDatabase(server.url, async (_sql, _another, url) => {
    await assert.rejects(createPostgresSink({ url, table: long, columns }), (error: Error) => {
      assert.ok(error instanceof ConfigError);
      assert.deepEqual(error.faults.map(({ where }) => where), [long, `${long}.${long}`, `${long}.updated_at`]);
      return true;
    });
  });
});

Deno.test("names with quotes, spaces, capitals and percent signs work, in a schema of their own", async () => {
  await withDatabase(server.url, async (sql, _another, url) => {
    await sql.unsafe(`CREATE SCHEMA "My Schema"`);
    const columns = COLUMNS.map((column, index) => index === 4 ? { ...column, name: `Total "net" % '$1'` } : column);
    await writeOnce({ url, table: `My Schema.Account "x"`, columns }, [ROW]);
    const [{ n }] = await sql.unsafe(`SELECT count(*)::int AS n FROM bi."My Schema_Account ""x"""`);
    assert.equal(n, 1);
  });
});

Deno.test("U+0000 in a key neither stops the sink nor makes two keys one", async () => {
  await withDatabase(server.url, async (sql, _another, url) => {
    const keys = ["a\0b", "a\u2400b", "a\u2410\u2400b", "a\u2410b", "ab"];
    await writeOnce({ url, table: "t", columns: COLUMNS }, keys.map((key) => ROW.with(0, key)));
    const rows = await sql`SELECT account FROM t ORDER BY account COLLATE "C"`;
    assert.deepEqual(rows.map(({ account }) => account), [
      "ab",
      "a\u2400b",
      "a\u2410\u2400b",
      "a\u2410\u2410b",
      "a\u2410\u2410\u2410\u2400b",
    ]);
  });
});

Deno.test("a value that does not fit is named with its column and row", async () => {
  const refused: [number, ResultValue, RegExp][] = [
    [
      4,
      `1${"0".repeat(36)}.00`,
      /^t\.total: "10+\.00" does not fit numeric\(38,2\) in the row of account = "k7", shard = 1/,
    ],
    [1, 2 ** 31, /^t\.shard: 2147483648 does not fit integer/],
    [2, 8.64e15 * 2, /^t\.window_start: .* is outside of what timestamptz can hold/],
    [6, null, /^t\.final: null is not allowed/],
    [
      0,
      Array.from({ length: 3_000 }, () => String.fromCharCode(97 + Math.random() * 26)).join(""),
      /too long for a key/,
    ],
  ];
  await withDatabase(server.url, async (sql, _another, url) => {
    for (const [index, value, message] of refused) {
      const rows = Array.from({ length: 10 }, (_, i) => ROW.with(0, `k${i}`)).map((row, i) =>
        i === 7 ? row.with(index, value) : row
      );
      await assert.rejects(writeOnce({ url, table: "t", columns: COLUMNS }, rows), (error: Error) => {
        assert.ok(error instanceof ConfigError, String(error));
        assert.match(error.message, message);
        assert.ok(error.message.length < 1_000);
        return true;
      });
    }
    assert.deepEqual(await readTable(sql, "t", COLUMNS), [], "a statement is all or nothing");
  });
});

Deno.test("a large write goes in chunks bounded in rows and in bytes", async () => {
  await withDatabase(server.url, async (sql, _another, url) => {
    const rows = Array.from({ length: 25 }, (_, i) => ROW.with(1, i));
    await writeOnce({ url, table: "t", columns: COLUMNS, chunkRowsMax: 10 }, rows);
    const times = async () => (await sql`SELECT count(DISTINCT updated_at)::int AS n FROM t`)[0].n;
    assert.equal(await times(), 3);
    await writeOnce({ url, table: "t", columns: COLUMNS, chunkBytesMax: 1 }, rows.map((row) => row.with(5, 4)));
    assert.equal(await times(), 25, "one row a statement, since each is over the bound");
  });
});

Deno.test("a wrong password, database or right is the user's to mend", async () => {
  await withDatabase(server.url, async (sql, _another, url) => {
    const other = new URL(url);
    other.pathname = "/nowhere";
    await assert.rejects(createPostgresSink({ url: other.href, table: "t", columns: COLUMNS }), {
      name: "ConfigError",
      message: /"nowhere" does not exist.*Create the database/,
    });
    await sql.unsafe("CREATE ROLE reader LOGIN");
    other.pathname = new URL(url).pathname;
    other.username = "reader";
    await assert.rejects(createPostgresSink({ url: other.href, table: "t", columns: COLUMNS }), {
      name: "ConfigError",
      message: /permission denied.*Grant/,
    });
  });
});

Deno.test("a server that cannot take another connection, or is not there, is unavailable", async () => {
  await using full = await startPostgres({ settings: ["max_connections=4", "superuser_reserved_connections=0"] });
  const columns = COLUMNS;
  const sinks = await Promise.all(
    ["a", "b", "c"].map((table) => createPostgresSink({ url: full.url, table, columns })),
  );
  await withClient(full.url, async (sql) => {
    await sql`SELECT 1`;
    await assert.rejects(createPostgresSink({ url: full.url, table: "d", columns }), UnavailableError);
  });
  for (const sink of sinks) await sink[Symbol.asyncDispose]();
  await full.stop();
  await assert.rejects(createPostgresSink({ url: full.url, table: "d", columns }), UnavailableError);
});

for (const [statement, copyRowsMin] of [["an upsert", Infinity], ["a COPY", 1]] as const) {
  Deno.test(`${statement} that does not end is given up as unavailable, and a repeat goes through`, async () => {
    await withDatabase(server.url, async (sql, another, url) => {
      const options = { table: "t", columns: COLUMNS, statementMsMax: 200, copyRowsMin };
      await using sink = await createPostgresSink({ url, ...options });
      const locker = await another();
      await locker.unsafe("BEGIN; LOCK TABLE t");
      await assert.rejects(
        async () => await sink.write(resultRows(COLUMNS, [ROW]), { epoch: 1, signal }),
        UnavailableError,
      );
      await locker.unsafe("COMMIT");
      await despiteLimit(async () => await sink.write(resultRows(COLUMNS, [ROW]), { epoch: 1, signal }));
      assert.deepEqual(await readTable(sql, "t", COLUMNS), [ROW]);
    });
  });
}

Deno.test("a table dropped under a running sink is the user's to mend", async () => {
  await withDatabase(server.url, async (sql, _another, url) => {
    await using sink = await createPostgresSink({ url, table: "t", columns: COLUMNS });
    await sql.unsafe("DROP TABLE t CASCADE");
    await assert.rejects(async () => await sink.write(resultRows(COLUMNS, [ROW]), { epoch: 1, signal }), {
      name: "ConfigError",
      message: /a restart makes it again/,
    });
  });
});

Deno.test("a shared client is used and left open, with and without prepared statements", async () => {
  await withDatabase(server.url, async (sql) => {
    for (const prepare of [true, false]) {
      await using sink = await createPostgresSink({ sql, table: "t", columns: COLUMNS, prepare });
      await sink.write(resultRows(COLUMNS, [ROW]), { epoch: 1, signal });
    }
    assert.deepEqual(await readTable(sql, "t", COLUMNS), [ROW]);
  });
});
