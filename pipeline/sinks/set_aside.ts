/**
 * Records that were not aggregated, in topics beside their own: `<topic>.dead` for those that do not decode, `<topic>.late`
 * for those whose window had closed. Key, value and headers are the record's own, byte for byte; further headers say where it
 * came from and why (`set_aside_headers.ts`).
 *
 * Read committed, each record of a topic, partition and offset is there once per pipeline, unless the pipeline was rewound and
 * set it aside again.
 *
 * @module
 */
import type { OutgoingRecord } from "../log/publisher.ts";
import type { CommittedLog, CommittedRecord, OutgoingPart, TransactionalPublisher } from "../log/transactions.ts";
import { addedHeaders, splitHeaders } from "./set_aside_headers.ts";
import type { SetAsideRecord, SetAsideSink, SinkPosition, WriteOptions } from "./sink.ts";
import { TopicWriter, type Written } from "./topic_writer.ts";

/** A topic's companions, to be created before a pipeline over it starts. */
export function setAsideTopics(topic: string): { readonly dead: string; readonly late: string } {
  return { dead: `${topic}.dead`, late: `${topic}.late` };
}

/**
 * The position of a sink whose pipeline reads a part of its topic again: all that it set aside of that part is there already.
 *
 * @param since offset by partition from which on is read again
 */
export function setAsideTail(topic: string, since: ReadonlyMap<number, number>): SinkPosition {
  const { dead, late } = setAsideTopics(topic);
  return { topics: { [dead]: {}, [late]: {} }, since: Object.fromEntries(since) };
}

export interface SetAsideOptions {
  readonly publisher: TransactionalPublisher;
  readonly log: CommittedLog;
  readonly pipeline: string;
  /** The topic that the pipeline reads; those beside it must exist. */
  readonly topic: string;
  /** For whoever has no windows: only `<topic>.dead` is needed then. */
  readonly isDeadOnly?: boolean;
  /** Instead of `REMEMBERED_MAX`. */
  readonly rememberedMax?: number;
}

/**
 * Publishes to `<topic>.dead` and `<topic>.late`, each record to the partition of its own number where there is one, a write
 * in one transaction.
 */
export function createSetAsideSink(options: SetAsideOptions): SetAsideSink {
  return new TopicsBeside(options);
}

class TopicsBeside implements SetAsideSink {
  readonly #options: SetAsideOptions;
  readonly #topics: { readonly dead: string; readonly late: string };
  readonly #writer: TopicWriter;
  /** Offset by partition: what was set aside before is not met again. */
  #since: Readonly<Record<string, number>> = {};

  constructor(options: SetAsideOptions) {
    const { publisher, log, topic, pipeline, rememberedMax, isDeadOnly = false } = options;
    this.#options = options;
    this.#topics = setAsideTopics(topic);
    const topics = isDeadOnly ? [this.#topics.dead] : [this.#topics.dead, this.#topics.late];
    const identify = (record: CommittedRecord) => this.#isRead(identifySetAside(record, pipeline));
    this.#writer = new TopicWriter({ publisher, log, topics, identify, rememberedMax });
  }

  async resume(position: SinkPosition, options: { readonly signal: AbortSignal }): Promise<void> {
    // Without a checkpoint the pipeline reads its topic from the beginning, perhaps not for the first time.
    const from = position ?? setAsideTail(this.#options.topic, new Map());
    this.#since = (from?.since ?? {}) as Readonly<Record<string, number>>;
    await this.#writer.resume(from, options);
  }

  position(): SinkPosition {
    return this.#writer.position();
  }

  /** Null for what the pipeline does not read again. */
  #isRead(origin: Origin | null): Written | null {
    if (origin === null || origin.offset < (this.#since[origin.partition] ?? 0)) return null;
    return written(origin);
  }

  async write(records: readonly SetAsideRecord[], { signal }: WriteOptions): Promise<void> {
    signal.throwIfAborted();
    if (records.length === 0) return;
    const write = await this.#writer.begin({ signal });
    const parts: OutgoingPart[] = [];
    for (const [topic, all] of Map.groupBy(records, ({ why }) => this.#topics[why])) {
      const count = await this.#options.publisher.partitionCount(topic);
      const partitions: OutgoingRecord[][] = Array.from({ length: count }, () => []);
      for (const record of all) {
        if (write.isThere(written(record))) continue;
        partitions[record.partition % count].push(outgoing(record, this.#options.pipeline));
      }
      partitions.forEach((records, partition) => {
        if (records.length > 0) parts.push({ topic, partition, records });
      });
    }
    await write.commit(parts, { signal });
    write.end();
  }

  /** The publisher is the caller's. */
  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

type Origin = Pick<SetAsideRecord, "topic" | "partition" | "offset">;

/** A record has no versions: it is there, or it is not. */
function written({ topic, partition, offset }: Origin): Written {
  return { id: `${topic}/${partition}/${offset}`, revision: 0, final: true };
}

/** Where what is in a topic was; null when another pipeline, or somebody else, wrote it. */
function identifySetAside({ headers }: CommittedRecord, pipeline: string): Origin | null {
  const { origin } = splitHeaders(headers);
  return origin?.pipeline === pipeline ? origin : null;
}

function outgoing(record: SetAsideRecord, pipeline: string): OutgoingRecord {
  const { key, value, timestampMs, headers } = record;
  return { key, value, timestampMs, headers: [...headers, ...addedHeaders(record, pipeline)] };
}
