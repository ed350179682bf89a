/**
 * Previews of edited definitions, over the archives of this process.
 *
 * @module
 */
import type postgres from "postgres";
import type { PreviewDesk, PreviewOptions } from "../api/preview_desk.ts";
import { LakeResults } from "../pipeline/audit/lake_results.ts";
import { TAIL_ROWS_MAX } from "../pipeline/audit/archive_cut.ts";
import { TooManyRowsError } from "../pipeline/audit/expected_rows.ts";
import { PostgresResults } from "../pipeline/audit/postgres_results.ts";
import { type ArchivedTopic, archivedTopic } from "../pipeline/backfill/archived_topic.ts";
import type { CheckpointStore } from "../pipeline/checkpoint/checkpoint.ts";
import type { HistoryStore } from "../pipeline/checkpoint/history.ts";
import type { Clock } from "../pipeline/clock.ts";
import type { Definition } from "../pipeline/definition.ts";
import { ConfigError, UnavailableError } from "../pipeline/errors.ts";
import type { Cluster } from "../pipeline/log/cluster.ts";
import { planOf } from "../pipeline/plan/compile.ts";
import { type Plan, resultColumns } from "../pipeline/plan/plan.ts";
import { preview, PREVIEW_ROWS_MAX, type PreviewResult } from "../pipeline/preview/preview.ts";
import { previewRewind } from "../pipeline/runtime/rewind.ts";
import type { Archive } from "../pipeline/sinks/lake/archive/archive.ts";
import type { LakeDatabase } from "../pipeline/sinks/lake/database.ts";
import type { Lake } from "../pipeline/sinks/lake/lake.ts";
import type { ResultRows } from "../pipeline/sinks/sink.ts";

/** Each reads the last minutes of an archive, and holds rows in memory. */
const PREVIEWS_MAX = 2;

export interface PreviewsOptions {
  /** Of the pipelines of this process. */
  readonly plans: readonly Plan[];
  readonly archives: readonly Pick<Archive, "topic" | "table" | "status" | "tail">[];
  readonly lake: Lake;
  readonly database: LakeDatabase;
  readonly sql: postgres.Sql;
  readonly newCluster: () => Cluster;
  readonly checkpoints: CheckpointStore;
  readonly history: HistoryStore;
  readonly clock: Clock;
}

export function createPreviews(options: PreviewsOptions): PreviewDesk {
  let underWay = 0;
  return {
    async preview(definition, asked) {
      if (underWay >= PREVIEWS_MAX) throw new UnavailableError(`${PREVIEWS_MAX} previews are under way: ask again`);
      underWay++;
      try {
        return await previewOf(definition, asked, options);
      } finally {
        underWay--;
      }
    },
  };
}

async function previewOf(
  definition: Definition,
  { minutes, comparedWith, signal }: PreviewOptions,
  options: PreviewsOptions,
): Promise<PreviewResult> {
  const { plans, database, newCluster, checkpoints, history, clock } = options;
  const plan = await planOf(definition, new Map());
  const named = (name: string) => plans.find((plan) => plan.name === name) ?? null;
  const nowMs = clock.now();
  await using cluster = newCluster();
  using held = new DisposableStack();
  return await preview(plan, { minutes }, {
    cluster,
    checkpoints,
    database,
    archive: (topic) => archiveOf(plan, { ...topic, options, held, signal }),
    comparedWith: named(comparedWith ?? plan.name),
    deployed: named(plan.name),
    results: (plan, range) => resultsOf(plan, range, { options, signal }),
    rewindFrom: async (plan) => {
      const never = () => Promise.reject(new Error("A preview raises nothing: this is a bug"));
      const deps = { cluster, checkpoints, history, nowMs, raiseGeneration: never };
      return (await previewRewind(plan, { kind: "earliest" }, deps)).fromWindowMs;
    },
    nowMs,
    signal,
  });
}

/** With the records that wait for the next flush, where they are few. */
async function archiveOf(
  { name, topic }: Plan,
  { id, partitions, options, held, signal }: {
    readonly id: string | null;
    readonly partitions: readonly number[];
    readonly options: PreviewsOptions;
    readonly held: DisposableStack;
    readonly signal: AbortSignal;
  },
): Promise<ArchivedTopic> {
  const { archives, lake } = options;
  const archive = archives.find((archive) => archive.topic === topic);
  if (!archive) {
    throw new ConfigError({
      where: name,
      problem: `topic ${topic} has no archive here: a running pipeline that reads it has to say archive: lake()`,
    });
  }
  const { state, rowsWaiting } = archive.status();
  const tail = state === "running" && rowsWaiting <= TAIL_ROWS_MAX
    ? held.use(await archive.tail({ signal }))
    : undefined;
  const snapshot = tail?.snapshot ?? await (await lake.table(archive.table, { signal }))?.snapshot({ signal });
  if (!snapshot) {
    throw new ConfigError({ where: name, problem: `the archive lake.${archive.table} holds nothing yet: ask again` });
  }
  return archivedTopic({ topic, topicId: id, partitions, snapshot, store: lake.store, signal, ...tail && { tail } });
}

/** From PostgreSQL where results go there, or from the lake. */
async function resultsOf(
  plan: Plan,
  range: { readonly fromMs: number; readonly toMs: number },
  { options: { sql, lake, database }, signal }: { readonly options: PreviewsOptions; readonly signal: AbortSignal },
): Promise<ResultRows | null> {
  const columns = resultColumns(plan);
  const table = (kind: "postgres" | "lake") =>
    plan.sinks.find((sink) => sink.kind === kind) as { table: string } | undefined;
  const [stored, inLake] = [table("postgres"), table("lake")];
  try {
    if (stored) {
      const { rows } = await new PostgresResults(sql, { table: stored.table, columns }).rows(range, {
        rowsMax: PREVIEW_ROWS_MAX,
      });
      return finalOf(rows);
    }
    if (!inLake) return null;
    const found = await database.use((connection) =>
      new LakeResults(lake, { table: inLake.table, columns }).rows(connection, range, {
        rowsMax: PREVIEW_ROWS_MAX,
        signal,
      })
    );
    return found?.rows ?? { columns, length: 0, values: columns.map(() => []) };
  } catch (error) {
    if (!(error instanceof TooManyRowsError)) throw error;
    throw new ConfigError({ where: `preview ${plan.name}`, problem: `${error.message}: take fewer --minutes` });
  }
}

function finalOf(rows: ResultRows): ResultRows {
  const final = rows.values[rows.columns.findIndex(({ role }) => role === "final")];
  const values = rows.values.map((column) => column.filter((_, row) => final[row] === true));
  return { columns: rows.columns, length: values[0].length, values };
}
