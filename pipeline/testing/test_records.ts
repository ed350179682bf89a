/**
 * Records as tests write them, to what goes into a log.
 *
 * @module
 */
import { avroType, FAULTS_MAX } from "../codec/avro_values.ts";
import { ConfigError, type Fault } from "../errors.ts";
import type { HeaderList } from "../log/record_batch_writer.ts";
import type { AvroSchema, Plan } from "../plan/plan.ts";
import type { LogRecord } from "./partition_log.ts";

/**
 * A record by its schema: timestamps as ISO 8601 text or Date, decimals as text or number, longs also as bigint, bytes as
 * Uint8Array, nested records as objects. Fields with a default may be left out.
 */
export type TestRecord = { readonly [field: string]: unknown };

export interface PipeOptions {
  /** The partition to append to: by the key, as Kafka's own producers choose it, and 0 without a key, unless told. */
  readonly partition?: number;
  /** The records' own timestamp, what Kafka calls CreateTime: the event time, or the clock's time when that is later, unless told. */
  readonly timestamp?: Date | string;
  readonly key?: string | Uint8Array;
  readonly headers?: Readonly<Record<string, string | Uint8Array | null>>;
  /** What the records are written with; the definition's own schema unless told. */
  readonly schema?: AvroSchema;
}

const text = new TextEncoder();

/** The values in Confluent's framing. @throws ConfigError naming record, field and problem of the faults, some 20 of them at most */
export function encodeRecords(
  records: readonly TestRecord[],
  { schema, schemaId }: { readonly schema: AvroSchema; readonly schemaId: number },
): Uint8Array[] {
  const avro = avroType(schema);
  const values = records.map(withoutDates);
  const faults: Fault[] = [];
  for (let i = 0; i < values.length && faults.length < FAULTS_MAX; i++) {
    const where = (path: string) => `record ${i}${path && `, ${path}`}`;
    faults.push(...avro.validate(values[i]).map(({ path, problem }) => ({ where: where(path), problem })));
  }
  if (faults.length > 0) throw new ConfigError(faults);
  return values.map((value) => avro.encodeFramed(schemaId, value));
}

/** A record for the log; `eventTimeMs` NaN when there is none to be read. */
export function logRecord(
  value: Uint8Array | null,
  options: PipeOptions,
  times: { readonly nowMs: number; readonly eventTimeMs: number },
): LogRecord {
  const { nowMs, eventTimeMs } = times;
  const timestampMs = options.timestamp === undefined
    ? Math.max(nowMs, Number.isNaN(eventTimeMs) ? nowMs : eventTimeMs)
    : timeOf(options.timestamp, "timestamp");
  return { timestampMs, key: keyOf(options), value, headers: headersOf(options) };
}

/** The key's bytes, null without one. */
export function keyOf({ key }: PipeOptions): Uint8Array | null {
  return typeof key === "string" ? text.encode(key) : key ?? null;
}

function headersOf({ headers = {} }: PipeOptions): HeaderList {
  return Object.entries(headers).map(([name, value]) => [name, typeof value === "string" ? text.encode(value) : value]);
}

/** Milliseconds of a time in an option. @throws ConfigError naming the option */
export function timeOf(time: Date | string, where: string): number {
  const ms = time instanceof Date ? time.getTime() : Date.parse(time);
  if (Number.isNaN(ms)) {
    throw new ConfigError({ where, problem: `${JSON.stringify(time)} is no time such as "2026-05-01T12:00:00Z"` });
  }
  return ms;
}

/** When a record happened, milliseconds; NaN when it does not say, or not in a form that is easily read. */
export function eventTimeOf(record: TestRecord, plan: Plan): number {
  const { path, type } = plan.fields[plan.eventTime];
  let value: unknown = record;
  for (const name of path.split(".")) value = (value as TestRecord | null | undefined)?.[name];
  if (value instanceof Date) return value.getTime();
  if (typeof value === "string" && !/^-?\d+$/.test(value)) return Date.parse(value);
  if (value === null || value === undefined) return NaN;
  const unitMs = type.type === "date" ? 86_400_000 : type.type === "timestamp-micros" ? 0.001 : 1;
  return Math.floor(Number(value) * unitMs);
}

/** Dates as their text, wherever they are. */
function withoutDates(value: unknown): unknown {
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? String(value) : value.toISOString();
  if (Array.isArray(value)) return value.map(withoutDates);
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, withoutDates(inner)]));
}
