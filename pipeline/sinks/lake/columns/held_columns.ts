import type { Columns, FieldType } from "../../../columns.ts";
import { MalformedRecordError } from "../../../errors.ts";
import { deltaTypeOf } from "../delta/schema.ts";
import { EnumTexts } from "./enum_texts.ts";
import { HeldRows } from "./held_rows.ts";

/** A column's name, and what it has. */
export interface ColumnField {
  readonly name: string;
  readonly type: FieldType;
}

/** Batches of decoded columns as rows in memory. */
export class HeldColumns {
  readonly held: HeldRows;
  readonly #enums: readonly (EnumTexts | null)[];

  constructor(fields: readonly ColumnField[]) {
    this.held = new HeldRows(fields.map(({ name, type }) => ({ name, type: deltaTypeOf(type) })));
    this.#enums = fields.map(({ type }) => type.type === "enum" ? new EnumTexts(type.symbols) : null);
  }

  /**
   * Takes a copy of the rows, of which there may be 2,048 at once.
   *
   * @throws MalformedRecordError for a value that a table cannot hold: text that is not UTF-8, a time beyond the years 1 to 9999
   */
  add({ columns, length }: Columns): void {
    const { held } = this;
    if (columns.length !== held.columns.length) {
      throw new TypeError(`Cannot add ${columns.length} columns to ${held.columns.length}`);
    }
    held.makeRoom(length);
    const place = { base: held.filled, length };
    for (let i = 0; i < columns.length; i++) {
      const column = held.columns[i];
      const texts = this.#enums[i];
      column.add(texts === null ? columns[i] : texts.of(columns[i], length), place, (row, problem) => {
        throw new MalformedRecordError(`${column.name} of row ${row} ${problem}`);
      });
    }
    held.added(length);
  }
}
