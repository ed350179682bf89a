import type { CheckpointStore } from "../checkpoint/checkpoint.ts";
import type { Clock } from "../clock.ts";
import { ConfigError, UnavailableError } from "../errors.ts";
import type { Cluster } from "../log/cluster.ts";
import type { Plan } from "../plan/plan.ts";
import type { ResultRows, SetAsideSink, Sink } from "../sinks/sink.ts";
import { idleRaises } from "./idle.ts";
import { PartitionLedger } from "./partition_ledger.ts";
import { Rate } from "./rate.ts";
import type { ShardFlush } from "./shard.ts";
import type { ShardHandle, ShardHost } from "./shard_host.ts";
import type { Buckets, PipelineState, PipelineStatus } from "./status.ts";
import { WindowState } from "./window_state.ts";

/** Time between two epochs: how long a closed window waits at most before it is published. */
const EPOCH_MS = 100;
/** Panes kept open over all windows of a pipeline. Beyond it, it stops rather than fill the memory. */
export const OPEN_PANES_MAX = 5_000_000;
/** Windows kept open; an empty one takes some kilobytes. */
export const OPEN_WINDOWS_MAX = 50_000;
/** A partition further ahead of the slowest than this many windows is not read until the others have come closer. */
const AHEAD_WINDOWS_MAX = 16;
/** How long a stop lets writes under way, and the last epoch, take. What is not written then is read again at the next start. */
const STOP_WITHIN_MS = 2_500;
/** A write that takes longer is told as waiting. */
const SLOW_WRITE_SECONDS = 3;
/** How often it is looked whether the topic got more partitions. */
const PARTITION_CHECK_MS = 30_000;

export interface RunnerDeps {
  readonly clock: Clock;
  /** Threads to spread the partitions over. */
  readonly hosts: readonly ShardHost[];
  /** Opens connections for looking up partitions and offsets; closed after use. */
  readonly cluster: () => Cluster;
  /** Made to wait and try again while the other side is away. */
  readonly sink: Sink;
  readonly setAside: SetAsideSink;
  readonly checkpoints: CheckpointStore;
  readonly checkpointEveryMs: number;
  /** Instead of `OPEN_PANES_MAX` and `OPEN_WINDOWS_MAX`. */
  readonly openPanesMax?: number;
  readonly openWindowsMax?: number;
  /** Told of rows once they are durable. */
  readonly onRows: (rows: ResultRows) => void;
  /** Told of positions once they are saved; advisory, for tools that show lag. */
  readonly onSaved: (positions: ReadonlyMap<number, number>) => void;
}

/**
 * Runs one pipeline: gathers what the shards read at every epoch, keeps the open windows, publishes, saves checkpoints.
 *
 *     epoch: shards flush ▶ merge ▶ rows of closed and changed windows ▶ sinks ▶ records set aside ▶ checkpoint when due
 *
 * While an epoch is being written the shards read on, up to their bounds; so a slow or absent sink makes reading wait and
 * memory stays bounded.
 */
export class PipelineRunner {
  readonly plan: Plan;
  readonly #deps: RunnerDeps;
  #state: PipelineState = "stopped";
  #reason: string | null = null;
  #waiting = new Map<string, string>();
  #lastError: PipelineStatus["lastError"] = null;
  #partitions: PartitionLedger[] = [];
  #windows: WindowState;
  #epoch = 0;
  #rowsWritten = 0;
  #checkpointAtMs: number | null = null;
  /** When the epoch now being written was gathered, by the monotonic clock; null between two. */
  #writingSince: number | null = null;
  #rateIn = new Rate();
  #rateOut = new Rate();
  /** Ends the pause between two epochs. A new one is made before an epoch, so that what comes during it is not forgotten. */
  #poked = Promise.withResolvers<void>();

  constructor(plan: Plan, deps: RunnerDeps) {
    this.plan = plan;
    this.#deps = deps;
    this.#windows = new WindowState(plan);
  }

