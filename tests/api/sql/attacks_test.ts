/**
 * What people try against a SQL endpoint, over HTTP and against real processes. Each attack has to be refused with a clear 4xx, or,
 * where it is harmless as it stands, be answered correctly and within bounds; `select 1` is answered right afterwards; and nothing
 * is written, in the lake's folder or in the one of the process.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { createApp } from "../../../api/app.ts";
import { PROBLEM_JSON } from "../../../api/problem.ts";
import { SqlError } from "../../../api/sql/service.ts";
import { fakeDeps } from "../fake_deps.ts";
import { askedLake } from "./small_lake.ts";

/** What becomes of an attack: the statuses it may be refused with, or what the harmless answer's rows have to be. */
type Outcome = number | readonly number[] | ((rows: Record<string, unknown>[]) => void);

const BAD = 400;
/** Refused when it has taken as much as a question may. */
const TOO_MUCH = 422;

interface Place {
  readonly lake: string;
}

type Attack = readonly [name: string, sql: string | ((place: Place) => string), outcome: Outcome];

const count = (n: number) => (rows: Record<string, unknown>[]) => assert.equal(rows.length, n);
const value = (expected: unknown) => (rows: Record<string, unknown>[]) =>
  assert.deepEqual(Object.values(rows[0]), [expected]);

const READING: readonly Attack[] = [
  ["read_text of a system file", "select * from read_text('/etc/passwd')", BAD],
  ["read_blob of a system file", "select * from read_blob('/etc/passwd')", BAD],
  ["read_csv of a system file", "select * from read_csv('/etc/passwd', sep = ':')", BAD],
  ["read_csv_auto of a system file", "from read_csv_auto('/etc/passwd')", BAD],
  ["read_json of a system file", "from read_json('/etc/passwd')", BAD],
  ["read_json_objects of a system file", "from read_json_objects('/etc/passwd')", BAD],
  ["read_ndjson of a system file", "from read_ndjson('/etc/passwd')", BAD],
  ["read_parquet of a file of the lake", ({ lake }) => `from read_parquet('${lake}/day1.parquet')`, BAD],
  ["parquet_scan of a file of the lake", ({ lake }) => `from parquet_scan('${lake}/day1.parquet')`, BAD],
  ["read_parquet of everything", "from read_parquet('/**/*.parquet')", BAD],
  ["parquet_metadata of a file of the lake", ({ lake }) => `from parquet_metadata('${lake}/day1.parquet')`, BAD],
  ["parquet_schema", ({ lake }) => `from parquet_schema('${lake}/day1.parquet')`, BAD],
  ["parquet_kv_metadata", ({ lake }) => `from parquet_kv_metadata('${lake}/day1.parquet')`, BAD],
  ["read_duckdb", "from read_duckdb('/tmp/x.db')", BAD],
  ["glob of a folder", "select * from glob('/etc/*')", BAD],
  ["sniff_csv", "from sniff_csv('/etc/passwd')", BAD],
  ["a file as a table", "select * from '/etc/passwd'", BAD],
  ["a file of the lake as a table", ({ lake }) => `from '${lake}/day1.parquet'`, BAD],
  ["a file as a quoted name", 'from "x.parquet"', BAD],
  ["a file within a schema", 'from lake."../../etc/passwd"', BAD],
  ["a path that climbs", "from '../../../../../../etc/passwd'", BAD],
  ["a file through a link beside the lake's files", ({ lake }) => `from read_text('${lake}/link.parquet')`, BAD],
  ["a link as a table", ({ lake }) => `from '${lake}/link.parquet'`, BAD],
  ["an address", "from 'https://example.com/x.parquet'", BAD],
  ["an address in a function", "from read_csv('http://169.254.169.254/latest/meta-data/')", BAD],
  ["an object of S3", "from read_parquet('s3://bucket/key')", BAD],
  ["standard input", "from read_csv('/dev/stdin')", BAD],
  ["the process's own files", "from read_text('/proc/self/environ')", BAD],
  ["describe of a file", "describe select * from '/etc/passwd'", BAD],
  ["summarize of a file", "summarize '/etc/passwd'", BAD],
  ["a file in a subquery's subquery", "select (select (select count(*) from read_text('/etc/passwd')))", BAD],
  ["a file in a WITH", "with t as (from read_text('/etc/passwd')) select * from t", BAD],
  ["a file in a condition", "select 1 where exists (from read_text('/etc/passwd'))", BAD],
  ["a file in a LIMIT", "select 1 limit (select count(*) from read_text('/etc/passwd'))", BAD],
  ["a file in an ORDER BY", "select 1 order by (select content from read_text('/etc/passwd'))", BAD],
  ["a file in a join", "from ledger join read_text('/etc/passwd') on true", BAD],
  ["a file in a lateral join", "from ledger, lateral (from read_text(pipeline))", BAD],
  ["a file in a PIVOT", "pivot read_text('/etc/passwd') on size in (1) using count(*)", BAD],
  ["a file by a WITH of the same name", 'with x as (select 1) select * from x, "x.csv"', BAD],
  ["a schema-qualified function", "from main.read_text('/etc/passwd')", BAD],
  ["a fully qualified function", "from system.main.read_text('/etc/passwd')", BAD],
  ["a function in capitals", "FROM READ_TEXT('/etc/passwd')", BAD],
  ["a quoted function", "from \"read_text\"('/etc/passwd')", BAD],
  ["a function as a method", "select '/etc/passwd'.read_text()", BAD],
  ["a function that runs SQL", "from query('select * from read_text(''/etc/passwd'')')", BAD],
  ["a function that names a table", "from query_table('/etc/passwd')", BAD],
  ["a serialized statement", "from json_execute_serialized_sql(json_serialize_sql('select 1'))", BAD],
  ["a table macro that names a table", "from histogram_values('/etc/passwd', 'content')", BAD],
];

