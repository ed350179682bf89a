/**
 * Values of DuckDB's as JSON and as plain text, exactly: nothing is rounded and nothing is left out.
 *
 * | type | JSON |
 * |---|---|
 * | whole numbers | a number up to 2^53, beyond that a string of digits |
 * | DECIMAL | a string with all its digits |
 * | FLOAT, DOUBLE | a number, or the string `NaN`, `Infinity`, `-Infinity` |
 * | TIMESTAMP WITH TIME ZONE | ISO 8601 in UTC: `2026-11-21T12:00:00.000Z`; six or nine digits where there is more than ms |
 * | TIMESTAMP, DATE, TIME | the same without `Z`; `2026-11-21`; `12:00:00.000` |
 * | BLOB | base64 |
 * | LIST, ARRAY; STRUCT | an array; an object |
 * | MAP | an array of `{"key": .., "value": ..}`: keys need not be text |
 * | UNION | an object with the tag that it has |
 * | INTERVAL, UUID, BIT, ENUM, others | a string, as DuckDB prints it |
 *
 * @module
 */
import {
  DuckDBArrayValue,
  DuckDBBlobValue,
  DuckDBDateValue,
  DuckDBDecimalValue,
  DuckDBListValue,
  DuckDBMapValue,
  DuckDBStructValue,
  DuckDBTimestampMillisecondsValue,
  DuckDBTimestampNanosecondsValue,
  DuckDBTimestampSecondsValue,
  DuckDBTimestampTZValue,
  DuckDBTimestampValue,
  DuckDBTimeValue,
  type DuckDBType,
  DuckDBTypeId,
  DuckDBUnionValue,
  type DuckDBValue,
  DuckDBVariantValue,
} from "@duckdb/node-api";

const MICROS_PER_DAY = 86_400_000_000n;

/** How values of a column become JSON; as {@linkcode jsonOf}, without finding out for each what it is. */
export function jsonFor({ typeId }: DuckDBType): (value: DuckDBValue) => string {
  const text = TEXTS[typeId];
  if (text === undefined) return jsonOf;
  return (value) => value === null ? "null" : `"${text(value)}"`;
}

/** How values of a column become text; as {@linkcode textOf}. */
export function textFor({ typeId }: DuckDBType): (value: DuckDBValue) => string | null {
  const text = TEXTS[typeId];
  return text === undefined ? textOf : (value) => value === null ? null : text(value);
}

/** Types whose text is a string in JSON too, with nothing in it that would have to be escaped. */
const TEXTS: Readonly<Partial<Record<DuckDBTypeId, (value: DuckDBValue) => string>>> = {
  [DuckDBTypeId.TIMESTAMP_TZ]: (value) => timestampText((value as DuckDBTimestampTZValue).micros, { zone: "Z" }),
  [DuckDBTypeId.TIMESTAMP]: (value) => timestampText((value as DuckDBTimestampValue).micros),
  [DuckDBTypeId.DATE]: (value) => dateText((value as DuckDBDateValue).days),
  [DuckDBTypeId.DECIMAL]: (value) => decimalText(value as DuckDBDecimalValue),
};

/** A value as JSON. */
export function jsonOf(value: DuckDBValue): string {
  if (value === null || value === undefined) return "null";
  switch (typeof value) {
    case "string":
      return JSON.stringify(value);
    case "boolean":
      return value ? "true" : "false";
    case "number":
      return Number.isFinite(value) ? numberText(value) : `"${value}"`;
    case "bigint":
      return isExact(value) ? `${value}` : `"${value}"`;
  }
  if (value instanceof DuckDBListValue || value instanceof DuckDBArrayValue) {
    return `[${value.items.map(jsonOf).join(",")}]`;
  }
  if (value instanceof DuckDBStructValue) {
    const fields = Object.entries(value.entries).map(([name, one]) => `${JSON.stringify(name)}:${jsonOf(one)}`);
    return `{${fields.join(",")}}`;
  }
  if (value instanceof DuckDBMapValue) {
    return `[${value.entries.map((one) => `{"key":${jsonOf(one.key)},"value":${jsonOf(one.value)}}`).join(",")}]`;
  }
  if (value instanceof DuckDBUnionValue) return `{${JSON.stringify(value.tag)}:${jsonOf(value.value)}}`;
  if (value instanceof DuckDBVariantValue) return jsonOf(value.value);
  return JSON.stringify(textOf(value));
}

