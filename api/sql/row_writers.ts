/**
 * Rows as JSON, NDJSON and CSV.
 *
 * @module
 */
import type { DuckDBType, DuckDBValue } from "@duckdb/node-api";
import type { RunOrder } from "./child_protocol.ts";
import type { Output } from "./output.ts";
import type { Format } from "./service.ts";
import { jsonFor, textFor } from "./value_text.ts";

export interface AnswerColumn {
  /** Unlike the question's own names, each is there once: `a`, `a_1`. */
  readonly name: string;
  readonly type: DuckDBType;
}

export interface RowWriter {
  begin(): void;
  /** Values by column; `count` of each. */
  rows(columns: readonly (readonly DuckDBValue[])[], count: number): void;
  end(told: { readonly isTruncated: boolean; readonly elapsedMs: number }): void;
}

export interface WriterOptions {
  readonly columns: readonly AnswerColumn[];
  readonly out: Output;
  readonly order: Pick<RunOrder, "completeness" | "notes">;
}

type TextFormat = Exclude<Format, "arrow" | "parquet">;

export function textWriter(format: TextFormat, options: WriterOptions): RowWriter {
  return { json: jsonWriter, ndjson: ndjsonWriter, csv: csvWriter }[format](options);
}

/** `{"columns": [..], "rows": [{..}, ..], "truncated": .., "completeness": [..], "notes": [..], "elapsedMs": ..}` */
function jsonWriter({ columns, out, order }: WriterOptions): RowWriter {
  const rowOf = objectText(columns);
  let isFirst = true;
  return {
    begin() {
      const told = columns.map(({ name, type }) => ({ name, type: type.toString() }));
      out.text(`{"columns":${JSON.stringify(told)},"rows":[`);
    },
    rows(values, count) {
      for (let row = 0; row < count; row++) {
        out.text(isFirst ? `\n${rowOf(values, row)}` : `,\n${rowOf(values, row)}`);
        isFirst = false;
      }
    },
    end({ isTruncated, elapsedMs }) {
      const { completeness, notes } = order;
      const told = JSON.stringify({ truncated: isTruncated, completeness, notes, elapsedMs });
      out.text(`${isFirst ? "" : "\n"}],${told.slice(1)}\n`);
    },
  };
}

function ndjsonWriter({ columns, out }: WriterOptions): RowWriter {
  const rowOf = objectText(columns);
  return {
    begin() {},
    rows(values, count) {
      for (let row = 0; row < count; row++) out.text(`${rowOf(values, row)}\n`);
    },
    end() {},
  };
}

function objectText(
  columns: readonly AnswerColumn[],
): (values: readonly (readonly DuckDBValue[])[], row: number) => string {
  const names = columns.map(({ name }, i) => `${i === 0 ? "{" : ","}${JSON.stringify(name)}:`);
  const json = columns.map(({ type }) => jsonFor(type));
  return (values, row) => {
    let text = "";
    for (let i = 0; i < names.length; i++) text += names[i] + json[i](values[i][row]);
    return text + "}";
  };
}

/**
 * RFC 4180: a head of names, CRLF after each line, quotes where a text has a comma, a quote or an end of line. NULL is nothing, the
 * empty text is `""`.
 */
function csvWriter({ columns, out }: WriterOptions): RowWriter {
  const texts = columns.map(({ type }) => textFor(type));
  return {
    begin() {
      out.text(`${columns.map(({ name }) => csvField(name)).join(",")}\r\n`);
    },
    rows(values, count) {
      for (let row = 0; row < count; row++) {
        let line = "";
        for (let i = 0; i < columns.length; i++) line += (i === 0 ? "" : ",") + csvField(texts[i](values[i][row]));
        out.text(`${line}\r\n`);
      }
    },
    end() {},
  };
}

function csvField(text: string | null): string {
  if (text === null) return "";
  return text === "" || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
