/**
 * CSV: a line's fields to values of an Avro record, column by column.
 *
 * A field that is empty is null; for a string that may not be null it is the empty text, and so is `""` for any string.
 *
 * @module
 */
import { type RecordField, type RecordType, withoutNull } from "../../codec/schema.ts";
import { textValues } from "../text_values.ts";
import { type CsvDialect, type CsvField, csvFields } from "./csv_fields.ts";
import { FileFault } from "./file_reader.ts";
import type { ReadRecord, TextFormat } from "./text_reader.ts";

export interface CsvOptions extends CsvDialect {
  /** Where there is no header. */
  readonly columns: readonly string[] | null;
  /** Told columns that no field takes. */
  readonly onIgnored: (columns: readonly string[]) => void;
}

interface Target {
  readonly field: string;
  readonly column: number;
  readonly value: (text: CsvField) => unknown;
}

export function csvFormat(record: RecordType, options: CsvOptions): TextFormat {
  return {
    csv: { quote: options.quote.charCodeAt(0), delimiter: options.delimiter.charCodeAt(0) },
    hasHeader: options.columns === null,
    recordReader: (header) => {
      const columns = options.columns ?? headerColumns(header!, options);
      const targets = targetsOf(record, columns, options);
      return (text, hasQuotes) =>
        rowOf(hasQuotes ? csvFields(text, options) : plainFields(text, options), { columns, targets });
    },
  };
}

function headerColumns(header: string, dialect: CsvDialect): string[] {
  const fields = csvFields(header, dialect);
  if (typeof fields === "string") throw new FileFault(`has no header that can be read: it ${fields}`);
  const columns = fields.map((field) => field?.trim() ?? "");
  const twice = columns.find((name, i) => name !== "" && columns.indexOf(name) < i);
  if (twice !== undefined) throw new FileFault(`names the column ${twice} twice`);
  return columns;
}

function targetsOf(record: RecordType, columns: readonly string[], { onIgnored, delimiter }: CsvOptions): Target[] {
  const missing: string[] = [];
  const targets = record.fields.flatMap(({ name, aliases, type, default: fallback }): Target[] => {
    const column = columnOf([name, ...aliases], columns);
    if (column >= 0) return [{ field: name, column, value: valueOf(type, fallback) }];
    if (fallback === undefined && !withoutNull(type).nullable) missing.push(name);
    return fallback === undefined ? [{ field: name, column: -1, value: () => null }] : [];
  });
  if (missing.length > 0) {
    const hint = columns.length === 1 ? `, divided by ${JSON.stringify(delimiter)}; is another delimiter meant?` : "";
    throw new FileFault(`has no column ${missing.join(", ")}; it has ${columns.slice(0, 30).join(", ")}${hint}`);
  }
  const ignored = columns.filter((_, i) => !targets.some(({ column }) => column === i));
  if (ignored.length > 0) onIgnored(ignored);
  return targets;
}

function columnOf(names: readonly string[], columns: readonly string[]): number {
  for (const name of names) {
    const exact = columns.indexOf(name);
    if (exact >= 0) return exact;
    const other = columns.findIndex((column) => column.toLowerCase() === name.toLowerCase());
    if (other >= 0) return other;
  }
  return -1;
}

function valueOf(type: RecordField["type"], fallback: unknown): (text: CsvField) => unknown {
  const { type: bare, nullable } = withoutNull(type);
  const isText = bare.kind === "string" && bare.logical === null;
  const fromText = textValues(type);
  // What is undefined gets the field's default.
  const empty = nullable ? null : isText ? "" : fallback === undefined ? null : undefined;
  return (text) => {
    if (text === null) return empty;
    if (text === "" && !isText) return empty;
    return fromText(text);
  };
}

function plainFields(text: string, { delimiter }: CsvDialect): CsvField[] {
  return text.split(delimiter).map((field) => field === "" ? null : field);
}

function rowOf(
  fields: CsvField[] | string,
  { columns, targets }: { readonly columns: readonly string[]; readonly targets: readonly Target[] },
): ReturnType<ReadRecord> {
  if (typeof fields === "string") return fields;
  if (fields.length !== columns.length) return `has ${fields.length} fields, and ${columns.length} columns are named`;
  const row: Record<string, unknown> = {};
  for (const { field, column, value } of targets) row[field] = column < 0 ? null : value(fields[column]);
  return row;
}
