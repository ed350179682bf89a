import type { Clock } from "../clock.ts";
import { ConfigError, UnavailableError } from "../errors.ts";
import { Cluster } from "../log/cluster.ts";
import { Fetcher } from "../log/fetcher.ts";
import type { ClusterOptions } from "../log/open_connection.ts";
import { createRegistryClient, type RegistryClientOptions } from "../log/registry_client.ts";
import type { AvroSchema } from "../plan/plan.ts";
import { Shard } from "./shard.ts";
import type { ShardEvents, ShardHandle, ShardHost } from "./shard_host.ts";
import type { ShardTask } from "./shard_task.ts";

/** How shards reach brokers and registry; plain data, so that it can be sent to a worker. */
export interface SourceOptions {
  readonly brokers: readonly string[];
  readonly cluster: ClusterOptions;
  readonly registry: RegistryClientOptions;
}

/** Most bytes fetched of one partition, and from one broker, in one answer. */
const PARTITION_BYTES = 2 * 1024 * 1024;
const FETCH_BYTES = 8 * 1024 * 1024;
const REGISTRY_BACK_OFF_MS = { first: 200, most: 5_000 };

/** Runs shards in the current thread. */
export class LocalShardHost implements ShardHost {
  readonly #source: SourceOptions;
  readonly #clock: Clock;

  constructor(source: SourceOptions, clock: Clock) {
    this.#source = source;
    this.#clock = clock;
  }

  // deno-lint-ignore require-await -- the interface is asynchronous for the sake of threads
  async open(task: ShardTask, events: ShardEvents): Promise<ShardHandle> {
    const stop = new AbortController();
    const cluster = new Cluster(this.#source.brokers, this.#source.cluster);
    const registry = createRegistryClient(this.#source.registry);
    const shard = new Shard(task, {
      clock: this.#clock,
      onFull: events.onFull,
      schemaById: (id) => this.#waitForSchema(() => registry.schemaById(id), { events, signal: stop.signal }),
    });
    const fetcher = new Fetcher(cluster, {
      topic: task.plan.topic,
      partitions: shard.partitions,
      positionOf: (partition) => shard.positionOf(partition),
      take: (part) => shard.take(part),
      onWaiting: events.onWaiting,
      clock: this.#clock,
      signal: stop.signal,
      partitionBytes: PARTITION_BYTES,
      fetchBytes: FETCH_BYTES,
    });
    const running = fetcher.run().catch((error) => {
      if (!stop.signal.aborted) events.onFailed(error);
    });
    return {
      flush: ({ raises, paused, perSecond }) => {
        fetcher.pause(paused);
        shard.limit(perSecond ?? null);
        return Promise.resolve(shard.flush(raises));
      },
      close: async () => {
        stop.abort(new UnavailableError("The shard was closed"));
        shard.close();
        await cluster.close();
        await running;
      },
    };
  }

  /** Asks the registry until it answers: a record of unknown schema waits, it is not buried. */
  async #waitForSchema(
    look: () => Promise<AvroSchema | null>,
    { events, signal }: { events: ShardEvents; signal: AbortSignal },
  ): Promise<AvroSchema | null> {
    for (let pauseMs = REGISTRY_BACK_OFF_MS.first;; pauseMs = Math.min(2 * pauseMs, REGISTRY_BACK_OFF_MS.most)) {
      try {
        const schema = await look();
        events.onWaiting(null);
        return schema;
      } catch (error) {
        if (!(error instanceof UnavailableError || error instanceof ConfigError)) throw error;
        events.onWaiting(error.message);
        await this.#clock.sleep(pauseMs, signal);
      }
    }
  }
}
