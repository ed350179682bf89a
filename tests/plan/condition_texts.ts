/** Random conditions in SQL, of every kind that is supported, typed well enough to be mostly accepted. */
import fc from "fast-check";
import { anyText, sqlText } from "./condition_rows.ts";

const wholes = [
  "0",
  "1",
  "2",
  "-1",
  "7",
  "100",
  "-2147483648",
  "2147483648",
  "9007199254740993",
  "9223372036854775807",
];
const decimals = ["0.5", "1.25", "-0.01", "2.5", "0.000001", "123456789012.34", "99999999999999999999.5"];
const doubles = ["1e0", "0.1e0", "-2.5e0", "1e300", "0e0", "CAST('NaN' AS DOUBLE)"];
const likes = [
  "a%",
  "%b",
  "%b%",
  "a_b",
  "_",
  "__",
  "%",
  "",
  "a%c",
  "%é%",
  "_%_",
  "ab",
  "%a%b%c%",
  "a!%b",
  "!_%",
  "%%",
  "A%",
];
const times = ["'2024-01-01'", "'1969-12-31 23:59:59.5'", "'2024-01-01 00:00:00.000001'", "'2001-02-03T04:05:06Z'"];
const days = ["'1970-01-01'", "'2024-02-29'", "'1899-12-31'"];
const clocks = ["'00:00:00'", "'12:34:56.789'", "'23:59:59.999999'"];

const from = (...texts: string[]) => fc.constantFrom(...texts);
const join = (...parts: (fc.Arbitrary<string> | string)[]) =>
  fc.tuple(...parts.map((part) => typeof part === "string" ? fc.constant(part) : part)).map((texts) => texts.join(" "));
const text = fc.oneof(from("s", "t", "e", "s", "t"), anyText.map(sqlText));
const compared = from("=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM");

type Tie = {
  condition: string;
  exact: string;
  double: string;
  textual: string;
  moment: string;
};

