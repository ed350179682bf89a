/**
 * The since-cursor: the largest value of a field of the records, by which the next round asks only for what came after.
 *
 * Values are numbers here: milliseconds since 1970 for times, or the number itself.
 *
 * @module
 */
import { parseDuration } from "../../plan/durations.ts";
import type { Since } from "./definition.ts";
import { jsonPath, valueAt } from "./json_path.ts";

const OVERLAP = "1 minute";
const RFC_3339 = /^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?$/i;

export interface SinceReader {
  /** Of a record; null where it has none that can be read. */
  of(record: unknown): number | null;
  /** What a round asks for after so far had been read; null for everything. */
  asked(largest: number | null): number | null;
  /** As the API takes it. */
  text(value: number): string | number;
  /** Never past `roundMs`, when the round began: one record with a time of the far future would hide all others. */
  bounded(value: number, roundMs: number): number;
}

/** @throws Error for a definition that was not checked */
export function sinceReader(since: Since): SinceReader {
  const path = jsonPath(since.path);
  const overlap = overlapOf(since);
  const start = since.start === undefined ? null : sinceValue(since.start, since.as);
  if (typeof overlap === "string") throw new Error(overlap);
  const isTime = since.as !== "number";
  return {
    of: (record) => sinceValue(valueAt(record, path), since.as),
    asked: (largest) => largest === null ? start : Math.max(largest - overlap, start ?? -Infinity),
    text: (value) =>
      since.as === "time" ? new Date(value).toISOString() : since.as === "seconds" ? Math.floor(value / 1000) : value,
    bounded: (value, roundMs) => isTime ? Math.min(value, roundMs) : value,
  };
}

/** In the unit of the values; or, as a string, what is wrong with it. */
export function overlapOf({ as, overlap }: Since): number | string {
  if (as === "number") {
    if (overlap === undefined) return 0;
    return typeof overlap === "number" && overlap >= 0
      ? overlap
      : `${overlap} is not a number from 0 on, as its values are`;
  }
  if (typeof overlap === "number") return `${overlap} has no unit: write a duration, such as "1 minute"`;
  return parseDuration(overlap ?? OVERLAP);
}

/** Null for what is no such value. Times finer than a millisecond are taken down to it: what is met again is known. */
export function sinceValue(value: unknown, as: Since["as"]): number | null {
  if (as === "time") {
    if (typeof value !== "string" || !RFC_3339.test(value)) return null;
    // Without a zone it is taken for UTC, not for where this machine is.
    const ms = Date.parse(/(Z|[+-]\d{2}:?\d{2})$/i.test(value) ? value : `${value}Z`);
    return Number.isNaN(ms) ? null : ms;
  }
  const number = typeof value === "string" && /^-?\d{1,15}(\.\d+)?$/.test(value) ? Number(value) : value;
  if (typeof number !== "number" || !Number.isFinite(number)) return null;
  return as === "seconds" ? number * 1000 : number;
}