const SETTINGS: readonly Attack[] = [
  ["getenv", "select getenv('PATH')", BAD],
  ["current_setting", "select current_setting('allowed_paths')", BAD],
  ["duckdb_settings()", "select * from duckdb_settings()", BAD],
  ["duckdb_settings as a table", "from duckdb_settings", BAD],
  ["duckdb_views, whose SQL has the paths", "select sql from duckdb_views()", BAD],
  ["duckdb_views as a table", "from duckdb_views", BAD],
  ["sqlite_master", "from sqlite_master", BAD],
  ["information_schema", "from information_schema.tables", BAD],
  ["pg_catalog", "from pg_catalog.pg_views", BAD],
  ["duckdb_secrets", "from duckdb_secrets()", BAD],
  ["which_secret", "from which_secret('s3://x', 's3')", BAD],
  ["pragma functions", "from pragma_database_size()", BAD],
  ["PRAGMA", "PRAGMA database_list", BAD],
  ["SET", "SET enable_external_access = true", BAD],
  ["RESET", "RESET allowed_paths", BAD],
  ["SET VARIABLE", "SET VARIABLE x = 1", BAD],
  ["getvariable", "select getvariable('x')", BAD],
  ["set_config", "select set_config('threads', '64', false)", BAD],
  ["SHOW TABLES", "show all tables", BAD],
  ["the files' names by a virtual column", "select filename from lake.transactions", BAD],
  ["the query being run", "select current_query()", BAD],
  ["CREATE SECRET", "create secret s (type s3, key_id 'x', secret 'y')", BAD],
  ["waiting", "select sleep_ms(60000)", BAD],
  ["waiting as PostgreSQL does", "select pg_sleep(60)", BAD],
  ["log writing", "select write_log('x')", BAD],
  ["the name of the user", "select current_user", value("duckdb")],
];

