/**
 * Results as a topic: one record per update of a key's window, for whoever wants them as they come.
 *
 *     key      the group key, see result_key.ts
 *     value    Confluent-framed Avro, registered under `<topic>-value`
 *     headers  window_start, window_end (milliseconds since the epoch, as text), revision, final (true or false), pipeline
 *
 * A topic keeps what was written: a reader takes for each key and window the record with the highest (revision, final). Read
 * committed, each (key, window, revision, final) is there once: rows are written in transactions, and what a run that crashed
 * wrote after its last checkpoint is left out when it comes again. The key does not name the window, so the topic must not be
 * compacted.
 *
 * @module
 */
import { type Clock, systemClock } from "../clock.ts";
import { ByteWriter } from "../codec/byte_writer.ts";
import { createRowEncoder, type RowEncoder } from "../codec/encode.ts";
import { FRAME_BYTES, writeFrame } from "../codec/framing.ts";
import type { OutgoingRecord } from "../log/publisher.ts";
import type { CommittedLog, CommittedRecord, OutgoingPart, TransactionalPublisher } from "../log/transactions.ts";
import type { AvroSchema, ResultColumn } from "../plan/plan.ts";
import { partitionOf } from "../log/murmur2.ts";
import { resultKey } from "./result_key.ts";
import { resultSchema } from "./result_schema.ts";
import type { ResultRows, ResultValue, Sink, SinkPosition, WriteOptions } from "./sink.ts";
import { TopicWriter, type Written } from "./topic_writer.ts";

/** Rows in one transaction, and held as records at one time. A write of more takes several. */
export const TRANSACTION_ROWS_MAX = 20_000;

/** The part of a schema registry that this sink needs. */
export interface SchemaRegistrar {
  /** Registers a schema under a subject, or finds it there, and gives its id. */
  register(subject: string, schema: AvroSchema): Promise<number>;
}

export interface KafkaSinkOptions {
  readonly publisher: TransactionalPublisher;
  readonly log: CommittedLog;
  readonly registry: SchemaRegistrar;
  /** Must exist. */
  readonly topic: string;
  readonly columns: readonly ResultColumn[];
  readonly pipeline: string;
  readonly clock?: Clock;
  /** Instead of `REMEMBERED_MAX`: rows written since a checkpoint that can be told again. */
  readonly rememberedMax?: number;
}

/**
 * Registers the schema of the results and gives the sink.
 *
 * @throws ConfigError when a column cannot be an Avro field, or the registry refuses the schema
 * @throws UnavailableError when the registry is away
 */
export async function createKafkaSink(options: KafkaSinkOptions): Promise<Sink> {
  const { registry, topic, columns, pipeline } = options;
  const schema = resultSchema(columns, { pipeline });
  return new KafkaSink(options, {
    schemaId: await registry.register(`${topic}-value`, schema),
    encoder: createRowEncoder(schema),
  });
}

class KafkaSink implements Sink {
  readonly name: string;
  readonly #options: KafkaSinkOptions;
  readonly #encoder: RowEncoder;
  readonly #schemaId: number;
  readonly #out = new ByteWriter();
  readonly #key: (rows: ResultRows, row: number) => Uint8Array | null;
  readonly #headers: (rows: ResultRows, row: number) => OutgoingRecord["headers"];
  readonly #written: (rows: ResultRows, row: number, key: Uint8Array | null) => Written;
  readonly #writer: TopicWriter;

  constructor(options: KafkaSinkOptions, { schemaId, encoder }: { schemaId: number; encoder: RowEncoder }) {
    this.name = `kafka:${options.topic}`;
    this.#options = options;
    this.#encoder = encoder;
    this.#schemaId = schemaId;
    this.#key = resultKey(options.columns);
    this.#headers = headersOf(options.columns, options.pipeline);
    this.#written = writtenOf(options.columns);
    const { publisher, log, topic, pipeline, rememberedMax } = options;
    const identify = (record: CommittedRecord) => identifyResult(record, pipeline);
    this.#writer = new TopicWriter({ publisher, log, topics: [topic], identify, rememberedMax });
  }

  async resume(position: SinkPosition, options: { readonly signal: AbortSignal }): Promise<void> {
    await this.#writer.resume(position, options);
  }

