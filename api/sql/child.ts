/**
 * The program that answers one question and ends. It is started with next to no permissions and with the operating system's limits
 * on it (launch.ts), by a process that has looked at the question before; see child_protocol.ts for what is said.
 *
 * @module
 */
import {
  BIGINT,
  BOOLEAN,
  DATE,
  DOUBLE,
  type DuckDBConnection,
  DuckDBDateValue,
  type DuckDBPreparedStatement,
  DuckDBTimestampTZValue,
  type DuckDBType,
  type DuckDBValue,
  TIMESTAMPTZ,
  VARCHAR,
} from "@duckdb/node-api";
import { openParser, openViews, PARQUET_OUTPUT, treeOf } from "./child_database.ts";
import { failureOf } from "./child_failure.ts";
import type { ChildFailure, ChildMessage, ChildOrder, RunOrder } from "./child_protocol.ts";
import { Output } from "./output.ts";
import { type BoundValue, boundValue } from "./parameters.ts";
import { emptyQuery, endedQuery, parquetQuery, restQuery, uniqueNames } from "./answer_query.ts";
import { type AnswerColumn, textWriter } from "./row_writers.ts";

const encoder = new TextEncoder();

function say(message: ChildMessage): void {
  sayLine(JSON.stringify(message));
}

function sayLine(line: string): void {
  const bytes = encoder.encode(`${line}\n`);
  for (let at = 0; at < bytes.length;) at += Deno.stderr.writeSync(bytes.subarray(at));
}

async function parse(parser: DuckDBConnection, sql: string): Promise<void> {
  try {
    // DuckDB's JSON goes out as it is: reading it here would only be work.
    sayLine(`{"say":"tree","tree":${finite(await treeOf(parser, sql))}}`);
  } catch (error) {
    say(failureOf(error, sql));
  }
}

/** DuckDB writes a literal such as 1e999 as Infinity, which JSON does not know. In a text the quotes would be escaped. */
function finite(json: string): string {
  return json.replace(/"value":-?(?:Infinity|NaN|inf|nan)\b/g, '"value":null');
}

const TYPES: Readonly<Record<BoundValue["type"], DuckDBType>> = {
  "VARCHAR": VARCHAR,
  "BIGINT": BIGINT,
  "DOUBLE": DOUBLE,
  "BOOLEAN": BOOLEAN,
  "TIMESTAMP WITH TIME ZONE": TIMESTAMPTZ,
  "DATE": DATE,
};

function bind(statement: DuckDBPreparedStatement, parameters: RunOrder["parameters"]): void {
  const names = Object.keys(parameters);
  if (names.length === 0) return;
  const values: Record<string, DuckDBValue> = {};
  const types: Record<string, DuckDBType> = {};
  for (const name of names) {
    const { type, value } = boundValue(parameters[name])!;
    types[name] = TYPES[type];
    values[name] = type === "DATE" && value !== null
      ? new DuckDBDateValue(value as number)
      : type === "TIMESTAMP WITH TIME ZONE" && value !== null
      ? new DuckDBTimestampTZValue(value as bigint)
      : value;
  }
  statement.bind(values, types);
}

class TooManyRows extends Error {}

async function run(order: RunOrder): Promise<void> {
  const startedAt = performance.now();
  let connection: DuckDBConnection;
  try {
    connection = await openViews(order);
  } catch (error) {
    // Nobody has written these statements: whatever is wrong with them, the files are not as they were said to be.
    return say({ ...failureOf(error, null, order.views), kind: "broken" });
  }
  try {
    // By itself first, for the places that errors tell; what it is put into later has others.
    await connection.prepare(order.sql);
  } catch (error) {
    return say(failureOf(error, order.sql, order.views));
  }
  try {
    const told = order.format === "parquet"
      ? await writeParquet(connection, order)
      : await writeRows(connection, { order, startedAt });
    say({ say: "done", ...told });
  } catch (error) {
    say(error instanceof TooManyRows ? tooMany(order.rowsMax) : failureOf(error, null, order.views));
  }
}

