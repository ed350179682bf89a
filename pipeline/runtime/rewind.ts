import type { Checkpoint, CheckpointStore, PartitionCheckpoint } from "../checkpoint/checkpoint.ts";
import type { HistoryStore, Sample } from "../checkpoint/history.ts";
import { ConfigError, UnavailableError } from "../errors.ts";
import type { Cluster } from "../log/cluster.ts";
import type { Plan } from "../plan/plan.ts";
import { setAsideTail } from "../sinks/set_aside.ts";
import { tumblingStart } from "../windows/tumbling.ts";
import { Lookback } from "./lookback.ts";
import { PartitionLedger } from "./partition_ledger.ts";
import { isCommitted, leastWatermark } from "./restore.ts";
import { rewoundTo } from "./rewound_stretch.ts";

/** From where to compute again: all that the log holds, the window that holds a time, or the windows from an offset on. */
export type RewindTarget =
  | { readonly kind: "earliest" }
  | { readonly kind: "time"; readonly timeMs: number }
  | { readonly kind: "offset"; readonly partition: number; readonly offset: number };

/** What a rewind comes to. */
export interface RewindPreview {
  readonly pipeline: string;
  /** Windows that start here or later are computed again, milliseconds since the epoch; null: all there ever were. */
  readonly fromWindowMs: number | null;
  /** The generation that their rows' revisions will have. */
  readonly generation: number;
  /** The topic is another one than was read before, of the same name. */
  readonly isNewTopic: boolean;
  readonly partitions: readonly {
    readonly partition: number;
    /** Where reading goes on, where it had come to, and how many offsets lie between. */
    readonly from: number;
    readonly to: number;
    readonly offsets: number;
  }[];
}

export interface RewindDeps {
  readonly cluster: Cluster;
  readonly checkpoints: CheckpointStore;
  readonly history: HistoryStore;
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
  /** A generation above this one, and above all that any process was ever given. */
  readonly raiseGeneration: (above: number) => Promise<number>;
}

interface Prepared extends RewindPreview {
  readonly checkpoint: Checkpoint;
  readonly history: readonly Sample[];
}

/**
 * Says what a rewind of a pipeline that is not running would compute again.
 *
 * Only whole windows are computed again, each from all of its records: reading goes on where, in each partition, the first
 * record of the first of them may lie. Earlier windows keep their results.
 *
 * @throws ConfigError when there is nothing to rewind, or the log or the history do not reach back so far
 * @throws UnavailableError when the brokers are away
 */
export async function previewRewind(plan: Plan, target: RewindTarget, deps: RewindDeps): Promise<RewindPreview> {
  const { checkpoint: _, history: __, ...preview } = await prepare(plan, target, deps);
  return preview;
}

/** Does it: the next start of the pipeline computes again what `previewRewind` says. @throws as it does */
export async function rewind(plan: Plan, target: RewindTarget, deps: RewindDeps): Promise<RewindPreview> {
  const { checkpoint, history, ...preview } = await prepare(plan, target, deps);
  const generation = await deps.raiseGeneration(checkpoint.generation - 1);
  // The checkpoint first: what of the history lies behind its positions is left out at the next start.
  await deps.checkpoints.save(plan.name, { ...checkpoint, generation });
  await deps.history.replace(plan.name, history);
  return { ...preview, generation };
}

