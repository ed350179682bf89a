import assert from "node:assert/strict";
import fc from "fast-check";
import { parseExpression } from "../../pipeline/plan/parse_expression.ts";
import { FIELDS } from "../plan/condition_rows.ts";
import { nasty, runs } from "./support.ts";

function lookup(path: string) {
  const field = FIELDS.findIndex((known) => known.path === path);
  return field < 0 ? `no field "${path}"` : { field, type: FIELDS[field].type };
}

const words = fc.constantFrom(
  ...[
    "i",
    "s",
    "b",
    "i = 1",
    "AND",
    "OR",
    "NOT",
    "(",
    ")",
    "'",
    '"',
    "--",
    "/*",
    "*/",
    ";",
    ",",
    "$1",
    "?",
    "::int",
    "=",
    "<>",
  ],
  ...[
    "IN",
    "BETWEEN",
    "LIKE",
    "CASE WHEN",
    "THEN",
    "END",
    "NULL",
    "SELECT",
    "UNION",
    "FROM range(1000000000)",
    "1e999",
  ],
  ...[
    "read_text('/etc/passwd')",
    "COPY",
    "ATTACH 'x'",
    "pg_sleep(1)",
    "getenv('HOME')",
    "\0",
    "\\",
    "é👍",
    "x'00'",
    "$$a$$",
  ],
);

Deno.test("whatever a condition's text is, it is an expression as plain JSON, or problems in words", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(fc.array(words, { minLength: 1, maxLength: 8 }).map((list) => list.join(" ")), nasty),
      async (sql) => {
        const parsed = await parseExpression(sql, lookup);
        if ("problems" in parsed) {
          assert.ok(parsed.problems.length > 0);
          for (const problem of parsed.problems) assert.ok(problem.trim() !== "" && problem.length < 5_000, problem);
          return;
        }
        const text = JSON.stringify(parsed.expression);
        assert.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify(JSON.parse(text))));
        // Whatever it is, it reads this record's fields and nothing else.
        assert.doesNotMatch(
          sql.replaceAll(/'(?:[^']|'')*'|--.*$|\/\*[^]*?\*\//gm, ""),
          /read_text|getenv|SELECT|COPY|ATTACH/,
        );
      },
    ),
    runs(400),
  );
});
