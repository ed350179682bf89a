/**
 * Dates and times in ISO 8601, to and from the whole numbers that Avro stores.
 *
 * @module
 */

const DAY_MS = 86_400_000;
/** The furthest that a Date reaches. */
const DATE_MS_MAX = 8.64e15;
const DATE = /^(\d{4}|[+-]\d{6})-(\d\d)-(\d\d)$/;
const TIME = /^(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?$/;
const TIMESTAMP = /^((?:\d{4}|[+-]\d{6})-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)(Z|z|[+-]\d\d:?\d\d)?$/;

/** Days since 1970-01-01, or null when the text is no date. */
export function parseDate(text: string): number | null {
  const match = DATE.exec(text);
  if (match === null) return null;
  const [year, month, day] = match.slice(1).map(Number);
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  // The 30th of February would have become the 1st or 2nd of March.
  return date.getUTCMonth() === month - 1 && date.getUTCDate() === day ? date.getTime() / DAY_MS : null;
}

function formatDate(days: number): string | null {
  const date = new Date(days * DAY_MS);
  return Number.isNaN(date.getTime()) ? null : date.toISOString().slice(0, -14);
}

/** Microseconds since midnight, or null; digits beyond microseconds must be zero. */
export function parseTime(text: string): number | null {
  const match = TIME.exec(text);
  if (match === null) return null;
  const [hours, minutes, seconds] = match.slice(1, 4).map((part) => Number(part ?? 0));
  const fraction = (match[4] ?? "").padEnd(9, "0");
  if (hours > 23 || minutes > 59 || seconds > 59 || !fraction.endsWith("000")) return null;
  return ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + Number(fraction.slice(0, 6));
}

/** `digits` of a second: 3 or 6. Null when the value is outside the day. */
function formatTime(micros: number, digits: 3 | 6): string | null {
  if (micros < 0 || micros >= DAY_MS * 1000) return null;
  const seconds = Math.floor(micros / 1_000_000);
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const fraction = String(micros % 1_000_000).padStart(6, "0").slice(0, digits);
  return `${parts.map((part) => String(part).padStart(2, "0")).join(":")}.${fraction}`;
}

/**
 * Microseconds since 1970-01-01T00:00:00Z, or null when the text is no timestamp. With `local` there must be no zone, and
 * the wall time is taken as UTC; otherwise there must be one.
 */
export function parseTimestamp(text: string, local = false): bigint | null {
  const match = TIMESTAMP.exec(text);
  if (match === null || (match[3] === undefined) !== local) return null;
  const days = parseDate(match[1]);
  const micros = parseTime(match[2]);
  if (days === null || micros === null) return null;
  const zone = /^([+-])(\d\d):?(\d\d)$/.exec(match[3] ?? "");
  const offset = zone === null ? 0 : (zone[1] === "-" ? -1 : 1) * (Number(zone[2]) * 60 + Number(zone[3]));
  return BigInt(days) * BigInt(DAY_MS * 1000) + BigInt(micros) - BigInt(offset * 60_000_000);
}

/** Null beyond the years that ISO 8601 text can show. */
function formatTimestamp(micros: bigint, digits: 3 | 6, local = false): string | null {
  const below = ((micros % 1000n) + 1000n) % 1000n;
  const date = new Date(Number((micros - below) / 1000n));
  if (Number.isNaN(date.getTime())) return null;
  const finest = digits === 6 ? String(below).padStart(3, "0") : "";
  return date.toISOString().slice(0, -1) + finest + (local ? "" : "Z");
}

/** Milliseconds since the epoch in ISO 8601; null beyond what a Date holds: an event time may be any 64-bit number. */
export function isoTime(ms: number): string | null {
  return Math.abs(ms) <= DATE_MS_MAX ? new Date(ms).toISOString() : null;
}

/**
 * A value of a date or time, by Avro's name of the logical type, in ISO 8601: null where no calendar of ours reaches it, undefined
 * for a type that is no time.
 */
export function timeText(type: string, value: number | bigint): string | null | undefined {
  switch (type) {
    case "date":
      return formatDate(Number(value));
    case "time-millis":
      return formatTime(Number(value) * 1000, 3);
    case "time-micros":
      return formatTime(Number(value), 6);
    case "timestamp-millis":
      return formatTimestamp(BigInt(value) * 1000n, 3);
    case "timestamp-micros":
      return formatTimestamp(BigInt(value), 6);
    case "local-timestamp-millis":
      return formatTimestamp(BigInt(value) * 1000n, 3, true);
    case "local-timestamp-micros":
      return formatTimestamp(BigInt(value), 6, true);
  }
}
