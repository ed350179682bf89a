/**
 * What a pipeline's final results must be, as SQL over its topic's archive: the plan's own SQL over those records that count.
 *
 *     archive ▶ read by the pipeline ▶ not set aside ▶ came back and counted, or never came back ▶ as the reader types it
 *             ▶ not seen before (dedupe) ▶ duckdbSql(plan)
 *
 * @module
 */
import type { FieldType } from "../columns.ts";
import { duckdbSql } from "../plan/duckdb_sql.ts";
import { type Plan, type PlanField, resultColumns } from "../plan/plan.ts";
import { REDRIVE_OFFSET } from "../runtime/redrive_headers.ts";
import { identifier, literal } from "../sql_text.ts";
import { quoted, type ReaderFields } from "./reader_fields.ts";
import { duckdbExpression } from "./result_values.ts";

/** How records were judged: two are tables of the connection, with the columns `part INTEGER, place BIGINT`. */
export interface JudgedTables {
  /** By partition, the offsets that the pipeline has read. */
  readonly read: readonly { readonly partition: number; readonly from: number; readonly until: number }[];
  /** Records that were set aside. */
  readonly aside: string;
  /** Records that came back and counted. */
  readonly counted: string;
}

/** Windows that start in `[fromMs, toMs)`, both starts of windows. */
export interface WindowRange {
  readonly fromMs: number;
  readonly toMs: number;
}

/** Names of columns of our own, which no schema and no definition has. */
const RECORDS = "tailrace:records";
const magnitude = (field: number) => `tailrace:magnitude:${field}`;

export interface ExpectedSqlOptions {
  /** A table name or a parenthesized query with the archive's columns. */
  readonly archive: string;
  readonly fields: ReaderFields;
  readonly tables: JudgedTables;
  readonly range: WindowRange;
}

/**
 * A query with the result columns up to the last value (as `duckdbExpression` gives them), then how many records the row is of,
 * then for each field of `inexactFields` the sum of its magnitudes.
 */
export function expectedSql(
  plan: Plan,
  { archive, fields, tables, range }: ExpectedSqlOptions,
): string {
  const inexact = inexactFields(plan);
  const sql = duckdbSql(measured(plan, inexact), `(${countedSql(plan, { archive, fields, tables, range })})`);
  const columns = resultColumns(plan).filter(({ role }) => role !== "revision" && role !== "final")
    .map(({ name, type }) => `${duckdbExpression(type, identifier(name))} AS ${identifier(name)}`);
  const further = [RECORDS, ...inexact.map(magnitude)].map(identifier);
  const millis = (ms: number) => `make_timestamp_ms(${ms})`;
  return `SELECT ${[...columns, ...further].join(", ")} FROM (
${sql}
) WHERE window_start >= ${millis(range.fromMs)} AND window_start < ${millis(range.toMs)}`;
}

/** Fields whose sums DuckDB rounds at each step, where the pipeline rounds once. */
export function inexactFields(plan: Plan): number[] {
  const summed = plan.select.filter(({ aggregate }) => aggregate === "sum" || aggregate === "avg")
    .map(({ accumulators }) => plan.accumulators[accumulators[0]].field!);
  return [...new Set(summed)].filter((field) => isFloating(plan.fields[field].type));
}

function isFloating({ type }: FieldType): boolean {
  return type === "float" || type === "double";
}

/** The plan with what an audit has to know of a row besides. */
function measured(plan: Plan, inexact: readonly number[]): Plan {
  const { fields, accumulators } = plan;
  const double = { type: "double", nullable: true } as const;
  return {
    ...plan,
    fields: [...fields, ...inexact.map((field): PlanField => ({ path: magnitude(field), type: double }))],
    accumulators: [
      ...accumulators,
      { kind: "count", field: null },
      ...inexact.map((_, i) => ({ kind: "sum" as const, field: fields.length + i })),
    ],
    select: [
      ...plan.select,
      {
        name: RECORDS,
        aggregate: "count",
        accumulators: [accumulators.length],
        type: { type: "long", nullable: false },
      },
      ...inexact.map((field, i) => ({
        name: magnitude(field),
        aggregate: "sum" as const,
        accumulators: [accumulators.length + 1 + i],
        type: double,
      })),
    ],
  };
}

/** The records that count, with the columns that the plan's SQL names. One that could not be decoded has no event time. */
function countedSql(
  plan: Plan,
  { archive, fields, tables, range }: ExpectedSqlOptions,
): string {
  const { dedupe } = plan;
  const reachMs = dedupe?.withinMs ?? 0;
  const time = plan.fields[plan.eventTime];
  const at = `a.${quoted(time.path)}`;
  const [from, to] = [range.fromMs - reachMs, range.toMs + reachMs + 1].map((ms) =>
    timeLiteral(time.type, ms, fields.isInstant)
  );
  const columns = readerColumns(plan, fields.expressions);
  const judged = `SELECT a.kafka_partition, a.kafka_offset, c.place IS NOT NULL AS came_back, ${columns.join(", ")}
  FROM ${archive} AS a
  ${readJoin(tables)}LEFT JOIN ${tables.counted} AS c ON c.part = a.kafka_partition AND c.place = a.kafka_offset
  ANTI JOIN ${tables.aside} AS s ON s.part = a.kafka_partition AND s.place = a.kafka_offset
  WHERE a.kafka_topic = ${literal(plan.topic)} AND ${at} >= ${from} AND ${at} < ${to} AND ${wasRead(tables)}
    AND (c.place IS NOT NULL OR NOT ${cameBack("a")})`;
  if (dedupe === null) return judged;
  const key = quoted(plan.fields[dedupe.field].path);
  const millis = time.type.type === "long" ? quoted(time.path) : `epoch_ms(CAST(${quoted(time.path)} AS TIMESTAMP))`;
  // A repeat counts as seen itself, so the first of all that are near enough decides. See operators/deduplicate.ts.
  return `SELECT * FROM (${judged}) AS source
${plan.where ? `WHERE (${plan.where.sql}\n)` : ""}
QUALIFY came_back OR ${key} IS NULL OR kafka_offset = min(kafka_offset) OVER (
  PARTITION BY kafka_partition, ${key} ORDER BY ${millis} RANGE BETWEEN ${reachMs} PRECEDING AND ${reachMs} FOLLOWING)`;
}

