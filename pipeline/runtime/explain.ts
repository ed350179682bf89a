import type { Clock } from "../clock.ts";
import type { CheckpointStore } from "../checkpoint/checkpoint.ts";
import type { HistoryStore } from "../checkpoint/history.ts";
import { UnavailableError } from "../errors.ts";
import type { Cluster } from "../log/cluster.ts";
import { createKeyReader } from "../operators/group_key.ts";
import type { PaneBatch } from "../operators/panes.ts";
import type { Plan } from "../plan/plan.ts";
import type { ResultValue } from "../sinks/sink.ts";
import { Lookback } from "./lookback.ts";
import { PartitionLedger } from "./partition_ledger.ts";
import { readAgain } from "./read_again.ts";
import type { ShardFlush } from "./shard.ts";
import type { ShardHost } from "./shard_host.ts";

/** Where one record ended in one pipeline, and why. */
export interface Explanation {
  readonly pipeline: string;
  readonly fate: "aggregated" | "filtered" | "late" | "dead" | "duplicate" | "in flight" | "not read" | "no record";
  /** In words, for people. */
  readonly reason: string;
  /** The window it counts or would count in, milliseconds since the epoch; null where it has none. */
  readonly window: { readonly startMs: number; readonly endMs: number } | null;
  /** The group key's values, in the order of the plan's; null unless it was aggregated. */
  readonly key: readonly ResultValue[] | null;
  /** Whether it came back after its window had closed, and made a new revision. */
  readonly isReopening: boolean;
}

export interface ExplainDeps {
  readonly clock: Clock;
  readonly hosts: readonly ShardHost[];
  readonly cluster: Pick<Cluster, "leaders" | "offsets">;
  readonly checkpoints: CheckpointStore;
  readonly history: HistoryStore;
  readonly signal: AbortSignal;
}

/**
 * Tells what became of one record, by reading it again as it was read: from the last commit before it that the history knows, so
 * with the watermark of then, and with what was known of repeated keys.
 *
 * @throws OffsetOutOfRangeError when the log does not hold the record any more
 */
export async function explain(
  plan: Plan,
  { partition, offset }: { readonly partition: number; readonly offset: number },
  deps: ExplainDeps,
): Promise<Explanation> {
  const told = (fate: Explanation["fate"], reason: string): Explanation => ({
    pipeline: plan.name,
    fate,
    reason,
    window: null,
    key: null,
    isReopening: false,
  });
  const found = await deps.cluster.leaders(plan.topic);
  if (!found) throw new UnavailableError(`Topic ${plan.topic} does not exist`);
  if (partition >= found.leaders.length) {
    return told("no record", `topic ${plan.topic} has no partition ${partition}: it has ${found.leaders.length}`);
  }
  const checkpoint = await deps.checkpoints.load(plan.name);
  const saved = checkpoint?.partitions.find((one) => one.partition === partition);
  if (!saved || offset >= saved.position) {
    const end = (await deps.cluster.offsets(plan.topic, [partition], "latest")).get(partition)!;
    if (offset >= end) return told("no record", `the partition ends before offset ${end}`);
    return told("in flight", "it is not committed yet: it was read since the last checkpoint, or will be read");
  }
  if (offset < saved.start) return told("not read", `the pipeline reads this partition from offset ${saved.start} on`);
  const earliest = await deps.cluster.offsets(plan.topic, [partition], "earliest");
  const now = new PartitionLedger(plan, saved).sample();
  const lookback = new Lookback(plan, [...await deps.history.load(plan.name), now], earliest);
  const sample = lookback.at(partition, offset);
  if (sample === null) {
    return told(
      "not read",
      `it was read before offset ${lookback.from(partition, offset)?.position ?? saved.position}, ` +
        "where what is kept of the pipeline's history begins, so it is not known how it was judged",
    );
  }
  const start = lookback.startAt(sample);
  const flushes: ShardFlush[] = [];
  await readAgain({
    plan,
    partitions: [{
      ...start,
      learn: start.learn ?? pick(start),
      position: offset,
      until: offset + 1,
      redriven: saved.redriven,
      rewound: saved.rewound,
    }],
  }, { ...deps, take: (flush) => flushes.push(flush) });
  const first = judged(plan, flushes) ??
    told(
      "no record",
      "there is no record at this offset: a marker of a transaction, an " +
        "aborted record, or one that compaction removed",
    );
  const back = saved.redriven.find(({ source }) => source === offset);
  const explanation = back && first.fate !== "aggregated"
    ? { ...first, reason: `${first.reason}; it came back at offset ${back.offset}, and counts there` }
    : first;
  // With more of the log it can only have been later.
  const depends = explanation.fate === "aggregated" || explanation.fate === "duplicate";
  const isAfter = explanation.window !== null && explanation.window.startMs > lookback.goneIn(partition);
  if (!depends || isAfter || lookback.isWhole(sample)) return explanation;
  return told("not read", "the log does not hold what came before it any more, so it is not known how it was judged");
}

function pick(
  { position, maxEventTimeMs, raisedToMs }: { position: number; maxEventTimeMs: number; raisedToMs: number },
) {
  return { position, maxEventTimeMs, raisedToMs };
}

/** What one record did; null when nothing was read. */
function judged(plan: Plan, flushes: readonly ShardFlush[]): Explanation | null {
  const sum = (fate: "aggregated" | "filtered" | "late" | "dead" | "duplicate") =>
    flushes.reduce((total, flush) => total + flush.partitions.reduce((all, progress) => all + progress[fate], 0), 0);
  const windowAt = (startMs: number | null | undefined) =>
    startMs === null || startMs === undefined ? null : { startMs, endMs: startMs + plan.window.sizeMs };
  const nothing = { pipeline: plan.name, window: null, key: null, isReopening: false };
  const aside = flushes.flatMap(({ setAside }) => setAside).at(0);
  if (aside) return { ...nothing, fate: aside.why, reason: aside.reason, window: windowAt(aside.windowStartMs) };
  if (sum("filtered") > 0) {
    return {
      ...nothing,
      fate: "filtered",
      reason: plan.where ? `${plan.where.sql} is not true, or its value is null` : "its value is null",
    };
  }
  if (sum("duplicate") > 0) {
    const { dedupe } = plan;
    const repeats = dedupe
      ? `another record with the same ${plan.fields[dedupe.field].path} came within ${dedupe.withinMs} ms; or `
      : "";
    return {
      ...nothing,
      fate: "duplicate",
      reason: `${repeats}it came back a second time, or for another pipeline, or its original counts by itself`,
    };
  }
  if (sum("aggregated") === 0) return null;
  const reopened = flushes.flatMap((flush) => flush.reopened ?? []).find(({ length }) => length > 0);
  const panes = reopened ?? flushes.map((flush) => flush.panes).find(({ length }) => length > 0);
  return {
    ...nothing,
    fate: "aggregated",
    reason: reopened ? "it came back after its window had closed, which was computed again with it" : "it was in time",
    window: windowAt(panes?.windows[0]),
    key: panes ? keyOf(plan, panes) : null,
    isReopening: reopened !== undefined,
  };
}

function keyOf(plan: Plan, panes: PaneBatch): ResultValue[] {
  const read = createKeyReader(plan.groupBy.map(({ field }) => plan.fields[field].type));
  return [...read(panes.keys, 0, panes.keyEnds[0])];
}
