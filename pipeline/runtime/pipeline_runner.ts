import type { Checkpoint, CheckpointStore } from "../checkpoint/checkpoint.ts";
import { type HistoryStore, isLong, newest, type Sample } from "../checkpoint/history.ts";
import type { Clock } from "../clock.ts";
import { ConfigError, type ConflictError, UnavailableError } from "../errors.ts";
import type { Buckets, LedgerEntry } from "../ledger.ts";
import type { Cluster } from "../log/cluster.ts";
import { OffsetOutOfRangeError } from "../log/fetcher.ts";
import { type Plan, targetOf } from "../plan/plan.ts";
import type { PaneBatch } from "../operators/panes.ts";
import type { ResultRows, SetAsideRecord, SetAsideSink, Sink, WriteOptions } from "../sinks/sink.ts";
import { tumblingStart } from "../windows/tumbling.ts";
import { endsOf, type Until } from "./bounds.ts";
import { DeadThreshold } from "./dead_threshold.ts";
import { IdleRaises } from "./idle.ts";
import { Lookback } from "./lookback.ts";
import type { PartitionLedger } from "./partition_ledger.ts";
import { topicChange } from "./topic_change.ts";
import { Rate } from "./rate.ts";
import { recompute } from "./recompute.ts";
import { leastWatermark, restore, type Restored } from "./restore.ts";
import type { Settled } from "./settled.ts";
import type { ShardFlush } from "./shard.ts";
import type { ShardHandle, ShardHost } from "./shard_host.ts";
import type { PipelineState, PipelineStatus } from "./status.ts";
import { isFinal } from "./supervisor.ts";
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
/** A partition that was read so far since its last sample gets another, so that a record is explained in seconds. */
export const SAMPLE_RECORDS_MAX = 5_000_000;

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
  readonly history: HistoryStore;
  readonly checkpointEveryMs: number;
  /** The least generation to go on with: none above it was ever published by another process. */
  readonly generation: number;
  /** Instead of `OPEN_PANES_MAX` and `OPEN_WINDOWS_MAX`. */
  readonly openPanesMax?: number;
  readonly openWindowsMax?: number;
  /** Instead of `SAMPLE_RECORDS_MAX`. */
  readonly sampleRecordsMax?: number;
  /** Told of rows once they are durable. */
  readonly onRows: (rows: ResultRows) => void;
  /** Told of the ledger once it is saved; advisory, for tools that show lag and where records ended. */
  readonly onSaved: (ledger: readonly LedgerEntry[]) => void;
}

/** Results that are not durable in the sinks, at one moment. */
export interface Unsettled {
  /** By partition, the offset after the last record that counts in them. */
  readonly positions: ReadonlyMap<number, number>;
  /** -Infinity while a partition has none. */
  readonly watermarkMs: number;
  /** Early rows of all open windows. */
  readonly open: ResultRows;
  /** Rows being written, early ones among them; null when none are. */
  readonly underWay: ResultRows | null;
}

