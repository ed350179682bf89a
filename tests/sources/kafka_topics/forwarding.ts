/**
 * Two clusters, and a source between them as the engine runs it.
 *
 * @module
 */
import { type Clock, systemClock } from "../../../pipeline/clock.ts";
import { ConfigError, UnavailableError } from "../../../pipeline/errors.ts";
import { KafkaAdmin } from "../../../pipeline/log/admin.ts";
import { Cluster } from "../../../pipeline/log/cluster.ts";
import { createCommittedLog } from "../../../pipeline/log/committed_log.ts";
import { createRegistryClient } from "../../../pipeline/log/registry_client.ts";
import { createTransactionalPublisher } from "../../../pipeline/log/transactional_publisher.ts";
import type { OutgoingRecord } from "../../../pipeline/log/publisher.ts";
import type { CommittedRecord, TransactionalPublisher } from "../../../pipeline/log/transactions.ts";
import { createSecrets, secret } from "../../../pipeline/secrets.ts";
import { kafkaTopics, type KafkaTopicsOptions } from "../../../pipeline/sources/kafka_topics/definition.ts";
import { kafkaTopicsKind } from "../../../pipeline/sources/kafka_topics/kind.ts";
import { positionTopicSpec, type SourceState } from "../../../pipeline/sources/positions.ts";
import type { Source } from "../../../pipeline/sources/source.ts";
import type { SourceContext, SourcePlan } from "../../../pipeline/sources/source_spec.ts";
import { runSource } from "../../../pipeline/sources/source_task.ts";

const CLUSTER = { clientId: "test", ssl: false, sasl: null };
const never = new AbortController().signal;

export const bytes = (text: string) => new TextEncoder().encode(text);
export const text = (value: Uint8Array | null) => value === null ? null : new TextDecoder().decode(value);

export function record(value: string | Uint8Array | null, more: Partial<OutgoingRecord> = {}): OutgoingRecord {
  return {
    key: null,
    value: typeof value === "string" ? bytes(value) : value,
    headers: [],
    timestampMs: 1_700_000_000_000,
    ...more,
  };
}

/** A cluster as a test writes and reads it. */
export class Side implements AsyncDisposable {
  readonly brokers: readonly string[];
  readonly cluster: Cluster;
  readonly #stop = new AbortController();
  #publisher: TransactionalPublisher | null = null;

  constructor(brokers: readonly string[]) {
    this.brokers = brokers;
    this.cluster = new Cluster(brokers, CLUSTER);
  }

  async topic(topic: string, partitions: number): Promise<void> {
    await new KafkaAdmin(this.brokers, CLUSTER, "test").ensureTopics([{ topic, partitions }]);
  }

