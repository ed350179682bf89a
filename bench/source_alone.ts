import { systemClock } from "../pipeline/clock.ts";
import type { AvroSchema } from "../pipeline/plan/plan.ts";
import type { Source } from "../pipeline/sources/source.ts";
import type { SourceContext, SourceKind, SourceSpec } from "../pipeline/sources/source_spec.ts";

/** A source by itself, whose records go nowhere: for those that ask no registry and make no topics. */
export async function openedAlone<Spec extends SourceSpec>(
  kind: SourceKind<Spec>,
  spec: Spec,
  { schema, key, databaseUrl = "" }: {
    readonly schema: AvroSchema;
    readonly key: string | null;
    readonly databaseUrl?: string;
  },
): Promise<Source> {
  const context: Partial<SourceContext> = {
    plan: {
      name: "bench",
      from: spec,
      to: { kind: "topic", topic: "bench", schema, key, eventTime: "at" },
      into: null,
      limitPerSecond: null,
      partitions: null,
    },
    schemaId: 1,
    clock: systemClock,
    log: () => {},
    databaseUrl,
  };
  // Boundary: what is left out is for sources that use it.
  return await kind.open(spec, context as SourceContext);
}