const STATEMENTS: readonly Attack[] = [
  ["COPY TO a file", ({ lake }) => `copy (select 1) to '${lake}/x.csv'`, BAD],
  ["COPY FROM a file", "copy ledger from '/etc/passwd'", BAD],
  ["COPY TO a program", "copy (select 1) to program 'id'", BAD],
  ["EXPORT DATABASE", ({ lake }) => `export database '${lake}/export'`, BAD],
  ["IMPORT DATABASE", "import database '/tmp'", BAD],
  ["ATTACH", ({ lake }) => `attach '${lake}/x.db'`, BAD],
  ["DETACH", "detach memory", BAD],
  ["USE", "use lake", BAD],
  ["INSTALL", "install httpfs", BAD],
  ["INSTALL from an address", "install x from 'http://127.0.0.1/'", BAD],
  ["LOAD", "load '/tmp/evil.duckdb_extension'", BAD],
  ["FORCE CHECKPOINT", "force checkpoint", BAD],
  ["CHECKPOINT", "checkpoint", BAD],
  ["force_checkpoint()", "from force_checkpoint()", BAD],
  ["VACUUM", "vacuum", BAD],
  ["BEGIN", "begin transaction", BAD],
  ["CREATE TABLE", "create table x as select 1", BAD],
  ["CREATE VIEW", "create or replace view ledger as select 1", BAD],
  ["CREATE MACRO", "create macro abs(x) as 1", BAD],
  ["CREATE TYPE", "create type t as enum ('a')", BAD],
  ["DROP", "drop view ledger", BAD],
  ["ALTER", "alter table ledger rename to x", BAD],
  ["INSERT", "insert into ledger values ('x', 1, 1)", BAD],
  ["UPDATE", "update ledger set consumed = 0", BAD],
  ["DELETE", "delete from ledger", BAD],
  ["MERGE", "merge into ledger using ledger as l on true when matched then delete", BAD],
  ["TRUNCATE", "truncate ledger", BAD],
  ["INSERT in a WITH", "with x as (insert into ledger values ('x', 1, 1) returning *) select * from x", BAD],
  ["SELECT INTO", "select 1 into x", BAD],
  ["PREPARE", "prepare p as select 1", BAD],
  ["EXECUTE", "execute p", BAD],
  ["CALL", "call duckdb_settings()", BAD],
  ["EXPLAIN ANALYZE", "explain analyze select * from ledger", BAD],
  ["COMMENT ON", "comment on view ledger is 'x'", BAD],
  ["two statements", "select 1; select 2", BAD],
  ["a second statement that writes", ({ lake }) => `select 1; copy (select 1) to '${lake}/x.csv'`, BAD],
  ["a second statement behind a comment", "select 1 /* ; */ ; -- \n drop view ledger", BAD],
  ["a statement hidden in nested comments", "select 1 /* /* */ ; drop view ledger */", count(1)],
  ["a statement after a carriage return in a comment", "select 1 -- x\r; drop view ledger", BAD],
  ["a comment that is never closed", "select 1 /* ", BAD],
  ["a text that is never closed", "select 'x", BAD],
  ["a dollar text that hides a semicolon", "select $$;$$ as x", value(";")],
  ["a dollar text that is never closed", "select $x$ ; drop view ledger", BAD],
  ["breaking out of the brackets around it", "select 1) to '/tmp/x' (format csv); --", BAD],
  ["breaking out of a subquery", "select 1) as answer limit 1) to '/tmp/x'; --", BAD],
  ["quotes of Unicode", "select \u2018x\u2019; drop view ledger", BAD],
  ["an escape text with a quote", "select E'\\'; drop view ledger; --'", value("'; drop view ledger; --")],
  ["blanks of Unicode", "select\u00a01\u2003as\u3000x", value(1)],
  ["a NUL character", "select 1\u0000; drop view ledger", BAD],
  ["half of a character", "select '\ud800'", BAD],
  ["a byte order mark", "\ufeffselect 1", value(1)],
  ["nothing", "  -- nothing\n", BAD],
  ["semicolons only", ";;;", BAD],
];

