/**
 * Runs a delivery: so many members of its consumer group in this process, each with destinations of its own.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { gravest, UnavailableError } from "../errors.ts";
import type { KafkaAdmin } from "../log/admin.ts";
import type { Cluster } from "../log/cluster.ts";
import { GroupMember } from "../log/group_member.ts";
import type { RegistryClient } from "../log/registry_client.ts";
import type { CommittedLog, TransactionalPublisher } from "../log/transactions.ts";
import { endsOf } from "../runtime/bounds.ts";
import { type ConnectorStatus, NO_COUNTS } from "../runtime/connector_status.ts";
import { Rate } from "../runtime/rate.ts";
import { RateLimit } from "../runtime/rate_limit.ts";
import type { PipelineState } from "../runtime/status.ts";
import { isFinal } from "../runtime/supervisor.ts";
import { untilAvailable } from "../sinks/retry.ts";
import { setAsideTopics } from "../sinks/set_aside.ts";
import type { Sink } from "../sinks/sink.ts";
import { consume } from "./consumer.ts";
import { deliveryKind, type DeliveryPlan, type Outside } from "./delivery_spec.ts";
import { type Instance, takeInstance } from "./instance.ts";
import { addCounts, type Progress, readProgress } from "./group_counts.ts";

/** How often it is looked what other processes have done of a bounded run. */
const POLL_MS = 500;

export interface DeliveryDeps {
  readonly clock: Clock;
  /** Connections of one owner, under this client id: tools show members by it. */
  readonly newCluster: (clientId: string) => Cluster;
  readonly admin: Pick<KafkaAdmin, "ensureTopics">;
  readonly registry: RegistryClient;
  readonly log: CommittedLog;
  /** A writer under a transactional id of its own. */
  readonly publisher: (transactionalId: string) => TransactionalPublisher;
  /** Whoever hears it knows which delivery it is about. */
  readonly say: (level: "info" | "warn" | "error", message: string) => void;
  /** What destinations are opened with. */
  readonly context: Outside;
  /** How often it is looked whether the topic has more partitions, or is another; every 30 s unless told. */
  readonly topicCheckMs?: number;
  /** Partitions to make a missing topic with, where the definition does not say. */
  readonly partitions?: number;
}

export interface DeliveryRunOptions {
  /** Ends when all is delivered that was there at the beginning. */
  readonly isBounded?: boolean;
  /** The same for what was there before this time, milliseconds since the epoch, by Kafka's timestamps. */
  readonly untilMs?: number;
}

/** A delivery whose `run` may be called again and again. */
export interface Delivery {
  /**
   * Delivers until the signal, or until all is delivered that a bounded run is about.
   *
   * @throws UnavailableError and others that a repeat may mend; ConfigError
   */
  run(signal: AbortSignal, options?: DeliveryRunOptions): Promise<void>;
  status(): ConnectorStatus;
  /** Records per second from now on; null for as fast as it goes. */
  limit(perSecond: number | null): void;
  /** Says that it does not run, and why. */
  rest(state: "waiting" | "failed" | "stopped", reason: string | null): void;
}

export function createDelivery(plan: DeliveryPlan, deps: DeliveryDeps): Delivery {
  return new DeliveryRunner(plan, deps);
}

/** The consumer group of a delivery. */
export function groupOf(delivery: string): string {
  return `tailrace.${delivery}`;
}

class DeliveryRunner implements Delivery {
  readonly #plan: DeliveryPlan;
  readonly #deps: DeliveryDeps;
  readonly #limit: RateLimit;
  readonly #rates = { in: new Rate(), out: new Rate() };
  #state: PipelineState = "starting";
  #reason: string | null = null;
  #lastError: ConnectorStatus["lastError"] = null;
  /** Why parts of it wait, by their names. */
  readonly #waiting = new Map<string, string>();
  #to: readonly string[];
  readonly #progress = new Map<number, Progress>();
  readonly #lags = new Map<number, number>();
  readonly #assigned = new Map<number, readonly number[]>();
  #committedAtMs: number | null = null;
  #read = 0;
  #written = 0;

  constructor(plan: DeliveryPlan, deps: DeliveryDeps) {
    this.#plan = plan;
    this.#deps = deps;
    this.#limit = new RateLimit(deps.clock, plan.limitPerSecond);
    this.#to = plan.to.map(({ kind }) => kind);
  }

  limit(perSecond: number | null): void {
    this.#limit.set(perSecond);
  }

  rest(state: "waiting" | "failed" | "stopped", reason: string | null): void {
    this.#state = state;
    this.#reason = reason;
    this.#waiting.clear();
  }

