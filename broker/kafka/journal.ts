/**
 * A small append-only file of JSON entries, one a line, each behind its checksum:
 *
 *     <CRC-32C of the JSON text, 8 hexadecimal digits> <JSON>\n
 *
 * Reading stops at the first line that is not whole, which can only be the last of a broker that was killed, and cuts it off. When
 * the file has grown far beyond what is still true it is written anew.
 *
 * @module
 */
import { crc32c } from "../../pipeline/log/crc32c.ts";
import { readIfPresent, replaceFile } from "./durable_file.ts";

/** A journal is rewritten when it is larger than this and four times what it was when last rewritten. */
const rewriteAtBytes = 1024 * 1024;

const encoder = new TextEncoder();

function line(entry: unknown): string {
  const text = JSON.stringify(entry);
  return `${crc32c(encoder.encode(text)).toString(16).padStart(8, "0")} ${text}\n`;
}

export class Journal<Entry> {
  readonly #path: string;
  readonly #snapshot: () => Iterable<Entry>;
  #file: Deno.FsFile;
  #bytes: number;
  #bytesAfterRewrite: number;
  #syncing: Promise<void> | null = null;
  #syncNext: Promise<void> | null = null;

  /**
   * Opens the journal, handing each entry in it to `apply` in order; `snapshot` gives the entries that make the present state, for
   * when the file is rewritten.
   */
  constructor(path: string, options: {
    apply: (entry: Entry) => void;
    snapshot: () => Iterable<Entry>;
    log: (line: string) => void;
  }) {
    this.#path = path;
    this.#snapshot = options.snapshot;
    const text = readIfPresent(path) ?? "";
    let good = 0;
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", good)) {
      const json = text.slice(good + 9, end);
      if (Number.parseInt(text.slice(good, good + 8), 16) !== crc32c(encoder.encode(json))) break;
      options.apply(JSON.parse(json) as Entry);
      good = end + 1;
    }
    this.#bytes = encoder.encode(text.slice(0, good)).length;
    this.#bytesAfterRewrite = this.#bytes;
    this.#file = Deno.openSync(path, { append: true, create: true });
    if (good < text.length) {
      this.#file.truncateSync(this.#bytes);
      options.log(`Cut ${text.length - good} characters of an unfinished write off ${path}`);
    }
  }

  /** Appends entries; they survive a kill of the process at once, a power cut after `sync`. Throws when the disk is full. */
  append(entries: readonly Entry[]): void {
    if (this.#bytes > Math.max(rewriteAtBytes, this.#bytesAfterRewrite * 4)) this.#rewrite();
    const bytes = encoder.encode(entries.map(line).join(""));
    try {
      for (let at = 0; at < bytes.length;) at += this.#file.writeSync(bytes.subarray(at));
    } catch (error) {
      this.#file.truncateSync(this.#bytes);
      throw error;
    }
    this.#bytes += bytes.length;
  }

  /** Resolves when everything appended so far is on disk; all who wait share one call. */
  sync(): Promise<void> {
    if (this.#syncing === null) return this.#startSync();
    this.#syncNext ??= this.#syncing.then(() => this.#startSync(), () => this.#startSync());
    return this.#syncNext;
  }

  async close(): Promise<void> {
    await this.sync();
    this.#file.close();
  }

  #startSync(): Promise<void> {
    this.#syncNext = null;
    const running = this.#file.syncData().finally(() => {
      if (this.#syncing === running) this.#syncing = null;
    });
    this.#syncing = running;
    return running;
  }

  #rewrite(): void {
    const text = Array.from(this.#snapshot(), line).join("");
    replaceFile(this.#path, text, { sync: true });
    this.#file.close();
    this.#file = Deno.openSync(this.#path, { append: true });
    this.#bytes = this.#bytesAfterRewrite = encoder.encode(text).length;
  }
}
