/**
 * How a pipeline is written down. Everything here only describes; nothing is checked or run until the plan is made, except by the
 * TypeScript compiler, which knows the fields of the schemas in `schemas/` (see `deno task schemas`).
 *
 * @module
 */
import type { Schemas } from "../schemas/mod.ts";
import type { FieldType } from "./columns.ts";
import type { AvroSchema } from "./plan/plan.ts";
import type { CassandraTable } from "./sinks/cassandra/definition.ts";

type Unit =
  | "ms"
  | "millisecond"
  | "milliseconds"
  | "s"
  | "second"
  | "seconds"
  | "m"
  | "minute"
  | "minutes"
  | "h"
  | "hour"
  | "hours"
  | "d"
  | "day"
  | "days";

/** A whole number and a unit, such as `"250ms"`, `"5s"`, `"1 minute"`, `"10 minutes"`, `"1 day"`. */
export type Duration = `${number}${Unit}` | `${number} ${Unit}`;

/** A schema by name (`"transaction"` is schemas/transaction.avsc), or the Avro schema itself. */
export type SchemaReference = keyof Schemas | (string & Record<never, never>) | Exclude<AvroSchema, string>;

/** Paths of the schema's fields whose type is among `T`; any text for a schema that the compiler does not know. */
export type FieldOf<S, T extends FieldType["type"] = FieldType["type"]> = S extends keyof Schemas
  ? { [Path in keyof Schemas[S]]: Schemas[S][Path] extends T ? Path : never }[keyof Schemas[S]] & string
  : string;

type NumberType = "int" | "long" | "float" | "double" | "decimal";
type TimeType = "timestamp-millis" | "timestamp-micros" | "date" | "long";
type OrderedType = NumberType | "date" | "time-millis" | "time-micros" | "timestamp-millis" | "timestamp-micros";
/** Not bytes, which have no readable key; not floats, whose equality is not what it looks like. */
type KeyType = Exclude<FieldType["type"], "bytes" | "float" | "double">;

export interface TopicOptions<S extends SchemaReference = SchemaReference> {
  /** What records are read as. */
  readonly schema: S;
  /** The field that says when a record happened: a timestamp, a date, or a long in milliseconds. */
  readonly eventTime: FieldOf<NoInfer<S>, TimeType>;
  /** How far out of order records may come before they count as late; 5 seconds unless told. */
  readonly allowedLateness?: Duration;
  /** How long a partition must be silent before it stops holding windows open; 10 seconds unless told. */
  readonly idleAfter?: Duration;
  /** Partitions to create the topic with, where it does not exist yet. */
  readonly partitions?: number;
  /** Keeps the raw records in the lake: `lake()` under the topic's name, `lake("other")` under another. */
  readonly archive?: Lake;
}

export interface Topic<S extends SchemaReference = SchemaReference> {
  readonly topic: string;
  readonly options: TopicOptions<S>;
}

/** Where records come from. */
export function topic<const S extends SchemaReference>(name: string, options: TopicOptions<S>): Topic<S> {
  return { topic: name, options };
}

export interface Window {
  readonly kind: "tumbling";
  readonly size: Duration;
}

/** Windows side by side, each `size` long, starting at multiples of it since 1970-01-01T00:00Z. Starts are in, ends are out. */
export function tumbling(size: Duration): Window {
  return { kind: "tumbling", size };
}

export type AggregateKind = "count" | "sum" | "avg" | "min" | "max";

export interface Aggregation<Kind extends AggregateKind = AggregateKind, Field extends string = string> {
  readonly aggregate: Kind;
  readonly field: Field | null;
}

/** How many records; with a field, how many in which it is not null. A long. */
export function count<const F extends string = never>(field?: F): Aggregation<"count", F> {
  return { aggregate: "count", field: field ?? null };
}

/** The exact sum: of ints a long, of longs a decimal(38,0), of decimals a decimal(38, scale); of floats and doubles a double. */
export function sum<const F extends string>(field: F): Aggregation<"sum", F> {
  return { aggregate: "sum", field };
}