const { condition } = fc.letrec<Tie>((tie) => ({
  exact: fc.oneof(
    { maxDepth: 3, depthSize: "small" },
    from("i", "j", "l", "m", "n", "w"),
    from(...wholes),
    from(...decimals),
    from("i", "j", "l", "m", "n"),
    join("(", tie("exact"), from("+", "-", "*", "%"), tie("exact"), ")"),
    join("(", from("i", "j", "l"), "//", from("i", "j", "l", "2", "-1", "0"), ")"),
    join("abs(", tie("exact"), ")"),
    join("(-", tie("exact"), ")"),
    join("length(", tie("textual"), ")"),
    join("coalesce(", tie("exact"), ",", tie("exact"), ")"),
    join("nullif(", tie("exact"), ",", tie("exact"), ")"),
    join("CASE WHEN", tie("condition"), "THEN", tie("exact"), "ELSE", tie("exact"), "END"),
    join(
      from("CAST(", "TRY_CAST("),
      tie("exact"),
      from("AS INTEGER)", "AS BIGINT)", "AS DECIMAL(10,1))", "AS DECIMAL(20,3))"),
    ),
    join(from("CAST(", "TRY_CAST("), from("d", "f"), from("AS INTEGER)", "AS BIGINT)", "AS DECIMAL(9,2))")),
    join(
      "extract(",
      from("year", "quarter", "month", "day", "dow", "isodow", "hour", "minute", "second"),
      "FROM",
      tie("moment"),
      ")",
    ),
  ),
  double: fc.oneof(
    { maxDepth: 3, depthSize: "small" },
    from("d", "f"),
    from(...doubles),
    join("(", tie("double"), from("+", "-", "*", "/", "%"), tie("double"), ")"),
    join("(", tie("exact"), "/", tie("exact"), ")"),
    join("(", from("d", "i", "l"), from("+", "*", "-"), from("d", "f", "1", "2.5"), ")"),
    join("(-", tie("double"), ")"),
    join("abs(", tie("double"), ")"),
    join(from("CAST(", "TRY_CAST("), from("i", "j", "l", "m", "w", "f", "d"), "AS DOUBLE)"),
    join(from("CAST(", "TRY_CAST("), from("i", "j", "l", "d"), "AS FLOAT)"),
    join("coalesce(", tie("double"), ",", tie("double"), ")"),
  ),
  textual: fc.oneof(
    { maxDepth: 2, depthSize: "small" },
    text,
    join(from("lower(", "upper("), tie("textual"), ")"),
    join("(", tie("textual"), "||", tie("textual"), ")"),
    join("substring(", tie("textual"), from(", 1, 2)", ", 2)", ", 2, 0)", ", 3, 5)")),
    join("coalesce(", tie("textual"), ",", tie("textual"), ")"),
    join("nullif(", tie("textual"), ",", tie("textual"), ")"),
    join("CASE WHEN", tie("condition"), "THEN", tie("textual"), "END"),
  ),
  moment: fc.oneof(
    { maxDepth: 2, depthSize: "small" },
    from("ts", "tm", "da", "ts", "tm"),
    from(...times).map((time) => `TIMESTAMP ${time}`),
    from(...days).map((day) => `DATE ${day}`),
    join(
      "date_trunc(",
      from("year", "quarter", "month", "week", "day", "hour", "minute", "second").map((unit) => `'${unit}'`),
      ",",
      from("ts", "tm"),
      ")",
    ),
    join("CAST(", from("ts", "tm", "da"), from("AS DATE)", "AS TIMESTAMP)")),
    join("coalesce(", tie("moment"), ",", tie("moment"), ")"),
  ),
  condition: fc.oneof(
    { maxDepth: 4, depthSize: "small" },
    join(tie("exact"), compared, tie("exact")),
    join(tie("double"), compared, tie("double")),
    join(from("i", "l", "m", "n", "d", "f"), compared, from(...wholes, ...decimals, ...doubles)),
    join(from(...wholes, ...decimals), compared, from("i", "j", "l", "m", "n", "w", "d", "f")),
    join(tie("textual"), compared, tie("textual")),
    join(text, compared, text),
    join("e", compared, from("'red'", "'green'", "t", "s")),
    join(tie("moment"), compared, tie("moment")),
    join(from("ts", "tm", "da"), compared, from("'2024-01-01'", "'1970-01-01'", "NULL")),
    join(
      from("ti", "tu"),
      compared,
      fc.oneof(from("ti", "tu"), from(...clocks).map((clock) => `TIME ${clock}`), from(...clocks)),
    ),
    from(
      "b",
      "b = true",
      "b IS FALSE",
      "b IS NOT TRUE",
      "true",
      "false",
      "NULL",
      "b = NULL",
      "b <> (i > 0)",
      "(i > 0) < b",
    ),
    join(from("b", "i", "l", "d", "s", "e", "m", "w", "ts", "(i + 1)", "(i > 0)"), from("IS NULL", "IS NOT NULL")),
    join("(", tie("exact"), from("BETWEEN", "NOT BETWEEN"), tie("exact"), "AND", tie("exact"), ")"),
    join("(", text, from("BETWEEN", "NOT BETWEEN"), text, "AND", text, ")"),
    join(
      "(",
      from("i", "j", "l", "m", "w", "d", "f"),
      from("IN (", "NOT IN ("),
      fc.array(from(...wholes, "1.5", "0.25", "NULL", "3", "4", "5", "6", "8"), { minLength: 1, maxLength: 12 }).map((
        list,
      ) => list.join(", ")),
      "))",
    ),
    join(
      "(",
      from("l", "i"),
      from("IN (", "NOT IN ("),
      fc.array(from(...wholes, "i", "l", "3", "4", "NULL"), { minLength: 1, maxLength: 12 }).map((list) =>
        list.join(", ")
      ),
      "))",
    ),
    join(
      "(",
      tie("textual"),
      from("IN (", "NOT IN ("),
      fc.array(fc.oneof(anyText.map(sqlText), from("NULL", "'a'")), { minLength: 1, maxLength: 14 }).map((list) =>
        list.join(", ")
      ),
      "))",
    ),
    join("(e", from("IN (", "NOT IN ("), from("'red'", "'red', 'blue'", "'red', NULL"), "))"),
    join("(", tie("textual"), from("LIKE", "NOT LIKE", "ILIKE", "NOT ILIKE"), from(...likes).map(sqlText), ")"),
    join(
      "(",
      tie("textual"),
      from("LIKE", "NOT LIKE", "ILIKE", "NOT ILIKE"),
      from(...likes).map(sqlText),
      "ESCAPE '!' )",
    ),
    join(from("starts_with(", "ends_with(", "contains("), tie("textual"), ",", tie("textual"), ")"),
    join("(", tie("condition"), from("AND", "OR"), tie("condition"), ")"),
    join("(", tie("condition"), from("AND", "OR"), tie("condition"), from("AND", "OR"), tie("condition"), ")"),
    join("(NOT", tie("condition"), ")"),
    join("(", tie("condition"), compared, tie("condition"), ")"),
    join("(CASE WHEN", tie("condition"), "THEN", tie("condition"), "ELSE", tie("condition"), "END)"),
    join("coalesce(", tie("condition"), ",", tie("condition"), ")"),
  ),
}));

export { condition as anyCondition };
