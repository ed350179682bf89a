import { Column } from "../../../columns.ts";
import { BLOCK_ROWS_MAX } from "./block_column.ts";

/** An enum's symbols as texts: what a column of indexes becomes. */
export class EnumTexts {
  readonly #bytes: Uint8Array;
  readonly #starts: Int32Array;
  #texts: Column | null = null;

  constructor(symbols: readonly string[]) {
    const texts = symbols.map((symbol) => new TextEncoder().encode(symbol));
    this.#starts = new Int32Array(symbols.length + 1);
    texts.forEach(({ length }, i) => this.#starts[i + 1] = this.#starts[i] + length);
    this.#bytes = new Uint8Array(this.#starts[symbols.length]);
    texts.forEach((text, i) => this.#bytes.set(text, this.#starts[i]));
  }

  /** Valid until the next call. */
  of({ type, ints, nulls }: Column, length: number): Column {
    const made = this.#texts ??= new Column({ type: "string", nullable: type.nullable }, BLOCK_ROWS_MAX);
    made.data = this.#bytes;
    made.nulls.set(nulls.subarray(0, length));
    for (let row = 0; row < length; row++) {
      if (nulls[row] !== 0) continue;
      made.ints[2 * row] = this.#starts[ints[row]];
      made.ints[2 * row + 1] = this.#starts[ints[row] + 1];
    }
    return made;
  }
}
