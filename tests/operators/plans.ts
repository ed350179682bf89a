import type { FieldType } from "../../pipeline/columns.ts";
import type { Plan } from "../../pipeline/plan/plan.ts";

/** A plan over the fields given, the first of which is the event time; counts records and sums the last field. */
export function planOver(fields: readonly FieldType[], options: Partial<Plan> & { readonly keys: number[] }): Plan {
  const { keys, ...rest } = options;
  const last = fields.length - 1;
  return {
    name: "p",
    fingerprint: "f",
    topic: "t",
    schema: "null",
    fields: fields.map((type, i) => ({ path: `f${i}`, type })),
    eventTime: 0,
    allowedLatenessMs: 0,
    idleAfterMs: 1000,
    where: null,
    dedupe: null,
    deadLetters: null,
    groupBy: keys.map((field) => ({ name: `f${field}`, field })),
    window: { kind: "tumbling", sizeMs: 1000, offsetMs: 0 },
    accumulators: [{ kind: "count", field: null }, { kind: "sum", field: last }],
    select: [
      { name: "n", aggregate: "count", accumulators: [0], type: { type: "long", nullable: false } },
      { name: "total", aggregate: "sum", accumulators: [1], type: { type: "long", nullable: true } },
    ],
    emitEveryMs: null,
    sinks: [],
    ...rest,
  };
}
