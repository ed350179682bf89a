/**
 * An edited definition over the last minutes of its topic's archive: what it gives, what that differs in from the results there are
 * now, and whether the pipeline of that name could go on with it. Nothing is written.
 *
 * @module
 */
import type { ArchivedTopic } from "../backfill/archived_topic.ts";
import { decideHandover, type PartitionFacts } from "../backfill/handover.ts";
import { JudgedArchive, type Judgement } from "../backfill/judged_archive.ts";
import type { CheckpointStore } from "../checkpoint/checkpoint.ts";
import { ConfigError, UnavailableError } from "../errors.ts";
import type { Cluster } from "../log/cluster.ts";
import { type Plan, resultColumns } from "../plan/plan.ts";
import type { LakeDatabase } from "../sinks/lake/database.ts";
import type { ResultRows, ResultValue } from "../sinks/sink.ts";
import { tumblingStart } from "../windows/tumbling.ts";
import { type ColumnDifference, compareColumns, compareRows, incomparable, type RowDifference } from "./difference.ts";
import { changedParts } from "./parts.ts";

/** Rows that are compared at most, of either side. */
export const PREVIEW_ROWS_MAX = 500_000;

export interface PreviewRequest {
  readonly minutes: number;
}

/** What would become of the pipeline's saved state. Times are milliseconds since the epoch. */
export type StateOutlook =
  /** There is no pipeline of that name: it begins where the log does. */
  | { readonly kind: "new" }
  /** It has never saved anything. */
  | { readonly kind: "nothing saved" }
  /** It goes on from its last checkpoint. */
  | { readonly kind: "resumes" }
  /**
   * It does not start with the checkpoint there is. A rewind computes again what the log holds, from `rewindFromMs` on (null: from the
   * beginning), unless `rewindProblem` says why not; a backfill what the archive holds, from `backfillFromMs` on.
   */
  | {
    readonly kind: "recomputes";
    readonly rewindFromMs: number | null;
    readonly rewindProblem: string | null;
    readonly backfillFromMs: number | null;
  };

export interface PreviewResult {
  readonly pipeline: string;
  /** The pipeline whose results these are compared with; null when there is none. */
  readonly comparedWith: string | null;
  /** Windows that start in `[fromMs, toMs)`: all of them have closed. */
  readonly fromMs: number;
  readonly toMs: number;
  readonly windows: number;
  readonly rows: number;
  readonly keys: number;
  readonly judged: Judgement;
  readonly doubt: string | null;
  readonly archive: { readonly table: string; readonly version: number };
  readonly columns: ColumnDifference | null;
  /** Null where there is nothing to compare with; text says why it cannot be compared. */
  readonly difference: RowDifference | string | null;
  /** Parts of the definition that changed. */
  readonly changes: readonly string[];
  readonly state: StateOutlook;
}

export interface PreviewDeps {
  readonly cluster: Cluster;
  readonly checkpoints: CheckpointStore;
  readonly database: LakeDatabase;
  /** The topic's archive at one moment. */
  readonly archive: (
    topic: { readonly id: string | null; readonly partitions: readonly number[] },
  ) => Promise<ArchivedTopic>;
  /** The pipeline to compare with, and the one of the definition's own name, as they run now. */
  readonly comparedWith: Plan | null;
  readonly deployed: Plan | null;
  /** Final rows of a pipeline in windows of a range; null where it keeps none that can be read. */
  readonly results: (
    plan: Plan,
    range: { readonly fromMs: number; readonly toMs: number },
  ) => Promise<ResultRows | null>;
  /** From where on a rewind to the earliest would compute: `fromWindowMs` of its preview. @throws ConfigError when it cannot */
  readonly rewindFrom: (plan: Plan) => Promise<number | null>;
  readonly nowMs: number;
  readonly signal: AbortSignal;
}

/**
 * @throws ConfigError when the definition cannot be computed over the archive, or there are too many rows
 * @throws UnavailableError when brokers or lake are away
 */
