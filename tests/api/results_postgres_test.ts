import assert from "node:assert/strict";
import type { FieldType } from "../../pipeline/columns.ts";
import { UnavailableError } from "../../pipeline/errors.ts";
import type { ResultColumn } from "../../pipeline/plan/plan.ts";
import { postgresClient } from "../../pipeline/postgres_client.ts";
import { ensureTable } from "../../pipeline/sinks/postgres_table.ts";
import { QueryError, type ResultJson, type ResultPage, type ResultQuery } from "../../api/deps.ts";
import { Statements } from "../../api/postgres_statements.ts";
import { createResultReader } from "../../api/results_postgres.ts";
import { rowToJson } from "../../api/result_json.ts";
import { sleep } from "../e2e/harness.ts";
import { startPostgres } from "../sinks/postgres_server.ts";

const MINUTE = 60_000;
const START = Date.parse("2026-11-20T21:00:00Z");

function column(
  name: string,
  type: Partial<FieldType> & { type: FieldType["type"] },
  role: ResultColumn["role"] = "value",
) {
  return { name, role, type: { nullable: false, ...type } as FieldType };
}

function columns(keys: ResultColumn[], values: ResultColumn[]): ResultColumn[] {
  return [
    ...keys,
    column("window_start", { type: "timestamp-millis" }, "window_start"),
    column("window_end", { type: "timestamp-millis" }, "window_end"),
    ...values,
    column("revision", { type: "long" }, "revision"),
    column("final", { type: "boolean" }, "final"),
  ];
}

const SHOP = columns(
  [column("shop", { type: "string" }, "key"), column("till", { type: "int", nullable: true }, "key")],
  [column("n", { type: "long" }), column("total", { type: "decimal", precision: 38, scale: 2, nullable: true })],
);

/** One column of every type, some of them keys. */
const TYPES = columns(
  [column("id", { type: "uuid" }, "key"), column("at", { type: "timestamp-micros" }, "key")],
  [
    column("a_boolean", { type: "boolean" }),
    column("an_int", { type: "int" }),
    column("a_long", { type: "long" }),
    column("a_float", { type: "float" }),
    column("a_double", { type: "double" }),
    column("a_string", { type: "string" }),
    column('b"ytes', { type: "bytes" }),
    column("a_date", { type: "date" }),
    column("a_time_millis", { type: "time-millis" }),
    column("a_time_micros", { type: "time-micros" }),
    column("an_enum", { type: "enum", symbols: ["UP", "DOWN"], nullable: false } as FieldType),
    column("a_decimal", { type: "decimal", precision: 30, scale: 4, nullable: true }),
  ],
);