  position(): SinkPosition {
    return this.#writer.position();
  }

  async write(rows: ResultRows, { signal }: WriteOptions): Promise<void> {
    signal.throwIfAborted();
    if (rows.length === 0) return;
    const write = await this.#writer.begin({ signal });
    const count = await this.#options.publisher.partitionCount(this.#options.topic);
    for (let from = 0; from < rows.length; from += TRANSACTION_ROWS_MAX) {
      const parts = this.#parts(rows, {
        from,
        to: Math.min(from + TRANSACTION_ROWS_MAX, rows.length),
        count,
        isThere: (written) => write.isThere(written),
      });
      await write.commit(parts, { signal });
    }
    write.end();
  }

  /** Rows `[from, to)` that are not there yet, by partition. */
  #parts(
    rows: ResultRows,
    { from, to, count, isThere }: { from: number; to: number; count: number; isThere: (written: Written) => boolean },
  ): OutgoingPart[] {
    const { topic, clock = systemClock } = this.#options;
    const partitions: OutgoingRecord[][] = Array.from({ length: count }, () => []);
    // The time of writing, not the window's: retention deletes by this, and a replay of last year must not vanish at once.
    const timestampMs = clock.now();
    for (let row = from; row < to; row++) {
      const key = this.#key(rows, row);
      if (isThere(this.#written(rows, row, key))) continue;
      partitions[key === null ? 0 : partitionOf(key, count)]
        .push({ key, value: this.#encode(rows, row), headers: this.#headers(rows, row), timestampMs });
    }
    return partitions.map((records, partition) => ({ topic, partition, records }))
      .filter(({ records }) => records.length > 0);
  }

  #encode(rows: ResultRows, row: number): Uint8Array {
    const out = this.#out;
    out.clear();
    out.ensure(FRAME_BYTES);
    writeFrame(out.buffer, 0, this.#schemaId);
    out.position = FRAME_BYTES;
    this.#encoder.encodeAt(rows.values, row, out);
    return out.written().slice();
  }

  /** The publisher is the caller's. */
  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

/**
 * A row's identity is its key's bytes and its window, not its partition: of a topic that got more partitions the same key goes
 * to another one.
 */
function resultId(windowStart: string, key: Uint8Array | null): string {
  return key === null ? windowStart : `${windowStart}:${latin.decode(key)}`;
}

/** One character per byte, whatever the bytes. */
const latin = new TextDecoder("latin1");

function writtenOf(
  columns: readonly ResultColumn[],
): (rows: ResultRows, row: number, key: Uint8Array | null) => Written {
  const [start, revision, final] = ["window_start", "revision", "final"].map((role) =>
    columns.findIndex((column) => column.role === role)
  );
  return (rows, row, key) => ({
    id: resultId(String(rows.values[start][row]), key),
    revision: Number(rows.values[revision][row]),
    final: rows.values[final][row] === true,
  });
}

/** The same of a record in the topic; null when another pipeline, or somebody else, wrote it. */
function identifyResult({ key, headers }: CommittedRecord, pipeline: string): Written | null {
  const text = new Map(headers.map(([name, value]) => [name, value === null ? "" : utf8.decode(value)]));
  const start = text.get("window_start");
  if (text.get("pipeline") !== pipeline || start === undefined) return null;
  return { id: resultId(start, key), revision: Number(text.get("revision")), final: text.get("final") === "true" };
}

const utf8 = new TextDecoder();

function headersOf(columns: readonly ResultColumn[], pipeline: string) {
  const text = new TextEncoder();
  const named = ["window_start", "window_end", "revision", "final"].map((role) => ({
    role,
    index: columns.findIndex((column) => column.role === role),
    // Neighbours mostly share a window, and often all of these.
    value: null as ResultValue,
    header: ["", null] as OutgoingRecord["headers"][number],
  }));
  const last = ["pipeline", text.encode(pipeline)] as const;
  return (rows: ResultRows, row: number): OutgoingRecord["headers"] => {
    const headers = [];
    for (const one of named) {
      const value = rows.values[one.index][row];
      if (one.value !== value) {
        one.value = value;
        one.header = [one.role, text.encode(String(value))];
      }
      headers.push(one.header);
    }
    headers.push(last);
    return headers;
  };
}
