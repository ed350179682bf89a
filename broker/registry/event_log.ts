/**
 * The registry's memory on disk: one file that only grows.
 *
 * Each line is a CRC-32C of what follows the blank (8 hexadecimal digits), a blank, an event as JSON, a newline:
 *
 *     5a1c09f3 {"op":"config","subject":null,"level":"FULL"}\n
 *
 * A crash can tear the last line only, which was then never answered for; it is cut at the next start. A bad line before
 * the last is damage, and the registry refuses to start rather than to forget schemas.
 *
 * @module
 */
import { crc32c } from "../../pipeline/log/crc32c.ts";
import { ConfigError } from "../../pipeline/errors.ts";
import { releaseLock } from "../../pipeline/file_lock.ts";

export class EventLog<Event> implements Disposable {
  readonly #file: Deno.FsFile;
  /** Length of what is known to be whole; a failed append leaves rubbish after it, which the next one overwrites. */
  #length: number;

  private constructor(file: Deno.FsFile, length: number) {
    this.#file = file;
    this.#length = length;
  }

  /**
   * Opens or makes the file and hands every event to `apply`, in order.
   *
   * @throws ConfigError when the file is damaged, or in use by another process
   */
  static async open<Event>(path: string, apply: (event: Event) => void): Promise<EventLog<Event>> {
    const file = await Deno.open(path, { read: true, write: true, create: true, mode: 0o644 });
    try {
      if (!await file.tryLock(true)) {
        throw new ConfigError({
          where: "--data (TAILRACE_DATA)",
          problem: `${path} is held by another running Tailrace`,
        });
      }
      const data = await Deno.readFile(path);
      const length = replay(data, path, apply);
      if (length < data.length) await file.truncate(length);
      return new EventLog(file, length);
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** Resolves when the event is on disk. One at a time: the caller waits before it appends again. */
  async append(event: Event): Promise<void> {
    const body = new TextEncoder().encode(JSON.stringify(event));
    const line = new Uint8Array(body.length + 10);
    line.set(new TextEncoder().encode(`${checksum(body)} `));
    line.set(body, 9);
    line[line.length - 1] = NEWLINE;
    await this.#file.truncate(this.#length);
    await this.#file.seek(this.#length, Deno.SeekMode.Start);
    for (let written = 0; written < line.length;) written += await this.#file.write(line.subarray(written));
    await this.#file.syncData();
    this.#length += line.length;
  }

  [Symbol.dispose](): void {
    releaseLock(this.#file);
  }
}

const NEWLINE = 10;

function checksum(body: Uint8Array): string {
  return (crc32c(body, 0, body.length) >>> 0).toString(16).padStart(8, "0");
}

/** Applies every whole line; returns how many bytes they take. */
function replay<Event>(data: Uint8Array, path: string, apply: (event: Event) => void): number {
  const text = new TextDecoder();
  let start = 0;
  for (let line = 1; start < data.length; line++) {
    const end = data.indexOf(NEWLINE, start);
    const body = data.subarray(start + 9, Math.max(start + 9, end));
    if (end < 0 || text.decode(data.subarray(start, start + 9)) !== `${checksum(body)} `) {
      if (end < 0 || end === data.length - 1) return start;
      throw new ConfigError({
        where: "--data (TAILRACE_DATA)",
        problem:
          `${path} is damaged at line ${line} (byte ${start}): restore the file, or remove it to start without schemas`,
      });
    }
    apply(JSON.parse(text.decode(body)));
    start = end + 1;
  }
  return start;
}
