/**
 * Reads published results from PostgreSQL, where the postgres sink keeps them: a table per pipeline.
 *
 * Every column is asked for as text and turned into its JSON form here, so the client's own type parsers, the session's time
 * zone and its date style have no say, and microseconds and large numbers come through whole.
 *
 * @module
 */
import { UnavailableError } from "../pipeline/errors.ts";
import type { FieldType } from "../pipeline/columns.ts";
import type { Plan, ResultColumn } from "../pipeline/plan/plan.ts";
import { resultColumns } from "../pipeline/plan/plan.ts";
import { codeOf, sortedError } from "../pipeline/sinks/postgres_errors.ts";
import { tableName } from "../pipeline/sinks/postgres_types.ts";
import type { ResultValue } from "../pipeline/sinks/sink.ts";
import { identifier } from "../pipeline/sql_text.ts";
import { type PipelineInfo, QueryError, type ResultPage, type ResultQuery, type ResultReader } from "./deps.ts";
import type { Statements, TextRow } from "./postgres_statements.ts";
import { valueToJson } from "./result_json.ts";
import { keyFault, keyParameter, keyText } from "./result_keys.ts";

/** A pipeline and where its results are. */
export interface StoredPipeline extends PipelineInfo {
  /** `table` or `schema.table` of its postgres sink; null when it has none. */
  readonly table: string | null;
}

/** What {@linkcode createResultReader} has to know of a plan. */
export function storedPipeline(plan: Plan): StoredPipeline {
  const sink = plan.sinks.find((sink) => sink.kind === "postgres");
  return { name: plan.name, columns: resultColumns(plan), table: sink ? sink.table : null };
}

/**
 * Makes the reader.
 *
 * Pages are read by position in the order (window_start descending, then the keys ascending, nulls last), so windows that close
 * meanwhile neither repeat nor hide rows. A cursor is base64url of a JSON array, the position of a page's last row:
 *
 *     [window_start, key ...]      as in the row's JSON, each as text, or null
 */
export function createResultReader(
  statements: Statements,
  pipelines: readonly StoredPipeline[],
): ResultReader {
  const byName = new Map(pipelines.map((pipeline) => [pipeline.name, pipeline]));
  return {
    async read(name, query) {
      const pipeline = byName.get(name);
      if (!pipeline) throw new QueryError("pipeline", `there is no pipeline ${JSON.stringify(name)}`);
      const { columns, table } = pipeline;
      if (table === null) throw new QueryError("pipeline", `${name} has no postgres sink`);
      const statement = buildStatement(columns, table, query);
      const rows = await statements.rows(statement.text, statement.parameters).catch((error) => {
        throw sorted(error, table);
      });
      return page(columns, rows, query.limit);
    },
  };
}

interface Statement {
  readonly text: string;
  readonly parameters: readonly string[];
}

/** The SELECT of one page, with one row more than the page to see whether another follows. */
function buildStatement(columns: readonly ResultColumn[], table: string, query: ResultQuery): Statement {
  const parameters: (string | number)[] = [];
  const conditions: string[] = [];
  const windowStart = columns.find(({ role }) => role === "window_start")!;
  const keys = columns.filter(({ role }) => role === "key");
  const value = ({ type }: ResultColumn, text: string): string => {
    parameters.push(keyText(type, text));
    return keyParameter(type, parameters.length);
  };
  const start = identifier(windowStart.name);
  const time = (ms: number) => value(windowStart, new Date(ms).toISOString());

  (query.key ?? []).forEach((text, i) => {
    if (i >= keys.length) {
      throw new QueryError("key", `has ${query.key!.length} values for ${keys.length} key column(s)`);
    }
    const fault = keyFault(keys[i].type, text);
    if (fault) throw new QueryError("key", `${keys[i].name} ${fault}`);
    conditions.push(`${identifier(keys[i].name)} = ${value(keys[i], text)}`);
  });
  if (query.from !== undefined) conditions.push(`${start} >= ${time(query.from)}`);
  if (query.to !== undefined) conditions.push(`${start} < ${time(query.to)}`);
  if (query.final !== undefined) {
    const final = columns.find(({ role }) => role === "final")!;
    conditions.push(query.final ? identifier(final.name) : `NOT ${identifier(final.name)}`);
  }
  if (query.cursor !== undefined) {
    const [at, ...place] = readCursor(query.cursor, [windowStart, ...keys]);
    const then = afterKeys(keys, place, value);
    // The first comparison says nothing new, but it is the one an index can use.
    conditions.push(`${start} <= ${value(windowStart, at!)} AND (${start} < ${value(windowStart, at!)} OR ${then})`);
  }
  parameters.push(query.limit + 1);
  const text = [
    `SELECT ${columns.map(selected).join(", ")}`,
    `FROM ${tableName(table).sql}`,
    ...(conditions.length > 0 ? [`WHERE ${conditions.map((condition) => `(${condition})`).join(" AND ")}`] : []),
    `ORDER BY ${[`${start} DESC`, ...keys.map(({ name }) => identifier(name))].join(", ")}`,
    `LIMIT $${parameters.length}::text::int`,
  ].join("\n");
  return { text, parameters: parameters.map(String) };
}