  /**
   * Runs from the last checkpoint until the signal ends it, with a last epoch and checkpoint at the end.
   *
   * @throws whatever stops it; start it again to resume from the checkpoint
   */
  async run(signal: AbortSignal): Promise<void> {
    this.#state = "starting";
    this.#reason = null;
    this.#waiting.clear();
    this.#writingSince = null;
    this.#rateIn = new Rate();
    this.#rateOut = new Rate();
    // Writing outlives the signal by a little, so that an epoch under way is not torn. It ends at once when a shard fails.
    const writing = new AbortController();
    const ended = new AbortController();
    const onStop = () => {
      const late = new UnavailableError("the pipeline was stopped before its last results were written");
      this.#deps.clock.sleep(STOP_WITHIN_MS, ended.signal).then(() => writing.abort(late), () => {});
    };
    if (signal.aborted) onStop();
    signal.addEventListener("abort", onStop, { once: true });
    const shards: ShardHandle[] = [];
    try {
      await this.#restore(signal);
      await this.#openShards(shards, writing);
      this.#state = "running";
      await this.#turn(shards, { signal, writing: writing.signal });
      // What was read so far is published and saved, so that the next start goes on exactly here.
      await this.#runEpoch(shards, { early: this.plan.emitEveryMs !== null, signal: writing.signal });
      await this.#save();
      this.#state = "stopped";
    } catch (thrown) {
      const error = writing.signal.aborted ? writing.signal.reason : thrown;
      if (signal.aborted && error instanceof UnavailableError) {
        this.#state = "stopped";
        return;
      }
      this.#state = error instanceof UnavailableError ? "waiting" : "failed";
      this.#reason = (error as Error).message;
      this.#lastError = { atMs: this.#deps.clock.now(), message: this.#reason };
      throw error;
    } finally {
      signal.removeEventListener("abort", onStop);
      ended.abort();
      await Promise.allSettled(shards.map((shard) => shard.close()));
    }
  }

