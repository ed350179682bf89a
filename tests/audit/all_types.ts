/**
 * Result rows with a column of every type, with values that are easily lost.
 *
 * @module
 */
import type { FieldType } from "../../pipeline/columns.ts";
import type { ResultColumn } from "../../pipeline/plan/plan.ts";
import type { ResultValue } from "../../pipeline/sinks/sink.ts";

export const START = Date.UTC(2026, 0, 1);
export const MINUTE = 60_000;

function column(name: string, role: ResultColumn["role"], type: FieldType["type"] | FieldType, nullable = false) {
  return { name, role, type: typeof type === "string" ? { type, nullable } as FieldType : type };
}

export const COLUMNS: readonly ResultColumn[] = [
  column("shop", "key", "string", true),
  column("code", "key", "uuid"),
  column("day", "key", "date"),
  column("window_start", "window_start", "timestamp-millis"),
  column("window_end", "window_end", "timestamp-millis"),
  column("n", "value", "long"),
  column("total", "value", { type: "decimal", precision: 38, scale: 2, nullable: true }),
  column("mean", "value", "double", true),
  column("small", "value", "float", true),
  column("raw", "value", "bytes", true),
  column("opened", "value", "time-micros", true),
  column("last", "value", "timestamp-micros", true),
  column("is_open", "value", "boolean", true),
  column("revision", "revision", "long"),
  column("final", "final", "boolean"),
];

/** A row; `changes` replaces values. */
export function row(changes: Readonly<Record<string, ResultValue>> = {}): ResultValue[] {
  const values: Record<string, ResultValue> = {
    shop: "a",
    code: "00000000-0000-4000-8000-00000000000a",
    day: -1,
    window_start: START,
    window_end: START + MINUTE,
    n: 1,
    total: "1.50",
    mean: 0.1,
    small: Math.fround(0.1),
    raw: new Uint8Array([0, 255]),
    opened: 1_500_001,
    last: -62_000_000_000_000_001n,
    is_open: true,
    revision: 1,
    final: true,
    ...changes,
  };
  return COLUMNS.map(({ name }) => values[name]);
}

export const ROWS = [
  row(),
  row({ shop: null, mean: -0, total: "-0.01", small: null, raw: null, opened: null, last: null, is_open: null }),
  row({ shop: "\u0000␀é", mean: Infinity, n: 2n ** 62n }),
  row({ code: "00000000-0000-4000-8000-00000000000B", window_start: START + MINUTE, window_end: START + 2 * MINUTE }),
];
