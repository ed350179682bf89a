/**
 * A small append-only file of JSON entries, one a line, each behind its checksum:
 *
 *     <CRC-32C of the JSON text, 8 hexadecimal digits> <JSON>\n
 *
 * A broker that was killed may leave a last line that is not whole; it was never answered for and is cut off. A line that is not
 * whole with whole ones behind it is damage, and the journal refuses to open rather than to forget what followed. When the file has
 * grown far beyond what is still true it is written anew.
 *
 * @module
 */
import { crc32c } from "../../pipeline/log/crc32c.ts";
import { replaceFile } from "./durable_file.ts";
import { SharedCall } from "./shared_call.ts";

/** A journal is rewritten when it is larger than this and four times what it was when last rewritten. */
const rewriteAtBytes = 1024 * 1024;

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const newline = 10;

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
  readonly #sync = new SharedCall(() => this.#syncFile());
  #failure: Error | null = null;

  /**
   * Opens the journal, handing each entry in it to `apply` in order; `snapshot` gives the entries that make the present state, for
   * when the file is rewritten. Throws when the file is damaged, not only cut short.
   */
  constructor(path: string, options: {
    apply: (entry: Entry) => void;
    snapshot: () => Iterable<Entry>;
    log: (line: string) => void;
  }) {
    this.#path = path;
    this.#snapshot = options.snapshot;
    this.#file = Deno.openSync(path, { read: true, append: true, create: true });
    try {
      const data = Deno.readFileSync(path);
      this.#bytes = replay(data, path, options.apply);
      if (this.#bytes < data.length) {
        this.#file.truncateSync(this.#bytes);
        options.log(`Cut ${data.length - this.#bytes} bytes of an unfinished write off ${path}`);
      }
    } catch (error) {
      this.#file.close();
      throw error;
    }
    this.#bytesAfterRewrite = this.#bytes;
  }

  /** Appends entries; they survive a kill of the process at once, a power cut after `sync`. Throws when the disk is full. */
  append(entries: readonly Entry[]): void {
    if (this.#failure !== null) throw this.#failure;
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
    return this.#failure === null ? this.#sync.run() : Promise.reject(this.#failure);
  }

  async close(): Promise<void> {
    try {
      await this.sync();
    } finally {
      this.#file.close();
    }
  }

  async #syncFile(): Promise<void> {
    const file = this.#file;
    try {
      await file.syncData();
    } catch (error) {
      // Written anew meanwhile, which put everything on disk.
      if (file !== this.#file) return;
      // After a failed call the kernel may have dropped the pages: nothing more can be promised.
      this.#failure = new Error(`Cannot put ${this.#path} on disk: ${(error as Error).message}; restart the broker`);
      throw this.#failure;
    }
  }

  #rewrite(): void {
    const text = Array.from(this.#snapshot(), line).join("");
    replaceFile(this.#path, text, { sync: true });
    this.#file.close();
    this.#file = Deno.openSync(this.#path, { append: true });
    this.#bytes = this.#bytesAfterRewrite = encoder.encode(text).length;
  }
}

/** Applies every whole line; returns how many bytes they take. */
function replay<Entry>(data: Uint8Array, path: string, apply: (entry: Entry) => void): number {
  let start = 0;
  for (let number = 1; start < data.length; number++) {
    const end = data.indexOf(newline, start);
    if (!isWhole(data, start, end)) {
      for (let at = end + 1; at > 0 && at < data.length; at = data.indexOf(newline, at) + 1) {
        if (!isWhole(data, at, data.indexOf(newline, at))) continue;
        throw new Error(
          `Cannot read ${path}: line ${number} (byte ${start}) is damaged and whole ones follow; restore the file from a ` +
            "copy, or remove it to start without what it holds",
        );
      }
      return start;
    }
    apply(JSON.parse(decoder.decode(data.subarray(start + 9, end))) as Entry);
    start = end + 1;
  }
  return start;
}

/** Whether `[start, end)` is a line with its checksum; `end` is −1 when no newline ends it. */
function isWhole(data: Uint8Array, start: number, end: number): boolean {
  if (end - start < 10) return false;
  const checksum = crc32c(data, start + 9, end).toString(16).padStart(8, "0");
  return decoder.decode(data.subarray(start, start + 9)) === `${checksum} `;
}