/** A value as plain text, null for NULL. What has no text of its own (lists, structs, maps) is JSON. */
export function textOf(value: DuckDBValue): string | null {
  if (value === null || value === undefined) return null;
  switch (typeof value) {
    case "string":
      return value;
    case "number":
      return numberText(value);
    case "bigint":
    case "boolean":
      return `${value}`;
  }
  if (value instanceof DuckDBDecimalValue) return decimalText(value);
  if (value instanceof DuckDBTimestampTZValue) return timestampText(value.micros, { zone: "Z" });
  if (value instanceof DuckDBTimestampValue) return timestampText(value.micros);
  if (value instanceof DuckDBTimestampMillisecondsValue) return timestampText(value.millis, { perSecond: 1_000n });
  if (value instanceof DuckDBTimestampSecondsValue) return timestampText(value.seconds, { perSecond: 1n });
  if (value instanceof DuckDBTimestampNanosecondsValue) {
    return timestampText(value.nanos, { perSecond: 1_000_000_000n });
  }
  if (value instanceof DuckDBDateValue) return dateText(value.days);
  if (value instanceof DuckDBTimeValue) return timeText(value.micros);
  if (value instanceof DuckDBBlobValue) return value.bytes.toBase64();
  const isNested = value instanceof DuckDBListValue || value instanceof DuckDBArrayValue ||
    value instanceof DuckDBStructValue || value instanceof DuckDBMapValue || value instanceof DuckDBUnionValue ||
    value instanceof DuckDBVariantValue;
  return isNested ? jsonOf(value) : value.toString();
}

function numberText(value: number): string {
  return Object.is(value, -0) ? "-0" : `${value}`;
}

function isExact(value: bigint): boolean {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) && value >= BigInt(Number.MIN_SAFE_INTEGER);
}

function decimalText({ value, scale }: DuckDBDecimalValue): string {
  const digits = `${value < 0n ? -value : value}`.padStart(scale + 1, "0");
  const point = digits.length - scale;
  return `${value < 0n ? "-" : ""}${digits.slice(0, point)}${scale > 0 ? `.${digits.slice(point)}` : ""}`;
}

const INFINITY = 2n ** 63n - 1n;

function timestampText(
  value: bigint,
  { perSecond = 1_000_000n, zone = "" }: { readonly perSecond?: bigint; readonly zone?: string } = {},
): string {
  const micros = Number(value);
  if (perSecond === 1_000_000n && Math.abs(micros) < MICROS_FAST) return microsText(micros) + zone;
  if (value === INFINITY) return "infinity";
  if (value === -INFINITY) return "-infinity";
  const perDay = perSecond * 86_400n;
  const days = (value - (((value % perDay) + perDay) % perDay)) / perDay;
  return `${dateText(Number(days))}T${timeText(value - days * perDay, perSecond)}${zone}`;
}

/** Microseconds of the years 1741 to 2198: numbers are exact there, and years have four digits. */
const MICROS_FAST = 7.2e15;

function microsText(micros: number): string {
  const ms = Math.floor(micros / 1000);
  const iso = new Date(ms).toISOString().slice(0, -1);
  const rest = micros - ms * 1000;
  return rest === 0 ? iso : iso + `${rest}`.padStart(3, "0");
}

const DATE_INFINITY = 2 ** 31 - 1;

function dateText(days: number): string {
  if (days === DATE_INFINITY) return "infinity";
  if (days === -DATE_INFINITY) return "-infinity";
  const date = new Date(days * 86_400_000);
  // Beyond what Date reaches, as DuckDB writes it.
  if (Number.isNaN(date.getTime())) return new DuckDBDateValue(days).toString();
  return date.toISOString().split("T")[0];
}

function timeText(value: bigint, perSecond = 1_000_000n): string {
  if (perSecond === 1_000_000n && value === MICROS_PER_DAY) return "24:00:00.000";
  const two = (part: bigint) => `${part}`.padStart(2, "0");
  const seconds = value / perSecond;
  const clock = `${two(seconds / 3600n)}:${two(seconds / 60n % 60n)}:${two(seconds % 60n)}`;
  const nanos = `${(value % perSecond) * (1_000_000_000n / perSecond)}`.padStart(9, "0");
  const digits = nanos.endsWith("000000") ? 3 : nanos.endsWith("000") ? 6 : 9;
  return `${clock}.${nanos.slice(0, digits)}`;
}