const DEPTH: readonly Attack[] = [
  ["a text of 1 MB", `select '${"x".repeat(1_000_000)}'`, BAD],
  ["deep brackets", `select ${"(".repeat(30_000)}1${")".repeat(30_000)}`, BAD],
  ["deep lists", `select ${"[".repeat(30_000)}1${"]".repeat(30_000)}`, BAD],
  ["deep calls", `select ${"abs(".repeat(10_000)}1${")".repeat(10_000)}`, BAD],
  ["deep subqueries", `select * from ${"(from ".repeat(8_000)}ledger${")".repeat(8_000)}`, BAD],
  ["deep comments", `select 1 ${"/*".repeat(15_000)}${"*/".repeat(15_000)}`, BAD],
  ["a long sum", `select ${"1+".repeat(30_000)}1`, BAD],
  ["many signs", `select ${"- ".repeat(30_000)}1`, [200, BAD, TOO_MUCH]],
  ["many NOTs", `select ${"not ".repeat(15_000)}true`, BAD],
  ["many casts", `select 1${"::int".repeat(10_000)}`, BAD],
  ["many CASEs", `select ${"case when true then ".repeat(3_000)}1${" end".repeat(3_000)}`, BAD],
  ["many joins", `select count(*) from ledger${",ledger".repeat(9_000)}`, BAD],
  ["many unions", `select 1${" union select 1".repeat(4_000)}`, [200, BAD, TOO_MUCH]],
  [
    "many names in WITH",
    `with a0 as (select 1)${
      Array.from({ length: 1_500 }, (_, i) => `, a${i + 1} as (from a${i})`).join("")
    } from a1500`,
    [200, BAD, TOO_MUCH],
  ],
  [
    "names in WITH that double",
    `with a0 as (select 1 as x)${
      Array.from({ length: 40 }, (_, i) => `, a${i + 1} as (select a.x from a${i} a, a${i} b)`).join("")
    } select count(*) from a40`,
    [200, BAD, TOO_MUCH],
  ],
  ["many columns", `select ${"1,".repeat(30_000)}1`, [200, BAD, TOO_MUCH]],
  ["many values", `select 1 in (${"1,".repeat(30_000)}1)`, [200, TOO_MUCH]],
  ["a long path of fields", `select a${".b".repeat(30_000)} from ledger`, BAD],
  ["deep lambdas", `select list_transform([1], ${"lambda x: ".repeat(5_000)}1)`, BAD],
];