export async function preview(plan: Plan, { minutes }: PreviewRequest, deps: PreviewDeps): Promise<PreviewResult> {
  const { cluster, database, signal, nowMs, comparedWith, deployed } = deps;
  const found = await cluster.leaders(plan.topic);
  if (!found) throw new UnavailableError(`Topic ${plan.topic} does not exist (yet)`);
  const numbers = [...found.leaders.keys()];
  const archive = await deps.archive({ id: found.id ?? null, partitions: numbers });
  const { path } = plan.fields[plan.eventTime];
  const bounds = archive.bounds(path);
  const spanMs = Math.max(minutes * 60_000, plan.window.sizeMs);
  // Room for what is still open, and for a window that is not whole.
  const sinceMs = bounds === null
    ? undefined
    : bounds.mostMs - spanMs - 2 * (plan.allowedLatenessMs + plan.idleAfterMs + plan.window.sizeMs);
  using judged = await JudgedArchive.judge(plan, archive, { database, signal, sinceMs });
  const earliestMs = await judged.earliestMs();
  if (earliestMs === null) {
    throw new ConfigError({
      where: plan.name,
      problem: `the archive lake.${archive.table} holds no record with an event time in ${path}`,
    });
  }
  const facts = await factsOf(plan, { archive, judged, cluster, numbers, isCut: isCut(bounds, sinceMs) });
  const { fromMs: wholeMs, handoverMs: toMs } = decideHandover(plan, facts, { nowMs, earliestMs });
  const { sizeMs, offsetMs } = plan.window;
  const fromMs = Math.max(wholeMs, tumblingStart(toMs - spanMs, sizeMs, offsetMs));
  const range = { fromMs, toMs };
  const after: ResultValue[][] = resultColumns(plan).map(() => []);
  const given = judged.rows(range, { generation: 0 });
  let next = await given.next();
  for (; !next.done; next = await given.next()) {
    next.value.values.forEach((values, c) => {
      for (const value of values) after[c].push(value);
    });
    if (after[0].length > PREVIEW_ROWS_MAX) throw tooMany(plan);
  }
  const rows = { columns: resultColumns(plan), length: after[0].length, values: after };
  const keys = rows.columns.flatMap(({ role }, c) => role === "key" ? [c] : []);
  return {
    pipeline: plan.name,
    comparedWith: comparedWith?.name ?? null,
    ...range,
    windows: new Set(after[rows.columns.findIndex(({ role }) => role === "window_start")]).size,
    rows: rows.length,
    keys: new Set(after[0].map((_, row) => JSON.stringify(keys.map((c) => String(after[c][row]))))).size,
    judged: next.value,
    doubt: judged.doubt,
    archive: { table: archive.table, version: archive.version },
    columns: comparedWith && compareColumns(resultColumns(comparedWith), rows.columns),
    difference: await differenceOf(plan, rows, { ...range, deps }),
    changes: comparedWith ? changedParts(comparedWith, plan) : [],
    state: await outlookOf(plan, deployed, { deps, wholeMs: bounds?.leastMs ?? earliestMs }),
  };
}

/** Whether records before the part that was read are archived, too. */
function isCut(bounds: { readonly leastMs: number } | null, sinceMs: number | undefined): boolean {
  return bounds !== null && sinceMs !== undefined && bounds.leastMs < sinceMs;
}

async function factsOf(
  plan: Plan,
  { archive, judged, cluster, numbers, isCut }: {
    readonly archive: ArchivedTopic;
    readonly judged: JudgedArchive;
    readonly cluster: Cluster;
    readonly numbers: readonly number[];
    readonly isCut: boolean;
  },
): Promise<PartitionFacts[]> {
  const earliest = await cluster.offsets(plan.topic, [...numbers], "earliest");
  const ends = await cluster.offsets(plan.topic, [...numbers], "latest");
  const archived = new Map((await judged.partitions()).map((one) => [one.partition, one]));
  return numbers.map((partition) => {
    const { first = null, firstEventMs = null, maxEventMs = null, lastTimestampMs = null } = archived.get(partition) ??
      {};
    return {
      partition,
      // What lies before the part that was read is there.
      first: isCut && first !== null ? 0 : first,
      position: archive.positions.get(partition) ?? null,
      earliest: earliest.get(partition)!,
      end: ends.get(partition)!,
      firstEventMs,
      maxEventMs,
      lastTimestampMs,
    };
  });
}

async function differenceOf(
  plan: Plan,
  rows: ResultRows,
  { deps: { comparedWith, results }, fromMs, toMs }: {
    readonly deps: PreviewDeps;
    readonly fromMs: number;
    readonly toMs: number;
  },
): Promise<RowDifference | string | null> {
  if (comparedWith === null) return null;
  const before = { columns: resultColumns(comparedWith), sizeMs: comparedWith.window.sizeMs };
  const problem = incomparable(before, { columns: rows.columns, sizeMs: plan.window.sizeMs });
  if (problem !== null) return problem;
  const stored = await results(comparedWith, { fromMs, toMs });
  if (stored === null) {
    return `${comparedWith.name} keeps its results in no table: add postgres("..") or lake("..") to it`;
  }
  return compareRows(stored, rows);
}

async function outlookOf(
  plan: Plan,
  deployed: Plan | null,
  { deps, wholeMs }: { readonly deps: PreviewDeps; readonly wholeMs: number },
): Promise<StateOutlook> {
  const saved = await deps.checkpoints.load(plan.name);
  if (saved === null) return deployed === null ? { kind: "new" } : { kind: "nothing saved" };
  if (saved.fingerprint === plan.fingerprint) return { kind: "resumes" };
  const backfillFromMs = plan.dedupe === null ? tumblingStart(wholeMs, plan.window.sizeMs, plan.window.offsetMs) : null;
  try {
    return { kind: "recomputes", rewindFromMs: await deps.rewindFrom(plan), rewindProblem: null, backfillFromMs };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const rewindProblem = error.faults.map(({ problem }) => problem).join("; ");
    return { kind: "recomputes", rewindFromMs: null, rewindProblem, backfillFromMs };
  }
}

function tooMany(plan: Plan): ConfigError {
  return new ConfigError({
    where: `preview ${plan.name}`,
    problem: `gives more than ${PREVIEW_ROWS_MAX} rows: take fewer --minutes`,
  });
}