async function prepare(plan: Plan, target: RewindTarget, deps: RewindDeps): Promise<Prepared> {
  const checkpoint = await deps.checkpoints.load(plan.name);
  if (!checkpoint) {
    throw refused(plan, "it has no checkpoint yet, so there is nothing to rewind: it reads from the beginning");
  }
  const found = await deps.cluster.leaders(plan.topic);
  if (!found) throw new UnavailableError(`Topic ${plan.topic} does not exist`);
  const all = [...found.leaders.keys()];
  const earliest = await deps.cluster.offsets(plan.topic, all, "earliest");
  const ends = await deps.cluster.offsets(plan.topic, all, "latest");
  const topicId = found.id;
  const isNewTopic = topicId !== null && checkpoint.topicId !== null && topicId !== checkpoint.topicId;
  if (isNewTopic && target.kind !== "earliest") {
    throw refused(
      plan,
      `topic ${plan.topic} was deleted and created anew, so earlier times and offsets are not in it: use --earliest`,
    );
  }
  const now = checkpoint.partitions;
  const stored = isNewTopic ? [] : await deps.history.load(plan.name);
  const saved = new Map(now.map((partition) => [partition.partition, new PartitionLedger(plan, partition).sample()]));
  const history = [...stored.filter((sample) => isCommitted(sample, saved.get(sample.partition))), ...saved.values()];
  const lookback = new Lookback(plan, history, earliest);
  // Records that were deleted before they were read have no place in any computation.
  const isAnew = isNewTopic || target.kind === "earliest" && lookback.goneMs === Infinity;
  const fromWindowMs = isAnew ? -Infinity : boundary(plan, target, { checkpoint, lookback });
  const isSame = checkpoint.fingerprint === plan.fingerprint;
  const partitions = isAnew
    ? Array.from(earliest, ([partition, position]) => {
      const rewound = isNewTopic ? null : rewoundTo(position, ends.get(partition)!, null);
      return PartitionLedger.fresh(plan, { partition, position, rewound }).checkpoint();
    })
    : now.map((partition) => rewound(plan, partition, { lookback, fromWindowMs, earliest, ends, history, isSame }));
  const generation = checkpoint.generation + 1;
  const goesOn = new Map(partitions.map((partition) => [partition.partition, partition]));
  const positions = new Map(partitions.map(({ partition, position }) => [partition, position]));
  const before = new Map(now.map(({ partition, position }) => [partition, position]));
  return {
    pipeline: plan.name,
    fromWindowMs: fromWindowMs === -Infinity ? null : fromWindowMs,
    generation,
    isNewTopic,
    partitions: partitions.map(({ partition, position: from }) => {
      const to = isNewTopic ? from : Math.max(from, before.get(partition) ?? from);
      return { partition, from, to, offsets: to - from };
    }),
    checkpoint: {
      fingerprint: plan.fingerprint,
      generation,
      floorMs: fromWindowMs === -Infinity ? null : fromWindowMs,
      finalBeforeMs: finalBefore(plan, checkpoint),
      topicId,
      epoch: checkpoint.epoch,
      savedAtMs: deps.nowMs,
      // Rows of a new generation are newer than any that are there; letters are the same ones again, to be found there.
      sinks: { results: null, setAside: setAsideTail(plan.topic, isNewTopic ? nothingThere(positions) : positions) },
      partitions,
      panes: [],
    },
    history: history.filter((sample) => isCommitted(sample, goesOn.get(sample.partition))),
  };
}

/** The samples after which idle decisions were made from where a partition goes on; of several at one place the last says all. */
function decisionsAfter({ position, raisedToMs }: Sample, samples: readonly Sample[]): Sample[] {
  const decisions = new Map<number, Sample>();
  let raisedMs = raisedToMs ?? -Infinity;
  for (const sample of samples) {
    if (sample.position < position || (sample.raisedToMs ?? -Infinity) <= raisedMs) continue;
    raisedMs = sample.raisedToMs!;
    decisions.set(sample.position, sample);
  }
  return [...decisions.values()];
}

/** For a topic of which nothing was ever set aside: what is there is of another topic with the same name. */
function nothingThere(positions: ReadonlyMap<number, number>): Map<number, number> {
  return new Map(Array.from(positions, ([partition]) => [partition, Number.MAX_SAFE_INTEGER]));
}

/** The end of the last window that has final results. */
function finalBefore(plan: Plan, { partitions, finalBeforeMs }: Checkpoint): number | null {
  const watermarkMs = leastWatermark(partitions.map((partition) => new PartitionLedger(plan, partition)));
  const latest = Math.max(watermarkMs, finalBeforeMs ?? -Infinity);
  return latest === -Infinity ? null : latest;
}

