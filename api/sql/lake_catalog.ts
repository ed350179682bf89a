/**
 * What can be asked in SQL of this process: the lake's tables, what is not in them yet, open windows, results, ledger and letters.
 *
 * @module
 */
import type { Letters } from "../../pipeline/letters/letters.ts";
import { resultColumns } from "../../pipeline/plan/plan.ts";
import type { Archive } from "../../pipeline/sinks/lake/archive/archive.ts";
import type { Lake } from "../../pipeline/sinks/lake/lake.ts";
import { duckdbType } from "../../pipeline/sinks/lake/delta/schema.ts";
import { QueryError } from "../deps.ts";
import { CaptureFolder } from "./capture_folder.ts";
import { type CatalogPipeline, resultTable } from "./capture_moment.ts";
import { LEDGER_COLUMNS, LETTER_COLUMNS } from "./capture_records.ts";
import { relationColumn } from "./capture_rows.ts";
import { CaptureWork } from "./capture_work.ts";
import type { RelationInfo, RelationName, SqlCatalog } from "./catalog.ts";

/** Tables whose schemas are read at a time. */
const TABLES_AT_ONCE = 8;
/** Names told of in an error. */
const NAMES_TOLD = 30;

export interface CatalogDeps {
  readonly lake: Lake;
  readonly archives: readonly Archive[];
  readonly pipelines: readonly CatalogPipeline[];
  readonly letters?: Pick<Letters, "list">;
  /** A folder of its own for rows on their way to questions; what a process before left in it is removed. */
  readonly scratch: string;
  /** Bytes of the lake's files fetched for one question; Infinity, as where files are read where they are, unless told. */
  readonly fetchBytesMax?: number;
  /** Letters that `dead_letters` has, the newest; 10,000 unless told. */
  readonly lettersMax?: number;
  /** Rows from memory in one question, of all relations together; 8,000,000 unless told. */
  readonly rowsMax?: number;
}

/** The catalog of a process with an engine. Dispose of its captures: they hold files. */
export function createSqlCatalog(deps: CatalogDeps): SqlCatalog {
  const folder = new CaptureFolder(deps.lake.database, deps.scratch);
  return {
    relations: ({ signal } = {}) => relations(deps, signal),
    capture: async (names, { signal }) => {
      signal.throwIfAborted();
      for (const name of names) check(deps, name);
      const work = new CaptureWork(deps, { folder, signal });
      try {
        return await work.capture(distinct(names));
      } catch (error) {
        await work[Symbol.asyncDispose]();
        throw error;
      }
    },
  };
}

/** The error for a table that is not there. */
export async function unknownTable({ lake }: CatalogDeps, name: string, signal?: AbortSignal): Promise<QueryError> {
  return unknown("lake", name, await lake.tables({ signal }));
}

/** Each relation once; where it is named with different ranges, whole. */
function distinct(names: readonly RelationName[]): RelationName[] {
  const found = new Map<string, RelationName>();
  for (const name of names) {
    const { within, ...rest } = name;
    const key = JSON.stringify(rest);
    const other = found.get(key);
    const isSame = other === undefined || JSON.stringify(other.within) === JSON.stringify(within);
    found.set(key, isSame ? name : rest);
  }
  return [...found.values()];
}

