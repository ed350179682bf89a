import type { Clock } from "../../clock.ts";
import { ConfigError, UnavailableError } from "../../errors.ts";
import { Cluster } from "../../log/cluster.ts";
import { KafkaAdmin } from "../../log/admin.ts";
import { deleteRecordsBefore } from "../../log/delete_records.ts";
import type { RegistryClient } from "../../log/registry_client.ts";
import type { ReadOptions, Source, SourceBatch, SourcePosition } from "../source.ts";
import type { SourceContext } from "../source_spec.ts";
import { BatchRoom } from "./batch_room.ts";
import type { ClusterAddress } from "../cluster_address.ts";
import type { KafkaTopicsSpec } from "./definition.ts";
import { lostOffsets, readPosition, type TopicPosition, writePosition } from "./position.ts";
import { SchemaIds } from "./schema_ids.ts";
import { isRead } from "./topic_names.ts";
import { TopicReader } from "./topic_reader.ts";

/** Topics that one source reads: each has a connection of its own to each broker, so that a quiet one keeps none waiting. */
export const TOPICS_MAX = 200;
/** Bytes of answers held, all topics together; at least a batch of each. */
const FETCH_BYTES = 32 * 1024 * 1024;
const TOPIC_FETCH_BYTES = { least: 256 * 1024, most: 4 * 1024 * 1024 };
const LOOK_FOR_TOPICS_EVERY_MS = 30_000;
const BACK_OFF_MS = { first: 100, most: 5_000 };
/** Partitions with losses that the status names. */
const LOST_SHOWN_MAX = 20;
/** Records are deleted behind the position this often, not after each batch. */
const DELETE_EVERY_MS = 2_000;

export interface KafkaTopicsOptions {
  readonly spec: KafkaTopicsSpec;
  /** What the names of the topics written begin with, the dot included. */
  readonly prefix: string;
  readonly from: ClusterAddress;
  readonly into: ClusterAddress;
  /** Both null where bytes are passed on as they are. */
  readonly registries: { readonly from: RegistryClient; readonly into: RegistryClient } | null;
  readonly ensureTopics: SourceContext["ensureTopics"];
  /** Partitions that topics are created with; null for as many as there are. */
  readonly partitions: number | null;
  readonly clock: Clock;
  readonly log: SourceContext["log"];
}

/** Records of topics of one cluster for topics of another. */
export class KafkaTopicsSource implements Source {
  readonly #options: KafkaTopicsOptions;
  readonly #target: Cluster;
  readonly #clusters: Cluster[] = [];
  readonly #readers = new Map<string, TopicReader>();
  /** Of topics that are not read (any more), kept for when they are. */
  #kept = new Map<string, TopicPosition>();
  readonly #waiting = new Map<string, string>();
  /** Committed, and not deleted behind yet. */
  #passed: SourcePosition | null = null;
  #isReading = false;

  constructor(options: KafkaTopicsOptions) {
    this.#options = options;
    this.#target = this.#open(options.into);
  }

