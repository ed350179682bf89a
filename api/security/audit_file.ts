/**
 * The audit log as a file of JSON lines that is only appended to.
 *
 *     <data>/audit.log      newest: {"time":"...","who":"ada","role":"operator","from":"127.0.0.1","method":"POST",...}
 *     <data>/audit.log.1    the one before, and so on to .4; older ones are removed
 *
 * @module
 */
import { UnavailableError } from "../../pipeline/errors.ts";
import type { AuditEntry, AuditLog } from "./audit.ts";

/** A file grows to this many bytes before the next one is begun. */
export const AUDIT_FILE_BYTES_MAX = 8 * 1024 * 1024;
/** Files kept, the newest included. */
export const AUDIT_FILES_MAX = 5;
/** Entries that wait to be written; one more is told as a failure, and refuses the next actions. */
const WAITING_MAX = 10_000;
/** What could not be written is kept up to this much; beyond it is in the process's own log only. */
const UNWRITTEN_CHARACTERS_MAX = 4 * 1024 * 1024;

export interface AuditFileOptions {
  readonly bytesMax?: number;
  /** Told of an entry that could not be written, with what is in it. */
  readonly onFailure?: (message: string) => void;
}

interface Waiting {
  readonly line: string;
  readonly done: () => void;
}

/** Appends entries, many with one fsync when they come at the same time. */
export class AuditFile implements AuditLog {
  readonly #path: string;
  readonly #bytesMax: number;
  readonly #onFailure: (message: string) => void;
  #waiting: Waiting[] = [];
  #writing: Promise<void> | null = null;
  /** Lines that could not be written; no action is let through before they are. */
  #unwritten = "";
  /** The file ends with a whole line. */
  #isWhole = false;

  constructor(path: string, { bytesMax = AUDIT_FILE_BYTES_MAX, onFailure = () => {} }: AuditFileOptions = {}) {
    this.#path = path;
    this.#bytesMax = bytesMax;
    this.#onFailure = onFailure;
  }

  async ready(): Promise<void> {
    if (this.#unwritten === "") return;
    try {
      const lines = this.#unwritten;
      await this.#write(lines);
      this.#unwritten = this.#unwritten.slice(lines.length);
    } catch (error) {
      throw new UnavailableError(`the audit log cannot be written: ${(error as Error).message}`, { cause: error });
    }
  }

  append(entry: AuditEntry): Promise<void> {
    const line = JSON.stringify(entry) + "\n";
    if (this.#waiting.length >= WAITING_MAX) {
      this.#fail(`${WAITING_MAX} entries wait for ${this.#path} already`, line);
      return Promise.resolve();
    }
    return new Promise((done) => {
      this.#waiting.push({ line, done });
      this.#writing ??= this.#drain();
    });
  }

  async #drain(): Promise<void> {
    await Promise.resolve(); // entries of the same moment go together
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      const lines = batch.map(({ line }) => line).join("");
      await this.#write(lines).catch((error) => this.#fail(error.message, lines));
      for (const { done } of batch) done();
    }
    // Here and not when the promise resolves: an entry may come in between, and would wait for a drain that has ended.
    this.#writing = null;
  }

  #fail(problem: string, lines: string): void {
    this.#isWhole = false;
    if (this.#unwritten.length + lines.length <= UNWRITTEN_CHARACTERS_MAX) this.#unwritten += lines;
    this.#onFailure(`the audit log cannot be written (${problem}): ${lines.trimEnd()}`);
  }

  async #write(lines: string): Promise<void> {
    const begun = this.#isWhole ? "" : await endOfCutLine(this.#path);
    const bytes = new TextEncoder().encode(begun + lines);
    const size = await Deno.stat(this.#path).then((stat) => stat.size, () => 0);
    if (size > 0 && size + bytes.length > this.#bytesMax) await this.#rotate();
    using file = await Deno.open(this.#path, { create: true, append: true, mode: 0o600 });
    for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
    await file.sync();
    this.#isWhole = true;
  }

  /** Oldest first, so that a crash in between leaves a gap in the numbers and loses no file but the oldest. */
  async #rotate(): Promise<void> {
    for (let n = AUDIT_FILES_MAX - 1; n >= 1; n--) {
      const from = n === 1 ? this.#path : `${this.#path}.${n - 1}`;
      await Deno.rename(from, `${this.#path}.${n}`).catch((error) => {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      });
    }
  }

  async read(limit: number): Promise<readonly AuditEntry[]> {
    await this.#writing;
    const entries: AuditEntry[] = [];
    for (let n = 0; n < AUDIT_FILES_MAX && entries.length < limit; n++) {
      const text = await Deno.readTextFile(n === 0 ? this.#path : `${this.#path}.${n}`).catch(() => "");
      const lines = text.split("\n");
      for (let i = lines.length - 1; i >= 0 && entries.length < limit; i--) {
        const entry = parseEntry(lines[i]);
        if (entry) entries.push(entry);
      }
    }
    return entries;
  }
}

/** What ends a line that a crash, or a full disk, left half written. */
async function endOfCutLine(path: string): Promise<string> {
  try {
    using file = await Deno.open(path);
    if (await file.seek(0, Deno.SeekMode.End) === 0) return "";
    await file.seek(-1, Deno.SeekMode.End);
    const last = new Uint8Array(1);
    await file.read(last);
    return last[0] === 0x0a ? "" : "\n";
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}

/** Null for a line that a crash left half written. */
function parseEntry(line: string): AuditEntry | null {
  if (line === "") return null;
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}
