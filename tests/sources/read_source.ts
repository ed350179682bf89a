/**
 * A source read by hand, as its task reads it: batch by batch, with the position of each, through JSON as it is kept.
 *
 * @module
 */
import { systemClock } from "../../pipeline/clock.ts";
import { avroType, type Json } from "../../pipeline/codec/avro_values.ts";
import type { AvroSchema } from "../../pipeline/plan/plan.ts";
import { createSecrets } from "../../pipeline/secrets.ts";
import type { Rejected, Source, SourcePosition } from "../../pipeline/sources/source.ts";
import type { SourceContext, SourceKind, SourceSpec } from "../../pipeline/sources/source_spec.ts";
import type { Clock } from "../../pipeline/clock.ts";

export interface Opening {
  readonly schema: AvroSchema;
  readonly key?: string | null;
  readonly databaseUrl?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** What the source says, `warn: ...`. */
  readonly logged?: string[];
}

/** What a source of a test is opened with; it writes to no topic. */
export function contextOf(spec: SourceSpec, { schema, key = null, databaseUrl = "", env = {}, logged }: Opening) {
  const context: Omit<SourceContext, "registry"> = {
    plan: {
      name: "tested",
      from: spec,
      to: { kind: "topic", topic: "tested", schema, key, eventTime: "at" },
      into: null,
      limitPerSecond: null,
      partitions: null,
    },
    secrets: createSecrets({ env: (name) => env[name], folder: "/nonexistent", onFound: () => {} }),
    schemaId: 7,
    ensureTopics: () => Promise.resolve(),
    clock: systemClock,
    log: (level, message) => void logged?.push(`${level}: ${message}`),
    folder: "/nonexistent",
    databaseUrl,
    own: { brokers: [], cluster: { clientId: "tested", ssl: false, sasl: null }, registryUrl: "" },
  };
  // Boundary: the sources that are tested this way ask no registry.
  return context as SourceContext;
}

/** A batch, its records as JSON. */
export interface ReadBatch {
  readonly values: readonly Record<string, Json>[];
  readonly keys: readonly (string | null)[];
  readonly rejected: readonly Rejected[];
  readonly skipped: number;
  readonly position: SourcePosition;
}

export interface Reading {
  readonly position?: SourcePosition | null;
  readonly isBounded?: boolean;
  readonly clock?: Clock;
  readonly signal?: AbortSignal;
  readonly waits?: (string | null)[];
}

/** Opens, reads and closes. The position goes through JSON text, as in its topic. */
export async function* readBatches<Spec extends SourceSpec>(
  kind: SourceKind<Spec>,
  spec: Spec,
  options: Opening & Reading,
): AsyncGenerator<ReadBatch> {
  const { position = null, isBounded = true, clock = systemClock, waits } = options;
  await using source: Source = await kind.open(spec, contextOf(spec, options));
  const ending = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, ending.signal]) : ending.signal;
  const type = avroType(options.schema);
  const text = new TextDecoder();
  const onWaiting = (reason: string | null) => void waits?.push(reason);
  try {
    for await (const batch of source.read(position, { signal, clock, isBounded, onWaiting })) {
      yield {
        values: batch.records.map(({ value }) => type.decodeToJson(value!.subarray(5)) as Record<string, Json>),
        keys: batch.records.map(({ key }) => key && text.decode(key)),
        rejected: batch.rejected ?? [],
        skipped: batch.skipped ?? 0,
        position: JSON.parse(JSON.stringify(batch.position)),
      };
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    ending.abort();
  }
}

/** Everything that is there, and the last position. */
export async function readAll<Spec extends SourceSpec>(
  kind: SourceKind<Spec>,
  spec: Spec,
  options: Opening & Reading,
): Promise<{ values: Record<string, Json>[]; rejected: Rejected[]; position: SourcePosition | null; batches: number }> {
  const values: Record<string, Json>[] = [];
  const rejected: Rejected[] = [];
  let position = options.position ?? null;
  let batches = 0;
  for await (const batch of readBatches(kind, spec, options)) {
    values.push(...batch.values);
    rejected.push(...batch.rejected);
    position = batch.position;
    batches++;
  }
  return { values, rejected, position, batches };
}
