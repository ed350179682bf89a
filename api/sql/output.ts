/**
 * The answer's bytes on their way out of a child: collected into pieces, and written when the pipe takes them. A pipe that is full
 * holds the child up, which holds DuckDB up: it computes no more rows than are taken.
 *
 * @module
 */

/** Characters collected before they are written. */
const PIECE_CHARACTERS = 65_536;

export class Output {
  readonly #write: (bytes: Uint8Array) => number;
  readonly #encoder = new TextEncoder();
  #pieces: string[] = [];
  #characters = 0;

  /** @param write takes some of the bytes, and says how many */
  constructor(write: (bytes: Uint8Array) => number) {
    this.#write = write;
  }

  text(text: string): void {
    this.#pieces.push(text);
    this.#characters += text.length;
    if (this.#characters >= PIECE_CHARACTERS) this.flush();
  }

  bytes(bytes: Uint8Array): void {
    this.flush();
    this.#writeAll(bytes);
  }

  flush(): void {
    if (this.#characters === 0) return;
    const text = this.#pieces.join("");
    this.#pieces = [];
    this.#characters = 0;
    this.#writeAll(this.#encoder.encode(text));
  }

  #writeAll(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) at += this.#write(bytes.subarray(at));
  }
}