/**
 * Runs one pipeline: gathers what the shards read at every epoch, keeps the open windows, publishes, saves checkpoints.
 *
 *     epoch: shards flush ▶ merge ▶ rows of closed, changed and reopened windows ▶ sinks ▶ records set aside
 *            ▶ checkpoint when due
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
  #generation = 0;
  #floorMs: number | null = null;
  #finalBeforeMs: number | null = null;
  #topicId: string | null = null;
  /** The last sample of each partition in the history. */
  #sampled = new Map<number, Sample>();
  /** How many samples the history holds. */
  #samples = 0;
  /** How many closed windows are being computed again. */
  #reopening = 0;
  #deadThreshold: DeadThreshold | null = null;
  /** Why to stop, told from outside. */
  #fenced: ((error: Error) => void) | null = null;
  #epoch = 0;
  #rowsWritten = 0;
  #checkpointAtMs: number | null = null;
  #settled: Settled | null = null;
  /** Whether all that the restored state closes was published since. */
  #isPublished = false;
  #limitPerSecond: number | null = null;
  /** Of a bounded run the offsets it ends at, by partition; null of one that goes on. */
  #ends: ReadonlyMap<number, number> | null = null;
  /** When the epoch now being written was gathered, by the monotonic clock; null between two. */
  #writingSince: number | null = null;
  #idleRaises: IdleRaises;
  /** Rows on their way to the sinks: those that are final are not among the open windows any more. */
  #underWay: ResultRows | null = null;
  #rateIn = new Rate();
  #rateOut = new Rate();
  /** Ends the pause between two epochs. A new one is made before an epoch, so that what comes during it is not forgotten. */
  #poked = Promise.withResolvers<void>();

  constructor(plan: Plan, deps: RunnerDeps) {
    this.plan = plan;
    this.#deps = deps;
    this.#windows = new WindowState(plan);
    this.#idleRaises = new IdleRaises(plan);
  }

  /**
   * Runs from the last checkpoint until the signal ends it, with a last epoch and checkpoint at the end. With `until` it ends by
   * itself, as if stopped there, once it has read every record before: what was committed by the call (`"latest"`), or the records
   * before the first with that Kafka timestamp (milliseconds since the epoch).
   *
   * @throws whatever stops it; start it again to resume from the checkpoint
   */
  async run(signal: AbortSignal, { until }: { readonly until?: Until } = {}): Promise<void> {
    this.prepare();
    this.#writingSince = null;
    this.#rateIn = new Rate();
    this.#rateOut = new Rate();
    // Writing outlives the signal by a little, so that an epoch under way is not torn. It ends at once when a shard fails.
    const writing = new AbortController();
    const ended = new AbortController();
    this.#fenced = (error) => {
      writing.abort(error);
      this.#poked.resolve();
    };
    const onStop = () => {
      const late = new UnavailableError("the pipeline was stopped before its last results were written");
      this.#deps.clock.sleep(STOP_WITHIN_MS, ended.signal).then(() => writing.abort(late), () => {});
    };
    if (signal.aborted) onStop();
    signal.addEventListener("abort", onStop, { once: true });
    const shards: ShardHandle[] = [];
    try {
      const { checkpoint, lookback } = await this.#restore(signal);
      const { topic } = this.plan;
      const partitions = this.#partitions.map(({ partition }) => partition);
      this.#ends = until === undefined
        ? null
        : await this.#askBrokers(signal, (cluster) => endsOf(cluster, { topic, partitions, until }));
      await this.#resumeSinks(checkpoint, writing.signal);
      await this.#openShards(shards, { writing, lookback });
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
        for (const ledger of this.#partitions) ledger.revert();
        return;
      }
      this.#state = isFinal(error) ? "failed" : "waiting";
      this.#reason = (error as Error).message;
      this.#lastError = { atMs: this.#deps.clock.now(), message: this.#reason };
      throw error;
    } finally {
      this.#fenced = null;
      signal.removeEventListener("abort", onStop);
      ended.abort();
      await Promise.allSettled(shards.map((shard) => shard.close()));
    }
  }

  /** Says that a run is about to begin: what it needs first may be away. */
  prepare(): void {
    this.#state = "starting";
    this.#reason = null;
    this.#waiting.clear();
  }

  /** Says that it rests, whatever it waited for: it was stopped. */
  rest(reason: string | null = null): void {
    this.#state = "stopped";
    this.#reason = reason;
    this.#waiting.clear();
  }

  /** Reads so many records per second at most from now on; null for as fast as it goes. @throws RangeError unless above 0 */
  limit(perSecond: number | null): void {
    if (perSecond !== null && !(perSecond > 0)) throw new RangeError(`A limit is above 0, not ${perSecond}`);
    this.#limitPerSecond = perSecond;
  }

  /** Stops at once, because another process owns the pipeline now: nothing more is written. */
  fence(error: ConflictError): void {
    this.#fenced?.(error);
  }

  /**
   * Lets the sinks find out what they wrote since the checkpoint. One that has no place in it (at the first start, after a rewind,
   * or where the definition gained it) gets one before anything is written, so that a crash finds it there.
   */
  async #resumeSinks(saved: Checkpoint | null, signal: AbortSignal): Promise<void> {
    const { sink, setAside } = this.#deps;
    await sink.resume(saved?.sinks.results ?? null, { signal });
    await setAside.resume(saved?.sinks.setAside ?? null, { signal });
    const known = saved?.sinks.results ?? {};
    const isNew = Object.keys(sink.position() ?? {}).some((name) => !(name in known));
    if (!saved || isNew) await this.#save();
  }

  /** Spreads the partitions over the hosts; what is open when one refuses is in `shards`. */
  async #openShards(
    shards: ShardHandle[],
    { writing, lookback }: { writing: AbortController; lookback: Lookback },
  ): Promise<void> {
    const starts = Map.groupBy(
      this.#partitions.map((ledger) => {
        const past = lookback.startAt(ledger.sample());
        const until = this.#ends?.get(ledger.partition);
        return {
          ...past,
          ...ledger.start,
          raises: [...past.raises!, ...ledger.decisions],
          ...until === undefined ? {} : { until },
        };
      }),
      ({ partition }) => partition % this.#deps.hosts.length,
    );
    const { plan } = this;
    const task = { plan, floorMs: this.#floorMs ?? -Infinity, goneMs: lookback.goneMs };
    for (const [host, partitions] of starts) {
      shards.push(
        await this.#deps.hosts[host].open({ ...task, partitions }, {
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
    let grown = null as Error | null;
    const looking = topicChange({ name: this.plan.topic, id: this.#topicId }, this.#partitions.length, {
      clock,
      signal: ended.signal,
      ask: (ask) => this.#askBrokers(ended.signal, ask),
    }).then((error) => grown = error);
    try {
      while (!signal.aborted && (this.#ends === null || this.#atEnd().length < this.#partitions.length)) {
        await Promise.race([this.#pause(EPOCH_MS, signal), this.#poked.promise]);
        this.#poked = Promise.withResolvers();
        writing.throwIfAborted();
        if (grown) throw grown;
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
      limitPerSecond: this.#limitPerSecond,
      inFlight: this.ledger().reduce((sum, { inFlight }) => sum + inFlight, 0),
      partitions,
      definition: describe(this.plan),
    };
  }

  /** A write that neither ends nor fails: the other side is frozen, full or overloaded. Undefined while it is not worth telling. */
  #slowWrite(seconds: number): string | undefined {
    if (seconds < SLOW_WRITE_SECONDS) return undefined;
    if (this.#reopening > 0) {
      return `${this.#reopening} closed windows are being computed again, as records came back to them; other results follow ` +
        `after it (${Math.round(seconds)} s so far)`;
    }
    return `results have been on their way to ${this.#deps.sink.name} for ${Math.round(seconds)} s without an answer`;
  }

  /**
   * The results of what was read until now that no sink has durably yet: the windows that are open, and the final rows on their
   * way. With what the sinks have they are one state of the pipeline, that of `positions`.
   */
  unsettled(): Unsettled {
    return {
      positions: new Map(this.#partitions.map(({ partition, position }) => [partition, position])),
      watermarkMs: this.#watermarkMs(),
      open: this.#windows.openRows(),
      underWay: this.#underWay,
    };
  }

  /** The last commit since the start; null before the first. Stays while the pipeline rests. */
  settled(): Settled | null {
    return this.#settled;
  }

  /** Where every record ended, by partition. */
  ledger(): LedgerEntry[] {
    return this.#partitions.map((partition) => partition.entry());
  }

  /** Takes up the last checkpoint, or the beginning of the topic. */
  async #restore(signal: AbortSignal): Promise<Restored> {
    const { plan } = this;
    const restored = await this.#askBrokers(signal, (cluster) => restore(plan, cluster, this.#deps));
    const { checkpoint } = restored;
    this.#partitions = restored.partitions;
    this.#windows = restored.windows;
    this.#idleRaises = new IdleRaises(plan);
    this.#underWay = null;
    this.#settled = null;
    this.#isPublished = false;
    this.#generation = restored.generation;
    this.#topicId = restored.topicId;
    this.#floorMs = checkpoint?.floorMs ?? null;
    this.#finalBeforeMs = checkpoint?.finalBeforeMs ?? null;
    this.#epoch = checkpoint?.epoch ?? 0;
    this.#checkpointAtMs = checkpoint?.savedAtMs ?? null;
    this.#sampled = new Map(this.#partitions.map((ledger) => [ledger.partition, ledger.sample()]));
    this.#samples = restored.samples;
    this.#forgetGone(restored.lookback.goneMs);
    this.#deadThreshold = plan.deadLetters && new DeadThreshold(plan.deadLetters);
    return restored;
  }

  /** One epoch: all that was read until now is merged, and what follows from it is made durable. */
  async #runEpoch(
    shards: readonly ShardHandle[],
    { early, signal }: { early: boolean; signal: AbortSignal },
  ): Promise<void> {
    const { clock, setAside } = this.#deps;
    const { latestEndMs } = this.#windows;
    const raises = this.#idleRaises.next(this.#partitions, { nowMs: clock.now(), latestEndMs });
    const paused = [...this.#aheadPartitions(), ...this.#atEnd()];
    // Each thread has its share.
    const perSecond = this.#limitPerSecond === null ? {} : { perSecond: this.#limitPerSecond / shards.length };
    const flushes = await Promise.all(shards.map((shard) => shard.flush({ raises, paused, ...perSecond })));
    this.#merge(flushes);
    this.#writingSince = clock.monotonic();
    this.#epoch++;
    const options = { epoch: this.#epoch, signal };
    const reopened = this.#takeReopened(flushes);
    // When nothing more comes, what changed is shown at once instead of at the next turn.
    const isQuiet = this.plan.emitEveryMs !== null && flushes.every(({ panes }) => panes.length === 0);
    await this.#write(this.#windows.publish(this.#watermarkMs(), early || isQuiet), options);
    if (reopened.length > 0) await this.#reopen(reopened, options);
    const aside = flushes.flatMap((flush) => flush.setAside);
    if (aside.length > 0) await setAside.write(aside, options);
    this.#writingSince = null;
    this.#isPublished = true;
    const now = clock.monotonic();
    this.#rateIn.note(now, this.#buckets().consumed);
    this.#rateOut.note(now, this.#rowsWritten);
    await this.#checkDead(flushes, aside);
  }

  async #write(rows: ResultRows, options: WriteOptions): Promise<void> {
    if (rows.length === 0) return;
    this.#underWay = rows;
    await this.#deps.sink.write(rows, options);
    this.#underWay = null;
    this.#rowsWritten += rows.length;
    this.#deps.onRows(rows);
  }

  /** Of records that came back after their windows had closed in their own partitions: those whose windows are closed in all. */
  #takeReopened(flushes: readonly ShardFlush[]): PaneBatch[] {
    const watermarkMs = this.#watermarkMs();
    const { sizeMs } = this.plan.window;
    // One that is past and still there is published below, with all that is in it.
    const isOpen = (startMs: number) => this.#windows.has(startMs) || startMs + sizeMs > watermarkMs;
    const closed = new WindowState(this.plan);
    for (const batch of this.#windows.takeEnded(watermarkMs)) closed.merge(batch);
    for (const { reopened } of flushes) {
      if (reopened === null) continue;
      closed.merge(reopened, (startMs) => !isOpen(startMs));
      this.#windows.merge(reopened, isOpen);
    }
    return closed.batches();
  }

  /** Computes closed windows again, with the records that came back, and publishes what changed in them. */
  async #reopen(reopened: readonly PaneBatch[], options: WriteOptions): Promise<void> {
    const { clock, hosts } = this.#deps;
    const { signal } = options;
    const part = "computing closed windows again";
    this.#reopening = new Set(reopened.flatMap(({ windows }) => [...windows])).size;
    try {
      const lookback = await this.#lookBack(signal);
      const isGone = reopened.some(({ windows }) => windows.some((startMs) => startMs <= lookback.goneMs));
      if (isGone) throw this.#outOfReach();
      const rows = recompute(this.plan, reopened, {
        clock,
        hosts,
        signal,
        lookback,
        generation: this.#generation,
        ledgers: this.#partitions,
        onWaiting: (reason) => this.setWaiting(part, reason),
      });
      for await (const some of rows) await this.#write(some, options);
    } catch (error) {
      throw (error as Error).name === OffsetOutOfRangeError.name ? this.#outOfReach() : error;
    } finally {
      this.setWaiting(part, null);
      this.#reopening = 0;
    }
  }

  /** Retention moved on since the start, or the history was cut. With what the next start knows, the records are late. */
  #outOfReach(): UnavailableError {
    return new UnavailableError(
      `Records of ${this.plan.topic} came back, but of their windows the log does not hold all of their records any more, as ` +
        "it did at the start. Starting again, to set them aside as late",
    );
  }

  /** What came back for windows of before a rewind, and waited there for all partitions until retention deleted their records. */
  #forgetGone(goneMs: number): void {
    const gone = this.#windows.takeEnded(goneMs + this.plan.window.sizeMs);
    if (gone.length === 0) return;
    const starts = gone.map(({ windows }) => new Date(windows[0]).toISOString());
    const message =
      `records that came back are not in the results of the windows from ${starts.join(", ")}: the log does not ` +
      "hold all of these windows' records any more";
    this.#lastError = { atMs: this.#deps.clock.now(), message };
  }

  /** The history with where the partitions are now, as far as the log still reaches back. */
  async #lookBack(signal: AbortSignal): Promise<Lookback> {
    const { plan } = this;
    const partitions = this.#partitions.map(({ partition }) => partition);
    const earliest = await this.#askBrokers(signal, (cluster) => cluster.offsets(plan.topic, partitions, "earliest"));
    const samples = await this.#deps.history.load(plan.name);
    return new Lookback(plan, [...samples, ...this.#partitions.flatMap((ledger) => ledger.samples())], earliest);
  }

  /** @throws ConfigError when too many records are dead letters: the topic holds something else than the definition says */
  async #checkDead(flushes: readonly ShardFlush[], aside: readonly SetAsideRecord[]): Promise<void> {
    const sum = (pick: "consumed" | "dead") =>
      flushes.reduce((total, flush) => total + flush.partitions.reduce((all, progress) => all + progress[pick], 0), 0);
    const causes = aside.filter(({ why }) => why === "dead").map(({ reason }) => reason);
    if (!this.#deadThreshold?.note(sum("consumed"), sum("dead"))) return;
    const { dead, of } = this.plan.deadLetters!;
    // They are set aside: the next start reads on behind them, and counts anew.
    await this.#save();
    throw new ConfigError({
      where: `streams: ${this.plan.name}`,
      problem:
        `${dead} of the last ${of} records of ${this.plan.topic} could not be read, so it stopped instead of setting ` +
        `all of them aside. Lately: ${[...new Set(causes)].slice(-3).join("; ")}. Mend what writes them, or the ` +
        "definition's schema; or allow it with deadLetters: { stopAt: ... }, and start again",
    });
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
    const { checkpoints, history, sink, setAside, clock, onSaved } = this.#deps;
    // Ahead of the checkpoint: what is in the history only is left out when it is read.
    const samples = this.#partitions.flatMap((ledger) => ledger.samples()).filter((sample) => this.#isNews(sample));
    if (samples.length > 0) await history.append(this.plan.name, samples);
    for (const sample of samples) this.#sampled.set(sample.partition, sample);
    this.#samples += samples.length;
    // An idle decision closes windows only once it is saved.
    const watermarkMs = this.#watermarkMs();
    const state = {
      generation: this.#generation,
      floorMs: this.#floorMs,
      topicId: this.#topicId,
      epoch: this.#epoch,
      savedAtMs: clock.now(),
      partitions: this.#partitions.map((partition) => partition.checkpoint()),
    };
    const redriven = state.partitions.map((partition) => partition.redriven.slice());
    await checkpoints.save(this.plan.name, {
      ...state,
      fingerprint: this.plan.fingerprint,
      finalBeforeMs: this.#finalBeforeMs,
      sinks: { results: sink.position(), setAside: setAside.position() },
      panes: this.#windows.batches(),
    });
    if (this.#isPublished) {
      const partitions = state.partitions.map((partition, i) => ({ ...partition, redriven: redriven[i] }));
      this.#settled = { ...state, watermarkMs, partitions };
    }
    for (const partition of this.#partitions) partition.saved();
    this.#checkpointAtMs = clock.now();
    onSaved(this.ledger());
    if (isLong(this.#samples, this.#partitions.length)) {
      const kept = newest(await history.load(this.plan.name));
      await history.replace(this.plan.name, kept);
      this.#samples = kept.length;
    }
  }

  /**
   * Whether a sample tells what the history does not: an idle decision, whose place has to be known, or another window; or is far
   * from the last one.
   */
  #isNews({ partition, position, maxEventTimeMs, raisedToMs }: Sample): boolean {
    const { sampleRecordsMax = SAMPLE_RECORDS_MAX } = this.#deps;
    const last = this.#sampled.get(partition)!;
    if (position - last.position >= sampleRecordsMax) return true;
    const { sizeMs, offsetMs } = this.plan.window;
    const window = (timeMs: number | null) => timeMs === null ? null : tumblingStart(timeMs, sizeMs, offsetMs);
    return raisedToMs !== last.raisedToMs || window(maxEventTimeMs) !== window(last.maxEventTimeMs);
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

  /** Partitions that a bounded run has read as far as it goes. */
  #atEnd(): number[] {
    const ends = this.#ends;
    if (ends === null) return [];
    return this.#partitions.filter(({ partition, position }) => position >= ends.get(partition)!)
      .map(({ partition }) => partition);
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
    sinks: plan.sinks.map((sink) => `${sink.kind} ${targetOf(sink)}`),
  };
}
