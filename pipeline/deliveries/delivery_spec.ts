/**
 * All that records can be delivered to: one line for each kind here, the rest is in pipeline/sinks.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import type { Fault } from "../errors.ts";
import type { AvroSchema, ResultColumn } from "../plan/plan.ts";
import type { Secrets } from "../secrets.ts";
import type { CassandraSession } from "../sinks/cassandra/session.ts";
import type { Sink } from "../sinks/sink.ts";

/** Plain data (JSON), made by the builder of its kind, such as `jsonFiles("products", { .. })`. */
export type DeliverySpec = { readonly kind: string };

/** A delivery's definition, checked. */
export interface DeliveryPlan {
  readonly name: string;
  readonly topic: string;
  readonly schema: AvroSchema;
  /** Names of the columns that make the key; empty for one row per record. */
  readonly key: readonly string[];
  /** What sinks get: see `deliveryColumns`. */
  readonly columns: readonly ResultColumn[];
  readonly to: readonly DeliverySpec[];
  readonly consumers: number;
  readonly batch: { readonly rows: number; readonly everyMs: number };
  readonly limitPerSecond: number | null;
  readonly partitions: number | null;
}

/** Where destinations are, as this process is configured. */
export interface Outside {
  readonly secrets: Secrets;
  /** The results' PostgreSQL. */
  readonly databaseUrl: string;
  /** Where files go whose address is a relative one. */
  readonly dataDir: string;
  readonly fetch: typeof fetch;
  /** Where the process has one. */
  readonly cassandra?: CassandraSession;
}

/** What a sink of a delivery is opened with. */
export interface DeliveryContext extends Outside {
  readonly plan: DeliveryPlan;
  /** Which member of the group writes, from 0. */
  readonly consumer: number;
  readonly clock: Clock;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
}

/** What a kind of destination is. */
export interface DeliveryKind<Spec extends DeliverySpec = DeliverySpec> {
  /** All that is wrong with a spec, `where` without the definition's name: `to[0].url`. */
  check(spec: Spec, plan: DeliveryPlan): readonly Fault[];
  /** What people are shown: `cassandra shop.user_profiles`. */
  describe(spec: Spec): string;
  /** Two deliveries, or a delivery and a pipeline, must not have the same: `cassandra("user_profiles")`. */
  claim(spec: Spec): string;
  /** What has to be configured before it can be opened, besides secrets, in words; null when all is there. */
  missing?(spec: Spec, outside: Outside): string | null;
  open(spec: Spec, context: DeliveryContext): Promise<Sink>;
}

/** Loaded when first needed: a pipeline without deliveries does without their libraries. */
const KINDS: Readonly<Record<string, () => Promise<DeliveryKind<never>>>> = {
  cassandra: async () => (await import("../sinks/cassandra/kind.ts")).cassandraKind,
  postgresTable: async () => (await import("../sinks/postgres_raw/kind.ts")).postgresTableKind,
  jsonFiles: async () => (await import("../sinks/files/kind.ts")).jsonFilesKind,
  parquetFiles: async () => (await import("../sinks/files/parquet_kind.ts")).parquetFilesKind,
  webhook: async () => (await import("../sinks/webhook/kind.ts")).webhookKind,
};

/** Whether a builder made it, and one of destinations. */
export function isDeliverySpec(spec: unknown): spec is DeliverySpec {
  return Object.hasOwn(KINDS, String((spec as Partial<DeliverySpec> | null | undefined)?.kind));
}

/** @throws Error for a spec that is none: see `isDeliverySpec` */
export async function deliveryKind(spec: DeliverySpec): Promise<DeliveryKind> {
  const load = KINDS[spec.kind];
  if (!load) throw new Error(`There is no destination of the kind ${spec.kind}`);
  return await load() as unknown as DeliveryKind;
}
