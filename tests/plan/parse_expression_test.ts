import assert from "node:assert/strict";
import { parseExpression, withCaret } from "../../pipeline/plan/parse_expression.ts";
import { FIELDS } from "./condition_rows.ts";

function lookup(path: string) {
  const field = FIELDS.findIndex((known) => known.path === path);
  return field < 0 ? `no field "${path}"` : { field, type: FIELDS[field].type };
}

async function problemsOf(sql: string): Promise<readonly string[]> {
  const parsed = await parseExpression(sql, lookup);
  assert.ok("problems" in parsed, `accepted: ${sql.slice(0, 100)}`);
  return parsed.problems;
}

Deno.test("a fault is shown under the place it is at", async () => {
  assert.deepEqual(await problemsOf("s = 'é👍' AND\n  random() > 0.5"), [
    (await problemsOf("random() > 0.5"))[0].split("\n")[0] + "\n      random() > 0.5\n      ^",
  ]);
  assert.match((await problemsOf("s = 'é' AND = 1"))[0], /^syntax error at or near "="\n {4}s = 'é' AND = 1\n {16}\^$/);
});

Deno.test("a long line is shown around the fault only", () => {
  const shown = withCaret(`${"a ".repeat(100)}HERE${" b".repeat(100)}`, "no", 200).split("\n");
  assert.equal(shown[1].indexOf("HERE"), shown[2].indexOf("^"));
  assert.ok(shown[1].length < 140);
});

Deno.test("every fault of a condition is told, not only the first", async () => {
  const problems = await problemsOf("missing = 1 AND s > 5 AND sum(i) > 3 AND b + 1 = 2");
  assert.equal(problems.length, 4);
  for (const [i, text] of ['no field "missing"', "string and int", "sum()", "boolean"].entries()) {
    assert.ok(problems[i].includes(text), `${problems[i]} says ${text}`);
  }
});

Deno.test("what is not one condition over one record is refused, with the reason", async () => {
  const cases: readonly (readonly [sql: string, reason: RegExp])[] = [
    ["", /empty/],
    ["-- only a comment", /syntax error/],
    ["i = 1; DROP TABLE r", /not one condition|syntax error/],
    ["i = 1;", /nothing after it/],
    ["i = 1) OR (1 = 1", /syntax error/],
    ["i = 1 GROUP BY ALL", /nothing after it/],
    ["i = 1 ORDER BY i", /nothing after it/],
    ["i = 1 UNION SELECT 1", /not one condition|nothing after it/],
    ["i = (SELECT 1)", /subqueries/],
    ["i IN (SELECT 1)", /subqueries/],
    ["EXISTS (SELECT 1)", /subqueries/],
    ["count(*) > 1", /count_star\(\) is not supported/],
    ["sum(i) FILTER (WHERE b) > 1", /sum\(\) is not supported/],
    ["row_number() OVER () > 1", /window functions/],
    ["nextval('x') = 1", /nextval\(\)/],
    ["read_text('/etc/passwd') = ''", /read_text\(\)/],
    ["getenv('HOME') = ''", /getenv\(\)/],
    ["now() > ts", /now\(\)/],
    ["current_date > da", /no field "current_date"/],
    ["i = $1", /parameters/],
    ["i = ?", /parameters/],
    ["#1 = 1", /position/],
    ["* = 1", /./],
    ["s COLLATE nocase = 'a'", /collations/],
    ["s ~ 'a+'", /not supported/],
    ["s SIMILAR TO 'a'", /regexp_full_match\(\)/],
    ["i = 1 + s", /takes numbers/],
    ["i", /is an int where a condition/],
    ["s", /is a string where a condition/],
    ["NOT i", /where a condition/],
    ["i AND b", /where a condition/],
    ["i = b", /cannot be compared/],
    ["s = 1", /cannot be compared/],
    ["ts = ti", /cannot be compared/],
    ["i = 'five'", /five/],
    ["ts > 'yesterday'", /yesterday/],
    ["ts > TIMESTAMP 'infinity'", /not a finite/],
    ["ts > TIMESTAMPTZ '2024-01-01'", /TIME ZONE.*times are UTC/],
    ["ts > now() - INTERVAL 1 DAY", /now\(\)/],
    ["ts - INTERVAL 1 DAY > ts", /not supported/],
    ["ts + 1 > ts", /takes numbers/],
    ["e = 'purple'", /'purple' is not a symbol of the enum\('red', 'green', 'blue'\)/],
    ["e IN ('red', 'purple')", /not a symbol/],
    ["s LIKE t", /literal pattern/],
    ["s LIKE 'a' ESCAPE 'xy'", /ESCAPE/],
    ["s LIKE 'a!' ESCAPE '!'", /ends with its escape/],
    ["i LIKE '1%'", /takes text/],
    ["substring(s, -1) = ''", /from 1 on/],
    ["substring(s, i) = ''", /literal start/],
    ["extract(epoch FROM ts) > 1", /knows the units/],
    ["date_trunc('decade', ts) = ts", /knows the units/],
    ["CAST(i AS VARCHAR) = '1'", /cannot be cast/],
    ["CAST(i AS SMALLINT) = 1", /casts to SMALLINT/],
    ["CAST(s AS INTEGER) = 1", /cannot be cast/],
    ["w * w * w * w * w * w * w * w * w * w > 1", /digits after the point/],
    ["m // 2 = 1", /whole numbers/],
    ["f + m > 1", /cast the float to double/],
    ["lower(s, t) = ''", /takes 1 value, not 2/],
    ["lower(DISTINCT s) = ''", /not supported/],
    ["if(b, i, s) = 1", /cannot be compared/],
    ["[i] = [1]", /not supported/],
    ["{'a': i} = {'a': 1}", /not supported/],
    ["(i, j) = (1, 2)", /not supported/],
    ["s[1] = 'a'", /not supported/],
    ["TRY(i = 1)", /not supported/],
    ["i = 1::HUGEINT", /casts to HUGEINT/],
    ["d > 1e999", /not supported/],
    ["s = 'a\0b'", /NUL/],
  ];
  for (const [sql, reason] of cases) assert.match((await problemsOf(sql))[0], reason, sql);
});