/** The mean, a double: the exact sum divided once. */
export function avg<const F extends string>(field: F): Aggregation<"avg", F> {
  return { aggregate: "avg", field };
}

/** The least value, in the field's own type. */
export function min<const F extends string>(field: F): Aggregation<"min", F> {
  return { aggregate: "min", field };
}

/** The largest value, in the field's own type. */
export function max<const F extends string>(field: F): Aggregation<"max", F> {
  return { aggregate: "max", field };
}

export type Destination =
  | { readonly kind: "postgres"; readonly table: string }
  | { readonly kind: "kafka"; readonly topic: string }
  | Lake
  | CassandraTable;

/** A Delta table in the lake. */
export interface Lake {
  readonly kind: "lake";
  /** Null names it after the topic. */
  readonly table: string | null;
  readonly options: LakeOptions;
}

export interface LakeOptions {
  /** Rows are committed after so long at most, also when no more come; every minute unless told. */
  readonly flushEvery?: Duration;
  /** ... or when so many wait; 1,000,000 unless told. */
  readonly flushRows?: number;
}

/** A Delta table in the lake: of final results, one row per key and window; or of a topic's raw records (`archive: lake()`). */
export function lake(table?: string, options: LakeOptions = {}): Lake {
  return { kind: "lake", table: table ?? null, options };
}

/** A table in PostgreSQL: one row per key and window, replaced as it grows. */
export function postgres(table: string): Destination {
  return { kind: "postgres", table };
}

/** A topic of results, in Avro. */
export function kafka(topic: string): Destination {
  return { kind: "kafka", topic };
}

/** How often open windows are published: `every` so long and once more when final, or only `"final"`. */
export type Emit = { readonly every: Duration } | "final";

type AggregationOf<S> =
  | Aggregation<"count", FieldOf<S>>
  | Aggregation<"sum" | "avg", FieldOf<S, NumberType>>
  | Aggregation<"min" | "max", FieldOf<S, OrderedType>>;

export interface PipelineOptions<S extends SchemaReference> {
  /** Lower case, digits and `_`; names the pipeline in the API, and its checkpoint. */
  readonly name: string;
  readonly from: Topic<S>;
  /** A condition in DuckDB's SQL over the record's fields; records for which it is not true are left out. */
  readonly where?: string;
  /**
   * Counts records with the same value only once, when their event times are within so much of each other. Looks within each
   * partition: producers that repeat themselves write the same key, and so to the same partition.
   */
  readonly dedupe?: { readonly by: FieldOf<NoInfer<S>, KeyType>; readonly within: Duration };
  /** When so many of the last `of` records are dead letters the pipeline stops; 9,000 of 10,000 unless told. */
  readonly deadLetters?: { readonly stopAt: { readonly dead: number; readonly of: number } | "never" };
  /** Fields that make the key; none for one result per window. */
  readonly groupBy: readonly FieldOf<NoInfer<S>, KeyType>[];
  readonly window: Window;
  /** Result columns by name. */
  readonly select: Readonly<Record<string, AggregationOf<NoInfer<S>>>>;
  /** Every second unless told. */
  readonly emit?: Emit;
  readonly to: readonly Destination[];
}

/** A pipeline as it was written, not checked yet. */
export interface Definition {
  readonly kind: "pipeline";
  readonly name: string;
  readonly from: {
    readonly topic: string;
    readonly options: {
      readonly schema: AvroSchema;
      readonly eventTime: string;
      readonly allowedLateness?: Duration;
      readonly idleAfter?: Duration;
      readonly partitions?: number;
      readonly archive?: Lake;
    };
  };
  readonly where?: string;
  readonly dedupe?: { readonly by: string; readonly within: Duration };
  readonly deadLetters?: { readonly stopAt: { readonly dead: number; readonly of: number } | "never" };
  readonly groupBy: readonly string[];
  readonly window: Window;
  readonly select: Readonly<Record<string, Aggregation>>;
  readonly emit?: Emit;
  readonly to: readonly Destination[];
}

/** A pipeline: what `streams/*.ts` exports by default. */
export function pipeline<const S extends SchemaReference>(options: PipelineOptions<S>): Definition {
  return { kind: "pipeline", ...options };
}
