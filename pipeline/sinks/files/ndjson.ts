/**
 * Rows as lines of JSON.
 *
 * | type | JSON |
 * |---|---|
 * | int, long, float, double | number; beyond 2^53, and NaN and the infinities, as text |
 * | decimal | its exact text, `"12.50"` |
 * | date, times, timestamps | ISO 8601 text, `"2026-01-31T12:30:00.250Z"`; beyond the years it has, the number |
 * | bytes | base64 |
 * | arrays, maps, records | themselves |
 *
 * A row that says that its key is gone has the key's and the origin's fields, and `"_deleted":true`.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { timeText } from "../../codec/time_text.ts";
import type { ResultColumn } from "../../plan/plan.ts";
import type { ResultRows, ResultValue } from "../sink.ts";

/** The field of a row that says that its key is gone. */
export const DELETED_FIELD = "_deleted";
/** Lines are made into bytes so many at a time. */
const LINES_AT_ONCE = 1_000;
/** Between this and the default, files get a little smaller and take twice as long. */
const GZIP_LEVEL = 3;

const utf8 = new TextEncoder();
const compress = promisify(gzip);

/** The bytes of a file with the rows from `first` on, always the same for the same rows. */
export async function ndjson(
  rows: ResultRows,
  { first, isGzip }: { readonly first: number; readonly isGzip: boolean },
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for (let from = first; from < rows.length; from += LINES_AT_ONCE) {
    parts.push(utf8.encode(lines(rows, from, Math.min(rows.length, from + LINES_AT_ONCE))));
  }
  const bytes = Buffer.concat(parts);
  // Boundary: Deno's types of node:zlib take any bytes.
  return isGzip ? new Uint8Array(await compress(bytes, { level: GZIP_LEVEL })) : bytes;
}

function lines(rows: ResultRows, from: number, to: number): string {
  const { columns, values, origin } = rows;
  const fields = columns.map((column, i) => {
    const name = JSON.stringify(column.name);
    return { before: `${i === 0 ? "{" : ","}${name}:`, list: values[i], text: textOf(column) };
  });
  let all = "";
  for (let row = from; row < to; row++) {
    if (origin?.tombstones?.has(row)) {
      all += tombstone(rows, row);
      continue;
    }
    for (const { before, list, text } of fields) {
      const value = list[row];
      all += value === null ? `${before}null` : before + text(value);
    }
    all += "}\n";
  }
  return all;
}

function tombstone({ columns, values }: ResultRows, row: number): string {
  const kept = columns.flatMap((column, i) => {
    const value = values[i][row];
    return value === null ? [] : [`${JSON.stringify(column.name)}:${textOf(column)(value)}`];
  });
  return `{${kept.join(",")},"${DELETED_FIELD}":true}\n`;
}

/** How a column's values, not null, are written. */
export function textOf({ type: { type }, isJson }: ResultColumn): (value: NonNullable<ResultValue>) => string {
  if (isJson) return (value) => value as string;
  switch (type) {
    case "timestamp-millis": {
      const iso = isoMillis();
      return (value) => iso(value as number | bigint);
    }
    case "timestamp-micros":
    case "date":
    case "time-millis":
    case "time-micros":
      return (value) => timeJson(type, value as number | bigint);
    case "bytes":
      return (value) => `"${(value as Uint8Array).toBase64()}"`;
    case "int":
    case "boolean":
      return (value) => `${value}`;
    case "long":
    case "float":
    case "double":
      return (value) => typeof value === "number" && Number.isFinite(value) ? `${value}` : `"${value}"`;
    default:
      return (value) => JSON.stringify(value);
  }
}

function timeJson(type: string, value: number | bigint): string {
  const text = timeText(type, value);
  return text === null || text === undefined ? `${value}` : `"${text}"`;
}

const DAY_MS = 86_400_000;
/** Years of four digits: from 0000 to 9999. */
const PLAIN_MS = { least: -62_167_219_200_000, most: 253_402_300_799_999 };

/**
 * The same for milliseconds, several times as fast: neighbours are mostly of one day, so its text is kept, and the time of the day
 * is put together from digits.
 */
function isoMillis(): (value: number | bigint) => string {
  let day = NaN;
  let text = "";
  return (value) => {
    if (typeof value === "bigint" || value < PLAIN_MS.least || value > PLAIN_MS.most) {
      return timeJson("timestamp-millis", value);
    }
    const own = Math.floor(value / DAY_MS);
    if (own !== day) {
      day = own;
      text = `"${new Date(own * DAY_MS).toISOString().slice(0, 11)}`;
    }
    const ms = value - own * DAY_MS;
    const seconds = Math.floor(ms / 1_000);
    const minutes = Math.floor(seconds / 60);
    const thousandths = ms - seconds * 1_000;
    return `${text}${TWO[Math.floor(minutes / 60)]}:${TWO[minutes % 60]}:${TWO[seconds % 60]}.${
      thousandths < 100 ? `0${TWO[thousandths]}` : thousandths
    }Z"`;
  };
}

const TWO: readonly string[] = Array.from({ length: 100 }, (_, number) => String(number).padStart(2, "0"));