Deno.test("hostile sizes cost little: nesting, chains and lists end in a fault or a condition within seconds", async () => {
  const cases: readonly (readonly [name: string, sql: string, accepted: boolean])[] = [
    ["parentheses", "(".repeat(10_000) + "b" + ")".repeat(10_000), false],
    ["nots", "NOT ".repeat(10_000) + "b", false],
    ["nested nots", "NOT (".repeat(900) + "b" + ")".repeat(900), false],
    ["minus signs", "i = " + "- ".repeat(5_000) + "j", false],
    ["sums", "i = 1" + " + 1".repeat(10_000), false],
    ["nested cases", "CASE WHEN b THEN ".repeat(800) + "b" + " END".repeat(800), false],
    ["a long text", `s = '${"a".repeat(70_000)}'`, false],
    ["a list of 100,000", `i IN (${Array.from({ length: 100_000 }, (_, i) => i).join(",")})`, false],
    ["a list of 10,000", `i IN (${Array.from({ length: 10_000 }, (_, i) => i).join(",")})`, true],
    ["a list of texts", `s IN (${Array.from({ length: 4_000 }, (_, i) => `'t${i}'`).join(",")})`, true],
    ["a thousand ANDs", Array.from({ length: 1_000 }, (_, i) => `i <> ${i}`).join(" AND "), true],
    ["unclosed comment", "b /* ".repeat(1_000), false],
    ["lone surrogates", "s = '\ud800'", true],
  ];
  for (const [name, sql, accepted] of cases) {
    const start = performance.now();
    const parsed = await parseExpression(sql, lookup);
    assert.equal("expression" in parsed, accepted, name);
    if ("problems" in parsed) assert.ok(parsed.problems.every((problem) => problem.length < 1_000), name);
    const ms = performance.now() - start;
    assert.ok(ms < 3_000, `${name} took ${Math.round(ms)} ms`);
  }
});

Deno.test("comments and line breaks are part of SQL", async () => {
  const parsed = await parseExpression("i > 0 -- positive\n /* and */ AND b", lookup);
  assert.ok("expression" in parsed);
});

Deno.test("a plan's condition is plain JSON", async () => {
  const parsed = await parseExpression(
    "l = 9223372036854775807 OR d = CAST('nan' AS DOUBLE) OR d < CAST('-inf' AS DOUBLE) OR w > 123456789012345678.5",
    lookup,
  );
  assert.ok("expression" in parsed);
  assert.deepEqual(JSON.parse(JSON.stringify(parsed.expression)), parsed.expression);
});