Deno.test("results in a real PostgreSQL", async (t) => {
  await using server = await startPostgres();
  const sql = postgresClient(server.url, {
    max: 2,
    connection: { TimeZone: "Asia/Tokyo", DateStyle: "SQL, DMY" },
  });
  const reader = createResultReader(new Statements(() => sql), [
    { name: "shop_minute", columns: SHOP, table: "shop_minute" },
    { name: "types", columns: TYPES, table: "types" },
    { name: "not_yet", columns: SHOP, table: "not_yet" },
    { name: "only_kafka", columns: SHOP, table: null },
  ]);
  const read = (query: Partial<ResultQuery> = {}) => reader.read("shop_minute", { limit: 100, ...query });

  await ensureTable(sql, { table: "shop_minute", columns: SHOP, pipeline: "shop_minute" });
  await ensureTable(sql, { table: "types", columns: TYPES, pipeline: "types" });
  // 5 windows of 3 shops with tills 1, 2 and none.
  await sql`
    INSERT INTO shop_minute (shop, till, window_start, window_end, n, total, revision, final)
    SELECT shop, till, ${new Date(START)}::timestamptz + w * interval '1 minute', ${new Date(
    START,
  )}::timestamptz + (w + 1) * interval '1 minute',
           w + 1, CASE WHEN till IS NULL THEN NULL ELSE w + 0.5 END, w + 1, w < 4
    FROM generate_series(0, 4) w, (VALUES ('a'), ('b"\\'), ('ü')) s(shop), (VALUES (1), (2), (NULL)) t(till)`;
  const place = (row: ResultJson) => [row.window_start, row.shop, row.till];

  await t.step("come newest window first, then by key, nulls last, in their documented JSON form", async () => {
    const { rows, next } = await read();
    assert.equal(rows.length, 45);
    assert.equal(next, null);
    assert.deepEqual(rows[0], {
      shop: "a",
      till: 1,
      window_start: "2026-11-20T21:04:00.000Z",
      window_end: "2026-11-20T21:05:00.000Z",
      n: 5,
      total: "4.50",
      revision: 5,
      final: false,
    });
    assert.deepEqual(rows.slice(0, 4).map((row) => [row.shop, row.till]), [["a", 1], ["a", 2], ["a", null], [
      'b"\\',
      1,
    ]]);
    assert.equal(rows[2].total, null);
    assert.equal(rows[44].window_start, "2026-11-20T21:00:00.000Z");
  });

  await t.step("page by page are the same rows in the same order, whatever the size of a page", async () => {
    const whole = (await read()).rows.map(place);
    for (const limit of [1, 2, 7, 44, 45]) {
      const paged: unknown[] = [];
      let cursor: string | undefined;
      do {
        const page: ResultPage = await read({ limit, cursor });
        assert.ok(page.rows.length <= limit);
        paged.push(...page.rows.map(place));
        cursor = page.next ?? undefined;
      } while (cursor !== undefined);
      assert.deepEqual(paged, whole, `limit ${limit}`);
    }
  });

  await t.step("that arrive between two pages neither repeat nor hide rows", async () => {
    const first = await read({ limit: 10 });
    const newer = new Date(START + 9 * MINUTE);
    await sql`INSERT INTO shop_minute VALUES ('a', 1, ${newer}, ${newer}, 1, 1, 1, true, now())`;
    const second = await read({ limit: 100, cursor: first.next! });
    await sql`DELETE FROM shop_minute WHERE window_start = ${newer}`;
    assert.deepEqual([...first.rows, ...second.rows].map(place), (await read()).rows.map(place));
  });

  await t.step("are narrowed by leading keys, time and final", async () => {
    assert.equal((await read({ key: ['b"\\'] })).rows.length, 15);
    assert.equal((await read({ key: ["ü", "2"] })).rows.length, 5);
    assert.equal((await read({ key: ["'; DROP TABLE shop_minute; --"] })).rows.length, 0);
    assert.equal((await read({ from: START + MINUTE, to: START + 3 * MINUTE })).rows.length, 18);
    assert.equal((await read({ final: true })).rows.length, 36);
    assert.equal((await read({ final: false })).rows.length, 9);
    const page = await read({ key: ["a"], from: START + MINUTE, final: true, limit: 2 });
    assert.equal((await read({ key: ["a"], from: START + MINUTE, final: true, cursor: page.next! })).rows.length, 7);
  });

  await t.step("are refused for a key or cursor that does not fit", async () => {
    const refused = (query: Partial<ResultQuery>, where: string) =>
      assert.rejects(read(query), (error) => error instanceof QueryError && error.where === where);
    await refused({ key: ["a", "one"] }, "key");
    await refused({ key: ["a", "99999999999999999999"] }, "key");
    await refused({ key: ["a\0"] }, "key");
    await refused({ key: ["a", "1", "2"] }, "key");
    const cursor = (place: unknown) => btoa(JSON.stringify(place));
    for (
      const broken of [
        "!",
        cursor(1),
        cursor([]),
        cursor(["2026-11-20T21:00:00Z", "a"]),
        cursor([null, "a", "1"]),
        cursor(["yesterday", "a", "1"]),
        cursor(["2026-02-30T21:00:00Z", "a", "1"]),
        cursor(["2026-11-20T21:00:00Z", null, "1"]),
        cursor(["2026-11-20T21:00:00Z", "a", "1; DROP TABLE shop_minute"]),
      ]
    ) await refused({ cursor: broken }, "cursor");
    await assert.rejects(reader.read("only_kafka", { limit: 1 }), QueryError);
  });

  await t.step("have the JSON form of live rows for every type, whatever the session's time zone", async () => {
    const values = [
      "0b7a1f52-6a4e-4b0c-9d0e-2f6f7a1c9e11",
      BigInt(START) * 1000n + 123_456n,
      START,
      START + MINUTE,
      true,
      -7,
      9_007_199_254_740_993n,
      Math.fround(0.1),
      NaN,
      'quote " \\ ü',
      new Uint8Array([0, 255, 10]),
      20_412,
      79_384_005,
      79_384_005_001n,
      "DOWN",
      "12345678901234567890.1200",
      1,
      true,
    ];
    const live = rowToJson(TYPES, values.map((value) => [value]), 0);
    assert.equal(live.at, "2026-11-20T21:00:00.123456Z");
    assert.equal(live.a_long, "9007199254740993");
    const stored = [...values] as unknown[];
    stored[1] = live.at;
    stored[2] = live.window_start;
    stored[3] = live.window_end;
    stored[6] = "9007199254740993";
    stored[11] = live.a_date;
    stored[12] = live.a_time_millis;
    stored[13] = live.a_time_micros;
    await sql.unsafe(
      `INSERT INTO types VALUES (${
        stored.map((_, i) => i === 10 ? `decode($${i + 1}::text, 'hex')` : `$${i + 1}::text::${cast(i)}`)
      })`,
      stored.map((value, i) => i === 10 ? "00ff0a" : String(value)),
    );
    const { rows } = await reader.read("types", { limit: 10 });
    assert.deepEqual(rows, [live]);
    const key = [values[0] as string, live.at as string];
    assert.deepEqual((await reader.read("types", { limit: 10, key })).rows, [live]);

    function cast(i: number): string {
      return [
        "uuid",
        "timestamptz",
        "timestamptz",
        "timestamptz",
        "boolean",
        "int",
        "bigint",
        "real",
        "float8",
        "text",
        "",
        "date",
        "time",
        "time",
        "text",
        "numeric",
        "bigint",
        "boolean",
      ][i];
    }
  });

  await t.step("of a pipeline that has not started yet are unavailable, in plain words", async () => {
    await assert.rejects(reader.read("not_yet", { limit: 1 }), (error: Error) => {
      assert.ok(error instanceof UnavailableError);
      assert.match(error.message, /not_yet is not there yet/);
      return true;
    });
  });

  await t.step("are given up after the time limit, and the statement is cancelled", async () => {
    // Over clients of its own: one that is slow to cancel is ended.
    await using statements = new Statements(() => postgresClient(server.url, { max: 2 }), { timeoutMs: 200 });
    const hasty = createResultReader(statements, [
      { name: "shop_minute", columns: SHOP, table: "shop_minute" },
    ]);
    const locker = postgresClient(server.url);
    await locker`BEGIN`.simple();
    await locker`LOCK TABLE shop_minute`;
    await assert.rejects(hasty.read("shop_minute", { limit: 1 }), /did not answer within 200 ms/);
    const end = performance.now() + 60_000;
    let waiting = -1;
    while (waiting !== 0 && performance.now() < end) {
      [{ waiting }] =
        await locker`SELECT count(*)::int AS waiting FROM pg_stat_activity WHERE wait_event_type = 'Lock'`;
      await sleep(20);
    }
    assert.equal(waiting, 0);
    await locker.end();
    // A machine that stalls may take longer than the limit; once it does not, the answer is there.
    let rows: readonly ResultJson[] | null = null;
    while (rows === null) {
      rows = await hasty.read("shop_minute", { limit: 1 }).then(({ rows }) => rows, (error) => {
        assert.match(String(error), /did not answer within 200 ms/);
        assert.ok(performance.now() < end, "a later statement is answered");
        return null;
      });
    }
    assert.equal(rows.length, 1);
  });

  await t.step("are unavailable while PostgreSQL is away, and there again when it is back", async () => {
    await server.stop();
    await assert.rejects(read(), UnavailableError);
    await server.start();
    let rows: readonly ResultJson[] = [];
    for (let i = 0; i < 600 && rows.length === 0; i++) {
      try {
        rows = (await read()).rows;
      } catch (error) {
        assert.ok(error instanceof UnavailableError, String(error));
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
    assert.equal(rows.length, 45);
  });

  await sql.end();
});