/** Of few partitions a condition is faster than a join; of many it is the other way round. */
const PARTITIONS_IN_CONDITION_MAX = 32;

/** The condition that a record of `a` was read. */
function wasRead({ read }: JudgedTables): string {
  if (read.length === 0) return "false";
  if (read.length > PARTITIONS_IN_CONDITION_MAX) return "true";
  const each = read.map(({ partition, from, until }) =>
    `a.kafka_partition = ${partition} AND a.kafka_offset >= ${from} AND a.kafka_offset < ${until}`
  );
  return `(${each.join(" OR ")})`;
}

/** The same as a join. */
function readJoin({ read }: JudgedTables): string {
  if (read.length <= PARTITIONS_IN_CONDITION_MAX) return "";
  const rows = read.map(({ partition, from, until }) => `(${partition}, ${from}, ${until})`);
  return `JOIN (VALUES ${rows.join(", ")}) AS r(part, place, until)
    ON r.part = a.kafka_partition AND a.kafka_offset >= r.place AND a.kafka_offset < r.until
  `;
}

/** How many records the archive could not read whole, of these windows or of none that is known, and the pipeline did not set aside. */
export function unreadSql(
  plan: Plan,
  { archive, tables, range }: Pick<ExpectedSqlOptions, "archive" | "tables" | "range">,
): string {
  const time = plan.fields[plan.eventTime];
  const at = `a.${quoted(time.path)}`;
  // Whatever the column's type: what has no time in it is of any window.
  const millis = `coalesce(TRY(epoch_ms(CAST(${at} AS TIMESTAMP))), TRY_CAST(CAST(${at} AS VARCHAR) AS BIGINT))`;
  return `SELECT count(*) FROM ${archive} AS a
  ${readJoin(tables)}ANTI JOIN ${tables.aside} AS s ON s.part = a.kafka_partition AND s.place = a.kafka_offset
  WHERE a.kafka_topic = ${literal(plan.topic)} AND a.kafka_fault IS NOT NULL AND ${wasRead(tables)}
    AND coalesce(${millis} >= ${range.fromMs} AND ${millis} < ${range.toMs}, true)`;
}

/** Whether a record has the headers of one that was written again; see runtime/redrive_headers.ts. Null for no headers. */
export function cameBack(relation: string): string {
  const told = `list_last(list_filter(${relation}.kafka_headers, lambda h: h.key = ${literal(REDRIVE_OFFSET)})).value`;
  const offset = `TRY_CAST(regexp_extract(TRY(decode(${told})), '^\\d{1,15}$') AS BIGINT)`;
  return `(${relation}.kafka_headers IS NOT NULL AND coalesce(${offset} < ${relation}.kafka_offset, false))`;
}

/** The plan's columns as its reader types them, nested ones as structs, of an archive `a`. */
function readerColumns(plan: Plan, expressions: readonly string[]): string[] {
  interface Node {
    readonly below: Map<string, Node>;
    sql: string | null;
  }
  const root: Node = { below: new Map(), sql: null };
  plan.fields.forEach((field, i) => {
    let node = root;
    for (const name of field.path.split(".")) {
      let next = node.below.get(name);
      if (!next) node.below.set(name, next = { below: new Map(), sql: null });
      node = next;
    }
    node.sql = expressions[i];
  });
  const shown = (node: Node): string => {
    if (node.sql !== null) return node.sql;
    const members = Array.from(node.below, ([name, below]) => `${identifier(name)} := ${shown(below)}`);
    return `struct_pack(${members.join(", ")})`;
  };
  const own = Array.from(root.below, ([name, node]) => `${shown(node)} AS ${identifier(name)}`);
  const magnitudes = inexactFields(plan).map((field) =>
    `CAST(abs(${expressions[field]}) AS DOUBLE) AS ${identifier(magnitude(field))}`
  );
  return [...own, ...magnitudes];
}

/** An instant as the archive's event time column has it. */
function timeLiteral({ type }: FieldType, ms: number, isInstant: boolean): string {
  if (type === "date") return `(DATE '1970-01-01' + ${Math.ceil(ms / 86_400_000)})`;
  const micros = String(BigInt(ms) * 1000n);
  if (isInstant) return `make_timestamptz(${micros})`;
  return type === "timestamp-micros" ? micros : String(ms);
}
