/**
 * Rows of tables as every reader here gives them, so that they can be compared as text. A row is a JSON object with a value for
 * each column:
 *
 *     integers, timestamps    decimal text; timestamps in microseconds since the epoch
 *     decimals                decimal text with all digits of the scale
 *     float, double           numbers; "nan", "inf" and "-inf"
 *     binary                  hexadecimal text
 *     date                    "2026-11-21"
 *     string, boolean         as they are
 *     struct, array           objects, arrays
 *
 * @module
 */
import {
  DuckDBBlobValue,
  type DuckDBConnection,
  DuckDBDateValue,
  DuckDBDecimalValue,
  DuckDBListValue,
  DuckDBStructValue,
  DuckDBTimestampTZValue,
} from "@duckdb/node-api";

export type Cell = string | number | boolean | null | readonly Cell[] | { readonly [name: string]: Cell };
export type TableRow = Readonly<Record<string, Cell>>;

const DIFFERENCES_SHOWN = 5;

/** What a query gives. Times without a zone, and types that no table of ours has, are errors. */
export async function queried(connection: DuckDBConnection, sql: string): Promise<TableRow[]> {
  const reader = await connection.runAndReadAll(sql);
  const names = reader.columnNames();
  return reader.getRows().map((row) => Object.fromEntries(row.map((value, i) => [names[i], cell(value)])));
}

function cell(value: unknown): Cell {
  if (value === null || typeof value === "string" || typeof value === "boolean") return value;
  if (typeof value === "bigint") return String(value);
  if (typeof value === "number") {
    // Integers of 32 bits and doubles come alike; a reader of JSON sees no difference between 1 and 1.0 either.
    return Number.isFinite(value) ? value : Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
  }
  if (value instanceof DuckDBTimestampTZValue) return String(value.micros);
  if (value instanceof DuckDBDateValue || value instanceof DuckDBDecimalValue) return value.toString();
  if (value instanceof DuckDBBlobValue) return hex(value.bytes);
  if (value instanceof DuckDBListValue) return value.items.map(cell);
  if (value instanceof DuckDBStructValue) {
    return Object.fromEntries(Object.entries(value.entries).map(([name, item]) => [name, cell(item)]));
  }
  throw new TypeError(`${value?.constructor.name} is not expected`);
}

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A row as text: columns in order of their names, integers of all widths alike. */
export function rowText(row: TableRow): string {
  return JSON.stringify(ordered(row));
}

function ordered(value: Cell): Cell {
  if (Array.isArray(value)) return value.map(ordered);
  if (typeof value === "number" && Number.isSafeInteger(value)) return String(value);
  if (typeof value !== "object" || value === null) return value;
  const names = Object.keys(value).sort();
  return Object.fromEntries(names.map((name) => [name, ordered((value as TableRow)[name])]));
}

/** What differs between two bags of rows, in words; empty when they are the same, also in how often each row is there. */
export function differences(expected: Iterable<TableRow>, actual: Iterable<TableRow>): string[] {
  const counts = new Map<string, number>();
  let wanted = 0;
  let seen = 0;
  for (const row of expected) {
    const text = rowText(row);
    counts.set(text, (counts.get(text) ?? 0) + 1);
    wanted++;
  }
  for (const row of actual) {
    const text = rowText(row);
    counts.set(text, (counts.get(text) ?? 0) - 1);
    seen++;
  }
  const differing = [...counts].filter(([, count]) => count !== 0);
  if (differing.length === 0) return [];
  const shown = differing.slice(0, DIFFERENCES_SHOWN).map(([text, count]) =>
    count > 0 ? `missing ${count} times: ${text}` : `there ${-count} times too often: ${text}`
  );
  return [`${seen} rows instead of ${wanted}, ${differing.length} differ`, ...shown];
}