  /** Spreads the partitions over the hosts; what is open when one refuses is in `shards`. */
  async #openShards(shards: ShardHandle[], writing: AbortController): Promise<void> {
    const starts = Map.groupBy(
      this.#partitions.map(({ start }) => start),
      ({ partition }) => partition % this.#deps.hosts.length,
    );
    for (const [host, partitions] of starts) {
      shards.push(
        await this.#deps.hosts[host].open(this.plan, partitions, {
          onFull: () => this.#poked.resolve(),
          onWaiting: (reason) => this.setWaiting(`reading (${host})`, reason),
          onFailed: (error) => {
            writing.abort(error);
            this.#poked.resolve();
          },
        }),
      );
    }
  }

  /** Runs epochs and saves checkpoints until the signal. */
  async #turn(
    shards: readonly ShardHandle[],
    { signal, writing }: { signal: AbortSignal; writing: AbortSignal },
  ): Promise<void> {
    const { clock, checkpointEveryMs } = this.#deps;
    let early = -Infinity;
    let saved = clock.monotonic();
    const ended = new AbortController();
    let outgrown = null as Error | null;
    const looking = this.#outgrown(ended.signal).then((error) => outgrown = error);
    try {
      while (!signal.aborted) {
        await Promise.race([this.#pause(EPOCH_MS, signal), this.#poked.promise]);
        this.#poked = Promise.withResolvers();
        writing.throwIfAborted();
        if (outgrown) throw outgrown;
        const now = clock.monotonic();
        const isEarly = this.plan.emitEveryMs !== null && now - early >= this.plan.emitEveryMs;
        if (isEarly) early = now;
        await this.#runEpoch(shards, { early: isEarly, signal: writing });
        if (now - saved >= checkpointEveryMs || this.#partitions.some(({ undecided }) => undecided)) {
          await this.#save();
          saved = clock.monotonic();
        }
      }
    } finally {
      ended.abort();
      await looking;
    }
  }

  /** Says why part of the pipeline waits, by the name of the part; null when it goes on. */
  setWaiting(part: string, reason: string | null): void {
    if (reason === null) {
      this.#waiting.delete(part);
    } else {
      this.#waiting.set(part, reason);
      this.#lastError = { atMs: this.#deps.clock.now(), message: reason };
    }
  }

  status(): PipelineStatus {
    const now = this.#deps.clock.now();
    const monotonic = this.#deps.clock.monotonic();
    const partitions = this.#partitions.map((partition) => partition.status(now));
    // While a write waits, nothing is heard of the partitions: what is known of them is as old as the write.
    const silentSeconds = this.#writingSince === null ? 0 : (monotonic - this.#writingSince) / 1000;
    const watermarkMs = this.#watermarkMs();
    const [waiting = this.#slowWrite(silentSeconds)] = this.#waiting.values();
    const known = Number.isFinite(watermarkMs);
    return {
      name: this.plan.name,
      topic: this.plan.topic,
      state: this.#state === "running" && waiting !== undefined ? "waiting" : this.#state,
      reason: this.#reason ?? waiting ?? null,
      lastError: this.#lastError,
      rates: { inPerSecond: this.#rateIn.perSecond(monotonic), outPerSecond: this.#rateOut.perSecond(monotonic) },
      lagRecords: partitions.reduce((sum, { lagRecords }) => sum + Math.max(0, lagRecords), 0),
      lagSeconds: Math.max(
        waiting === undefined ? 0 : silentSeconds,
        ...partitions.map(({ lagSeconds }) => lagSeconds),
      ),
      watermarkMs: known ? watermarkMs : null,
      watermarkDelaySeconds: known ? (now - watermarkMs) / 1000 : null,
      openWindows: this.#windows.openWindows,
      openPanes: this.#windows.openPanes,
      rowsWritten: this.#rowsWritten,
      epoch: this.#epoch,
      checkpointAtMs: this.#checkpointAtMs,
      buckets: this.#buckets(),
      partitions,
      definition: describe(this.plan),
    };
  }

  /** A write that neither ends nor fails: the other side is frozen, full or overloaded. Undefined while it is not worth telling. */
  #slowWrite(seconds: number): string | undefined {
    if (seconds < SLOW_WRITE_SECONDS) return undefined;
    return `results have been on their way to ${this.#deps.sink.name} for ${Math.round(seconds)} s without an answer`;
  }

  /** Takes up the last checkpoint, or the beginning of the topic. */
  async #restore(signal: AbortSignal): Promise<void> {
    const { plan } = this;
    const checkpoint = await this.#deps.checkpoints.load(plan.name);
    if (checkpoint && checkpoint.fingerprint !== plan.fingerprint) {
      throw new ConfigError({
        where: `streams: ${plan.name}`,
        problem:
          "the definition changed what it computes since the last checkpoint, so the saved windows do not fit it. " +
          "Give it a new name, or remove its checkpoint to compute the whole topic again",
      });
    }
    const saved = new Map(checkpoint?.partitions.map((partition) => [partition.partition, partition]));
    const { all, earliest } = await this.#askBrokers(signal, async (cluster) => {
      const found = await cluster.leaders(plan.topic);
      if (!found) throw new UnavailableError(`Topic ${plan.topic} does not exist (yet)`);
      const all = [...found.leaders.keys()];
      const unread = all.filter((partition) => !saved.has(partition));
      return { all, earliest: unread.length > 0 ? await cluster.offsets(plan.topic, unread, "earliest") : null };
    });
    // A partition added later cannot add to windows that closed without it: its records for those are late.
    const closedMs = checkpoint
      ? leastWatermark(checkpoint.partitions.map((partition) => new PartitionLedger(plan, partition)))
      : -Infinity;
    const raisedToMs = closedMs === -Infinity ? null : closedMs;
    this.#partitions = all.map((partition) =>
      new PartitionLedger(
        plan,
        saved.get(partition) ?? { partition, position: earliest!.get(partition)!, maxEventTimeMs: null, raisedToMs },
      )
    );
    this.#windows = new WindowState(plan);
    for (const batch of checkpoint?.panes ?? []) this.#windows.merge(batch);
    this.#epoch = checkpoint?.epoch ?? 0;
    this.#checkpointAtMs = checkpoint?.savedAtMs ?? null;
  }

  /** One epoch: all that was read until now is merged, and what follows from it is made durable. */
  async #runEpoch(
    shards: readonly ShardHandle[],
    { early, signal }: { early: boolean; signal: AbortSignal },
  ): Promise<void> {
    const { clock, sink, setAside, onRows } = this.#deps;
    const raises = idleRaises(this.#partitions, {
      nowMs: clock.now(),
      latestEndMs: this.#windows.latestEndMs,
      plan: this.plan,
    });
    const paused = this.#aheadPartitions();
    const flushes = await Promise.all(shards.map((shard) => shard.flush({ raises, paused })));
    this.#merge(flushes);
    this.#writingSince = clock.monotonic();
    this.#epoch++;
    // When nothing more comes, what changed is shown at once instead of at the next turn.
    const isQuiet = this.plan.emitEveryMs !== null && flushes.every(({ panes }) => panes.length === 0);
    const rows = this.#windows.publish(this.#watermarkMs(), early || isQuiet);
    const aside = flushes.flatMap((flush) => flush.setAside);
    const options = { epoch: this.#epoch, signal };
    if (rows.length > 0) {
      await sink.write(rows, options);
      this.#rowsWritten += rows.length;
      onRows(rows);
    }
    if (aside.length > 0) await setAside.write(aside, options);
    this.#writingSince = null;
    const now = clock.monotonic();
    this.#rateIn.note(now, this.#buckets().consumed);
    this.#rateOut.note(now, this.#rowsWritten);
  }

  #merge(flushes: readonly ShardFlush[]): void {
    const byNumber = new Map(this.#partitions.map((partition) => [partition.partition, partition]));
    for (const flush of flushes) {
      this.#windows.merge(flush.panes);
      for (const progress of flush.partitions) byNumber.get(progress.partition)!.advance(progress);
    }
    const { openPanes, openWindows } = this.#windows;
    const { openPanesMax = OPEN_PANES_MAX, openWindowsMax = OPEN_WINDOWS_MAX } = this.#deps;
    const problem = openPanes > openPanesMax
      ? `${openPanes} panes are open, more than the ${openPanesMax} that fit: group by fewer keys, or use shorter windows`
      : openWindows > openWindowsMax
      ? `${openWindows} windows are open, more than the ${openWindowsMax} that fit: use longer windows, or allow less lateness`
      : null;
    if (problem !== null) throw new ConfigError({ where: `streams: ${this.plan.name}`, problem });
  }

  async #save(): Promise<void> {
    await this.#deps.checkpoints.save(this.plan.name, {
      fingerprint: this.plan.fingerprint,
      epoch: this.#epoch,
      savedAtMs: this.#deps.clock.now(),
      partitions: this.#partitions.map((partition) => partition.checkpoint()),
      panes: this.#windows.batches(),
    });
    for (const partition of this.#partitions) partition.saved();
    this.#checkpointAtMs = this.#deps.clock.now();
    this.#deps.onSaved(new Map(this.#partitions.map(({ partition, position }) => [partition, position])));
  }

  /**
   * Resolves with why to start again, once the topic has more partitions or must not be looked at any more; with null at the
   * signal. Goes on beside the epochs: a broker that does not answer must not hold results back.
   */
  async #outgrown(signal: AbortSignal): Promise<Error | null> {
    const { topic } = this.plan;
    for (;;) {
      try {
        await this.#deps.clock.sleep(PARTITION_CHECK_MS, signal);
        const found = await this.#askBrokers(signal, (cluster) => cluster.leaders(topic));
        const count = found?.leaders.length ?? 0;
        if (count > this.#partitions.length) {
          return new UnavailableError(`Topic ${topic} grew to ${count} partitions; starting again with all of them`);
        }
      } catch (error) {
        if (signal.aborted) return null;
        if (!(error instanceof UnavailableError)) return error as Error;
      }
    }
  }

  /** Asks over connections that are closed afterwards, and at the signal: a stop does not wait for an answer. */
  async #askBrokers<T>(signal: AbortSignal, ask: (cluster: Cluster) => Promise<T>): Promise<T> {
    const cluster = this.#deps.cluster();
    const onAbort = () => void cluster.close();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      if (signal.aborted) throw new UnavailableError("the pipeline was stopped before it had started");
      return await ask(cluster);
    } finally {
      signal.removeEventListener("abort", onAbort);
      await cluster.close();
    }
  }

  /** The least watermark of all partitions: windows that end before it are complete. */
  #watermarkMs(): number {
    return leastWatermark(this.#partitions);
  }

  /**
   * Partitions so far ahead in event time that reading them would only open more windows. Nobody waits while there is plenty
   * of room: the slowest may just have nothing to say.
   */
  #aheadPartitions(): number[] {
    const { openPanesMax = OPEN_PANES_MAX, openWindowsMax = OPEN_WINDOWS_MAX } = this.#deps;
    const { openPanes, openWindows, earliestStartMs } = this.#windows;
    if (openPanes < openPanesMax / 4 && openWindows < openWindowsMax / 4) return [];
    const least = this.#watermarkMs();
    // A partition that nothing was read of yet may begin anywhere.
    const from = least === -Infinity ? earliestStartMs : least;
    const limit = from + AHEAD_WINDOWS_MAX * this.plan.window.sizeMs;
    return this.#partitions.filter(({ watermarkMs }) => watermarkMs > limit).map(({ partition }) => partition);
  }

  #buckets(): Buckets {
    const sum = (pick: (buckets: Buckets) => number) =>
      this.#partitions.reduce((total, { buckets }) => total + pick(buckets), 0);
    return {
      consumed: sum(({ consumed }) => consumed),
      aggregated: sum(({ aggregated }) => aggregated),
      filtered: sum(({ filtered }) => filtered),
      late: sum(({ late }) => late),
      dead: sum(({ dead }) => dead),
      duplicate: sum(({ duplicate }) => duplicate),
    };
  }

  /** Waits, or until the signal. */
  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    await this.#deps.clock.sleep(ms, signal).catch(() => {});
  }
}

function leastWatermark(partitions: readonly PartitionLedger[]): number {
  return partitions.length === 0 ? -Infinity : Math.min(...partitions.map(({ watermarkMs }) => watermarkMs));
}

function describe(plan: Plan): PipelineStatus["definition"] {
  const select = plan.select.map(({ name, aggregate, accumulators }) => {
    const { field } = plan.accumulators[accumulators[0]];
    return [name, `${aggregate}(${field === null ? "*" : plan.fields[field].path})`];
  });
  return {
    where: plan.where?.sql ?? null,
    groupBy: plan.groupBy.map(({ name }) => name),
    window: { kind: plan.window.kind, sizeMs: plan.window.sizeMs },
    select: Object.fromEntries(select),
    sinks: plan.sinks.map((sink) => sink.kind === "postgres" ? `postgres ${sink.table}` : `kafka ${sink.topic}`),
  };
}