const BOMBS: readonly Attack[] = [
  ["a huge range", "select * from range(1000000000000)", count(10_000)],
  ["a huge range counted", "select count(*) from range(1000000000000) t(i) where i % 7 = 3", TOO_MUCH],
  ["a huge generate_series", "select * from generate_series(1, 9223372036854775806)", count(10_000)],
  ["a list of a huge range", "select len(range(10000000000))", [BAD, TOO_MUCH]],
  ["a cross join", "select count(*) from range(10000000) a, range(10000000) b where a.range * b.range = 12", TOO_MUCH],
  [
    "a recursion without end",
    "with recursive t as (select 1 as n union all select n + 1 from t) select max(n) from t",
    TOO_MUCH,
  ],
  [
    "a recursion that doubles",
    "with recursive t as (select 1 as n union all (select n from t union all select n from t)) select count(*) from t",
    TOO_MUCH,
  ],
  ["a text that is repeated", "select repeat('x', 4000000000) as x", [BAD, TOO_MUCH]],
  [
    "a text that grows by replacement",
    "select replace(replace(replace(replace(repeat('x', 10000), 'x', repeat('x', 1000)), 'x', repeat('x', 1000)), 'x', repeat('x', 1000)), 'x', 'y')",
    [BAD, TOO_MUCH],
  ],
  ["a text that is padded", "select lpad('x', 2000000000, 'ab')", [BAD, TOO_MUCH]],
  ["string_agg of much", "select length(string_agg(repeat('x', 1000), ',')) from range(100000000)", TOO_MUCH],
  ["list of much", "select len(list(i)) from range(10000000000) t(i)", TOO_MUCH],
  ["a distinct count of much", "select count(distinct i) from range(10000000000) t(i)", TOO_MUCH],
  ["a group by of much", "select count(*) from (select i from range(10000000000) t(i) group by i)", TOO_MUCH],
  [
    "an order by of much",
    "select * from (select random() as r, repeat('x', 500) as t from range(1000000000)) order by r limit 100000000",
    TOO_MUCH,
  ],
  [
    "a window over much",
    "select max(s) from (select sum(i) over (order by random()) as s from range(1000000000) t(i))",
    TOO_MUCH,
  ],
  [
    "a regular expression that is nested",
    "select regexp_matches(repeat('a', 100000), '((((a+)+)+)+)+$b')",
    value(false),
  ],
  ["a regular expression that is repeated", "select regexp_matches('a', '((a{1000}){1000}){1000}')", [BAD, TOO_MUCH]],
  [
    "a LIKE with many wildcards",
    `select count(*) from range(1000000) where repeat('a', 100) || range like '${"%a".repeat(50)}b'`,
    [200, TOO_MUCH],
  ],
  ["a similarity of long texts", "select levenshtein(repeat('a', 1000000), repeat('b', 1000000))", [BAD, TOO_MUCH]],
  ["a huge power", "select pow(10, 10000)", [200, BAD]],
  ["a huge factorial", "select factorial(100000)", BAD],
  [
    "a huge decimal",
    "select 99999999999999999999999999999999999999::decimal(38, 0) * 99999999999999999999999999999999999999::decimal(38, 0)",
    BAD,
  ],
  ["a huge number", `select ${"9".repeat(10_000)}`, [200, BAD]],
  [
    "a cross join of columns",
    "select columns(*), columns(*) from lake.transactions a, lake.transactions b",
    count(10_000),
  ],
  [
    "a pivot of very many",
    `pivot (select i from range(10) t(i)) on i in (${
      Array.from({ length: 9_000 }, (_, i) => i).join()
    }) using count(*)`,
    [200, BAD, TOO_MUCH],
  ],
  [
    "a cube of many",
    "select count(*) from lake.transactions group by cube (account_id, amount, at, note, day, account_id || 'a', account_id || 'b', account_id || 'c', account_id || 'd', account_id || 'e', account_id || 'f', account_id || 'g')",
    [200, BAD, TOO_MUCH],
  ],
  ["unnesting what is nested", "select unnest(range(1000000)) from range(1000000)", [200, TOO_MUCH]],
  ["deep JSON", `select json_extract(repeat('[', 1000000), '$[0]')`, [200, BAD, TOO_MUCH]],
  ["a json_tree of much", "select count(*) from json_tree('[' || repeat('1,', 30000000) || '1]')", [
    200,
    BAD,
    TOO_MUCH,
  ]],
  ["a hash of much", "select count(*) from range(100000000000) t(i) where sha256(i::varchar) = 'x'", TOO_MUCH],
  ["a sample of much", "select count(*) from range(10000000000) using sample 900000000 rows", TOO_MUCH],
  ["bits of much", "select bit_count(rpad('1', 2000000000, '0')::bit)", [BAD, TOO_MUCH]],
  ["a mode of much", "select mode(repeat('x', 1000) || i) from range(1000000000) t(i)", TOO_MUCH],
];

/** Where attacks try to write, beside the lake's folder. */
const TARGETS = ["/tmp/x", "/tmp/x.csv", "x", "x.csv", "export"];

/** What is in the lake's folder, with sizes and times, and which of the targets are there. */
async function listing(folder: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name } of Deno.readDir(folder)) {
    const { size, mtime } = await Deno.lstat(join(folder, name));
    found.push(`${name} ${size} ${mtime?.toISOString()}`);
  }
  for (const path of TARGETS) if (await Deno.lstat(path).then(() => true, () => false)) found.push(path);
  return found.sort();
}

const MEMORY_BYTES_MAX = 128 * 1024 * 1024;
/** For what shares the machine with an attack that takes all of it, or with others. */
const PATIENCE_MS = 60_000;
/** Attacks at a time; as many as questions are answered at a time. */
const TOGETHER = 2;

