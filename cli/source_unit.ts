/**
 * One source of this process with all that belongs to it: its topics, its transactional id, and what can be asked of it and done to
 * it by hand.
 *
 * @module
 */
import { systemClock } from "../pipeline/clock.ts";
import { ConfigError } from "../pipeline/errors.ts";
import { KafkaAdmin } from "../pipeline/log/admin.ts";
import { Cluster } from "../pipeline/log/cluster.ts";
import { createCommittedLog } from "../pipeline/log/committed_log.ts";
import type { ClusterOptions } from "../pipeline/log/open_connection.ts";
import { createRegistryClient, type RegistryClient } from "../pipeline/log/registry_client.ts";
import { createTransactionalPublisher } from "../pipeline/log/transactional_publisher.ts";
import type { ConnectorStatus, RejectedRecord } from "../pipeline/runtime/connector_status.ts";
import { ManagedTask } from "../pipeline/runtime/managed_task.ts";
import { Rate } from "../pipeline/runtime/rate.ts";
import { RateLimit } from "../pipeline/runtime/rate_limit.ts";
import type { PipelineState } from "../pipeline/runtime/status.ts";
import { isFinal, supervise } from "../pipeline/runtime/supervisor.ts";
import { missingSecret } from "../pipeline/secrets.ts";
import { type ClusterAddress, clusterAddress } from "../pipeline/sources/cluster_address.ts";
import { FIRST_STATE, positionTopicSpec, type SourceState } from "../pipeline/sources/positions.ts";
import { readRejected, rejectedBy } from "../pipeline/sources/rejected.ts";
import type { Source } from "../pipeline/sources/source.ts";
import { type SourceKind, sourceKind, type SourcePlan } from "../pipeline/sources/source_spec.ts";
import { runSource } from "../pipeline/sources/source_task.ts";
import type { Config } from "./config.ts";
import type { ConnectorOptions, ConnectorUnit } from "./connector_unit.ts";

/** What is said of topics that are named as where their records come from. */
const SAME_TOPICS = "the same topics";

export class SourceUnit implements ConnectorUnit {
  readonly #plan: SourcePlan;
  readonly #options: ConnectorOptions;
  readonly #kind: SourceKind;
  readonly #managed: ManagedTask;
  readonly #limit: RateLimit;
  readonly #rates = { in: new Rate(), out: new Rate() };
  #state: PipelineState = "starting";
  #reason: string | null = null;
  #lastError: ConnectorStatus["lastError"] = null;
  #position: SourceState = FIRST_STATE;
  #source: Source | null = null;

