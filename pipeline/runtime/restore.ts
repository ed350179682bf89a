import type { Checkpoint, CheckpointStore } from "../checkpoint/checkpoint.ts";
import { type HistoryStore, isLong, newest, type Sample } from "../checkpoint/history.ts";
import { ConfigError, UnavailableError } from "../errors.ts";
import type { Cluster } from "../log/cluster.ts";
import type { Plan } from "../plan/plan.ts";
import { Lookback } from "./lookback.ts";
import { PartitionLedger } from "./partition_ledger.ts";
import { rewoundTo } from "./rewound_stretch.ts";
import { WindowState } from "./window_state.ts";

/** Everything a pipeline goes on from. */
export interface Restored {
  /** Null when there is none yet. */
  readonly checkpoint: Checkpoint | null;
  readonly generation: number;
  readonly topicId: string | null;
  readonly partitions: PartitionLedger[];
  readonly windows: WindowState;
  readonly lookback: Lookback;
  /** How many samples the history holds. */
  readonly samples: number;
}

export interface RestoreDeps {
  readonly checkpoints: CheckpointStore;
  readonly history: HistoryStore;
  /** The least generation to go on with. */
  readonly generation: number;
}

/**
 * Takes up the last checkpoint, or the beginning of the topic.
 *
 * @throws ConfigError when the definition or the topic is not the one that the checkpoint is of
 * @throws UnavailableError when the brokers are away, or the topic does not exist (yet)
 */
export async function restore(plan: Plan, cluster: Cluster, deps: RestoreDeps): Promise<Restored> {
  const checkpoint = await deps.checkpoints.load(plan.name);
  if (checkpoint && checkpoint.fingerprint !== plan.fingerprint) {
    throw new ConfigError({
      where: `streams: ${plan.name}`,
      problem:
        "the definition changed what it computes since the last checkpoint, so the saved windows do not fit it. " +
        `Give it a new name, or compute again what the log still holds: tailrace rewind ${plan.name} --earliest`,
    });
  }
  const found = await cluster.leaders(plan.topic);
  if (!found) throw new UnavailableError(`Topic ${plan.topic} does not exist (yet)`);
  const topicId = found.id ?? null;
  assertSameTopic(plan, checkpoint, topicId);
  const all = [...found.leaders.keys()];
  const earliest = await cluster.offsets(plan.topic, all, "earliest");
  const saved = new Map(checkpoint?.partitions.map((partition) => [partition.partition, partition]));
  const known = [...saved.values()].map((partition) => new PartitionLedger(plan, partition));
  // A partition added later cannot add to windows that closed without it, or are not computed again: its records are late there.
  const closedMs = Math.max(leastWatermark(known), checkpoint?.floorMs ?? -Infinity);
  const raisedToMs = closedMs === -Infinity ? null : closedMs;
  // All was computed before when only the checkpoint is gone.
  const isAgain = checkpoint === null && deps.generation > 0;
  const ends = isAgain ? await cluster.offsets(plan.topic, all, "latest") : null;
  const fresh = (partition: number) => {
    const position = earliest.get(partition)!;
    const rewound = ends && rewoundTo(position, ends.get(partition)!, null);
    return PartitionLedger.fresh(plan, { partition, position, raisedToMs, rewound });
  };
  const partitions = all.map((partition) =>
    known.find((ledger) => ledger.partition === partition) ??
      fresh(partition)
  );
  for (const ledger of partitions) ledger.forgetBefore(earliest.get(ledger.partition)!);
  // The checkpoint's after a rewind; a higher one when another process computed results meanwhile.
  const generation = Math.max(checkpoint?.generation ?? 0, deps.generation);
  const finalBeforeMs = checkpoint?.finalBeforeMs ?? null;
  const windows = new WindowState(plan, { generation, finalBeforeMs, floorMs: checkpoint?.floorMs });
  for (const batch of checkpoint?.panes ?? []) windows.restore(batch);
  const samples = await committedSamples(plan, partitions, deps.history);
  const lookback = new Lookback(plan, [...samples, ...partitions.map((ledger) => ledger.sample())], earliest);
  return {
    checkpoint,
    generation,
    topicId: topicId ?? checkpoint?.topicId ?? null,
    partitions,
    windows,
    lookback,
    samples: samples.length,
  };
}

/** The history up to the checkpoint, and where partitions begin that it does not know yet. What goes beyond was never committed. */
async function committedSamples(
  plan: Plan,
  partitions: readonly PartitionLedger[],
  history: HistoryStore,
): Promise<Sample[]> {
  const saved = new Map(partitions.map((ledger) => [ledger.partition, ledger.sample()]));
  const stored = await history.load(plan.name);
  const committed = stored.filter((sample) => isCommitted(sample, saved.get(sample.partition)));
  const known = new Set(committed.map(({ partition }) => partition));
  const missing = partitions.filter(({ partition }) => !known.has(partition)).map((ledger) => ledger.sample());
  if (committed.length < stored.length || isLong(committed.length, partitions.length)) {
    const samples = [...newest(committed), ...missing];
    await history.replace(plan.name, samples);
    return samples;
  }
  if (missing.length > 0) await history.append(plan.name, missing);
  return [...committed, ...missing];
}

/** Whether a sample is not ahead of a partition's checkpoint. An idle decision may be, without a record more. */
export function isCommitted(sample: Sample, saved: Sample | undefined): boolean {
  return saved !== undefined && sample.position <= saved.position &&
    (sample.raisedToMs ?? -Infinity) <= (saved.raisedToMs ?? -Infinity);
}

function assertSameTopic(plan: Plan, checkpoint: Checkpoint | null, topicId: string | null): void {
  const saved = checkpoint?.topicId ?? null;
  if (saved === null || topicId === null || saved === topicId) return;
  throw new ConfigError({
    where: `streams: ${plan.name}`,
    problem:
      `topic ${plan.topic} is not the one that was read before: it was deleted and created anew (id ${saved} then, ` +
      `${topicId} now), so the saved offsets mean nothing in it. To read the new topic from its beginning: ` +
      `tailrace rewind ${plan.name} --earliest`,
  });
}

export function leastWatermark(partitions: readonly PartitionLedger[]): number {
  return partitions.length === 0 ? -Infinity : Math.min(...partitions.map(({ watermarkMs }) => watermarkMs));
}
