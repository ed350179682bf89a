import { join } from "node:path";
import { createSqlCatalog } from "../../api/sql/lake_catalog.ts";
import type { SqlService } from "../../api/sql/service.ts";
import { createSqlService } from "../../api/sql/sql_service.ts";
import { projectPath } from "../../cli/paths.ts";
import { systemClock } from "../../pipeline/clock.ts";
import type { Lake } from "../../pipeline/sinks/lake/lake.ts";
import { openLakeAt } from "../../pipeline/sinks/lake/lake_address.ts";
import { createMaintenance } from "../../pipeline/sinks/lake/maintenance/maintenance.ts";
import { archivedRows } from "../lake/archived_rows.ts";
import { ingest, type Look, spread } from "../lake/ingestion.ts";
import { lakeIn } from "../lake/run_archive.ts";
import { type Measured, Meter, round } from "../measure.ts";
import type { Servers } from "../servers.ts";

const ROWS = 50_000_000;
const TABLE = "bench_archived";
const SQL = `SELECT account_id, count(*) AS n, sum(amount) AS total, max(amount) AS largest FROM lake.${TABLE}
  GROUP BY account_id ORDER BY total DESC LIMIT 10`;
const QUIET_ROUNDS = 5;
/** Until everything runs that was started. */
const WARM_UP_S = 3;
/** Ingestion runs alone for the first part of the time, and with questions for the second. */
const ALONE = 0.4;

/**
 * A group-by over many archived records by the SQL that users have: in a process of its own. Alone, and while transactions come in
 * at a rate, are aggregated and archived. The table is made once, by the archive's own code, and kept in `data/bench`.
 */
export async function lakeQuery(
  servers: Servers,
  options: { readonly rate: number; readonly seconds: number; readonly rows?: number },
): Promise<Measured> {
  const { rate, seconds, rows = ROWS } = options;
  const folder = projectPath(join("data", "bench", `archived-${rows}`));
  await using lake = openLakeAt(lakeIn(folder));
  const made = await prepare(lake, rows);
  await using sql = createSqlService({
    catalog: createSqlCatalog({ lake, archives: [], pipelines: [], scratch: `${servers.folder}/sql-${Date.now()}` }),
    clock: systemClock,
    log: (message) => console.error(message),
  });
  const meter = new Meter();
  await ask(sql);
  const quiet: number[] = [];
  for (let i = 0; i < QUIET_ROUNDS; i++) quiet.push(await ask(sql));
  const busy: number[] = [];
  const ingestFolder = `${servers.folder}/query-${Date.now()}`;
  let askedFrom = Infinity;
  const { produced, looks, producedIn } = await ingest(servers, {
    rate,
    seconds,
    folder: ingestFolder,
    async meanwhile() {
      const began = performance.now();
      const since = () => (performance.now() - began) / 1000;
      await new Promise((resolve) => setTimeout(resolve, 1000 * ALONE * seconds));
      askedFrom = since();
      while (since() < seconds) busy.push(await ask(sql));
    },
  });
  await Deno.remove(ingestFolder, { recursive: true });
  const measured = meter.stop("lake-query", rows, spread(quiet).median);
  const behind = (part: readonly Look[]) => spread(part.map((look) => Math.max(look.behind, look.archiveBehind))).most;
  const during = looks.filter(({ at }) => at > WARM_UP_S && at <= seconds);
  return {
    ...measured,
    query_s: round(spread(quiet).median, 2),
    query_s_while_ingesting: round(spread(busy).median, 2),
    slowed_by: `${Math.round(100 * (spread(busy).median / spread(quiet).median - 1))}%`,
    questions: busy.length,
    ingested_per_s: Math.round(produced / producedIn),
    behind_max_alone: behind(during.filter(({ at }) => at < askedFrom)),
    behind_max_asked: behind(during.filter(({ at }) => at >= askedFrom)),
    ...made,
  };
}

/** Makes the table if it is not there, and compacts it. */
async function prepare(lake: Lake, rows: number): Promise<Record<string, number | string>> {
  await archivedRows(lake, {
    table: TABLE,
    rows,
    onProgress: (there) => there % 5_000_000 === 0 && console.error(`made ${there.toLocaleString("en")} rows`),
  });
  await createMaintenance({ lake }).compact(TABLE, {});
  const { files } = await (await lake.table(TABLE))!.snapshot();
  const there = files.reduce((sum, { stats }) => sum + (stats?.numRecords ?? 0), 0);
  if (there !== rows) throw new Error(`${lake.store.url}/${TABLE} has ${there} rows instead of ${rows}; remove it`);
  const sizes = files.map(({ bytes }) => bytes / 2 ** 20);
  return {
    files: files.length,
    file_mib_least: Math.round(Math.min(...sizes)),
    file_mib_most: Math.round(Math.max(...sizes)),
  };
}

/** Asks and reads the whole answer; seconds. */
async function ask(sql: SqlService): Promise<number> {
  const began = performance.now();
  const answer = await sql.ask({ sql: SQL, format: "ndjson" }, { signal: AbortSignal.timeout(120_000) });
  const text = await new Response(answer.body).text();
  const lines = text.trim().split("\n").length;
  if (lines < 10) throw new Error(`the answer has ${lines} lines: ${text.slice(0, 500)}`);
  return (performance.now() - began) / 1000;
}