/** Asks again while it took longer than a question may: beside a bomb, on a machine that is slow, the simplest one can. */
async function patiently<T>(ask: () => Promise<T>): Promise<T> {
  for (const end = performance.now() + PATIENCE_MS;;) {
    try {
      return await ask();
    } catch (error) {
      const isLate = error instanceof SqlError && /takes more than \d+ s/.test(error.message);
      if (!isLate || performance.now() > end) throw error;
    }
  }
}

async function withstand(attacks: readonly Attack[], answerMs = 10_000): Promise<void> {
  await using lake = await askedLake({ answerMs, memoryBytesMax: MEMORY_BYTES_MAX });
  await Deno.symlink("/etc/passwd", join(lake.folder, "link.parquet"));
  const app = createApp(fakeDeps({ sql: lake.service }).deps);
  const ask = (sql: string) =>
    app.request("/v1/sql", {
      method: "POST",
      body: JSON.stringify({ sql }),
      headers: { "content-type": "application/json" },
    });
  const before = await listing(lake.folder);
  const faults: string[] = [];
  let refused = 0;
  const launch = async ([name, attack, outcome]: Attack) => {
    const sql = typeof attack === "string" ? attack : attack({ lake: lake.folder });
    try {
      const response = await ask(sql);
      const text = await response.text();
      if (typeof outcome === "function") {
        assert.equal(response.status, 200, text.slice(0, 300));
        outcome(JSON.parse(text).rows);
      } else {
        const allowed = typeof outcome === "number" ? [outcome] : outcome;
        assert.ok(allowed.includes(response.status), `${response.status} ${text.slice(0, 300)}`);
      }
      if (response.status !== 200) {
        assert.equal(response.headers.get("content-type"), PROBLEM_JSON);
        const told = JSON.parse(text) as { readonly detail?: string };
        assert.ok(told.detail !== undefined && told.detail.length < 1_000, text.slice(0, 300));
        // Only what the question itself says may be told of where things are.
        for (const path of [lake.folder, Deno.cwd(), "/dev/", "/usr/", "/proc/", "/tmp"]) {
          assert.ok(!told.detail.includes(path) || sql.includes(path), `tells of ${path}: ${told.detail}`);
        }
      }
      // What was refused unasked has left its process as it was: it parses again, and is asked something now and then.
      if (response.status === BAD && ++refused % 10 !== 0) {
        const { signal } = new AbortController();
        await patiently(() => lake.service.check({ sql: "select 1" }, { signal }));
      } else assert.deepEqual(await patiently(() => lake.rows("select 1 as one")), [{ one: 1 }]);
    } catch (error) {
      faults.push(`${name}: ${(error as Error).message}`);
    }
  };
  const left = attacks.values();
  const attackers = Array.from({ length: TOGETHER }, async () => {
    for (const attack of left) await launch(attack);
  });
  await Promise.all(attackers);
  assert.deepEqual(faults, []);
  assert.deepEqual(await patiently(() => lake.rows("select 1 as one")), [{ one: 1 }]);
  assert.deepEqual(await listing(lake.folder), before, "something was written");
  assert.equal(lake.held(), 0);
}

Deno.test("no file, address or function that reads one can be reached", () => withstand(READING));
Deno.test("no setting, catalog or variable can be seen or changed", () => withstand(SETTINGS));
Deno.test("nothing but one SELECT is answered, however it is dressed", () => withstand(STATEMENTS));
Deno.test("texts too long, too deep or too wide are refused", () => withstand(DEPTH));
Deno.test("questions that would take everything end at their bounds", async () => {
  // Those that have to end by themselves are asked apart: beside the others, and in their time, they might not.
  const bombs = Map.groupBy(
    BOMBS,
    ([, , outcome]) => typeof outcome !== "function" && [outcome].flat().includes(TOO_MUCH),
  );
  await withstand(bombs.get(false)!, PATIENCE_MS);
  await withstand(bombs.get(true)!, 2_000);
});

Deno.test("there are at least 70 attacks, each with a name of its own", () => {
  const names = [READING, SETTINGS, STATEMENTS, DEPTH, BOMBS].flat().map(([name]) => name);
  assert.ok(names.length >= 70, `${names.length}`);
  assert.equal(new Set(names).size, names.length);
});
