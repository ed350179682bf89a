/**
 * A record of CSV as its fields, as RFC 4180 has them.
 *
 * @module
 */

export interface CsvDialect {
  readonly delimiter: string;
  readonly quote: string;
}

/** A field's text; null when nothing at all stands there, which an empty text in quotes is not. */
export type CsvField = string | null;

/** The fields, or what is wrong with the record. */
export function csvFields(text: string, { delimiter, quote }: CsvDialect): CsvField[] | string {
  const fields: CsvField[] = [];
  let at = 0;
  for (;;) {
    if (text[at] !== quote) {
      const end = text.indexOf(delimiter, at);
      const field = end < 0 ? text.slice(at) : text.slice(at, end);
      fields.push(field === "" ? null : field);
      if (end < 0) return fields;
      at = end + 1;
      continue;
    }
    let field = "";
    for (at++;;) {
      const end = text.indexOf(quote, at);
      if (end < 0) return `opens a quote in field ${fields.length + 1} that is not closed`;
      field += text.slice(at, end);
      at = end + 1;
      if (text[at] !== quote) break;
      field += quote;
      at++;
    }
    fields.push(field);
    if (at === text.length) return fields;
    if (text[at] !== delimiter) return `has text after the quotes of field ${fields.length}`;
    at++;
  }
}