/** Rows of the cursor's window that come after its key: the first differing key is greater. Nulls come last. */
function afterKeys(
  keys: readonly ResultColumn[],
  place: readonly (string | null)[],
  value: (column: ResultColumn, text: string) => string,
): string {
  const ways = keys.map((key, i) => {
    const text = place[i];
    if (text === null) return "false";
    const same = keys.slice(0, i).map((key, j) => {
      const text = place[j];
      return text === null ? `${identifier(key.name)} IS NULL` : `${identifier(key.name)} = ${value(key, text)}`;
    });
    const greater = `${identifier(key.name)} > ${value(key, text)}`;
    const last = key.type.nullable ? `(${greater} OR ${identifier(key.name)} IS NULL)` : greater;
    return [...same, last].join(" AND ");
  });
  return ways.length === 0 ? "false" : ways.map((way) => `(${way})`).join(" OR ");
}

/** SQL for a column's value as text that {@linkcode valueOf} reads. */
function selected({ name, type }: ResultColumn): string {
  const column = identifier(name);
  switch (type.type) {
    case "float":
      return `${column}::float8::text`; // every digit of the 32 bits, as live rows have it
    case "bytes":
      return `encode(${column}, 'hex')`;
    case "date":
      return `(${column} - date '1970-01-01')::text`;
    case "time-millis":
    case "time-micros":
    case "timestamp-millis":
    case "timestamp-micros":
      return `(extract(epoch FROM ${column}) * 1000000)::bigint::text`;
    default:
      return `${column}::text`;
  }
}

function valueOf(type: FieldType, text: string | null): ResultValue {
  if (text === null) return null;
  switch (type.type) {
    case "boolean":
      return text === "true";
    case "int":
    case "float":
    case "double":
    case "date":
      return Number(text);
    case "long":
    case "time-micros":
    case "timestamp-micros":
      return BigInt(text);
    case "time-millis":
    case "timestamp-millis":
      return Math.floor(Number(text) / 1000);
    case "bytes":
      return Uint8Array.from(text.match(/../g) ?? [], (hex) => parseInt(hex, 16));
    default:
      return text;
  }
}

function page(columns: readonly ResultColumn[], rows: readonly TextRow[], limit: number): ResultPage {
  const json = rows.slice(0, limit).map((row) =>
    Object.fromEntries(columns.map(({ name, type }, c) => [name, valueToJson(type, valueOf(type, row[c]))]))
  );
  if (rows.length <= limit) return { rows: json, next: null };
  const last = json[limit - 1];
  const place = columns.filter(({ role }) => role === "window_start").concat(
    columns.filter(({ role }) => role === "key"),
  );
  return { rows: json, next: writeCursor(place.map(({ name }) => last[name] === null ? null : String(last[name]))) };
}

function writeCursor(place: readonly (string | null)[]): string {
  const bytes = new TextEncoder().encode(JSON.stringify(place));
  const binary = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** The position a cursor stands for; whatever is not one that {@linkcode writeCursor} could have made is refused. */
function readCursor(cursor: string, columns: readonly ResultColumn[]): (string | null)[] {
  const refuse = () => new QueryError("cursor", "is not the `next` of a page of this pipeline");
  let place: unknown;
  try {
    const binary = atob(cursor.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
    place = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw refuse();
  }
  if (!Array.isArray(place) || place.length !== columns.length) throw refuse();
  columns.forEach(({ type }, i) => {
    const text: unknown = place[i];
    const fits = text === null ? type.nullable : typeof text === "string" && keyFault(type, text) === null;
    if (!fits) throw refuse();
  });
  return place;
}

/** What {@linkcode Statements.rows} threw, in words for who asked for a page of `table`. */
function sorted(error: unknown, table: string): unknown {
  const code = codeOf(error);
  if (code === "42P01") {
    return new UnavailableError(`the table ${table} is not there yet; it is made when the pipeline first starts`);
  }
  if (sortedError(error, table) instanceof UnavailableError && !(error instanceof UnavailableError)) {
    return new UnavailableError(`the database of results is away (${code})`, { cause: error });
  }
  return error;
}
