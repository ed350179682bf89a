import { ConfigError, UnavailableError } from "../errors.ts";
import { newestVersion } from "./api_versions.ts";
import { ask, type BrokerConnection } from "./connection.ts";
import { KafkaCode, kafkaError } from "./kafka_errors.ts";
import { METADATA, readMetadata, writeMetadataRequest } from "./metadata.ts";
import { type ClusterOptions, openConnection } from "./open_connection.ts";

/** A topic's partitions and which broker leads each; -1 where none does at the moment. */
export interface TopicLeaders {
  readonly topic: string;
  /** Kafka's id of the topic, as a UUID's text: a topic made anew under the same name has another. Null from brokers before 2.8. */
  readonly id: string | null;
  /** Leader's node id by partition number. */
  readonly leaders: readonly number[];
}

interface Node {
  readonly host: string;
  readonly port: number;
}

/** Where in a partition's log to start: an end of it, or the first record at or after a time (milliseconds). */
export type LogPosition = "earliest" | "latest" | number;

/**
 * The brokers of one cluster: who leads what, and one connection to each broker that is talked to.
 * For one owner (a worker, a producer): connections are not shared between threads.
 */
export class Cluster implements AsyncDisposable {
  readonly #bootstrap: readonly string[];
  readonly #options: ClusterOptions;
  readonly #nodes = new Map<number, Node>();
  readonly #connections = new Map<string, Promise<BrokerConnection>>();
  readonly #closing = new AbortController();

  /** `brokers`: `host:port` of each bootstrap broker. */
  constructor(brokers: readonly string[], options: ClusterOptions) {
    this.#bootstrap = brokers;
    this.#options = options;
  }

  /**
   * Asks who leads the topic's partitions (Metadata, in version 12 or 5).
   *
   * @returns null when the topic does not exist
   * @throws UnavailableError when no broker answers
   */
  async leaders(topic: string): Promise<TopicLeaders | null> {
    const connection = await this.any();
    const hasIds = await newestVersion(connection, METADATA.key) >= METADATA.withIds;
    return await ask(connection, {
      apiKey: METADATA.key,
      version: hasIds ? METADATA.withIds : METADATA.classic,
      body: (writer) => writeMetadataRequest(writer, topic, { hasIds }),
    }, (reader) => {
      const { nodes, code, ...found } = readMetadata(reader, { hasIds });
      for (const { id, host, port } of nodes) this.#nodes.set(id, { host, port });
      if (code === KafkaCode.unknownTopicOrPartition) return null;
      const error = kafkaError(code, `to describe topic ${topic}`);
      if (error) throw error;
      return { topic, ...found };
    });
  }

  /** The connection to a node that `leaders` named. @throws UnavailableError when it cannot be reached */
  async node(id: number): Promise<BrokerConnection> {
    const node = this.#nodes.get(id);
    if (!node) throw new UnavailableError(`No broker leads the partition at the moment (node ${id})`);
    return await this.#connect(node.host, node.port);
  }

  /**
   * The offsets at `position` in each of the partitions (ListOffsets, version 2). A time after the last record gives -1.
   * With `committed` the latest is the last stable offset: where a transaction is undecided, the log is not yet readable.
   */
  async offsets(
    topic: string,
    partitions: readonly number[],
    position: LogPosition,
    { committed = false }: { readonly committed?: boolean } = {},
  ): Promise<Map<number, number>> {
    const found = await this.leaders(topic);
    if (!found) throw new ConfigError({ where: topic, problem: "the topic does not exist" });
    const byLeader = Map.groupBy(partitions, (partition) => found.leaders[partition] ?? -1);
    const offsets = new Map<number, number>();
    const timestamp = position === "earliest" ? -2 : position === "latest" ? -1 : position;
    for (const [leader, led] of byLeader) {
      await ask(await this.node(leader), {
        apiKey: 2,
        version: 2,
        body: (writer) => {
          writer.int32(-1).int8(committed ? 1 : 0).arrayLength(1).string(topic).arrayLength(led.length);
          for (const partition of led) writer.int32(partition).int64(timestamp);
        },
      }, (reader) => {
        reader.int32(); // throttle time
        reader.arrayLength();
        reader.string();
        for (let i = reader.arrayLength(); i > 0; i--) {
          const partition = reader.int32();
          const error = kafkaError(reader.int16(), `to say where ${topic}/${partition} starts and ends`);
          if (error) throw error;
          reader.int64(); // timestamp
          offsets.set(partition, reader.int64());
        }
      });
    }
    return offsets;
  }

  /** The connection to a broker by its address. @throws UnavailableError when it cannot be reached */
  async at(host: string, port: number): Promise<BrokerConnection> {
    return await this.#connect(host, port);
  }

  /** Closes every connection and ends attempts at one; unanswered requests are rejected. */
  async close(): Promise<void> {
    this.#closing.abort(new UnavailableError("The cluster's connections were closed"));
    for (const opening of this.#connections.values()) {
      await opening.then((connection) => connection.close(), () => {});
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** A connection to some broker that answers. */
  async any(): Promise<BrokerConnection> {
    const known = [...this.#nodes.values()].map(({ host, port }) => `${host}:${port}`);
    let last: unknown;
    for (const address of new Set([...known, ...this.#bootstrap])) {
      const colon = address.lastIndexOf(":");
      try {
        return await this.#connect(address.slice(0, colon), Number(address.slice(colon + 1)));
      } catch (error) {
        if (!(error instanceof UnavailableError)) throw error;
        last = error;
      }
    }
    throw last ?? new ConfigError({ where: "KAFKA_BROKERS", problem: "no broker is named" });
  }

  async #connect(host: string, port: number): Promise<BrokerConnection> {
    this.#closing.signal.throwIfAborted();
    const address = `${host}:${port}`;
    const existing = this.#connections.get(address);
    if (existing) {
      const connection = await existing.catch(() => null);
      if (connection && !connection.closed) return connection;
      if (this.#connections.get(address) === existing) this.#connections.delete(address);
      return await this.#connect(host, port);
    }
    const opening = openConnection(host, port, { ...this.#options, signal: this.#closing.signal });
    this.#connections.set(address, opening);
    try {
      return await opening;
    } catch (error) {
      this.#connections.delete(address);
      throw error;
    }
  }
}