function tooMany(rowsMax: number): ChildFailure {
  return { say: "failed", kind: "limit", message: `the answer has more than ${rowsMax} rows`, at: null };
}

async function writeRows(
  connection: DuckDBConnection,
  { order, startedAt }: { readonly order: RunOrder; readonly startedAt: number },
): Promise<{ readonly rows: number; readonly isTruncated: boolean }> {
  const columns = await columnsOf(connection, order);
  const result = await (await prepared(connection, endedQuery(order.sql, columns), order)).stream();
  const out = new Output((bytes) => Deno.stdout.writeSync(bytes));
  const { format } = order;
  // The library is loaded when it is needed: it takes as long as many a question.
  const writer = format === "arrow"
    ? (await import("./arrow_writer.ts")).arrowWriter({ columns, out })
    : textWriter(format as "json" | "ndjson" | "csv", { columns, out, order });
  writer.begin();
  let rows = 0;
  let isWhole = false;
  let isTruncated = false;
  while (!isWhole && !isTruncated) {
    const chunk = await result.fetchChunk();
    if (chunk === null || chunk.rowCount === 0) throw await failureAfter(connection, order, rows);
    const [ends, ...values] = chunk.getColumns();
    isWhole = ends.at(-1) === true;
    const there = chunk.rowCount - (isWhole ? 1 : 0);
    const count = Math.min(there, order.rowsMax - rows);
    if (count > 0) writer.rows(count < chunk.rowCount ? values.map((column) => column.slice(0, count)) : values, count);
    rows += count;
    if (there > count && !order.isCut) throw new TooManyRows();
    isTruncated = there > count;
  }
  writer.end({ isTruncated, elapsedMs: Math.round(performance.now() - startedAt) });
  if ("finished" in writer) await writer.finished;
  out.flush();
  return { rows, isTruncated };
}

async function prepared(connection: DuckDBConnection, sql: string, { parameters }: RunOrder) {
  const statement = await connection.prepare(sql);
  bind(statement, parameters);
  return statement;
}

/** Names and types, which only a statement with its values has all of. */
async function columnsOf(connection: DuckDBConnection, order: RunOrder): Promise<AnswerColumn[]> {
  const result = await (await prepared(connection, emptyQuery(order.sql), order)).run();
  return uniqueNames(result.columnNames()).map((name, i) => ({ name, type: result.columnType(i) }));
}

/** Why rows ended before the last: DuckDB tells when it is asked for those that did not come. */
async function failureAfter(connection: DuckDBConnection, order: RunOrder, rows: number): Promise<Error> {
  try {
    await (await prepared(connection, restQuery(order.sql, rows), order)).run();
  } catch (error) {
    return error as Error;
  }
  return new Error("the answer broke off in the middle: some value in it cannot be computed");
}

/** DuckDB writes it by itself, as it goes. */
async function writeParquet(
  connection: DuckDBConnection,
  order: RunOrder,
): Promise<{ readonly rows: number; readonly isTruncated: boolean | null }> {
  const query = parquetQuery(order, await columnsOf(connection, order));
  const copy = `COPY (${query}) TO '${PARQUET_OUTPUT}' (FORMAT parquet, COMPRESSION zstd)`;
  const rows = Number((await (await prepared(connection, copy, order)).run()).rowsChanged);
  if (rows > order.rowsMax) throw new TooManyRows();
  return { rows, isTruncated: order.isCut && rows === order.rowsMax ? null : false };
}

async function* ordersFrom(input: ReadableStream<Uint8Array>): AsyncGenerator<ChildOrder> {
  let rest = "";
  for await (const text of input.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) yield JSON.parse(line) as ChildOrder;
  }
}

if (import.meta.main) {
  const parser = await openParser();
  await treeOf(parser, "SELECT 1");
  say({ say: "ready" });
  for await (const order of ordersFrom(Deno.stdin.readable)) {
    if (order.do === "parse") {
      await parse(parser, order.sql);
      continue;
    }
    await run(order);
    break;
  }
  Deno.exit(0);
}
