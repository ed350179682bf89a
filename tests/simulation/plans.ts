import { count, pipeline, sum, topic, tumbling } from "../../pipeline/definition.ts";
import { planOf } from "../../pipeline/plan/compile.ts";
import type { AvroSchema, Plan } from "../../pipeline/plan/plan.ts";
import type { Rules } from "./oracle.ts";
import type { Random } from "./random.ts";
import { SCHEMA } from "./source_log.ts";

export const TOPIC = "events";
export const RESULTS = "results";
export const PIPELINE = "totals";
const BELOW = 90;

async function base(where?: string): Promise<Plan> {
  return await planOf(
    pipeline({
      name: PIPELINE,
      from: topic(TOPIC, { schema: SCHEMA as unknown as Exclude<AvroSchema, string>, eventTime: "at" }),
      ...(where === undefined ? {} : { where }),
      groupBy: ["k"],
      window: tumbling("1s"),
      select: { n: count(), total: sum("v") },
      to: [{ kind: "postgres", table: RESULTS }, { kind: "kafka", topic: RESULTS }],
    }),
    new Map(),
  );
}

const plain = await base();
const filtered = await base(`v < ${BELOW}`);

/** A plan as its compiler would make it for other times, and the same rules for the oracle. */
export function anyPlan(random: Random): { plan: Plan; rules: Rules } {
  const isFiltered = random.chance(0.5);
  const windowMs = random.pick([500, 1_000]);
  const allowedLatenessMs = random.pick([0, 200, 700]);
  const dedupeMs = random.chance(0.4) ? random.pick([300, 1_500]) : null;
  const from = isFiltered ? filtered : plain;
  const idField = from.fields.findIndex(({ path }) => path === "id");
  const fields = dedupeMs === null || idField >= 0
    ? from.fields
    : [...from.fields, { path: "id", type: { type: "string" as const, nullable: true } }];
  const plan: Plan = {
    ...from,
    fields,
    fingerprint: "simulated",
    window: { kind: "tumbling", sizeMs: windowMs, offsetMs: 0 },
    allowedLatenessMs,
    idleAfterMs: random.pick([400, 900]),
    dedupe: dedupeMs === null ? null : { field: fields.findIndex(({ path }) => path === "id"), withinMs: dedupeMs },
    deadLetters: null,
    emitEveryMs: random.pick([null, 200, 700]),
  };
  const rules = { pipeline: PIPELINE, windowMs, allowedLatenessMs, below: isFiltered ? BELOW : Infinity, dedupeMs };
  return { plan, rules };
}
