/**
 * A desk of letters over topics in memory: the real set-aside sink writes them, the real decoders and registry's schemas read them.
 *
 * @module
 */
import { avroType } from "../../pipeline/codec/avro_values.ts";
import { createLetters, type LetterQuery, type Letters } from "../../pipeline/letters/letters.ts";
import type { RedriveReport, RedriveRequest } from "../../pipeline/letters/redrive_request.ts";
import type { AvroSchema, Plan } from "../../pipeline/plan/plan.ts";
import { count, pipeline, postgres, topic, tumbling } from "../../pipeline/mod.ts";
import { planOf } from "../../pipeline/plan/compile.ts";
import { createSetAsideSink } from "../../pipeline/sinks/set_aside.ts";
import type { SetAsideRecord } from "../../pipeline/sinks/sink.ts";
import type { Clock } from "../../pipeline/clock.ts";
import { systemClock } from "../../pipeline/clock.ts";
import { MemoryLog } from "./memory_log.ts";

export const START = Date.parse("2026-11-20T21:00:00Z");
export const MINUTE = 60_000;
export const signal = new AbortController().signal;
export const bytes = (text: string) => new TextEncoder().encode(text);
export const text = (bytes: Uint8Array | null | undefined) => bytes ? new TextDecoder().decode(bytes) : null;

/** Id 1 in the registry, and the newest of `in-value`. */
export const SCHEMA: AvroSchema = {
  type: "record",
  name: "Sale",
  fields: [
    { name: "shop", type: "string" },
    { name: "pieces", type: "int" },
    { name: "at", type: { type: "long", logicalType: "timestamp-millis" } },
  ],
};

const definition = (name: string) =>
  pipeline({
    name,
    from: topic("in", { schema: SCHEMA, eventTime: "at" }),
    where: "pieces > 0",
    groupBy: ["shop"],
    window: tumbling("1 minute"),
    select: { n: count() },
    to: [postgres(name)],
  });

export const PLANS: readonly Plan[] = [
  await planOf(definition("p"), new Map()),
  await planOf(definition("q"), new Map()),
];

export interface Sale {
  readonly shop?: string;
  readonly pieces?: number;
  readonly at?: string;
}

/** A value in Confluent's framing. */
export function sale({ shop = "a", pieces = 1, at = "2026-11-20T21:00:05.000Z" }: Sale = {}, id = 1): Uint8Array {
  return avroType(SCHEMA).encodeFramed(id, { shop, pieces, at });
}

export class Desk {
  readonly log = new MemoryLog();
  readonly letters: Letters;
  readonly schemas = new Map<number, AvroSchema>([[1, SCHEMA]]);
  readonly #topic: string;
  readonly #partitions: number;
  #epoch = 0;

  constructor(
    { partitions = 2, clock = systemClock, topic = "in" }: { partitions?: number; clock?: Clock; topic?: string } = {},
  ) {
    this.#topic = topic;
    this.#partitions = partitions;
    for (const end of ["", ".late", ".dead"]) this.log.make(topic + end, partitions);
    this.log.make(`${topic}.redriven`, 1);
    this.letters = this.another(clock);
  }

  /** A second process over the same topics. */
  another(clock: Clock = systemClock): Letters {
    return createLetters({
      log: this.log,
      publishers: (id) => this.log.publisher(id),
      registry: {
        schemaById: (id) => Promise.resolve(this.schemas.get(id) ?? null),
        latest: () => Promise.resolve({ id: 1, version: 1, schema: SCHEMA }),
      },
      plans: PLANS.map((plan) => ({ ...plan, topic: this.#topic })),
      clock,
    });
  }

  /** Writes a record to topic `in` and sets it aside, as a pipeline does; the letter's offset. */
  async setAside(changes: Partial<SetAsideRecord> = {}, pipeline = "p"): Promise<void> {
    const { partition = 0, key = bytes("k"), value = sale(), headers = [], timestampMs = START } = changes;
    const topic = this.#topic;
    const offset = changes.offset ?? this.log.records(topic).filter((record) => record.partition === partition).length;
    if (changes.offset === undefined) this.log.append(topic, partition, { key, value, headers, timestampMs });
    const record: SetAsideRecord = {
      topic,
      partition,
      offset,
      timestampMs,
      key,
      value,
      headers,
      why: "late",
      reason: "window had closed",
      schemaId: 1,
      windowStartMs: START,
      ...changes,
    };
    await using sink = createSetAsideSink({
      publisher: this.log.publisher(`tailrace.${pipeline}`),
      log: this.log,
      pipeline,
      topic,
    });
    await sink.resume(null, { signal });
    await sink.write([record], { epoch: this.#epoch++, signal });
  }

  /** Letters of pipeline p without a sink, for many of them at once. */
  many(count: number, letter: (i: number) => { timestampMs?: number; reason?: string } = () => ({})): void {
    const value = sale();
    for (let i = 0; i < count; i++) {
      const { timestampMs = START + i, reason = "cut off" } = letter(i);
      const partition = i % this.#partitions;
      const record = { key: null, value, timestampMs };
      this.log.append(this.#topic, partition, { ...record, headers: [] });
      const added: Record<string, string> = {
        "__connect.errors.topic": this.#topic,
        "__connect.errors.partition": String(partition),
        "__connect.errors.offset": String(Math.floor(i / this.#partitions)),
        "__connect.errors.connector.name": "p",
        "__connect.errors.exception.message": reason,
        "tailrace.schema.id": "1",
      };
      const headers = Object.entries(added).map(([name, value]) => [name, bytes(value)] as const);
      this.log.append(`${this.#topic}.dead`, partition, { ...record, headers });
    }
  }

  list(query: Partial<LetterQuery> = {}) {
    return this.letters.list({ limit: 100, ...query }, { signal });
  }

  redrive(request: Partial<RedriveRequest> = {}, letters = this.letters): Promise<RedriveReport> {
    return letters.redrive({ selection: { filter: {} }, dryRun: false, ...request }, { signal });
  }
}
