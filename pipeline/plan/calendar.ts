/**
 * Parts of dates and timestamps in the proleptic Gregorian calendar, UTC.
 *
 * @module
 */
import { add, type Exact, floorTo, multiply } from "./exact.ts";

const DAY_SECONDS = 86_400;

/** `[year, month 1..12, day 1..31]` of days since 1970-01-01. By Howard Hinnant's `civil_from_days`. */
export function civilFromDays(days: number): [year: number, month: number, day: number] {
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shiftedMonth = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * shiftedMonth + 2) / 5) + 1;
  const month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9;
  return [yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day];
}

/** Days since 1970-01-01 of a date. By Howard Hinnant's `days_from_civil`. */
export function daysFromCivil(year: number, month: number, day: number): number {
  const shifted = month <= 2 ? year - 1 : year;
  const era = Math.floor(shifted / 400);
  const yearOfEra = shifted - era * 400;
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}

/** Whole `unit`s since 1970, downwards; `perSecond` is the value's own unit. */
function wholeSeconds(value: Exact, perSecond: number): number {
  const floored = floorTo(value, perSecond);
  return typeof floored === "number" ? floored / perSecond : Number(floored / BigInt(perSecond));
}

/** `extract(unit FROM value)`: a whole number. `perSecond` units make a second: 1000 or 1,000,000. */
export function extract(unit: string, value: Exact, perSecond: number): number {
  const seconds = wholeSeconds(value, perSecond);
  const days = Math.floor(seconds / DAY_SECONDS);
  const ofDay = seconds - days * DAY_SECONDS;
  switch (unit) {
    case "hour":
      return Math.floor(ofDay / 3600);
    case "minute":
      return Math.floor(ofDay / 60) % 60;
    case "second":
      return ofDay % 60;
    case "dow":
      return ((days + 4) % 7 + 7) % 7;
    case "isodow":
      return ((days + 3) % 7 + 7) % 7 + 1;
  }
  const [year, month, day] = civilFromDays(days);
  return unit === "year" ? year : unit === "quarter" ? Math.ceil(month / 3) : unit === "month" ? month : day;
}

/** Seconds of the units that are all equally long, counted from 1970. */
const EVEN_SECONDS: Readonly<Record<string, number>> = { second: 1, minute: 60, hour: 3600, day: DAY_SECONDS };

/** `date_trunc(unit, value)`: the start of the unit that the value lies in, in the value's own unit. */
export function dateTrunc(unit: string, value: Exact, perSecond: number): Exact {
  if (unit in EVEN_SECONDS) return floorTo(value, EVEN_SECONDS[unit] * perSecond);
  const days = Math.floor(wholeSeconds(value, perSecond) / DAY_SECONDS);
  return multiply(startOf(unit, days), DAY_SECONDS * perSecond);
}

function startOf(unit: string, days: number): number {
  // 1970-01-01 was a Thursday; weeks begin on Monday.
  if (unit === "week") return Number(add(floorTo(days + 3, 7), -3));
  const [year, month] = civilFromDays(days);
  return daysFromCivil(year, unit === "year" ? 1 : unit === "quarter" ? Math.floor((month - 1) / 3) * 3 + 1 : month, 1);
}
