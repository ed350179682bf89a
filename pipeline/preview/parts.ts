/**
 * What of a definition is another one.
 *
 * @module
 */
import { type Plan, type Selected, targetOf } from "../plan/plan.ts";

type Part = (plan: Plan) => unknown;

/** By the names that definitions use; those of the first group decide results. */
const DECIDING: Readonly<Record<string, Part>> = {
  "from (topic)": ({ topic }) => topic,
  "from.schema": ({ schema }) => withoutDoc(schema),
  "from.eventTime": (plan) => plan.fields[plan.eventTime].path,
  "from.allowedLateness": ({ allowedLatenessMs }) => allowedLatenessMs,
  "from.idleAfter": ({ idleAfterMs }) => idleAfterMs,
  "where": ({ where }) => where?.sql ?? null,
  "dedupe": ({ dedupe, fields }) => dedupe && [fields[dedupe.field].path, dedupe.withinMs],
  "groupBy": ({ groupBy, fields }) => groupBy.map(({ name, field }) => [name, fields[field].path]),
  "window": ({ window }) => window,
  "select": (plan) => plan.select.map((column) => selectedOf(plan, column)),
};

const OTHERS: Readonly<Record<string, Part>> = {
  "name": ({ name }) => name,
  "emit": ({ emitEveryMs }) => emitEveryMs,
  "deadLetters": ({ deadLetters }) => deadLetters,
  "from.archive": ({ archive }) => archive ?? null,
  "to": ({ sinks }) => sinks.map((sink) => `${sink.kind} ${targetOf(sink)}`).sort(),
};

/** Names of the parts that differ. */
export function changedParts(before: Plan, after: Plan): string[] {
  return Object.entries({ ...DECIDING, ...OTHERS })
    .filter(([, part]) => JSON.stringify(part(before)) !== JSON.stringify(part(after)))
    .map(([name]) => name);
}

/** Whether a change of this part makes saved state useless. */
export function decidesResults(part: string): boolean {
  return part in DECIDING;
}

function selectedOf({ accumulators, fields }: Plan, { name, aggregate, accumulators: used }: Selected): unknown {
  const { field } = accumulators[used[0]];
  return [name, aggregate, field === null ? null : fields[field].path];
}

/** As the fingerprint takes it. */
function withoutDoc(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withoutDoc);
  if (typeof schema !== "object" || schema === null) return schema;
  return Object.fromEntries(
    Object.entries(schema).filter(([name]) => name !== "doc").sort(([a], [b]) => a < b ? -1 : 1)
      .map(([name, inner]) => [name, withoutDoc(inner)]),
  );
}
