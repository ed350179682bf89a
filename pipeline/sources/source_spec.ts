/**
 * All that a source can read from, and what is made of it: one line for each kind here, the rest is in its own folder.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import type { Fault } from "../errors.ts";
import type { RegistryClient } from "../log/registry_client.ts";
import type { AvroSchema } from "../plan/plan.ts";
import type { Secrets } from "../secrets.ts";
import type { ClusterAddress } from "./cluster_address.ts";
import type { ClusterReference } from "./definition.ts";
import type { Source } from "./source.ts";

/** Plain data (JSON), made by the builder of its kind, such as `httpPoll({ .. })`. */
export type SourceSpec = { readonly kind: string };

/** A source's definition, checked. */
export interface SourcePlan {
  readonly name: string;
  readonly from: SourceSpec;
  /** The topic that is written, or for a source that names topics itself what their names begin with. */
  readonly to:
    | {
      readonly kind: "topic";
      readonly topic: string;
      readonly schema: AvroSchema;
      /** Dotted path of the record's key; null for none. */
      readonly key: string | null;
      /** Dotted path of the event time. */
      readonly eventTime: string;
    }
    | { readonly kind: "topics"; readonly prefix: string };
  /** Null for Tailrace's own. */
  readonly into: ClusterReference | null;
  readonly limitPerSecond: number | null;
  /** Partitions to create the topic with, where it does not exist yet and the definition says so. */
  readonly partitions: number | null;
}

/** What a source is opened with. */
export interface SourceContext {
  readonly plan: SourcePlan;
  readonly secrets: Secrets;
  /** Of the cluster that is written to. */
  readonly registry: RegistryClient;
  /** Under which `plan.to.schema` is registered; 0 where the source names topics itself. */
  readonly schemaId: number;
  /** Makes topics that the source needs besides its own. @throws UnavailableError */
  readonly ensureTopics: (
    topics: readonly { readonly topic: string; readonly partitions?: number; readonly isCompacted?: boolean }[],
  ) => Promise<void>;
  readonly clock: Clock;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
  /** A folder of its own for what may be lost. */
  readonly folder: string;
  /** The results' PostgreSQL: what a source of `dev` reads where no other is named. */
  readonly databaseUrl: string;
  /** Tailrace's own cluster: what a source reads that reads from it. */
  readonly own: ClusterAddress;
}

/** What a kind of source is. */
export interface SourceKind<Spec extends SourceSpec = SourceSpec> {
  /** What `to` may be. */
  readonly to: SourcePlan["to"]["kind"];
  /** All that is wrong with a spec, `where` without the definition's name: `from.url`. */
  check(spec: Spec, plan: SourcePlan): readonly Fault[];
  /** What people are shown: `GET https://api.example.com/users`. */
  describe(spec: Spec): string;
  /** What keeps it from running here, besides secrets, in words; null when nothing does. */
  missing?(spec: Spec, here: { readonly makesUp: boolean }): string | null;
  /** @throws ConfigError, UnavailableError as the other side has it */
  open(spec: Spec, context: SourceContext): Promise<Source>;
}

/** Loaded when first needed: a pipeline without sources does without their libraries. */
const KINDS: Readonly<Record<string, () => Promise<SourceKind<never>>>> = {
  postgresChanges: async () => (await import("./postgres_changes/kind.ts")).postgresChangesKind,
  madeUp: async () => (await import("./made_up/kind.ts")).madeUpKind,
  eventStream: async () => (await import("./feed/kind.ts")).eventStreamKind,
  httpPoll: async () => (await import("./http/kind.ts")).httpPollKind,
  kafkaTopics: async () => (await import("./kafka_topics/kind.ts")).kafkaTopicsKind,
  postgresRows: async () => (await import("./postgres_rows/kind.ts")).postgresRowsKind,
  files: async () => (await import("./files/kind.ts")).filesKind,
  webSocket: async () => (await import("./feed/kind.ts")).webSocketKind,
};

/** Whether a builder made it, and one of sources. */
export function isSourceSpec(spec: unknown): spec is SourceSpec {
  return Object.hasOwn(KINDS, String((spec as Partial<SourceSpec> | null | undefined)?.kind));
}

/** @throws Error for a spec that is none: see `isSourceSpec` */
export async function sourceKind(spec: SourceSpec): Promise<SourceKind> {
  const load = KINDS[spec.kind];
  if (!load) throw new Error(`There is no source of the kind ${spec.kind}`);
  return await load() as unknown as SourceKind;
}