/** The start of the first window to compute again; -Infinity for all. */
function boundary(
  plan: Plan,
  target: RewindTarget,
  { checkpoint, lookback }: { readonly checkpoint: Checkpoint; readonly lookback: Lookback },
): number {
  const { sizeMs, offsetMs } = plan.window;
  const startOf = (timeMs: number) => timeMs === -Infinity ? -Infinity : tumblingStart(timeMs, sizeMs, offsetMs);
  const { goneMs } = lookback;
  /** All of its records, and those of the windows after it, are in the log. */
  const firstWhole = goneMs === -Infinity ? -Infinity : startOf(goneMs) + sizeMs;
  const wanted = target.kind === "earliest"
    ? firstWhole
    : target.kind === "time"
    ? startOf(target.timeMs)
    : startOf(watermarkAt(plan, target, { checkpoint, lookback }));
  // Windows that were open when it stopped, or not begun, have no result yet; but for those that an earlier rewind left out.
  const { partitions, floorMs } = checkpoint;
  const open = startOf(checkpoint.panes.reduce((least, { windows }) => Math.min(least, windows[0]), Infinity));
  const next = startOf(leastWatermark(partitions.map((partition) => new PartitionLedger(plan, partition))));
  const unfinished = Math.min(open, Math.max(next, floorMs ?? -Infinity));
  if (goneMs === Infinity) {
    throw refused(
      plan,
      `records of ${plan.topic} were deleted before they were read. To begin anew with what the log holds: --earliest`,
    );
  }
  const from = Math.min(wanted, unfinished);
  if (from >= firstWhole) return from;
  const problem = `the log does not hold all records of the windows before ${
    new Date(firstWhole).toISOString()
  } any more`;
  if (wanted < firstWhole) throw refused(plan, `${problem}: rewind to that or later`);
  throw refused(
    plan,
    `${problem}, and those from ${
      unfinished === -Infinity ? "the first" : new Date(unfinished).toISOString()
    } on have no final result ` +
      "yet: start it, and rewind it when they have closed",
  );
}

/** The watermark before an offset: records there, and after, are in windows that end later, or are late. */
function watermarkAt(
  plan: Plan,
  { partition, offset }: { readonly partition: number; readonly offset: number },
  { checkpoint, lookback }: { readonly checkpoint: Checkpoint; readonly lookback: Lookback },
): number {
  const saved = checkpoint.partitions.find((one) => one.partition === partition);
  if (!saved) throw refused(plan, `it has no partition ${partition}: there are ${checkpoint.partitions.length}`);
  if (offset > saved.position || offset < saved.start) {
    throw refused(
      plan,
      `partition ${partition} was read from offset ${saved.start} to ${saved.position}: name one of these`,
    );
  }
  const sample = lookback.at(partition, offset);
  if (sample === null) {
    const first = lookback.from(partition, saved.start)!.position;
    throw refused(
      plan,
      `what is kept of its history begins at offset ${first} of partition ${partition}: name that or a later one`,
    );
  }
  return lookback.watermarkMs(sample);
}

/** Where a partition goes on. */
function rewound(
  plan: Plan,
  now: PartitionCheckpoint,
  past: {
    readonly lookback: Lookback;
    readonly fromWindowMs: number;
    readonly earliest: ReadonlyMap<number, number>;
    readonly ends: ReadonlyMap<number, number>;
    readonly history: readonly Sample[];
    /** Whether the definition is the one that decided so far. */
    readonly isSame: boolean;
  },
): PartitionCheckpoint {
  const back = placeOf(plan, now, past);
  const { fromWindowMs, ends, history, isSame } = past;
  const { partition, start } = now;
  const samples = [...history.filter((sample) => sample.partition === partition), ...now.ahead ?? []];
  return {
    ...back,
    start: fromWindowMs === -Infinity ? back.position : start,
    // What came back for windows that keep their results is in them, and stays so when it is read again.
    redriven: now.redriven.filter(({ offset, windowStartMs }) =>
      offset < back.position || windowStartMs < fromWindowMs
    ),
    // Those of another definition are about other windows.
    ahead: isSame ? decisionsAfter(back, samples) : [],
    rewound: rewoundTo(back.position, ends.get(partition) ?? now.position, now.rewound ?? null),
  };
}

/** The last place before which a partition holds nothing of the windows to compute again. */
function placeOf(
  plan: Plan,
  { partition, start }: PartitionCheckpoint,
  { lookback, fromWindowMs, earliest }: {
    readonly lookback: Lookback;
    readonly fromWindowMs: number;
    readonly earliest: ReadonlyMap<number, number>;
  },
): Sample {
  const first = earliest.get(partition) ?? 0;
  if (fromWindowMs === -Infinity) {
    return PartitionLedger.fresh(plan, { partition, position: Math.max(start, first) }).sample();
  }
  const sample = lookback.before(partition, fromWindowMs);
  if (sample !== null && sample.position >= first) return sample;
  throw refused(
    plan,
    `partition ${partition} does not reach back to ${new Date(fromWindowMs).toISOString()}: rewind to a later time`,
  );
}

function refused(plan: Plan, problem: string): ConfigError {
  return new ConfigError({ where: `rewind ${plan.name}`, problem });
}
