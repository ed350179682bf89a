import process from "node:process";
import { type ColumnRows, columnRows, FIELDS, TRANSACTION_SCHEMA } from "../lake/column_rows.ts";
import { appendFromLog, type FromLog, fromLogDetails, logIn } from "../lake/compare_from_log.ts";
import { lakeIn } from "../lake/run_archive.ts";
import { append, type Appended, type Appender, deltaRs, spark } from "../lake/tools.ts";
import { type Measured, Meter, round } from "../measure.ts";
import { appendColumns } from "../../pipeline/sinks/lake/columns/append_columns.ts";
import { openLakeAt } from "../../pipeline/sinks/lake/lake_address.ts";

const ROWS_PER_COMMIT = 1_000_000;
const COMMITS = 5;
const TABLE = "appended";
/** Each is asked so often, in turn; the fastest counts. */
const ROUNDS = 5;
/** Of these, those in which rows come from the log as well. */
const LOG_ROUNDS = 3;

/** Another program, and what it did. */
interface Other {
  readonly tool: Appender;
  readonly rounds: number;
  readonly appended: Exclude<Appended, { readonly why: string }>[];
  /** How much longer it took than Tailrace in the same round. */
  readonly ratios: number[];
}

/**
 * The same rows appended to a Delta table from memory, each a column beside the other: by Tailrace, by delta-rs from Python out of
 * Arrow batches, and by Spark out of a cached data frame. Five commits of a million rows, zstd, in turn; by delta-rs as it does
 * unless told as well, with snappy. And the same rows as the log has them, framed Avro in memory: by an archive, and by Python,
 * which decodes with fastavro what delta-rs appends.
 */
export async function lakeWrite(
  options: { readonly python?: string; readonly spark?: string; readonly rows?: number } = {},
): Promise<Measured> {
  const folder = await Deno.makeTempDir({ prefix: "tailrace-bench-lake-" });
  try {
    const each = Math.ceil(Math.min(options.rows ?? Infinity, COMMITS * ROWS_PER_COMMIT) / COMMITS);
    const rows = columnRows(each);
    const other = (tool: Appender, rounds = ROUNDS): Other => ({ tool, rounds, appended: [], ratios: [] });
    const others: Record<string, Other> = {
      delta_rs: other(await deltaRs(options.python)),
      delta_rs_snappy: other(await deltaRs(options.python, "SNAPPY")),
      // Takes long to start, and is warm by then.
      spark: other(await spark(options.spark), 1),
    };
    const details: Record<string, number | string> = {};
    const log = await logIn(folder, { rows: each, commits: COMMITS, python: options.python });
    const fromLog: FromLog[] = [];
    const owns: Own[] = [];
    const meter = new Meter();
    for (let turn = 0; turn < ROUNDS; turn++) {
      const own = await appendOwn(rows, `${folder}/own-${turn}`);
      owns.push(own);
      for (const [name, { tool, rounds, appended, ratios }] of Object.entries(others)) {
        if (turn >= rounds) continue;
        const done = await append(tool, { target: `${folder}/${name}-${turn}`, words: ["", ...own.files] });
        if ("why" in done) details[name] = `left out: ${done.why}`;
        else {
          if (done.rows !== COMMITS * each) throw new Error(`${name} appended ${done.rows} rows`);
          appended.push(done);
          ratios.push(done.seconds / own.seconds);
        }
      }
      if (turn < LOG_ROUNDS) {
        fromLog.push(await appendFromLog(log, { folder: `${folder}/log-${turn}`, sameAs: own.files }));
      }
    }
    const best = fastest(owns);
    const measured = meter.stop("lake-write", COMMITS * each, best.seconds);
    details.append_cpu_s = round(best.cpuSeconds, 2);
    details.append_mb = round(best.bytes / 1e6, 1);
    for (const [name, { appended, ratios }] of Object.entries(others)) {
      if (appended.length === 0) continue;
      const { seconds, cpu_seconds } = fastest(appended);
      details[`${name}_rows_per_s`] = Math.round(COMMITS * each / seconds);
      details[`${name}_ratio`] = round(seconds / best.seconds, 2);
      if (ratios.length > 1) details[`${name}_ratios`] = ratios.map((ratio) => round(ratio, 2)).join(" ");
      if (cpu_seconds !== undefined) details[`${name}_cpu_s`] = round(cpu_seconds, 2);
    }
    return { ...measured, ...details, ...fromLogDetails(fromLog, log) };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function fastest<T extends { readonly seconds: number }>(rounds: readonly T[]): T {
  return rounds.reduce((best, one) => one.seconds < best.seconds ? one : best);
}

/** Rows of an append are taken from memory while those of the one before are written. */
const AT_ONCE = 2;

interface Own {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly bytes: number;
  readonly files: string[];
}

async function appendOwn(rows: ColumnRows, folder: string): Promise<Own> {
  await using lake = openLakeAt(lakeIn(folder));
  const table = await lake.ensureTable(TABLE, { schema: TRANSACTION_SCHEMA, partitionColumns: [] });
  // Opens DuckDB, as the others have their libraries loaded.
  await lake.database.use((connection) => connection.run("SELECT 1"));
  const cpu = process.cpuUsage();
  const began = performance.now();
  const going: Promise<unknown>[] = [];
  for (let i = 0; i < COMMITS; i++) {
    if (going.length === AT_ONCE) await going.shift();
    const one = appendColumns(lake, { table, fields: FIELDS, batches: rows.batches });
    one.catch(() => {});
    going.push(one);
  }
  await Promise.all(going);
  const seconds = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const { files, version } = await table.snapshot();
  const written = files.reduce((sum, { stats }) => sum + (stats?.numRecords ?? 0), 0);
  if (written !== COMMITS * rows.length) throw new Error(`${written} rows were written of ${COMMITS * rows.length}`);
  if (version !== COMMITS) throw new Error(`${version} commits were made instead of ${COMMITS}`);
  return {
    seconds,
    cpuSeconds: (user + system) / 1e6,
    bytes: files.reduce((sum, file) => sum + file.bytes, 0),
    files: files.map(({ path }) => `${folder}/${TABLE}/${decodeURIComponent(path)}`),
  };
}
