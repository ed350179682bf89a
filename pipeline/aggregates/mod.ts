/**
 * The accumulators a plan asks for.
 *
 * @module
 */
import { columnKind, type FieldType } from "../columns.ts";
import type { Accumulator, Plan } from "../plan/plan.ts";
import type { Aggregate } from "./aggregate.ts";
import { Count } from "./count.ts";
import { DoubleExtreme, IntegerExtreme, WideExtreme } from "./extreme.ts";
import { DoubleSum } from "./double_sum.ts";
import { IntegerSum, WideSum } from "./sum.ts";

/**
 * One aggregate per accumulator of the plan, in order; null for `count(*)`, which the pane set counts anyway.
 */
export function createAggregates(plan: Plan): (Aggregate | null)[] {
  return plan.accumulators.map((accumulator) =>
    accumulator.field === null ? null : createAggregate(accumulator.kind, plan.fields[accumulator.field].type)
  );
}

function createAggregate(kind: Accumulator["kind"], type: FieldType): Aggregate {
  if (kind === "count") return new Count();
  const layout = columnKind(type);
  const scale = type.type === "decimal" ? type.scale : 0;
  if (kind === "sum") {
    return layout === "f64" ? new DoubleSum() : layout === "bytes" ? new WideSum(scale) : new IntegerSum(type);
  }
  return layout === "f64"
    ? new DoubleExtreme(kind)
    : layout === "bytes"
    ? new WideExtreme(scale, kind)
    : new IntegerExtreme(type, kind);
}
