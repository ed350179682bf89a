import assert from "node:assert/strict";
import fc from "fast-check";
import { SqlError } from "../../../api/sql/service.ts";
import { NESTING_MAX, oneStatement, SQL_CHARACTERS_MAX, tokensOf } from "../../../api/sql/tokens.ts";

const texts = (sql: string) => tokensOf(sql).map(({ text }) => text);

Deno.test("a text is cut as DuckDB cuts it", () => {
  assert.deepEqual(
    texts(`Select "A""b", 'it''s', E'\\'x' -- ;\n, $$;$$, $t$ $$ ' $t$, 1.5e-3 /* ; /* ' */ " */ a1=>x::y`),
    [
      ..."select".split(" "),
      '"A""b"',
      ",",
      "'it''s'",
      ",",
      "E'\\'x'",
      ",",
      "$$;$$",
      ",",
      "$t$ $$ ' $t$",
      ",",
      "1.5e-3",
      "a1",
      "=>",
      "x",
      "::",
      "y",
    ],
  );
  assert.deepEqual(texts("$name + $1 - ?"), ["$", "name", "+", "$", "1", "-", "?"]);
});

Deno.test("one statement is taken without what ends it, and no more than one", () => {
  assert.equal(oneStatement(" select ';' ; /* x */ ; -- y"), " select ';'");
  assert.throws(() => oneStatement("select 1; select 2"), (error: SqlError) => error.at === 8);
  for (const none of ["", " \n", ";", "-- x", "/* x */ ;"]) assert.throws(() => oneStatement(none), /it is empty/);
});

Deno.test("what is too long, too deep or does not end is refused before anything parses it", () => {
  const deep = (n: number) => `select ${"(".repeat(n)}1${")".repeat(n)}`;
  assert.ok(tokensOf(deep(NESTING_MAX)).length > NESTING_MAX);
  assert.throws(() => tokensOf(deep(NESTING_MAX + 1)), /nested more than/);
  assert.throws(() => tokensOf("/*".repeat(NESTING_MAX + 1)), /comments are nested more than/);
  assert.ok(tokensOf(`'${"x".repeat(SQL_CHARACTERS_MAX - 2)}'`).length === 1);
  assert.throws(() => tokensOf(" ".repeat(SQL_CHARACTERS_MAX + 1)), /characters long/);
  for (const open of ["'x", '"x', "/* x", "$a$ x", "E'\\'"]) assert.throws(() => tokensOf(open), SqlError, open);
});

Deno.test("every text is cut into places that follow each other, or refused", () => {
  const piece = fc.constantFrom(
    "'",
    '"',
    "$",
    "$$",
    "/*",
    "*/",
    "--",
    "\n",
    "(",
    ")",
    ";",
    "a",
    "1",
    ".",
    "\\",
    "E",
    "ü",
    " ",
  );
  fc.assert(fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
    const sql = pieces.join("");
    let tokens;
    try {
      tokens = tokensOf(sql);
    } catch (error) {
      assert.ok(error instanceof SqlError);
      return;
    }
    tokens.forEach(({ start, end, text }, i) => {
      assert.ok(start < end && (i === 0 || tokens[i - 1].end <= start));
      assert.equal(sql.slice(start, end).toLowerCase(), text.toLowerCase());
    });
  }));
});