/** @throws QueryError for a pipeline, topic or other name that there is not; of tables the lake knows */
function check({ archives, pipelines, letters }: CatalogDeps, { schema, name, at }: RelationName): void {
  if (at !== undefined && schema !== "lake") {
    throw new QueryError(
      "sql",
      `${schema ?? ""}${schema ? "." : ""}${name} has no earlier versions: only lake.<table> has`,
    );
  }
  const plans = pipelines.map(({ plan }) => plan.name);
  switch (schema) {
    case "lake":
      return;
    case "topics": {
      const topics = archives.map(({ topic }) => topic);
      if (topics.includes(name)) return;
      const isRead = pipelines.some(({ plan }) => plan.topic === name);
      if (!isRead) throw unknown(schema, name, topics);
      throw new QueryError("sql", `topics.${name}: the topic is not archived; add archive: lake() to its topic(...)`);
    }
    case "live":
      if (plans.includes(name)) return;
      throw unknown(schema, name, plans);
    case "results": {
      const kept = pipelines.filter((pipeline) => resultTable(pipeline) !== null).map(({ plan }) => plan.name);
      if (kept.includes(name)) return;
      if (!plans.includes(name)) throw unknown(schema, name, kept);
      const problem = `the pipeline keeps no history in the lake; add lake(${JSON.stringify(name)}) to its \`to\``;
      throw new QueryError("sql", `results.${name}: ${problem}, or ask live.${name} for its open windows`);
    }
    case null:
      if (name === "ledger" || (name === "dead_letters" && letters)) return;
      throw unknown(null, name, ["ledger", ...letters ? ["dead_letters"] : []]);
  }
}

function unknown(schema: RelationName["schema"], name: string, there: readonly string[]): QueryError {
  const prefix = schema === null ? "" : `${schema}.`;
  const told = there.slice(0, NAMES_TOLD).map((other) => prefix + other);
  const more = there.length > NAMES_TOLD ? ", ..." : "";
  const which = there.length === 0 ? "there are none" : `there are: ${told.join(", ")}${more}`;
  return new QueryError("sql", `there is no ${prefix}${name}; ${which}`);
}

async function relations(
  { lake, archives, pipelines, letters }: CatalogDeps,
  signal: AbortSignal | undefined,
): Promise<RelationInfo[]> {
  const tables = await tableInfos(lake, signal);
  const columnsOf = new Map(tables.map(({ name, columns }) => [name, columns]));
  const of = ({ plan }: CatalogPipeline) => resultColumns(plan).map(relationColumn);
  return [
    ...tables,
    // Before its first commit an archive has no columns to speak of.
    ...archives.filter(({ table }) => columnsOf.has(table)).map(({ topic, table }): RelationInfo => ({
      schema: "topics",
      name: topic,
      columns: columnsOf.get(table)!,
      about: `Records of the topic ${topic} that are not in lake.${table} yet.`,
    })),
    ...pipelines.map((pipeline): RelationInfo => ({
      schema: "live",
      name: pipeline.plan.name,
      columns: of(pipeline),
      about: `Open windows of the pipeline ${pipeline.plan.name}, as they are now.`,
    })),
    ...pipelines.filter((pipeline) => resultTable(pipeline) !== null).map((pipeline): RelationInfo => ({
      schema: "results",
      name: pipeline.plan.name,
      columns: of(pipeline),
      about: `All results of the pipeline ${pipeline.plan.name}, open windows too: one row of each key and window.`,
    })),
    {
      schema: null,
      name: "ledger",
      columns: LEDGER_COLUMNS.map(relationColumn),
      about: "Where every record ended, by pipeline and partition.",
    },
    ...letters
      ? [{
        schema: null,
        name: "dead_letters",
        columns: LETTER_COLUMNS.map(relationColumn),
        about: "Late records and dead letters, the newest.",
      }]
      : [],
  ];
}

async function tableInfos(lake: Lake, signal: AbortSignal | undefined): Promise<RelationInfo[]> {
  const names = await lake.tables({ signal });
  const infos: RelationInfo[] = [];
  for (let i = 0; i < names.length; i += TABLES_AT_ONCE) {
    const some = names.slice(i, i + TABLES_AT_ONCE).map(async (name): Promise<RelationInfo[]> => {
      const snapshot = await (await lake.table(name, { signal }))?.snapshot({ signal });
      if (!snapshot) return [];
      const columns = snapshot.schema.fields.map(({ name, type }) => ({ name, type: duckdbType(type) }));
      return [{ schema: "lake", name, columns, about: `The lake's table ${name}, as of its last commit.` }];
    });
    infos.push(...(await Promise.all(some)).flat());
  }
  return infos;
}
