/**
 * Typed SQL expressions, as plain data. Made by the expression parser from DuckDB's own syntax tree; compiled to kernels.
 *
 * @module
 */
import type { FieldType } from "../columns.ts";

/**
 * A literal's value, in the unit of its type: decimals as text (`"12.50"`), whole numbers beyond 2^53 as text, times and timestamps in
 * milliseconds or microseconds, dates in days, and `"NaN"`, `"Infinity"`, `"-Infinity"` for what JSON cannot say of doubles.
 */
export type LiteralValue = string | number | boolean | null;

export type Expression =
  | { readonly kind: "field"; readonly field: number; readonly type: FieldType }
  | { readonly kind: "literal"; readonly value: LiteralValue; readonly type: FieldType }
  | {
    readonly kind: "call";
    /**
     * Canonical operator or function name, e.g. `=`, `and`, `is null`, `like`, `+`, `lower`, `case`. Operands have been cast (`cast`) to
     * what DuckDB would compare or compute them in, so those of a comparison or of arithmetic are of one type.
     */
    readonly operator: string;
    readonly arguments: readonly Expression[];
    readonly type: FieldType;
  };
