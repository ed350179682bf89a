import { ConfigError } from "../errors.ts";
import { shortMessage } from "./postgres_errors.ts";
import { sqlType } from "./postgres_types.ts";
import type { ResultColumn } from "../plan/plan.ts";
import type { ResultRows, ResultValue } from "./sink.ts";

/** Characters of a value shown in a message. */
const SHOWN_CHARACTERS_MAX = 80;

/** timestamptz holds 4714-11-24 BC up to, not including, 294277-01-01; milliseconds since the epoch. */
const TIMESTAMP_MS_MIN = -210866803200000;
const TIMESTAMP_MS_MAX = 9224318016000000;

/** Bytes of key columns an index entry can hold: a third of a page, less its header. */
const INDEX_ENTRY_BYTES_MAX = 2_704;

const UUID = /^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$/i;

/**
 * PostgreSQL says that a value was refused, not which: this finds it among rows `[from, to)` and names column and row.
 *
 * @returns null when every value fits its column, so that the cause is elsewhere
 */
export function refusedValue(
  error: Error,
  rows: ResultRows,
  options: { readonly from: number; readonly to: number; readonly table: string },
): ConfigError | null {
  for (let row = options.from; row < options.to; row++) {
    for (const [index, column] of rows.columns.entries()) {
      const problem = misfit(column, rows.values[index][row]);
      if (problem === null) continue;
      return new ConfigError({
        where: `${options.table}.${column.name}`,
        problem: `${shown(rows.values[index][row])} ${problem} in the row of ${rowName(rows, row)}. ` +
          `PostgreSQL said: ${shortMessage(error)}`,
      });
    }
  }
  return null;
}

/** Why a value cannot be stored in its column, or null. */
function misfit({ type, role }: ResultColumn, value: ResultValue): string | null {
  if (value === null) return type.nullable ? null : "is not allowed (the column is NOT NULL)";
  switch (type.type) {
    case "decimal": {
      const digits = String(value).replace(/^-/, "").split(".")[0].replace(/^0+/, "").length;
      return digits > type.precision - type.scale ? `does not fit ${sqlType(type)}` : null;
    }
    case "int":
    case "date":
      return outside(Number(value), -2147483648, 2147483647) ? `does not fit ${sqlType(type)}` : null;
    case "long":
      return BigInt.asIntN(64, BigInt(value as number)) === BigInt(value as number) ? null : "does not fit bigint";
    case "timestamp-millis":
      return outside(Number(value), TIMESTAMP_MS_MIN, TIMESTAMP_MS_MAX)
        ? "is outside of what timestamptz can hold"
        : null;
    case "timestamp-micros":
      return outside(Number(value) / 1000, TIMESTAMP_MS_MIN, TIMESTAMP_MS_MAX)
        ? "is outside of what timestamptz can hold"
        : null;
    case "uuid":
      return UUID.test(value as string) ? null : "is not a UUID";
    case "string":
      return role === "key" && new TextEncoder().encode(value as string).length > INDEX_ENTRY_BYTES_MAX
        ? "is too long for a key"
        : null;
    default:
      return null;
  }
}

function outside(value: number, min: number, max: number): boolean {
  return !(value >= min && value <= max);
}

function rowName(rows: ResultRows, row: number): string {
  const parts = rows.columns.flatMap(({ name, role }, index) =>
    role === "key" || role === "window_start" ? [`${name} = ${shown(rows.values[index][row])}`] : []
  );
  return parts.join(", ");
}

function shown(value: ResultValue): string {
  const text = typeof value === "string" ? JSON.stringify(value) : String(value);
  return text.length <= SHOWN_CHARACTERS_MAX ? text : `${text.slice(0, SHOWN_CHARACTERS_MAX)}…`;
}
