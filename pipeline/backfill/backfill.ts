/**
 * Builds a pipeline's history from its topic's archive and hands over to the log at an exact offset of each partition.
 *
 *     the archive, at one version            the log
 *     ──────────────────────────────┐ ┌────────────────────────────────▶
 *     windows [from, handover)      │ │ windows from the handover on
 *     as final rows, slice by slice ▼ ▼ from `offset` of each partition on
 *                              checkpoint: floor = handover, positions = offsets
 *
 * Every record belongs to exactly one side (see `handover.ts`), and is judged as the pipeline would have judged it (see
 * `judged_archive.ts`). The rows are those of a new generation, so they replace what is there, and a run that was broken off is simply run
 * again: until the checkpoint is saved, at the very end, the pipeline goes on from where it was.
 *
 * @module
 */
import type { Checkpoint, CheckpointStore, PartitionCheckpoint } from "../checkpoint/checkpoint.ts";
import type { HistoryStore } from "../checkpoint/history.ts";
import { ConfigError, UnavailableError } from "../errors.ts";
import type { Cluster } from "../log/cluster.ts";
import type { Plan } from "../plan/plan.ts";
import { PartitionLedger } from "../runtime/partition_ledger.ts";
import { REDRIVEN_MAX } from "../runtime/partition_state.ts";
import { leastWatermark } from "../runtime/restore.ts";
import { rewoundTo } from "../runtime/rewound_stretch.ts";
import type { LakeDatabase } from "../sinks/lake/database.ts";
import { setAsideTail } from "../sinks/set_aside.ts";
import type { Sink } from "../sinks/sink.ts";
import type { ArchivedTopic } from "./archived_topic.ts";
import {
  assertLogHolds,
  decideHandover,
  type Handover,
  type HandoverOffset,
  type PartitionFacts,
  refused,
} from "./handover.ts";
import { JudgedArchive, type Judgement } from "./judged_archive.ts";

/** Records whose windows are computed together: as much as fits into memory, one window at least. */
export const SLICE_RECORDS_MAX = 2_000_000;

/** Times are milliseconds since the epoch. */
export interface BackfillRequest {
  /** From the window that holds this on; all that the archive has whole where it is not told. */
  readonly fromMs?: number;
  /** The log's part begins with the window that holds this; as late as the archive allows where it is not told. */
  readonly toMs?: number;
}

/** What a backfill comes to. */
export interface BackfillResult {
  readonly pipeline: string;
  /** Windows that start in `[fromMs, handoverMs)` are the archive's. */
  readonly fromMs: number;
  readonly handoverMs: number;
  /** Windows with records. */
  readonly windows: number;
  readonly rows: number;
  /** Where the records of these windows ended. */
  readonly judged: Judgement;
  /** Archived records that are in no window: undecodable, without a usable event time, or tombstones. */
  readonly unplaced: number;
  /** The version of the archive's table that was read. */
  readonly archive: { readonly table: string; readonly version: number };
  /** Why the archive may not tell all that the pipeline would have read; null when it does. */
  readonly doubt: string | null;
  /** The generation of the rows; null of a preview. */
  readonly generation: number | null;
  readonly partitions: readonly {
    readonly partition: number;
    /** The first archived offset, and the offset after the last one; null where there is none. */
    readonly archivedFrom: number | null;
    readonly archivedTo: number | null;
    /** From here on the log is read, and the ledger counts. */
    readonly offset: number;
    /** How many offsets the log is ahead of that now. */
    readonly toRead: number;
    /** It was silent, and was decided not to hold back the handover: what comes for earlier windows is late. */
    readonly isRaised: boolean;
  }[];
}

export interface BackfillProgress {
  readonly phase: "reading" | "computing";
  readonly windows: number;
  readonly windowsDone: number;
  readonly records: number;
  readonly recordsDone: number;
  readonly rowsDone: number;
}

export interface BackfillDeps {
  readonly cluster: Cluster;
  readonly checkpoints: CheckpointStore;
  readonly history: HistoryStore;
  readonly database: LakeDatabase;
  /** The topic's archive at one moment, flushed until now; throws ConfigError where there is none. */
  readonly archive: (
    topic: { readonly id: string | null; readonly partitions: readonly number[] },
  ) => Promise<ArchivedTopic>;
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: BackfillProgress) => void;
  /** Instead of `SLICE_RECORDS_MAX`. */
  readonly sliceRecordsMax?: number;
}

export interface BackfillWriteDeps extends BackfillDeps {
  /** Writes to all of the pipeline's destinations; made to wait while one is away. */
  readonly sink: Sink;
  /** A generation above this one, and above all that any process was ever given. */
  readonly raiseGeneration: (above: number) => Promise<number>;
}

/**
 * Says what a backfill of a pipeline would do; writes nothing.
 *
 * @throws ConfigError when it cannot be done, saying what to change
 * @throws UnavailableError when brokers or lake are away
 */
