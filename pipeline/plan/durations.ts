/** Lengths of time as definitions write them. @module */

const UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  millisecond: 1,
  s: 1000,
  second: 1000,
  m: 60_000,
  minute: 60_000,
  h: 3_600_000,
  hour: 3_600_000,
  d: 86_400_000,
  day: 86_400_000,
};

/** Longest duration taken. */
export const DURATION_DAYS_MAX = 3660;

/** Milliseconds of `"5s"`, `"1 minute"`, `"250ms"`; or, as a string, what is wrong with it. */
export function parseDuration(text: unknown): number | string {
  const expected = `write a whole number and a unit, such as "250ms", "5s", "1 minute", "1 day"`;
  if (typeof text !== "string") return `${JSON.stringify(text)} is not a duration: ${expected}`;
  const [, digits, word = ""] = /^(\d{1,15}) ?([a-z]+)$/.exec(text) ?? [];
  const unit = UNITS[word] ?? (word.length > 2 ? UNITS[word.replace(/s$/, "")] : undefined);
  if (digits === undefined || unit === undefined) return `${JSON.stringify(text)} is not a duration: ${expected}`;
  const ms = Number(digits) * unit;
  if (ms > DURATION_DAYS_MAX * UNITS.day) return `"${text}" is longer than ${DURATION_DAYS_MAX} days`;
  return ms;
}

/** The shortest text that means `ms`: `1 minute`, `90 seconds`. */
export function showDuration(ms: number): string {
  for (const unit of ["day", "hour", "minute", "second"]) {
    const count = ms / UNITS[unit];
    if (ms > 0 && Number.isInteger(count)) return `${count} ${unit}${count === 1 ? "" : "s"}`;
  }
  return `${ms} ms`;
}
