/**
 * Statistics of a data file: from what DuckDB says of a file it wrote, to what the log keeps.
 *
 *     DuckDB   "amount" -> min 0.00, max 33.00, null_count 0, num_values 100, has_nan ...
 *     log      {"numRecords":100,"minValues":{"amount":0},"maxValues":{"amount":33},"nullCount":{"amount":0}}
 *
 * A bound may be left out and may be too wide, but never too narrow: readers leave files out by it. Source: the Delta protocol,
 * "Per-file Statistics".
 *
 * @module
 */
import { identifier } from "../../../sql_text.ts";
import { decimalOf } from "./schema.ts";
import type { DeltaField, DeltaSchema, DeltaType, FileStats } from "./table.ts";

/** Bounds are kept for so many columns, those of structs counted one by one, as others do. */
export const STATS_COLUMNS_MAX = 32;
/** Of longer texts the bounds are prefixes. */
const STATS_TEXT_MAX = 32;
/** Doubles hold every decimal of so many digits. */
const EXACT_DIGITS = 15;

/** What DuckDB says of one column, by name of the figure. */
export type ColumnFigures = ReadonlyMap<string, string>;

/** `columns` by path, as DuckDB has it: quoted names with dots between. Columns not among them are left out. */
export function fileStats(
  numRecords: number,
  columns: ReadonlyMap<string, ColumnFigures>,
  schema: DeltaSchema,
): FileStats {
  const minValues: Record<string, unknown> = {};
  const maxValues: Record<string, unknown> = {};
  const nullCount: Record<string, unknown> = {};
  let left = STATS_COLUMNS_MAX;

  const visit = (fields: readonly DeltaField[], above: readonly string[]) => {
    for (const { name, type } of fields) {
      const path = [...above, name];
      if (typeof type !== "string") {
        if (type.type === "struct") visit(type.fields, path);
        continue;
      }
      const figures = columns.get(path.map(identifier).join("."));
      if (figures === undefined || left-- <= 0) continue;
      const nulls = figures.get("null_count");
      if (nulls !== undefined) put(nullCount, path, Number(nulls));
      // Where NaN is among the values it is above all others for some readers, and for others not.
      if (figures.get("has_nan") === "true") continue;
      const [min, max] = [figures.get("min"), figures.get("max")];
      if (min === undefined || max === undefined) continue;
      put(minValues, path, bound(type, min, "min"));
      put(maxValues, path, bound(type, max, "max"));
    }
  };
  visit(schema.fields, []);
  return { numRecords, minValues, maxValues, nullCount };
}

function put(into: Record<string, unknown>, path: readonly string[], value: unknown): void {
  if (value === undefined) return;
  let at = into;
  for (const name of path.slice(0, -1)) at = (at[name] ??= {}) as Record<string, unknown>;
  at[path[path.length - 1]] = value;
}

/** A bound as JSON; undefined when there is none that would be right. */
function bound(type: DeltaType, text: string, side: "min" | "max"): unknown {
  switch (type) {
    case "string":
      return side === "min" ? textBelow(text) : textAbove(text);
    case "long":
    case "integer":
    case "short":
    case "byte":
      return Number.isSafeInteger(Number(text)) ? Number(text) : undefined;
    case "float":
    case "double":
      return Number.isFinite(Number(text)) ? (type === "float" ? Math.fround(Number(text)) : Number(text)) : undefined;
    case "date":
      return /^\d{4}-\d\d-\d\d$/.test(text) ? text : undefined;
    case "timestamp":
      return timestamp(text, side);
    default:
      return decimalOf(type) === null ? undefined : decimal(text);
  }
}

function decimal(text: string): number | undefined {
  const digits = text.replace(/\D/g, "").replace(/^0+/, "");
  if (digits.length > EXACT_DIGITS) return undefined;
  return String(Number(text)).includes("e") ? undefined : Number(text);
}

/** To the millisecond, as the protocol has it; downwards for the lower bound and upwards for the upper. */
function timestamp(text: string, side: "min" | "max"): string | undefined {
  const found = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?\+00$/.exec(text);
  if (found === null) return undefined;
  const micros = (found[3] ?? "").padEnd(6, "0");
  const ms = Date.parse(`${found[1]}T${found[2]}.${micros.slice(0, 3)}Z`);
  const up = side === "max" && micros.slice(3) !== "000" ? 1 : 0;
  return Number.isNaN(ms) ? undefined : new Date(ms + up).toISOString();
}

function textBelow(text: string): string {
  return Array.from(text).slice(0, STATS_TEXT_MAX).join("");
}

/** A prefix and then the greatest character, which is above whatever follows the prefix but that character itself. */
function textAbove(text: string): string {
  const characters = Array.from(text);
  let ends = STATS_TEXT_MAX;
  while (characters[ends] === "\u{10ffff}") ends++;
  return characters.length <= ends ? text : characters.slice(0, ends).join("") + "\u{10ffff}";
}