export async function previewBackfill(
  plan: Plan,
  request: BackfillRequest,
  deps: BackfillDeps,
): Promise<BackfillResult> {
  using prepared = await prepare(plan, request, deps);
  const totals = await eachSlice(prepared, deps, async (range) => await prepared.judged.judgement(range));
  return await resultOf(plan, prepared, { totals, generation: null });
}

/**
 * Does it, for a pipeline that is at rest: writes the rows, then saves where the pipeline goes on. Broken off before that, it leaves
 * rows that are right, and is run again from the beginning.
 *
 * @throws as `previewBackfill`, and whatever the sink throws
 */
export async function backfill(
  plan: Plan,
  request: BackfillRequest,
  deps: BackfillWriteDeps,
): Promise<BackfillResult> {
  const { sink, signal, checkpoints, history } = deps;
  using prepared = await prepare(plan, request, deps);
  const { saved } = prepared;
  const generation = await deps.raiseGeneration(saved?.generation ?? 0);
  await sink.resume(null, { signal });
  const epoch = saved?.epoch ?? 0;
  const totals = await eachSlice(prepared, deps, async (range, onRows) => {
    let rows = 0;
    const given = prepared.judged.rows(range, { generation });
    for (;;) {
      const next = await given.next();
      if (next.done) return { ...next.value, rows };
      await sink.write(next.value, { epoch, signal });
      rows += next.value.length;
      onRows(rows);
    }
  });
  const checkpoint = await checkpointOf(plan, prepared, { generation, nowMs: deps.nowMs });
  signal.throwIfAborted();
  // What the history told was of the computation before. Nothing in it is a smaller loss than what does not belong there.
  await history.replace(plan.name, []);
  await checkpoints.save(plan.name, checkpoint);
  return await resultOf(plan, prepared, { totals, generation });
}

interface Prepared extends Handover, Disposable {
  readonly judged: JudgedArchive;
  readonly archive: ArchivedTopic;
  readonly facts: readonly PartitionFacts[];
  readonly offsets: readonly HandoverOffset[];
  readonly windows: readonly { readonly startMs: number; readonly records: number }[];
  readonly topicId: string | null;
  readonly saved: Checkpoint | null;
}

async function prepare(plan: Plan, request: BackfillRequest, deps: BackfillDeps): Promise<Prepared> {
  const { cluster, database, signal, nowMs, onProgress } = deps;
  const found = await cluster.leaders(plan.topic);
  if (!found) throw new UnavailableError(`Topic ${plan.topic} does not exist (yet)`);
  const numbers = [...found.leaders.keys()];
  const topicId = found.id ?? null;
  const saved = await deps.checkpoints.load(plan.name);
  const archive = await deps.archive({ id: topicId, partitions: numbers });
  onProgress?.({ phase: "reading", windows: 0, windowsDone: 0, records: 0, recordsDone: 0, rowsDone: 0 });
  const judged = await JudgedArchive.judge(plan, archive, { database, signal });
  try {
    const earliestMs = await judged.earliestMs();
    if (earliestMs === null) {
      throw refused(plan, `the archive lake.${archive.table} holds no record with an event time yet`);
    }
    // After the archive: what the log deletes meanwhile has to be noticed.
    const earliest = await cluster.offsets(plan.topic, numbers, "earliest");
    const ends = await cluster.offsets(plan.topic, numbers, "latest");
    const archived = new Map((await judged.partitions()).map((one) => [one.partition, one]));
    const facts = numbers.map((partition): PartitionFacts => {
      const { first = null, firstEventMs = null, maxEventMs = null, lastTimestampMs = null } =
        archived.get(partition) ?? {};
      const position = archive.positions.get(partition) ?? null;
      const log = { earliest: earliest.get(partition)!, end: ends.get(partition)! };
      return { partition, first, position, ...log, firstEventMs, maxEventMs, lastTimestampMs };
    });
    const decided = decideHandover(plan, facts, { ...request, nowMs, earliestMs });
    const firsts = await judged.firstOffsets(decided.handoverMs);
    const offsets = facts.map(({ partition, position, earliest }): HandoverOffset => {
      const { offset = null, maxEventMs = null } = firsts.get(partition) ?? {};
      return { partition, offset: offset ?? position ?? earliest, maxEventMs };
    });
    assertLogHolds(plan, offsets, { facts, handoverMs: decided.handoverMs });
    const windows = await judged.windows({ fromMs: decided.fromMs, toMs: decided.handoverMs });
    const dispose = () => judged[Symbol.dispose]();
    return { ...decided, judged, archive, facts, offsets, windows, topicId, saved, [Symbol.dispose]: dispose };
  } catch (error) {
    judged[Symbol.dispose]();
    throw error;
  }
}

type Totals = Judgement & { readonly rows: number };

