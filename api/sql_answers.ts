/**
 * Answers of questions in SQL as HTTP responses: which format, which headers, which problem.
 *
 * @module
 */
import { ProblemException, type ProblemOptions } from "./problem.ts";
import { type Answer, type Format, FORMATS, MEDIA_TYPES, SqlError, type SqlErrorKind } from "./sql/service.ts";

const RETRY_AFTER_SECONDS = "2";
/** Servers and proxies take some 8 kB of headers in all. */
const HEADER_CHARACTERS_MAX = 4_096;

/** The format that an Accept header likes best; JSON where it likes all. @throws ProblemException when it likes none */
export function formatFor(accept: string | undefined, asked: Format | undefined): Format {
  if (asked !== undefined) return asked;
  if (accept === undefined || accept.trim() === "") return "json";
  let best: { readonly format: Format; readonly quality: number } | null = null;
  for (const part of accept.split(",")) {
    const [range, ...parameters] = part.split(";").map((text) => text.trim().toLowerCase());
    const quality = Number(parameters.find((text) => text.startsWith("q="))?.slice(2) ?? 1);
    const format = FORMATS.find((one) => range === MEDIA_TYPES[one]) ??
      FORMATS.find((one) => range === "*/*" || range === `${MEDIA_TYPES[one].split("/")[0]}/*`);
    if (format !== undefined && quality > (best?.quality ?? 0)) best = { format, quality };
  }
  if (best === null) throw new ProblemException("not-acceptable");
  return best.format;
}

export function answerResponse(answer: Answer): Response {
  const { id, format, completeness, notes, isTruncated, body } = answer;
  const headers = new Headers({
    "content-type": format === "csv" ? "text/csv; charset=utf-8; header=present" : MEDIA_TYPES[format],
    "cache-control": "no-store",
    "tailrace-query-id": id,
  });
  // Very many partitions do not fit into a header; JSON has them in its body.
  const whole = asciiJson(completeness);
  const short = asciiJson(completeness.map(({ topic, watermark }) => ({ topic, watermark })));
  if (whole.length <= HEADER_CHARACTERS_MAX) headers.set("tailrace-completeness", whole);
  else if (short.length <= HEADER_CHARACTERS_MAX) headers.set("tailrace-completeness", short);
  const said = asciiJson(notes);
  if (notes.length > 0 && said.length <= HEADER_CHARACTERS_MAX) headers.set("tailrace-notes", said);
  if (isTruncated !== null) headers.set("tailrace-truncated", String(isTruncated));
  return new Response(body, { headers });
}

/** Headers are not for other characters. */
function asciiJson(value: unknown): string {
  return JSON.stringify(value).replace(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

const PROBLEM_OF = {
  syntax: "invalid-sql",
  parameter: "invalid-sql",
  limit: "query-limit",
  busy: "too-many-queries",
  cancelled: "query-cancelled",
} as const satisfies Record<SqlErrorKind, string>;

/** A refusal as a problem; `errors[0].where` is `sql:LINE:COLUMN` where the place is known. */
export function problemOf({ kind, message, at }: SqlError, sql: string): ProblemException {
  const options: ProblemOptions = { detail: message };
  if (kind === "syntax") {
    const where = at === null ? "sql" : `sql:${lineAndColumn(sql, at).join(":")}`;
    return new ProblemException(PROBLEM_OF[kind], { ...options, errors: [{ where, problem: message }] });
  }
  if (kind === "parameter") {
    return new ProblemException(PROBLEM_OF[kind], { ...options, errors: [{ where: "parameters", problem: message }] });
  }
  if (kind === "busy") {
    return new ProblemException(PROBLEM_OF[kind], { ...options, headers: { "retry-after": RETRY_AFTER_SECONDS } });
  }
  return new ProblemException(PROBLEM_OF[kind], options);
}

/** From 1, as editors count. */
function lineAndColumn(sql: string, at: number): [line: number, column: number] {
  const before = sql.slice(0, at).split(/\r\n|\n|\r/);
  return [before.length, [...before[before.length - 1]].length + 1];
}
