/** Longest pause that an answer can ask for, milliseconds: after it, it is asked again. */
export const PAUSE_MS_MAX = 3_600_000;

/**
 * How long the other side wants to be left alone, milliseconds: `Retry-After` in seconds or as a date (RFC 9110, 10.2.3). Null
 * where it says nothing that can be read.
 */
export function retryAfterMs(headers: Headers, nowMs: number): number | null {
  const text = headers.get("retry-after")?.trim();
  if (!text) return null;
  if (/^\d{1,15}(\.\d+)?$/.test(text)) return bounded(Number(text) * 1000);
  // RFC 9110 has three forms of a date, and all of them name a day or a month.
  const at = /[a-z]{3}/i.test(text) ? Date.parse(text) : NaN;
  return Number.isNaN(at) ? null : bounded(at - nowMs);
}

/** Between none and the longest. */
export function bounded(ms: number): number {
  return Math.min(Math.max(ms, 0), PAUSE_MS_MAX);
}
