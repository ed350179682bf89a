/**
 * Result columns: what each aggregation keeps for a pane, and the type it gives.
 *
 * @module
 */
import type { FieldType } from "../columns.ts";
import type { Aggregation } from "../definition.ts";
import type { FieldSet } from "./field_set.ts";
import type { Accumulator, Selected } from "./plan.ts";
import { aType, familyOf } from "./sql_types.ts";

const isNumber = (type: FieldType) => familyOf(type) === "exact" || familyOf(type) === "approximate";
const isOrdered = (type: FieldType) =>
  isNumber(type) || familyOf(type) === "date" || familyOf(type) === "time" || familyOf(type) === "timestamp";

/** The accumulators of a plan, each once however many results are computed from it. */
export class AccumulatorSet {
  readonly accumulators: Accumulator[] = [];

  /** The index of an accumulator. Counting a field that is never null is counting records. */
  index(kind: Accumulator["kind"], field: { readonly field: number; readonly type: FieldType } | null): number {
    const on = field === null || (kind === "count" && !field.type.nullable) ? null : field.field;
    const known = this.accumulators.findIndex((accumulator) => accumulator.kind === kind && accumulator.field === on);
    return known >= 0 ? known : this.accumulators.push({ kind, field: on }) - 1;
  }
}

/** One result column, or what is wrong with it. */
export function selected(
  { name, aggregation }: { readonly name: string; readonly aggregation: Aggregation },
  { fields, accumulators }: { readonly fields: FieldSet; readonly accumulators: AccumulatorSet },
): Selected | string {
  const { aggregate, field: path } = aggregation;
  if (!["count", "sum", "avg", "min", "max"].includes(aggregate)) {
    return "use count(), sum(..), avg(..), min(..) or max(..)";
  }
  if (path === null || path === undefined) {
    if (aggregate !== "count") return `${aggregate} needs a field: ${aggregate}("..")`;
    const count = accumulators.index("count", null);
    return { name, aggregate, accumulators: [count], type: { type: "long", nullable: false } };
  }
  const field = fields.find(path);
  const shown = `${aggregate}("${path}")`;
  if (typeof field === "string") return `${shown}: ${field}`;
  const { type } = field;
  if ((aggregate === "sum" || aggregate === "avg") && !isNumber(type)) {
    return `${shown} needs a number, and ${path} is ${aType(type)}; numbers are: ${fields.like(isNumber)}`;
  }
  if ((aggregate === "min" || aggregate === "max") && !isOrdered(type)) {
    return `${shown} needs a number, date or time, and ${path} is ${aType(type)}; those are: ${fields.like(isOrdered)}`;
  }
  const kept = aggregate === "avg"
    ? [accumulators.index("sum", field), accumulators.index("count", field)]
    : [accumulators.index(aggregate, field)];
  return { name, aggregate, accumulators: kept, type: resultType(aggregate, type) };
}

function resultType(aggregate: Aggregation["aggregate"], type: FieldType): FieldType {
  const { nullable } = type;
  switch (aggregate) {
    case "count":
      return { type: "long", nullable: false };
    case "avg":
      return { type: "double", nullable };
    case "min":
    case "max":
      return type;
    case "sum":
      if (type.type === "int") return { type: "long", nullable };
      if (type.type === "long") return { type: "decimal", precision: 38, scale: 0, nullable };
      if (type.type === "decimal") return { type: "decimal", precision: 38, scale: type.scale, nullable };
      return { type: "double", nullable };
  }
}
