/** What happened, as a hash and, when asked for, as lines. Two runs that did the same have the same hash. */
export class Trace {
  readonly #lines: string[] | null;
  #high = 0x811c9dc5;
  #low = 0x1000193;

  constructor({ keep = false } = {}) {
    this.#lines = keep ? [] : null;
  }

  note(line: string): void {
    for (let i = 0; i < line.length; i++) {
      const code = line.charCodeAt(i);
      this.#high = Math.imul(this.#high ^ code, 0x01000193);
      this.#low = Math.imul(this.#low + code, 0x85ebca6b) ^ (this.#low >>> 13);
    }
    this.#lines?.push(line);
  }

  get hash(): string {
    const hex = (bits: number) => (bits >>> 0).toString(16).padStart(8, "0");
    return hex(this.#high) + hex(this.#low);
  }

  get lines(): readonly string[] {
    return this.#lines ?? [];
  }
}