  status(): ConnectorStatus {
    const { name, topic } = this.#plan;
    const now = this.#deps.clock.monotonic();
    const [waiting] = this.#waiting.values();
    const isWaiting = this.#state === "running" && waiting !== undefined;
    const held = [...this.#assigned.values()].flat();
    const progress = [...this.#progress.values()];
    const lags = held.map((partition) => this.#lags.get(partition));
    const isLagKnown = lags.length > 0 && lags.every((lag) => lag !== undefined);
    this.#rates.in.note(now, this.#read);
    this.#rates.out.note(now, this.#written);
    return {
      name,
      kind: "delivery",
      state: isWaiting ? "waiting" : this.#state,
      reason: this.#reason ?? waiting ?? null,
      lastError: this.#lastError,
      from: `topic ${topic}`,
      to: this.#to,
      topic,
      rates: { inPerSecond: this.#rates.in.perSecond(now), outPerSecond: this.#rates.out.perSecond(now) },
      counts: progress.map(({ counts }) => counts).reduce(addCounts, NO_COUNTS),
      lagRecords: isLagKnown ? lags.reduce<number>((sum, lag) => sum + lag!, 0) : null,
      committedAtMs: this.#committedAtMs,
      limitPerSecond: this.#limit.perSecond,
      details: {
        group: groupOf(name),
        consumers: this.#plan.consumers,
        partitions: held.length,
        lost: progress.reduce((sum, { lost }) => sum + lost, 0),
      },
    };
  }

  async run(signal: AbortSignal, options: DeliveryRunOptions = {}): Promise<void> {
    this.#state = "starting";
    this.#reason = null;
    this.#waiting.clear();
    try {
      await this.#run(signal, options);
    } catch (error) {
      if (signal.aborted) return;
      const { message } = error as Error;
      this.#lastError = { atMs: this.#deps.clock.now(), message };
      this.rest(isFinal(error) ? "failed" : "waiting", message);
      throw error;
    } finally {
      this.#assigned.clear();
    }
  }

  async #run(signal: AbortSignal, { isBounded = false, untilMs }: DeliveryRunOptions): Promise<void> {
    const { clock, newCluster, say } = this.#deps;
    const { name, consumers } = this.#plan;
    const kinds = await Promise.all(this.#plan.to.map((spec) => deliveryKind(spec)));
    this.#to = this.#plan.to.map((spec, i) => kinds[i].describe(spec));
    const waiting = (part: string) => (reason: string | null) => this.#setWaiting(part, reason);
    await untilAvailable(() => this.#prepare(), { clock, signal, onWaiting: waiting("starting") });
    await using cluster = newCluster(`tailrace-${name}`);
    const remaining = isBounded || untilMs !== undefined
      ? await untilAvailable(() => this.#ends(cluster, untilMs), { clock, signal, onWaiting: waiting("starting") })
      : null;
    const ending = new AbortController();
    const until = remaining && new Map(remaining);
    const done = (partition: number, offset: number) => {
      if (remaining === null || offset < (remaining.get(partition) ?? Infinity)) return;
      remaining.delete(partition);
      if (remaining.size === 0) ending.abort(FINISHED);
    };
    if (remaining?.size === 0) return this.rest("stopped", null);
    const both = AbortSignal.any([signal, ending.signal]);
    const failures: unknown[] = [];
    const fail = (error: unknown) => {
      if (both.aborted) return;
      failures.push(error);
      ending.abort(error);
    };
    this.#state = "running";
    using instance = await this.#instance();
    const tasks = Array.from(
      { length: consumers },
      (_, consumer) => this.#consumer(consumer, { instance, until, done, signal: both }).catch(fail),
    );
    if (remaining !== null) tasks.push(this.#pollOthers(cluster, { remaining, done, signal: both }).catch(fail));
    await Promise.all(tasks);
    if (signal.aborted) return;
    if (failures.length > 0) throw gravest(failures);
    say("info", "all that was there is delivered");
    this.rest("stopped", null);
  }

  /** Without one a delivery runs all the same: after a crash its partitions come back with the end of the session. */
  async #instance(): Promise<Instance | null> {
    const { context: { dataDir }, say } = this.#deps;
    try {
      return await takeInstance(dataDir, this.#plan.name);
    } catch (error) {
      say(
        "warn",
        `after a crash partitions come back 10 s later: ${dataDir} cannot be written to: ${(error as Error).message}`,
      );
      return null;
    }
  }

  async #consumer(
    consumer: number,
    { instance, until, done, signal }: {
      readonly instance: Instance | null;
      readonly until: ReadonlyMap<number, number> | null;
      readonly done: (partition: number, offset: number) => void;
      readonly signal: AbortSignal;
    },
  ): Promise<void> {
    const { clock, newCluster, registry, log, publisher, context, say, topicCheckMs } = this.#deps;
    const plan = this.#plan;
    const clientId = `tailrace-${plan.name}-${consumer}`;
    await using parts = new AsyncDisposableStack();
    const sinks: Sink[] = [];
    for (const spec of plan.to) {
      const kind = await deliveryKind(spec);
      const opening = () => kind.open(spec, { ...context, plan, consumer, clock, log: say });
      const onWaiting = (reason: string | null) => this.#setWaiting(`opening ${kind.describe(spec)}`, reason);
      sinks.push(parts.use(await untilAvailable(opening, { clock, signal, onWaiting })));
    }
    const cluster = parts.use(newCluster(clientId));
    const memberCluster = parts.use(newCluster(clientId));
    await consume({
      plan,
      clock,
      cluster,
      memberCluster,
      group: groupOf(plan.name),
      // The consumer first: partitions are given out by names, so that each process has about as many.
      instance: instance && `${plan.name}.${String(consumer).padStart(2, "0")}.${instance.id}`,
      registry,
      log,
      publisher,
      sinks,
      limit: this.#limit,
      until,
      topicCheckMs,
      say,
      onWaiting: (part, reason) => this.#setWaiting(`${consumer} ${part}`, reason),
      onCommitted: (partition, offset, progress) => {
        const before = this.#progress.get(partition) ?? progress;
        this.#written += Math.max(0, progress.counts.written - before.counts.written);
        if (progress !== before) this.#committedAtMs = clock.now();
        this.#progress.set(partition, progress);
        done(partition, offset);
      },
      onAssigned: (partitions) => this.#assigned.set(consumer, partitions),
      onRead: (partition, { records, lag }) => {
        this.#read += records;
        this.#lags.set(partition, lag);
      },
    }, signal);
  }

  /** Partitions that members in other processes hold. */
  async #pollOthers(
    cluster: Cluster,
    { remaining, done, signal }: {
      readonly remaining: ReadonlyMap<number, number>;
      readonly done: (partition: number, offset: number) => void;
      readonly signal: AbortSignal;
    },
  ): Promise<void> {
    const { clock } = this.#deps;
    const member = new GroupMember(cluster, { group: groupOf(this.#plan.name), topic: this.#plan.topic, clock });
    while (!signal.aborted) {
      await clock.sleep(POLL_MS, signal).catch(() => {});
      if (signal.aborted) return;
      const own = new Set([...this.#assigned.values()].flat());
      const others = [...remaining.keys()].filter((partition) => !own.has(partition));
      if (others.length === 0) continue;
      const offsets = await untilAvailable(() => member.offsets(others, signal), { clock, signal });
      for (const [partition, { offset, metadata }] of offsets) {
        this.#progress.set(partition, readProgress(metadata));
        done(partition, offset);
      }
    }
  }

  /** The topics, and the schema of what is read, where nobody has made them yet. */
  async #prepare(): Promise<void> {
    const { admin, registry, partitions: byDefault } = this.#deps;
    const { topic, schema, partitions } = this.#plan;
    const { dead } = setAsideTopics(topic);
    await admin.ensureTopics([
      { topic, partitions: partitions ?? byDefault },
      { topic: dead, partitions: partitions ?? byDefault, isArchive: true },
    ]);
    await registry.register(`${topic}-value`, schema);
  }

  /** Where a bounded run ends in each partition that has anything. */
  async #ends(cluster: Cluster, untilMs: number | undefined): Promise<Map<number, number>> {
    const { topic } = this.#plan;
    const found = await cluster.leaders(topic);
    if (!found) throw new UnavailableError(`Topic ${topic} does not exist (yet)`);
    const partitions = [...found.leaders.keys()];
    const first = await cluster.offsets(topic, partitions, "earliest");
    const ends = await endsOf(cluster, { topic, partitions, until: untilMs ?? "latest" });
    for (const [partition, end] of ends) if (end <= first.get(partition)!) ends.delete(partition);
    return ends;
  }

  #setWaiting(part: string, reason: string | null): void {
    if (reason === null) this.#waiting.delete(part);
    else this.#waiting.set(part, reason);
  }
}

const FINISHED = new DOMException("All is delivered that was there", "AbortError");
