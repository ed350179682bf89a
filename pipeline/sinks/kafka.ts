/**
 * Results as a topic: one record per update of a key's window, for whoever wants them as they come.
 *
 *     key      the group key, see result_key.ts
 *     value    Confluent-framed Avro, registered under `<topic>-value`
 *     headers  window_start, window_end (milliseconds since the epoch, as text), revision, final (true or false), pipeline
 *
 * A topic keeps what was written: the guard against older rows is the reader's, who takes for each key and window the record
 * with the highest (revision, final). A record may be there twice after an outage. The key does not name the window, so the
 * topic must not be compacted.
 *
 * @module
 */
import { type Clock, systemClock } from "../clock.ts";
import { ByteWriter } from "../codec/byte_writer.ts";
import { createRowEncoder, type RowEncoder } from "../codec/encode.ts";
import { FRAME_BYTES, writeFrame } from "../codec/framing.ts";
import type { OutgoingRecord, Publisher } from "../log/publisher.ts";
import type { AvroSchema, ResultColumn } from "../plan/plan.ts";
import { partitionOf } from "./murmur2.ts";
import { publishAll } from "./publish_all.ts";
import { resultKey } from "./result_key.ts";
import { resultSchema } from "./result_schema.ts";
import type { ResultRows, ResultValue, Sink, SinkPosition, WriteOptions } from "./sink.ts";

/** Rows held as records at one time. */
const ROWS_AT_A_TIME = 10_000;

/** The part of a schema registry that this sink needs. */
export interface SchemaRegistrar {
  /** Registers a schema under a subject, or finds it there, and gives its id. */
  register(subject: string, schema: AvroSchema): Promise<number>;
}

export interface KafkaSinkOptions {
  readonly publisher: Publisher;
  readonly registry: SchemaRegistrar;
  /** Must exist. */
  readonly topic: string;
  readonly columns: readonly ResultColumn[];
  readonly pipeline: string;
  readonly clock?: Clock;
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

  constructor(options: KafkaSinkOptions, { schemaId, encoder }: { schemaId: number; encoder: RowEncoder }) {
    this.name = `kafka:${options.topic}`;
    this.#options = options;
    this.#encoder = encoder;
    this.#schemaId = schemaId;
    this.#key = resultKey(options.columns);
    this.#headers = headersOf(options.columns, options.pipeline);
  }

  resume(): Promise<void> {
    return Promise.resolve();
  }

  position(): SinkPosition {
    return null;
  }

  async write(rows: ResultRows, { signal }: WriteOptions): Promise<void> {
    signal.throwIfAborted();
    if (rows.length === 0) return;
    const { publisher, topic, clock = systemClock } = this.#options;
    const count = await publisher.partitionCount(topic);
    for (let from = 0; from < rows.length; from += ROWS_AT_A_TIME) {
      signal.throwIfAborted();
      const partitions: OutgoingRecord[][] = Array.from({ length: count }, () => []);
      // The time of writing, not the window's: retention deletes by this, and a replay of last year must not vanish at once.
      const timestampMs = clock.now();
      for (let row = from; row < Math.min(from + ROWS_AT_A_TIME, rows.length); row++) {
        const key = this.#key(rows, row);
        const value = this.#encode(rows, row);
        partitions[key === null ? 0 : partitionOf(key, count)]
          .push({ key, value, headers: this.#headers(rows, row), timestampMs });
      }
      await publishAll(publisher, topic, { partitions, signal });
    }
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