  async *read(position: SourcePosition | null, options: ReadOptions): AsyncGenerator<SourceBatch> {
    const { clock, isBounded, onWaiting } = options;
    const ending = new AbortController();
    const signal = AbortSignal.any([options.signal, ending.signal]);
    const room = new BatchRoom(clock);
    this.#kept = new Map(Object.entries(readPosition(position)));
    let failure: unknown = null;
    const tell = (who: string, reason: string | null) => {
      if (reason === null) this.#waiting.delete(who);
      else this.#waiting.set(who, reason);
      onWaiting([...this.#waiting.values()][0] ?? null);
    };
    const all = this.#readAll({ room, signal, isBounded, tell, clock }).catch((error) => failure = error)
      .finally(() => ending.abort());
    this.#isReading = true;
    const deleting = this.#options.spec.deleteForwarded ? this.#deleteOnAndOn(signal) : null;
    try {
      for (;;) {
        await room.ready(signal);
        if (options.signal.aborted) return;
        if (ending.signal.aborted) break;
        yield this.#batch(room);
      }
      await all;
      if (failure !== null) throw failure;
      // What came last, and positions behind what is no record.
      yield this.#batch(room);
    } finally {
      ending.abort();
      // From here on, who commits deletes: this is over before the last commit is.
      this.#isReading = false;
      await all;
      await deleting;
      // What was committed while something was being deleted.
      await this.#deletePassed();
      for (const cluster of this.#clusters.splice(1)) await cluster.close();
      this.#readers.clear();
      this.#waiting.clear();
    }
  }

  /** What is committed may be deleted here, where the definition says so. */
  async committed(position: SourcePosition): Promise<void> {
    if (!this.#options.spec.deleteForwarded) return;
    this.#passed = position;
    if (!this.#isReading) await this.#deletePassed();
  }

  details(): Readonly<Record<string, string | number | boolean | null>> {
    const readers = [...this.#readers.values()];
    const positions = [...this.#positions().values()];
    return {
      topics: readers.length,
      partitions: readers.reduce((sum, reader) => sum + reader.partitions, 0),
      behindRecords: readers.reduce((sum, reader) => sum + reader.behind, 0),
      lostRecords: positions.reduce((sum, position) => sum + lostOffsets(position), 0),
      ...this.#lostByPartition(),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const cluster of this.#clusters.splice(0)) await cluster.close();
  }

  /** Where records are lost: as many partitions as people read. */
  #lostByPartition(): Record<string, number> {
    const lost: Record<string, number> = {};
    for (const [topic, position] of this.#positions()) {
      position.lost?.forEach((count, partition) => {
        if (count > 0 && Object.keys(lost).length < LOST_SHOWN_MAX) lost[`lost ${topic}/${partition}`] = count;
      });
    }
    return lost;
  }

  #batch(room: BatchRoom): SourceBatch {
    const position = writePosition(this.#positions());
    return { ...room.take(), position };
  }

  #positions(): Map<string, TopicPosition> {
    const positions = new Map(this.#kept);
    for (const [topic, reader] of this.#readers) {
      if (reader.partitions > 0) positions.set(topic, reader.position());
    }
    return positions;
  }

  /** Deletes now and then, also when nothing more comes: who writes may wait for the room. */
  async #deleteOnAndOn(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#options.clock.sleep(DELETE_EVERY_MS, signal).catch(() => {});
      await this.#deletePassed();
    }
  }

  async #deletePassed(): Promise<void> {
    const { from, log } = this.#options;
    const position = this.#passed;
    if (position === null) return;
    try {
      await using cluster = new Cluster(from.brokers, from.cluster);
      for (const [topic, { id, next }] of Object.entries(readPosition(position))) {
        await deleteRecordsBefore(cluster, topic, new Map(next.entries()), { topicId: id });
      }
      // Another may have been committed meanwhile.
      if (this.#passed === position) this.#passed = null;
    } catch (error) {
      // With the next ones, then: nothing is wrong but that they take room.
      log("warn", `Records that were forwarded are not deleted: ${(error as Error).message}`);
    }
  }

  async #readAll(reading: Reading): Promise<void> {
    const { spec } = this.#options;
    const { signal, isBounded, clock } = reading;
    // Ends the others when one fails.
    const ending = new AbortController();
    const until = AbortSignal.any([signal, ending.signal]);
    const running = new Map<string, Promise<void>>();
    let failure: unknown = null;
    const follow = (topic: string) => {
      if (running.has(topic)) return;
      running.set(
        topic,
        this.#readTopic(topic, { ...reading, signal: until }).catch((error) => {
          failure ??= error;
          ending.abort();
        }),
      );
    };
    if (spec.topics !== null) {
      spec.topics.forEach(follow);
    } else {
      do {
        for (const topic of await this.#find({ ...reading, signal: until })) follow(topic);
        if (!isBounded) await clock.sleep(LOOK_FOR_TOPICS_EVERY_MS, until).catch(() => {});
      } while (!until.aborted && !isBounded);
    }
    await Promise.all(running.values());
    if (failure !== null) throw failure;
  }

  /** The topics that the pattern fits. */
  async #find({ signal, tell, clock }: Reading): Promise<string[]> {
    const { spec, from, prefix, into } = this.#options;
    const admin = new KafkaAdmin(from.brokers, from.cluster, from.cluster.clientId);
    for (let pauseMs = BACK_OFF_MS.first; !signal.aborted; pauseMs = Math.min(2 * pauseMs, BACK_OFF_MS.most)) {
      try {
        const isOne = from.brokers.join() === into.brokers.join();
        const topics = (await admin.topics()).filter((topic) => isRead(spec, topic, isOne ? prefix : null)).sort();
        if (topics.length > TOPICS_MAX) {
          const problem = `${topics.length} topics fit ${spec.pattern}; a source reads ${TOPICS_MAX} at most`;
          throw new ConfigError({ where: "from.pattern", problem });
        }
        tell("pattern", topics.length === 0 ? `No topic fits ${spec.pattern} (yet)` : null);
        return topics;
      } catch (error) {
        if (!(error instanceof UnavailableError)) throw error;
        tell("pattern", error.message);
        await clock.sleep(pauseMs, signal).catch(() => {});
      }
    }
    return [];
  }

  async #readTopic(topic: string, reading: Reading): Promise<void> {
    const { spec, from, prefix, registries, log } = this.#options;
    const { room, signal, isBounded, tell, clock } = reading;
    const cluster = this.#open(from);
    const target = `${prefix}${topic}`;
    const size = await this.#ensure(topic, { cluster, target, reading });
    if (size === null) return;
    const reader: TopicReader = new TopicReader({
      topic,
      target,
      targetPartition: (partition, key) => reader.partitions <= size || key === null ? partition : undefined,
      cluster,
      clock,
      room,
      schemaIds: registries === null ? null : new SchemaIds({ ...registries, topic: target }),
      position: this.#kept.get(topic) ?? null,
      from: spec.from,
      isBounded,
      fetchBytes: Math.min(
        TOPIC_FETCH_BYTES.most,
        Math.max(TOPIC_FETCH_BYTES.least, FETCH_BYTES / 2 / (spec.topics?.length ?? TOPICS_MAX / 4)),
      ),
      onWaiting: (reason) => tell(topic, reason),
      onLost: (partition, lost) => {
        const count = lost.to - lost.from;
        log(
          "error",
          `LOST: ${count} offsets of ${topic}/${partition} (${lost.from} to ${
            lost.to - 1
          }) were deleted by retention ` +
            `before they could be forwarded to ${target}; give the topic more room (retention.bytes, retention.ms) or ` +
            "refuse new records when it is full (TAILRACE_BUFFER_WHEN_FULL=refuse)",
        );
      },
      log,
    });
    this.#readers.set(topic, reader);
    await reader.run(signal);
  }

  /** Makes the topic that is written, with the partitions of the one that is read, and gives how many it has; null when it ends. */
  async #ensure(
    topic: string,
    { cluster, target, reading }: { cluster: Cluster; target: string; reading: Reading },
  ): Promise<number | null> {
    const { ensureTopics, partitions } = this.#options;
    const { signal, tell, clock, isBounded } = reading;
    for (let pauseMs = BACK_OFF_MS.first; !signal.aborted; pauseMs = Math.min(2 * pauseMs, BACK_OFF_MS.most)) {
      try {
        const found = await cluster.leaders(topic);
        if (found === null && isBounded) return null;
        if (found === null) throw new UnavailableError(`Topic ${topic} does not exist (yet)`);
        await ensureTopics([{ topic: target, partitions: partitions ?? found.leaders.length }]);
        const there = await this.#target.leaders(target);
        if (there === null) throw new UnavailableError(`Topic ${target} does not exist (yet)`);
        if (there.id !== null && there.id === found.id) {
          const problem =
            `${topic} would be forwarded to itself: both addresses are of one cluster. Give topics(..) a prefix`;
          throw new ConfigError({ where: "to", problem });
        }
        tell(topic, null);
        return there.leaders.length;
      } catch (error) {
        if (signal.aborted) return null;
        if (!(error instanceof UnavailableError)) throw error;
        tell(topic, error.message);
        await clock.sleep(pauseMs, signal).catch(() => {});
      }
    }
    return null;
  }

  #open({ brokers, cluster }: ClusterAddress): Cluster {
    const opened = new Cluster(brokers, cluster);
    this.#clusters.push(opened);
    return opened;
  }
}

interface Reading {
  readonly room: BatchRoom;
  readonly signal: AbortSignal;
  readonly isBounded: boolean;
  readonly clock: Clock;
  /** Told for whom it waits. */
  readonly tell: (who: string, reason: string | null) => void;
}
