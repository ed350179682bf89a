/**
 * Conditions compiled to JavaScript over columns: one loop, no objects per row. SQL's third truth value costs nothing where only
 * "is it true" matters: `isTrue(a AND b)` is `isTrue(a) && isTrue(b)`, `isTrue(NOT a)` is `isFalse(a)`.
 *
 * @module
 */
import type { Columns } from "../columns.ts";
import { RowFault } from "./exact.ts";
import type { Expression } from "./expression.ts";
import { KernelWriter } from "./kernel_writer.ts";
import { runtime } from "./kernel_runtime.ts";
import type { PlanField } from "./plan.ts";

/**
 * Writes the indexes of the rows for which the condition is true to `selection`, in order, and returns how many.
 *
 * A row for which it cannot be computed (a sum that overflows, a cast out of range) is not selected but added to `columns.bad`, with
 * `row` from `columns.source` as the decoder does, `bad` staying in order. So of `columns.length` rows, those neither selected nor added to
 * `bad` by this call were filtered.
 */
export type Filter = (columns: Columns, selection: Int32Array) => number;

/** Compiles a condition over `fields`, the plan's columns in order. `selection` must hold as many rows as the columns. */
export function compileFilter(expression: Expression, fields: readonly PlanField[]): Filter {
  const writer = new KernelWriter(fields);
  const test = writer.condition(expression, true);
  const body = writer.fallible
    ? `try { if (${test}) selection[count++] = r; } catch (fault) { report(columns, r, fault); }`
    : `if (${test}) selection[count++] = r;`;
  const source = `"use strict";
const { ${Object.keys(runtime).join(", ")} } = $runtime;
${writer.constants.map((_, i) => `const k${i} = $constants[${i}];`).join("\n")}
return function filter(columns, selection) {
  const length = columns.length;
  const badBefore = columns.bad.length;
  let count = 0;
${writer.hoisted("columns")}
  ${writer.temporaries.length > 0 ? `let ${writer.temporaries.join(", ")};` : ""}
  for (let r = 0; r < length; r++) {
    ${body}
  }
  if (columns.bad.length > badBefore) columns.bad.sort((a, b) => a.row - b.row);
  return count;
};`;
  // The text holds numbers, names made here and field indexes only; every literal of the condition comes in through $constants.
  const make = new Function("$runtime", "$constants", "report", source) as (
    helpers: typeof runtime,
    constants: readonly unknown[],
    report: (columns: Columns, row: number, fault: unknown) => void,
  ) => Filter;
  return make(runtime, writer.constants, reportFault);
}

function reportFault(columns: Columns, row: number, fault: unknown): void {
  if (!(fault instanceof RowFault)) throw fault;
  columns.bad.push({ row: columns.source[row], reason: `where: ${fault.reason}` });
}
