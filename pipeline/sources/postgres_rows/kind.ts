/**
 * Rows of a PostgreSQL table as a kind of source.
 *
 * @module
 */
import { parseSchema, type RecordType } from "../../codec/schema.ts";
import { ConfigError, type Fault } from "../../errors.ts";
import { parseDuration } from "../../plan/durations.ts";
import { type KnownOptions, unknownOptions } from "../../plan/unknown_options.ts";
import { isSecret } from "../../secrets.ts";
import { createRecordMaker } from "../record_maker.ts";
import type { SourceContext, SourceKind, SourcePlan } from "../source_spec.ts";
import type { PostgresRowsSpec } from "./definition.ts";
import { RowsSource } from "./rows_source.ts";
import { Server } from "./server.ts";
import { inspectTable } from "./table.ts";

const EVERY = "1s";
const OVERLAP = "1 minute";
const SWEEP = "1 hour";
/** Between looks; shorter ones would only keep the server busy. */
const EVERY_MS_MIN = 50;
const OPTIONS: KnownOptions<PostgresRowsSpec> = {
  database: true,
  table: true,
  cursor: true,
  overlap: true,
  every: true,
  sweep: true,
  timeZone: true,
  columns: true,
};

export const postgresRowsKind: SourceKind<PostgresRowsSpec> = {
  to: "topic",
  check,
  describe: ({ table, cursor }) => `table ${table} by ${Array.isArray(cursor) ? cursor.join(", ") : cursor}`,
  open,
};

function check(spec: PostgresRowsSpec, _plan: SourcePlan): readonly Fault[] {
  const faults: Fault[] = unknownOptions(spec, OPTIONS, "from");
  const fault = (option: string, problem: string) => faults.push({ where: `from.${option}`, problem });
  if (typeof spec.table !== "string" || !/^[^.]+(\.[^.]+)?$/.test(spec.table)) {
    fault("table", 'must be a table, as "products" or "shop.products"');
  }
  const { cursor } = spec;
  if (!Array.isArray(cursor) || cursor.length < 2 || cursor.some((name) => typeof name !== "string" || name === "")) {
    fault("cursor", 'must be the column that says when a row changed, and the key: ["last_updated", "id"]');
  } else if (new Set(cursor).size < cursor.length) fault("cursor", "names a column twice");
  if (spec.database !== undefined && !isSecret(spec.database)) {
    fault("database", 'must be a secret, as secret("shop_database_url"): the address has a password in it');
  }
  for (const option of ["overlap", "every", "sweep"] as const) {
    const value = spec[option];
    if (value === undefined || (option === "sweep" && value === "never")) continue;
    const ms = parseDuration(value);
    if (typeof ms === "string") fault(option, ms);
    else if (option === "every" && ms < EVERY_MS_MIN) fault(option, `must be ${EVERY_MS_MIN}ms at least`);
  }
  if (spec.timeZone !== undefined && !isZone(spec.timeZone)) fault("timeZone", `"${spec.timeZone}" is no time zone`);
  return faults;
}

function isZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

async function open(spec: PostgresRowsSpec, context: SourceContext): Promise<RowsSource> {
  const { plan: { to, name }, secrets, schemaId, log } = context;
  if (to.kind !== "topic") throw new Error("postgresRows writes to one topic");
  const record = parseSchema(to.schema);
  if (record.kind !== "record") throw new ConfigError({ where: `${name}.to`, problem: "rows are written as a record" });
  const url = spec.database === undefined ? context.databaseUrl : secrets.get(spec.database);
  const server = new Server(url, spec.table);
  const { signal } = new AbortController();
  try {
    const table = await server.ask((sql) => inspectTable(sql, spec, record as RecordType), signal);
    const origin = await server.origin(table.oid, signal);
    if (!table.isIndexed) {
      const index = `CREATE INDEX CONCURRENTLY ON ${spec.table} (${spec.cursor.join(", ")})`;
      log(
        "warn",
        `${spec.table} has no index that begins with ${spec.cursor[0]}: every look reads the whole table. ${index}`,
      );
    }
    if (!await server.seesOthers(signal)) {
      log(
        "warn",
        `the user of the database may not see when transactions of others began: rows that they write after more than ` +
          `${spec.overlap ?? OVERLAP} are read late, by the sweep. GRANT pg_read_all_stats TO the user`,
      );
    }
    const ms = (value: string) => parseDuration(value) as number;
    const sweep = spec.sweep ?? SWEEP;
    return new RowsSource({
      server,
      table,
      origin,
      name: spec.table,
      maker: createRecordMaker({ schema: to.schema, schemaId, key: to.key }),
      zone: spec.timeZone ?? null,
      overlapMs: ms(spec.overlap ?? OVERLAP),
      everyMs: ms(spec.every ?? EVERY),
      sweepMs: sweep === "never" ? null : ms(sweep),
      log,
    });
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
}
