/** Values of keys from their text in an address. @module */
import type { FieldType } from "../pipeline/columns.ts";
import type { ResultValue } from "../pipeline/sinks/sink.ts";

const DAY_MS = 86_400_000;

/** The value of a text without a `keyFault`, as sinks are given it: an equal value has equal bytes. Null for a decimal with too many digits. */
export function keyValue(type: FieldType, text: string): NonNullable<ResultValue> | null {
  switch (type.type) {
    case "boolean":
      return text === "true";
    case "int":
    case "float":
    case "double":
      return Number(text);
    case "long":
      return BigInt(text);
    case "decimal":
      return toScale(text, type.scale);
    case "uuid":
      return text.toLowerCase();
    case "bytes":
      return Uint8Array.fromBase64(text);
    case "date":
      return Date.parse(`${text}T00:00:00Z`) / DAY_MS;
    case "time-millis":
      return Number(microsOf(`1970-01-01T${text}Z`) / 1_000n);
    case "time-micros":
      return Number(microsOf(`1970-01-01T${text}Z`));
    case "timestamp-millis":
      return Date.parse(text);
    case "timestamp-micros":
      return microsOf(text);
    case "string":
    case "enum":
      return text;
  }
}

/** `12.5` of two digits after the point is `12.50`. */
function toScale(text: string, scale: number): string | null {
  const [whole, fraction = ""] = text.split(".");
  const digits = fraction.replace(/0+$/, "");
  if (digits.length > scale) return null;
  return scale === 0 ? whole : `${whole}.${digits.padEnd(scale, "0")}`;
}

function microsOf(text: string): bigint {
  const fraction = /\.(\d+)/.exec(text)?.[1] ?? "";
  return BigInt(Date.parse(text.replace(/\.\d+/, ""))) * 1_000n + BigInt(fraction.padEnd(6, "0"));
}
