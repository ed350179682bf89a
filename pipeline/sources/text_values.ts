/**
 * Texts to values of an Avro schema, for sources whose other side has only texts: columns of PostgreSQL, fields of CSV.
 *
 * | type             | text                                                                                       |
 * |------------------|--------------------------------------------------------------------------------------------|
 * | boolean          | true, false, t, f, yes, no, y, n, 1, 0, in any case                                        |
 * | int, long        | digits; zeros after a point go: `12.00` is 12                                              |
 * | float, double    | a number, `NaN`, `Infinity`                                                                |
 * | decimal          | its digits, never through a double                                                         |
 * | timestamp-*      | ISO 8601, with a blank for the T and without a zone (then UTC) too, or whole units since 1970 |
 * | local-timestamp-* | the same; a zone is refused                                                               |
 * | date, time-*     | ISO 8601                                                                                   |
 * | arrays, maps, records | JSON                                                                                  |
 * | all others       | the text itself                                                                            |
 *
 * Digits of a second that the type has no room for are cut off. A text that is none of these is handed on as it is: what refuses
 * it says why, with the text.
 *
 * @module
 */
import { parseDecimal, Refused } from "../codec/decimal_text.ts";
import { type AvroType, withoutNull } from "../codec/schema.ts";

/** Makes a value that `avroType` takes; null stays null. */
export type FromText = (text: string) => unknown;

const LONG_DIGITS_MAX = 19;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;
const TRUE = /^(true|t|yes|y|1)$/i;
const FALSE = /^(false|f|no|n|0)$/i;
const WALL_TIME = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?) ?(Z|z|[+-]\d\d(?::?\d\d)?)?)?$/;

/** How texts become values of `type`; of a union with null, values of the other branch. */
export function textValues(type: AvroType): FromText {
  const { type: bare } = withoutNull(type);
  if (bare.kind === "union" || bare.kind === "null") return (text) => text;
  if (bare.kind === "array" || bare.kind === "map" || bare.kind === "record") return jsonOrText;
  const logical = "logical" in bare ? bare.logical?.kind : undefined;
  switch (logical) {
    case "decimal":
    case "uuid":
    case "date":
      return (text) => text.trim();
    case "time-millis":
    case "time-micros":
      return (text) => cutFraction(text.trim(), logical === "time-millis" ? 3 : 6);
    case "timestamp-millis":
    case "local-timestamp-millis":
      return (text) => timestamp(text.trim(), { digits: 3, local: logical.startsWith("local-") });
    case "timestamp-micros":
    case "local-timestamp-micros":
      return (text) => timestamp(text.trim(), { digits: 6, local: logical.startsWith("local-") });
  }
  switch (bare.kind) {
    case "boolean":
      return (text) => TRUE.test(text.trim()) ? true : FALSE.test(text.trim()) ? false : text;
    case "int":
    case "long":
      return wholeNumber;
    case "float":
    case "double":
      return (text) => NUMBER.test(text.trim()) ? Number(text) : text.trim();
    case "enum":
      return (text) => text.trim();
    default:
      return (text) => text;
  }
}

/** `2026-01-31 12:30:00.123456+00` as `2026-01-31T12:30:00.123+00:00`; a text that is no time stays. */
export function timestamp(
  text: string,
  { digits, local }: { readonly digits: 3 | 6; readonly local: boolean },
): string {
  const match = WALL_TIME.exec(text);
  if (match === null) return text;
  const [, date, time = "00:00:00", zone] = match;
  const wall = `${date}T${cutFraction(time, digits)}`;
  if (zone === undefined) return local ? wall : `${wall}Z`;
  return wall + (zone.length === 3 ? `${zone}:00` : zone);
}

function cutFraction(time: string, digits: 3 | 6): string {
  const point = time.indexOf(".");
  return point < 0 ? time : time.slice(0, point + 1 + digits);
}

function wholeNumber(text: string): unknown {
  const trimmed = text.trim();
  if (/^-?\d{1,15}$/.test(trimmed)) return Number(trimmed);
  const whole = parseDecimal(trimmed, LONG_DIGITS_MAX, 0);
  if (whole instanceof Refused) return text;
  return Number.isSafeInteger(Number(whole)) ? Number(whole) : whole;
}

function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
