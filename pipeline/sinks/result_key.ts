import type { ResultColumn } from "../plan/plan.ts";
import type { ResultRows, ResultValue } from "./sink.ts";

const text = new TextEncoder();

/**
 * The Kafka key of a result row, made of its group keys:
 *
 * - one key: its text (`acct-1`, `42`, `true`), so that a topic keyed by the same strings has it in the same partition;
 *   null is the null key
 * - several: a JSON array of them, `["acct-1",42,null]`, bytes in hexadecimal
 * - none: the null key
 */
export function resultKey(columns: readonly ResultColumn[]): (rows: ResultRows, row: number) => Uint8Array | null {
  const keys = columns.flatMap(({ role }, index) => role === "key" ? [index] : []);
  if (keys.length === 0) return () => null;
  if (keys.length === 1) {
    return (rows, row) => {
      const value = rows.values[keys[0]][row];
      return value === null ? null : text.encode(plain(value));
    };
  }
  return (rows, row) => text.encode(`[${keys.map((index) => json(rows.values[index][row])).join(",")}]`);
}

function plain(value: Exclude<ResultValue, null>): string {
  if (!(value instanceof Uint8Array)) return String(value);
  return Array.from(value, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function json(value: ResultValue): string {
  if (value === null) return "null";
  const isText = typeof value === "string" || value instanceof Uint8Array ||
    // JSON has no NaN and no infinities.
    (typeof value === "number" && !Number.isFinite(value));
  return isText ? JSON.stringify(plain(value)) : plain(value);
}
