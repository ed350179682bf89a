/**
 * A topic in memory, as a runner sees it: the brokers it asks for partitions and offsets, and the host that reads for it.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import type { Cluster } from "../log/cluster.ts";
import type { AvroSchema } from "../plan/plan.ts";
import { Shard } from "../runtime/shard.ts";
import type { ShardEvents, ShardHandle, ShardHost } from "../runtime/shard_host.ts";
import { PartitionLog } from "./partition_log.ts";

/** A topic's partitions, and the schemas their records are written with. */
export class MemoryTopic {
  readonly name: string;
  readonly partitions: readonly PartitionLog[];
  readonly #schemas: AvroSchema[] = [];

  constructor(name: string, partitions: number) {
    this.name = name;
    this.partitions = Array.from({ length: partitions }, () => new PartitionLog());
  }

  /** The id under which a schema is registered, the same for the same schema. Ids begin at 1. */
  register(schema: AvroSchema): number {
    const text = JSON.stringify(schema);
    const known = this.#schemas.findIndex((schema) => JSON.stringify(schema) === text);
    return known >= 0 ? known + 1 : this.#schemas.push(schema);
  }

  schemaById(id: number): AvroSchema | null {
    return this.#schemas[id - 1] ?? null;
  }

  /** What a runner asks brokers for. */
  cluster(): Cluster {
    const { name } = this;
    const cluster: Pick<Cluster, "leaders" | "offsets" | "close"> = {
      leaders: () => Promise.resolve({ topic: name, id: null, leaders: this.partitions.map(() => 0) }),
      offsets: (_, partitions, at) =>
        Promise.resolve(
          new Map(partitions.map((partition) => [partition, at === "latest" ? this.partitions[partition].end : 0])),
        ),
      close: () => Promise.resolve(),
    };
    // Boundary: the class has private members, so only its own instances are of its type; a runner uses these three.
    return cluster as Cluster;
  }
}

/** Reads partitions of a topic in memory, in this thread. Each flush is followed by reading to the end, for the next one. */
export class MemoryShardHost implements ShardHost {
  readonly #topic: MemoryTopic;
  readonly #clock: Clock;
  readonly #open = new Set<() => Promise<void>>();
  /** By partition, for the next flush. */
  readonly #raises = new Map<number, number>();

  constructor(topic: MemoryTopic, clock: Clock) {
    this.#topic = topic;
    this.#clock = clock;
  }

  /** Has the next flush raise the watermark of every partition to a time, as it does when all are idle. */
  raise(toMs: number): void {
    for (const partition of this.#topic.partitions.keys()) this.#raises.set(partition, toMs);
  }

  /** Reads what is there now, and has the runner run an epoch without time passing. */
  async read(): Promise<void> {
    for (const read of this.#open) await read();
  }

  open(task: Parameters<ShardHost["open"]>[0], events: ShardEvents): Promise<ShardHandle> {
    const shard = new Shard(task, {
      clock: this.#clock,
      schemaById: (id) => Promise.resolve(this.#topic.schemaById(id)),
      onFull: events.onFull,
    });
    let paused: readonly number[] = [];
    const take = async () => {
      for (const partition of shard.partitions) {
        for (let before = -1; before !== shard.positionOf(partition) && !paused.includes(partition);) {
          before = shard.positionOf(partition);
          await shard.take(this.#topic.partitions[partition].fetch(partition, before));
        }
      }
    };
    // A take waits for a flush where a bound is reached: flushing must not wait for it in turn.
    let taking = Promise.resolve();
    const read = () => taking = taking.then(take).catch(events.onFailed);
    const poked = async () => {
      await read();
      events.onFull();
    };
    this.#open.add(poked);
    read().then(() => events.onFull());
    return Promise.resolve({
      flush: (request) => {
        const raises = new Map(request.raises);
        // A reader of the past decides nothing.
        for (const partition of task.onlyWindows ? [] : shard.partitions) {
          const toMs = this.#raises.get(partition);
          if (toMs === undefined) continue;
          this.#raises.delete(partition);
          raises.set(partition, Math.max(toMs, raises.get(partition) ?? -Infinity));
        }
        paused = request.paused;
        const flush = shard.flush(raises);
        read();
        return Promise.resolve(flush);
      },
      close: () => {
        this.#open.delete(poked);
        shard.close();
        return Promise.resolve();
      },
    });
  }
}
