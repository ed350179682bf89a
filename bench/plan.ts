import type { Plan } from "../pipeline/plan/plan.ts";
import { ALLOWED_LATENESS_MS, SCHEMA, WINDOW_MS } from "./workload.ts";

/** The race's query: per account and 10 s, how many, how much, the least and the greatest amount. */
export function racePlan(topic: string, table: string, options: { readonly windowMs?: number } = {}): Plan {
  const string = { type: "string", nullable: false } as const;
  const double = { type: "double", nullable: false } as const;
  return {
    name: table,
    fingerprint: "bench",
    topic,
    schema: SCHEMA,
    fields: [
      { path: "account_id", type: string },
      { path: "amount", type: double },
      { path: "event_time", type: { type: "timestamp-millis", nullable: false } },
    ],
    eventTime: 2,
    allowedLatenessMs: ALLOWED_LATENESS_MS,
    idleAfterMs: 10_000,
    where: null,
    dedupe: null,
    deadLetters: null,
    groupBy: [{ name: "account_id", field: 0 }],
    window: { kind: "tumbling", sizeMs: options.windowMs ?? WINDOW_MS, offsetMs: 0 },
    accumulators: [
      { kind: "count", field: null },
      { kind: "sum", field: 1 },
      { kind: "min", field: 1 },
      { kind: "max", field: 1 },
    ],
    select: [
      { name: "n", aggregate: "count", accumulators: [0], type: { type: "long", nullable: false } },
      { name: "total", aggregate: "sum", accumulators: [1], type: double },
      { name: "lo", aggregate: "min", accumulators: [2], type: double },
      { name: "hi", aggregate: "max", accumulators: [3], type: double },
    ],
    emitEveryMs: 1_000,
    sinks: [{ kind: "postgres", table }],
  };
}
