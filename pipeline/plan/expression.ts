/**
 * Typed SQL expressions, as plain data. Made by the expression parser from DuckDB's own syntax tree; compiled to kernels.
 *
 * @module
 */
import type { FieldType } from "../columns.ts";

/** A literal's value: decimals as text (`"12.50"`), timestamps in microseconds, dates in days. */
export type LiteralValue = string | number | boolean | null;

export type Expression =
  | { readonly kind: "field"; readonly field: number; readonly type: FieldType }
  | { readonly kind: "literal"; readonly value: LiteralValue; readonly type: FieldType }
  | {
    readonly kind: "call";
    /** Canonical operator or function name, e.g. `=`, `and`, `is null`, `like`, `+`, `lower`, `case`. */
    readonly operator: string;
    readonly arguments: readonly Expression[];
    readonly type: FieldType;
  };
