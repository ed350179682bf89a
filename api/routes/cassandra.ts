import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { ResultColumn } from "../../pipeline/plan/plan.ts";
import type { ResultValue } from "../../pipeline/sinks/sink.ts";
import type { CassandraPageQuery } from "../cassandra_reader.ts";
import { type AppDeps, QueryError } from "../deps.ts";
import { keyValue } from "../key_values.ts";
import { ProblemException, problemResponses } from "../problem.ts";
import { rowToJson } from "../result_json.ts";
import { keyFault } from "../result_keys.ts";
import { resultQuerySchema, resultRowSchema } from "../schemas.ts";

const DAY_MS = 86_400_000;
/** How far back windows are looked for unless told, and from when: clocks of producers may be ahead. */
const BACK_MS = 7 * DAY_MS;
const AHEAD_MS = DAY_MS;
/** Longest time between `from` and `to`. */
export const RANGE_MS_MAX = 92 * DAY_MS;

const paramSchema = z.object({
  table: z.string().min(1).max(97).openapi({ param: { name: "table", in: "path" }, example: "user_profiles" }),
});

const { key, from, to, limit, cursor } = resultQuerySchema.shape;
const querySchema = z.strictObject({ key, from, to, limit, cursor });

const pageSchema = z.object({
  table: z.string(),
  rows: z.array(resultRowSchema).openapi({ description: "Newest window first" }),
  next: z.string().nullable().openapi({ description: "Give as `cursor` for the following page; null on the last" }),
}).openapi("CassandraPage");

const rows = createRoute({
  method: "get",
  path: "/v1/cassandra/{table}",
  tags: ["Results"],
  summary: "Rows of a key in a table of Cassandra, newest window first",
  description:
    "Tables that a pipeline or a delivery writes to. Every key column needs a value: Cassandra finds rows by them " +
    "alone. `from` and `to` are for tables of windows: the last 7 days unless told, 92 days at most.",
  request: { params: paramSchema, query: querySchema },
  responses: {
    200: { description: "A page of rows", content: { "application/json": { schema: pageSchema } } },
    ...problemResponses("invalid-request", "unknown-cassandra-table", "no-cassandra", "unavailable"),
  },
});

/** `/v1/cassandra/:table`; clock is when now is, milliseconds since the epoch. */
export function cassandraRoutes(app: OpenAPIHono, { cassandra }: AppDeps, now: () => number): void {
  app.openapi(rows, async (c) => {
    const { table } = c.req.valid("param");
    const info = cassandra?.tables.find(({ name }) => name === table);
    if (!cassandra || !info) {
      const known = cassandra?.tables.map(({ name }) => name).join(", ") || "none";
      throw new ProblemException("unknown-cassandra-table", { detail: `there are: ${known}` });
    }
    const query = pageQuery(info.columns, c.req.valid("query"), now());
    try {
      const found = await cassandra.read(table, query);
      const rows = Array.from({ length: found.length }, (_, row) => rowToJson(found.columns, found.values, row));
      const next = nextOf(info.columns, found.values, query);
      return c.json({ table, rows, next }, 200, { "cache-control": "no-store" });
    } catch (error) {
      if (!(error instanceof QueryError)) throw error;
      throw invalid(error.where, error.message);
    }
  });
}

function pageQuery(
  columns: readonly ResultColumn[],
  query: z.infer<typeof querySchema>,
  nowMs: number,
): CassandraPageQuery {
  const key = keyOf(columns, query.key ?? []);
  const { limit } = query;
  if (!columns.some(({ role }) => role === "window_start")) {
    const given = (["from", "to", "cursor"] as const).find((name) => query[name] !== undefined);
    if (given) throw invalid(given, "is for tables of windows, and this one has one row for a key");
    return { key, fromMs: null, toMs: null, limit, beforeMs: null };
  }
  const toMs = query.to ??
    (query.from === undefined ? nowMs + AHEAD_MS : Math.min(nowMs + AHEAD_MS, query.from + RANGE_MS_MAX));
  const fromMs = query.from ?? toMs - BACK_MS;
  if (fromMs >= toMs) throw invalid("from", "must be before `to`");
  if (toMs - fromMs > RANGE_MS_MAX) {
    throw invalid("from", "must be 92 days before `to` at most: ask for the rest by itself");
  }
  const beforeMs = query.cursor === undefined ? null : Number(/^w(-?\d{1,15})$/.exec(query.cursor)?.[1] ?? NaN);
  if (Number.isNaN(beforeMs)) throw invalid("cursor", "is not one that a page gave as `next`");
  return { key, fromMs, toMs, limit, beforeMs };
}

function keyOf(columns: readonly ResultColumn[], texts: readonly string[]): NonNullable<ResultValue>[] {
  const keys = columns.filter(({ role }) => role === "key");
  const names = keys.map(({ name }) => name).join(", ");
  const isWindowed = columns.some(({ role }) => role === "window_start");
  if (keys.length === 0 && !isWindowed) {
    throw invalid("key", "this table has one row for each record, and no key to ask by");
  }
  if (texts.length !== keys.length) {
    throw invalid(
      "key",
      `${texts.length} given, but the key is ${keys.length === 0 ? "empty" : names}: give each of its columns`,
    );
  }
  return keys.map(({ name, type }, index) => {
    const fault = keyFault(type, texts[index]);
    if (fault !== null) throw invalid("key", `${name} ${fault}`);
    const value = keyValue(type, texts[index]);
    if (value === null) throw invalid("key", `${name} has more digits after the point than the column`);
    return value;
  });
}

/** Of a full page, where it ended: windows of one key start at different times. */
function nextOf(
  columns: readonly ResultColumn[],
  values: readonly (readonly ResultValue[])[],
  { limit }: CassandraPageQuery,
): string | null {
  const start = columns.findIndex(({ role }) => role === "window_start");
  if (start === -1 || values[start].length < limit) return null;
  return `w${values[start][limit - 1]}`;
}

function invalid(where: string, problem: string): ProblemException {
  return new ProblemException("invalid-request", { errors: [{ where: `query.${where}`, problem }] });
}