  async write(topic: string, partition: number, records: readonly OutgoingRecord[]): Promise<void> {
    this.#publisher ??= createTransactionalPublisher(this.cluster, {
      transactionalId: `test.${crypto.randomUUID()}`,
      clock: systemClock,
      signal: this.#stop.signal,
    });
    await this.#publisher.claim({ signal: never });
    await this.#publisher.commit([{ topic, partition, records }], { signal: never });
  }

  /** All that is committed, by partition; empty where there is no such topic. */
  async read(topic: string): Promise<CommittedRecord[][]> {
    const found = await this.cluster.leaders(topic);
    if (found === null) return [];
    const all: CommittedRecord[][] = found.leaders.map(() => []);
    const log = createCommittedLog(this.cluster, { clock: systemClock });
    await log.read(topic, await log.offsets(topic, "earliest"), {
      take: (one) => void all[one.partition].push(one),
      signal: never,
    });
    return all;
  }

  async values(topic: string): Promise<(string | null)[][]> {
    return (await this.read(topic)).map((records) => records.map(({ value }) => text(value)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.cluster.close();
  }
}

export interface ForwardingOptions {
  readonly name?: string;
  readonly from: readonly string[];
  readonly fromRegistry?: string;
  /** Null for the same cluster. */
  readonly into: readonly string[] | null;
  readonly intoRegistry?: string;
  readonly prefix?: string;
  readonly partitions?: number;
  readonly options: KafkaTopicsOptions;
  readonly clock?: Clock;
}

/** A source of topics that runs until it is stopped, and is started again when a side was away. */
export class Forwarding implements AsyncDisposable {
  readonly lines: string[] = [];
  readonly states: SourceState[] = [];
  readonly waiting: (string | null)[] = [];
  source: Source | null = null;
  readonly #options: ForwardingOptions;
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(options: ForwardingOptions) {
    this.#options = options;
  }

  static start(options: ForwardingOptions): Forwarding {
    const forwarding = new Forwarding(options);
    forwarding.#running = forwarding.#runOn();
    // Looked at when it is stopped.
    forwarding.#running.catch(() => {});
    return forwarding;
  }

  /** Forwards what is there, and no more. */
  static async once(options: ForwardingOptions): Promise<Forwarding> {
    const forwarding = new Forwarding(options);
    await forwarding.#run(true);
    return forwarding;
  }

  /** Settles when it ends by itself. */
  get ended(): Promise<void> {
    return this.#running;
  }

  get counts(): SourceState["counts"] {
    return this.states.at(-1)?.counts ?? { read: 0, written: 0, rejected: 0, skipped: 0 };
  }

  /** @throws what ended it before */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #runOn(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        await this.#run(false);
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        if (!(error instanceof UnavailableError)) throw error;
        this.waiting.push(error.message);
        await systemClock.sleep(100, this.#stop.signal).catch(() => {});
      }
    }
  }

  async #run(isBounded: boolean): Promise<void> {
    const { name = "forward", from, into, prefix = "", partitions, options, clock = systemClock } = this.#options;
    const { fromRegistry = "http://127.0.0.1:1", intoRegistry = fromRegistry } = this.#options;
    const found: Record<string, string | undefined> = {
      TAILRACE_SECRET_UPSTREAM: into?.join(","),
      TAILRACE_SECRET_UPSTREAM_REGISTRY: intoRegistry,
    };
    const plan: SourcePlan = {
      name,
      from: kafkaTopics(options),
      to: { kind: "topics", prefix },
      into: into && { brokers: secret("upstream"), registry: secret("upstream_registry") },
      limitPerSecond: null,
      partitions: partitions ?? null,
    };
    const faults = kafkaTopicsKind.check(kafkaTopics(options), plan);
    if (faults.length > 0) throw new ConfigError(faults);
    const target = into ?? from;
    const admin = new KafkaAdmin(target, CLUSTER, "test");
    await admin.ensureTopics([{ topic: "test.rejected", partitions: 1 }, positionTopicSpec(name)]);
    await using cluster = new Cluster(target, CLUSTER);
    const ended = new AbortController();
    using _ended = { [Symbol.dispose]: () => ended.abort() };
    const context: SourceContext = {
      plan,
      secrets: createSecrets({ env: (variable) => found[variable], onFound: () => {} }),
      registry: createRegistryClient({ url: intoRegistry }),
      schemaId: 0,
      ensureTopics: (topics) => admin.ensureTopics(topics),
      clock,
      log: (level, message) => void this.lines.push(`${level}: ${message}`),
      folder: "",
      databaseUrl: "",
      own: { brokers: from, cluster: CLUSTER, registryUrl: fromRegistry },
    };
    await runSource({
      name,
      topic: null,
      rejectedTopic: "test.rejected",
      clock,
      publisher: createTransactionalPublisher(cluster, {
        transactionalId: `tailrace.source.${name}`,
        clock,
        signal: ended.signal,
      }),
      log: createCommittedLog(cluster, { clock }),
      open: () => kafkaTopicsKind.open(kafkaTopics(options), context),
      limit: () => Promise.resolve(),
      onWaiting: (reason) => void this.waiting.push(reason),
      onState: (state) => void this.states.push(state),
      onOpen: (source) => this.source = source ?? this.source,
    }, { signal: this.#stop.signal, isBounded });
  }
}

/** Asks until it is so. */
export async function eventually(
  what: string,
  isSo: () => boolean | Promise<boolean>,
  withinMs = 60_000,
): Promise<void> {
  const until = Date.now() + withinMs;
  while (!await isSo()) {
    if (Date.now() > until) throw new Error(`${what}: not within ${withinMs} ms`);
    await systemClock.sleep(20);
  }
}