  private constructor(plan: SourcePlan, options: ConnectorOptions, kind: SourceKind) {
    this.#plan = plan;
    this.#options = options;
    this.#kind = kind;
    this.#limit = new RateLimit(systemClock, plan.limitPerSecond);
    this.#managed = new ManagedTask(plan.name, {
      what: "source",
      // Whoever has not configured it does not want it, or not yet.
      isAtRest: this.missing() !== null,
      clock: systemClock,
      log: (level, message) => options.log[level](message),
      run: (signal) => this.#run(signal, { isBounded: false }),
      onRest: () => this.#set("stopped", null),
    });
  }

  static async create(plan: SourcePlan, options: ConnectorOptions): Promise<SourceUnit> {
    return new SourceUnit(plan, options, await sourceKind(plan.from));
  }

  get name(): string {
    return this.#plan.name;
  }

  get isGivenUp(): boolean {
    return this.#managed.isGivenUp;
  }

  missing(): string | null {
    const { from, into } = this.#plan;
    const { secrets, config } = this.#options;
    return missingSecret([from, into], secrets) ?? this.#kind.missing?.(from, { makesUp: config.rate > 0 }) ?? null;
  }

  run(signal: AbortSignal): Promise<void> {
    return this.#managed.run(signal);
  }

  /** It has nothing open between runs. */
  close(): Promise<void> {
    return Promise.resolve();
  }

  /** A source ends where its other side does: records that are there have no time but that of their arrival. */
  async runBounded(signal: AbortSignal): Promise<boolean> {
    const { log } = this.#options;
    const isWhole = await supervise(`source ${this.name}`, (until) => this.#run(until, { isBounded: true }), {
      clock: systemClock,
      signal,
      log: (level, message) => log[level](message),
    });
    if (isWhole) this.#set("stopped", null);
    return isWhole;
  }

  stop(): Promise<void> {
    return this.#managed.stop();
  }

  async start(): Promise<void> {
    // One that has to be set up first stays at rest, and says so.
    if (this.missing() === null) await this.#managed.start();
  }

  limit(perSecond: number | null): void {
    this.#limit.set(perSecond);
  }

  status(): ConnectorStatus {
    const { to, into } = this.#plan;
    const { counts, atMs } = this.#position;
    const now = systemClock.now();
    this.#rates.in.note(now, counts.read);
    this.#rates.out.note(now, counts.written);
    const isResting = !this.#managed.isRunning && !this.isGivenUp;
    const written = to.kind === "topic"
      ? `topic ${to.topic}`
      : to.prefix === ""
      ? SAME_TOPICS
      : `topics ${to.prefix}.*`;
    const details = this.#source?.details?.() ?? {};
    return {
      name: this.name,
      kind: "source",
      state: isResting ? "stopped" : this.#state,
      reason: isResting ? this.missing() : this.#reason,
      lastError: this.#lastError,
      from: this.#kind.describe(this.#plan.from),
      to: [into === null ? written : `${written} of another cluster`],
      topic: to.kind === "topic" ? to.topic : to.prefix === "" ? SAME_TOPICS : `${to.prefix}.*`,
      rates: { inPerSecond: this.#rates.in.perSecond(now), outPerSecond: this.#rates.out.perSecond(now) },
      counts,
      lagRecords: typeof details.behindRecords === "number" ? details.behindRecords : null,
      committedAtMs: atMs,
      limitPerSecond: this.#limit.perSecond,
      details,
    };
  }

  async rejected(
    { limit, signal }: { readonly limit: number; readonly signal: AbortSignal },
  ): Promise<readonly RejectedRecord[]> {
    const { into, name } = this.#plan;
    const unknown = missingSecret(into, this.#options.secrets);
    if (unknown !== null) {
      throw new ConfigError({ where: name, problem: `it is not known where it writes to: ${unknown}` });
    }
    const { brokers, cluster: options } = this.#target();
    await using cluster = new Cluster(brokers, options);
    const topic = rejectedTopic(this.#plan);
    if (await cluster.leaders(topic) === null) return [];
    const log = createCommittedLog(cluster, { clock: systemClock });
    return await readRejected(log, topic, { tell: rejectedBy(name), limit, signal });
  }

  /** The cluster that it writes to. @throws ConfigError when a secret of it is not set */
  #target(): ClusterAddress {
    return clusterAddress(this.#plan.into, { secrets: this.#options.secrets, own: this.#own() });
  }

  #own(): ClusterAddress {
    const { config, addresses } = this.#options;
    return { brokers: addresses.brokers, cluster: clusterOptions(config), registryUrl: addresses.registryUrl };
  }

  #set(state: PipelineState, reason: string | null): void {
    this.#state = state;
    this.#reason = reason;
  }

  async #run(signal: AbortSignal, { isBounded }: { readonly isBounded: boolean }): Promise<void> {
    this.#set("starting", null);
    try {
      await this.#read(signal, { isBounded });
    } catch (error) {
      if (signal.aborted) throw error;
      const { message } = error as Error;
      this.#lastError = { atMs: systemClock.now(), message };
      this.#set(isFinal(error) ? "failed" : "waiting", message);
      throw error;
    }
  }

  async #read(signal: AbortSignal, { isBounded }: { readonly isBounded: boolean }): Promise<void> {
    const plan = this.#plan;
    const { config, addresses, secrets, log } = this.#options;
    const target = this.#target();
    await using cluster = new Cluster(target.brokers, target.cluster);
    const admin = new KafkaAdmin(target.brokers, target.cluster, "tailrace-admin");
    const registry = createRegistryClient({ url: target.registryUrl });
    const schemaId = await this.#prepare({ admin, registry });
    const ended = new AbortController();
    using _ended = { [Symbol.dispose]: () => ended.abort() };
    const context = {
      plan,
      secrets,
      registry,
      schemaId,
      ensureTopics: (topics: Parameters<KafkaAdmin["ensureTopics"]>[0]) => admin.ensureTopics(topics),
      clock: systemClock,
      log: (level: "info" | "warn" | "error", message: string) => log[level](`source ${plan.name}: ${message}`),
      folder: `${config.dataDir}/sources/${plan.name}`,
      databaseUrl: addresses.databaseUrl,
      own: this.#own(),
    };
    const onWaiting = (reason: string | null) => this.#set(reason === null ? "running" : "waiting", reason);
    await runSource({
      name: plan.name,
      topic: plan.to.kind === "topic" ? plan.to.topic : null,
      rejectedTopic: rejectedTopic(plan),
      clock: systemClock,
      publisher: createTransactionalPublisher(cluster, {
        transactionalId: `tailrace.source.${plan.name}`,
        clock: systemClock,
        signal: ended.signal,
      }),
      log: createCommittedLog(cluster, { clock: systemClock }),
      open: () => this.#kind.open(plan.from, context),
      limit: (records, until) => this.#limit.take(records, until),
      onWaiting,
      onState: (state) => this.#position = state,
      onOpen: (source) => {
        this.#source = source;
        if (source !== null) this.#set("running", null);
      },
    }, { signal, isBounded });
  }

  /** Makes the topics, registers the schema and gives its id; 0 where the source brings its own. */
  async #prepare({ admin, registry }: { admin: KafkaAdmin; registry: RegistryClient }): Promise<number> {
    const { name, to, partitions } = this.#plan;
    const { config } = this.#options;
    const byDefault = config.mode === "dev" ? config.partitions : undefined;
    await admin.ensureTopics([
      ...to.kind === "topic" ? [{ topic: to.topic, partitions: partitions ?? byDefault }] : [],
      { topic: rejectedTopic(this.#plan), partitions: 1, isArchive: true },
      positionTopicSpec(name),
    ]);
    return to.kind === "topic" ? await registry.register(`${to.topic}-value`, to.schema) : 0;
  }
}

function clusterOptions({ kafka }: Pick<Config, "kafka">): ClusterOptions {
  return { clientId: "tailrace", ...kafka };
}

function rejectedTopic({ name, to }: SourcePlan): string {
  return to.kind === "topic" ? `${to.topic}.rejected` : `${to.prefix || name}.rejected`;
}