/** Calls `work` with neighbouring windows that have a bounded number of records, in order, and adds up what it tells. */
async function eachSlice(
  { windows, handoverMs }: Prepared,
  { sliceRecordsMax = SLICE_RECORDS_MAX, onProgress, signal }: BackfillDeps,
  work: (range: { fromMs: number; toMs: number }, onRows: (rows: number) => void) => Promise<Totals>,
): Promise<Totals> {
  let totals: Totals = { rows: 0, records: 0, aggregated: 0, filtered: 0, late: 0, duplicate: 0 };
  const all = windows.reduce((sum, { records }) => sum + records, 0);
  const told = (done: { windowsDone: number; recordsDone: number; rowsDone: number }) =>
    onProgress?.({ phase: "computing", windows: windows.length, records: all, ...done });
  for (let from = 0; from < windows.length;) {
    signal.throwIfAborted();
    let to = from;
    let records = 0;
    do records += windows[to++].records; while (
      to < windows.length && records + windows[to].records <= sliceRecordsMax
    );
    const range = { fromMs: windows[from].startMs, toMs: windows[to]?.startMs ?? handoverMs };
    const before = totals;
    const done = { windowsDone: from, recordsDone: before.records };
    told({ ...done, rowsDone: before.rows });
    const some = await work(range, (rows) => told({ ...done, rowsDone: before.rows + rows }));
    totals = {
      rows: before.rows + some.rows,
      records: before.records + some.records,
      aggregated: before.aggregated + some.aggregated,
      filtered: before.filtered + some.filtered,
      late: before.late + some.late,
      duplicate: before.duplicate + some.duplicate,
    };
    from = to;
    told({ windowsDone: to, recordsDone: totals.records, rowsDone: totals.rows });
  }
  return totals;
}

async function resultOf(
  plan: Plan,
  prepared: Prepared,
  { totals, generation }: { readonly totals: Totals; readonly generation: number | null },
): Promise<BackfillResult> {
  const { fromMs, handoverMs, windows, facts, offsets, raised, archive, judged } = prepared;
  const { rows, ...ended } = totals;
  return {
    pipeline: plan.name,
    fromMs,
    handoverMs,
    windows: windows.length,
    rows,
    judged: ended,
    unplaced: await judged.unplaced(),
    archive: { table: archive.table, version: archive.version },
    doubt: judged.doubt,
    generation,
    partitions: facts.map(({ partition, first, position, end }, i) => ({
      partition,
      archivedFrom: first,
      archivedTo: position,
      offset: offsets[i].offset,
      toRead: Math.max(0, end - offsets[i].offset),
      isRaised: raised.includes(partition),
    })),
  };
}

/** Where the pipeline goes on. */
async function checkpointOf(
  plan: Plan,
  { judged, fromMs, handoverMs, facts, offsets, raised, topicId, saved }: Prepared,
  { generation, nowMs }: { readonly generation: number; readonly nowMs: number },
): Promise<Checkpoint> {
  const isSameTopic = saved !== null && (topicId === null || saved.topicId === null || topicId === saved.topicId);
  const before = new Map((isSameTopic ? saved.partitions : []).map((partition) => [partition.partition, partition]));
  const back = Map.groupBy(await judged.redriven({ fromMs, toMs: handoverMs }), ({ partition }) => partition);
  const partitions = offsets.map(({ partition, offset, maxEventMs }, i): PartitionCheckpoint => {
    const redriven = (back.get(partition) ?? []).map(({ partition: _, ...one }) => one);
    if (redriven.length > REDRIVEN_MAX) {
      throw new ConfigError({
        where: `backfill ${plan.name}`,
        problem: `${redriven.length} records of partition ${partition} were brought back in this time, more than the ` +
          `${REDRIVEN_MAX} that can be remembered: name a later --from`,
      });
    }
    const fresh = PartitionLedger.fresh(plan, {
      partition,
      position: offset,
      raisedToMs: raised.includes(partition) ? handoverMs : null,
      rewound: saved === null ? null : rewoundTo(offset, facts[i].end, before.get(partition)?.rewound ?? null),
    });
    return { ...fresh.checkpoint(), maxEventTimeMs: maxEventMs, redriven };
  });
  const positions = new Map(offsets.map(({ partition, offset }) => [partition, offset]));
  return {
    fingerprint: plan.fingerprint,
    generation,
    floorMs: handoverMs,
    finalBeforeMs: finalBefore(plan, saved),
    topicId,
    epoch: saved?.epoch ?? 0,
    savedAtMs: nowMs,
    // Rows of a new generation are newer than any that are there; letters may be the same ones again, to be found there.
    sinks: { results: null, setAside: setAsideTail(plan.topic, positions) },
    partitions,
    panes: [],
  };
}

/** The end of the last window that has final results: from the handover on such are replaced by final ones only. */
function finalBefore(plan: Plan, saved: Checkpoint | null): number | null {
  if (saved === null) return null;
  const watermarkMs = leastWatermark(saved.partitions.map((partition) => new PartitionLedger(plan, partition)));
  const latest = Math.max(watermarkMs, saved.finalBeforeMs ?? -Infinity);
  return latest === -Infinity ? null : latest;
}
