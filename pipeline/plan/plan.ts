/**
 * A pipeline's definition, checked and reduced to plain data (JSON), so that it can be sent to workers, hashed, and
 * compiled to more than one back end.
 *
 * @module
 */
import type { FieldType } from "../columns.ts";
import { cassandraTarget } from "../sinks/cassandra/definition.ts";
import type { Expression } from "./expression.ts";

/** An Avro schema as JSON. */
export type AvroSchema = string | readonly AvroSchema[] | {
  readonly type: unknown;
  readonly [attribute: string]: unknown;
};

/** A field of the source that the plan reads: dotted `path` into the reader's schema, e.g. `merchant.country`. */
export interface PlanField {
  readonly path: string;
  readonly type: FieldType;
}

/** What is kept for each pane. Results are computed from these; two results may share one accumulator. */
export interface Accumulator {
  /** `count` with a field counts its non-null values; without one, records. */
  readonly kind: "count" | "sum" | "min" | "max";
  /** Index into `Plan.fields`, or null for `count(*)`. */
  readonly field: number | null;
}

/** One selected result column. */
export interface Selected {
  readonly name: string;
  readonly aggregate: "count" | "sum" | "avg" | "min" | "max";
  /** Indexes into `Plan.accumulators`: one, or for `avg` the sum and the count. */
  readonly accumulators: readonly number[];
  readonly type: FieldType;
}

export type SinkSpec =
  | { readonly kind: "postgres"; readonly table: string }
  | { readonly kind: "kafka"; readonly topic: string }
  | { readonly kind: "lake"; readonly table: string; readonly flush: FlushLimits }
  /** Null: the keyspace of the settings; rows that stay. */
  | {
    readonly kind: "cassandra";
    readonly table: string;
    readonly keyspace: string | null;
    readonly ttlSeconds: number | null;
  };

/** When rows that wait for the lake are committed: whichever comes first. */
export interface FlushLimits {
  readonly everyMs: number;
  readonly rows: number;
}

/** A topic's raw records, kept in a table of the lake. */
export interface ArchiveSpec {
  readonly table: string;
  readonly flush: FlushLimits;
}

export interface Plan {
  readonly name: string;
  /** SHA-256 (hex) of everything that decides results; a checkpoint of another fingerprint is not resumed. */
  readonly fingerprint: string;
  readonly topic: string;
  /** Reader schema: what the definition was checked against. */
  readonly schema: AvroSchema;
  /** Columns to decode, each once. */
  readonly fields: readonly PlanField[];
  /** Index into `fields`: a timestamp-millis, timestamp-micros, date, or long (milliseconds). */
  readonly eventTime: number;
  /** The watermark trails the largest event time of its partition by this. */
  readonly allowedLatenessMs: number;
  /** A partition read to its end and silent this long no longer holds windows open. */
  readonly idleAfterMs: number;
  /** Only records for which this is true are aggregated; null takes all. */
  readonly where: { readonly sql: string; readonly expression: Expression } | null;
  /**
   * Of records with the same value in `field` (index into `fields`), whose event times are within `withinMs` of each other, in
   * the same partition, only the first counts. Null: none is looked for.
   */
  readonly dedupe: { readonly field: number; readonly withinMs: number } | null;
  /** Stop when so many (`dead`) of the last `of` records are dead letters; null never does. Does not decide results. */
  readonly deadLetters: { readonly dead: number; readonly of: number } | null;
  /** Key columns, in order; `field` indexes `fields`. Empty: one pane per window. */
  readonly groupBy: readonly { readonly name: string; readonly field: number }[];
  /** Half-open `[start, start + sizeMs)`, `start` a multiple of `sizeMs` after `offsetMs`. */
  readonly window: { readonly kind: "tumbling"; readonly sizeMs: number; readonly offsetMs: number };
  readonly accumulators: readonly Accumulator[];
  readonly select: readonly Selected[];
  /** Early updates of open windows every so many milliseconds; null publishes final results only. */
  readonly emitEveryMs: number | null;
  readonly sinks: readonly SinkSpec[];
  /** Partitions to create the topic with, where it does not exist yet and the definition says so. */
  readonly partitions?: number;
  /** The topic's raw records are kept, too. Does not decide results. */
  readonly archive?: ArchiveSpec;
}

/** Where a sink writes to, by the name it has there. */
export function targetOf(sink: SinkSpec): string {
  if (sink.kind === "cassandra") return cassandraTarget(sink);
  return sink.kind === "kafka" ? sink.topic : sink.table;
}

/** A column of the published result. */
export interface ResultColumn {
  readonly name: string;
  readonly type: FieldType;
  readonly role: "key" | "window_start" | "window_end" | "value" | "revision" | "final";
  /** The text is JSON: of a delivered field that is an array, a map or a record. */
  readonly isJson?: true;
}

/**
 * The columns every sink writes, in order: the keys, `window_start`, `window_end` (timestamp-millis), the selected
 * values, `revision` (long: how many records the row was computed from, so it grows with every update and is the same in
 * every replay) and `final` (boolean: no further update will come).
 */
export function resultColumns(plan: Plan): ResultColumn[] {
  const fixed = (name: string, type: "timestamp-millis" | "long" | "boolean", role: ResultColumn["role"]) =>
    ({ name, type: { type, nullable: false }, role }) satisfies ResultColumn;
  return [
    ...plan.groupBy.map(({ name, field }) => ({ name, type: plan.fields[field].type, role: "key" as const })),
    fixed("window_start", "timestamp-millis", "window_start"),
    fixed("window_end", "timestamp-millis", "window_end"),
    ...plan.select.map(({ name, type }) => ({ name, type, role: "value" as const })),
    fixed("revision", "long", "revision"),
    fixed("final", "boolean", "final"),
  ];
}
