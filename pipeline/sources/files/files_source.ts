/**
 * Reads files, each once, in the order of their names, and goes on inside a file where it was.
 *
 *     look ─▶ new, and no longer growing ─▶ rows ─▶ batches ─▶ done
 *       ▲                                                       │
 *       └──────────────────────── every ────────────────────────┘
 *
 * @module
 */
import { type Clock, systemClock } from "../../clock.ts";
import { ConfigError, UnavailableError } from "../../errors.ts";
import type { RecordMaker } from "../record_maker.ts";
import type { ReadOptions, Rejected, Source, SourceBatch, SourcePosition, SourceRecord } from "../source.ts";
import { DONE_MAX, DoneFiles } from "./done_files.ts";
import { BEGINNING, type Block, FileFault, type FileReader, type Place } from "./file_reader.ts";
import { findFiles, FolderAway, type FoundFile, notAllowed } from "./find_files.ts";

const BATCH_ROWS_MAX = 2_000;
const BATCH_BYTES_MAX = 2 * 1024 * 1024;
/** A file that was last changed longer ago than this is not being written, even where the clocks differ a little. */
const SURELY_STABLE_MS = 60_000;
/** A look takes at most this part of the time. */
const LOOK_SHARE = 0.1;

/** A file that reading is in the middle of. */
interface Current extends FoundFile, Place {}

/** A position: plain JSON. */
interface FilesPosition {
  readonly done: readonly string[];
  readonly current: Current | null;
}

export interface FilesSourceOptions {
  readonly path: string;
  /** Null where the name tells no format. */
  readonly readerOf: (name: string) => FileReader | null;
  readonly maker: RecordMaker;
  readonly watch: boolean;
  readonly everyMs: number;
  readonly stableMs: number;
  readonly changed: "tell" | "again";
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
  /** Default `FOUND_MAX`. */
  readonly foundMax?: number;
  /** Default `DONE_MAX`. */
  readonly doneMax?: number;
}

export class FilesSource implements Source {
  readonly #options: FilesSourceOptions;
  #clock: Clock = systemClock;
  #done = new DoneFiles();
  #current: Current | null = null;
  #records: SourceRecord[] = [];
  #rejected: Rejected[] = [];
  #bytes = 0;
  /** Whether the position is another one than in the last batch. */
  #isMoved = false;
  /** Files that were seen as they are, and since when by the monotonic clock. */
  #seen = new Map<string, { readonly size: number; readonly mtimeMs: number; readonly sinceMs: number }>();
  #told = new Set<string>();
  #waiting = 0;
  /** Why files are left that would be read; null when none are. */
  #barred: string | null = null;
  #changedFiles = 0;

  constructor(options: FilesSourceOptions) {
    this.#options = options;
  }

  async *read(position: SourcePosition | null, options: ReadOptions): AsyncGenerator<SourceBatch> {
    const { signal, clock, isBounded, onWaiting } = options;
    const { watch, everyMs } = this.#options;
    this.#clock = clock;
    const before = position as FilesPosition | null;
    this.#done = new DoneFiles(before?.done, { max: this.#options.doneMax });
    this.#current = before?.current ?? null;
    let wanted: ReadonlySet<string> | null = null;
    let told: string | null = null;
    const tell = (reason: string | null) => {
      if (reason !== told) onWaiting(reason);
      told = reason;
    };
    for (;;) {
      const beganMs = clock.monotonic();
      const found = await this.#find({ isBounded, onWaiting: tell });
      const tookMs = clock.monotonic() - beganMs;
      if (found !== null) {
        wanted ??= isBounded || !watch ? new Set(found.map(({ name }) => name)) : null;
        const looked = wanted === null ? found : found.filter(({ name }) => wanted!.has(name));
        yield* this.#readFound(looked, found, options);
        if (this.#isMoved) yield this.#batch();
        tell(this.#barred);
        if (this.#waiting === 0) {
          if (isBounded) return;
          // Nothing is looked for any more; the task ends by its signal.
          if (!watch) { for (;;) await clock.sleep(60 * 60_000, signal); }
        }
      }
      await clock.sleep(Math.max(everyMs, tookMs / LOOK_SHARE), signal);
    }
  }

  details(): Readonly<Record<string, string | number | boolean | null>> {
    return {
      path: this.#options.path,
      filesRead: this.#done.size,
      currentFile: this.#current?.name ?? null,
      currentLine: this.#current?.line ?? null,
      filesWaiting: this.#waiting,
      filesChanged: this.#changedFiles,
    };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  /** Null when the folder is away, which is waited out. */
  async #find({ isBounded, onWaiting }: Pick<ReadOptions, "isBounded" | "onWaiting">): Promise<FoundFile[] | null> {
    const { path, foundMax } = this.#options;
    try {
      const found = await findFiles(path, { foundMax });
      if (found.length > 0 || /[*?]/.test(path)) return found;
      if (isBounded) throw new ConfigError({ where: "from.path", problem: `there is no file ${path}` });
      onWaiting(`there is no file ${path} yet`);
      return null;
    } catch (error) {
      if (!(error instanceof FolderAway)) throw error;
      if (isBounded) throw new ConfigError({ where: "from.path", problem: error.message });
      onWaiting(error.message);
      return null;
    }
  }

  async *#readFound(
    looked: readonly FoundFile[],
    found: readonly FoundFile[],
    { signal, clock }: ReadOptions,
  ): AsyncGenerator<SourceBatch> {
    this.#waiting = 0;
    this.#barred = null;
    this.#forgetSeen(found);
    if (this.#current !== null) yield* this.#resume(this.#current, found);
    if (this.#current !== null) return;
    for (const file of looked) {
      signal.throwIfAborted();
      const before = this.#done.look(file);
      if (before === "done") continue;
      const reader = this.#options.readerOf(file.name);
      if (reader === null) {
        this.#tell(
          `${file.name} is of no known format, and is left alone: name it .csv, .tsv, .ndjson, .jsonl, .json or .parquet`,
        );
        continue;
      }
      if (!this.#isStable(file, clock)) {
        this.#waiting++;
        continue;
      }
      if (before === "changed") {
        this.#changedFiles++;
        const isAgain = this.#options.changed === "again";
        this.#options.log(
          "warn",
          `${file.name} changed after it was read; ${isAgain ? "it is read again" : NOT_AGAIN}`,
        );
        if (!isAgain) {
          this.#finish(file);
          continue;
        }
      } else if (!this.#done.makeRoom(found)) {
        throw new ConfigError({
          where: "from.path",
          problem:
            `${
              this.#options.doneMax ?? DONE_MAX
            } files that were read are still there, and more cannot be remembered: ` +
            "move those that were read to another folder, or delete them",
        });
      }
      yield* this.#readFile(file, reader, BEGINNING);
    }
  }

  /** The rest of the file that the last run was in the middle of. */
  async *#resume(current: Current, found: readonly FoundFile[]): AsyncGenerator<SourceBatch> {
    const { name, size, mtimeMs, offset, line } = current;
    const file = found.find((file) => file.name === name);
    const reader = this.#options.readerOf(name);
    const isSame = file !== undefined && file.size === size && file.mtimeMs === mtimeMs;
    if (isSame && reader !== null) return yield* this.#readFile(file, reader, { offset, line });
    const was = file === undefined ? "vanished" : "changed";
    if (was === "changed" && this.#options.changed === "again") {
      this.#options.log("warn", `${name} changed while it was read; it is read again`);
      this.#current = null;
      this.#isMoved = true;
      return;
    }
    this.#reject(current, `${was} while it was read: what came after line ${line - 1} of it is not in the topic`);
    this.#finish(file ?? current);
  }

  async *#readFile(file: FoundFile, reader: FileReader, from: Place): AsyncGenerator<SourceBatch> {
    let at = from;
    this.#current = { ...file, ...at };
    try {
      for await (const block of reader.read(file.name, from)) {
        this.#take(block, file.name);
        at = block.after;
        this.#current = { ...file, ...at };
        if (this.#isFull()) yield this.#batch();
      }
    } catch (error) {
      if (!this.#endsWith(error, { file, at })) return;
    }
    this.#finish(file);
    if (this.#isFull()) yield this.#batch();
  }

  /** Whether the file is done with; otherwise a later look tries again. */
  #endsWith(error: unknown, { file, at }: { readonly file: FoundFile; readonly at: Place }): boolean {
    const isBeginning = at.offset === 0;
    if (error instanceof FileFault) {
      this.#reject({ ...file, ...at }, `the file ${error.message}`);
      return true;
    }
    if (error instanceof Deno.errors.PermissionDenied) {
      const problem = `${file.name} may not be read by the user that Tailrace runs as: chmod or chown it`;
      this.#tell(problem);
      this.#barred ??= problem;
      this.#waiting++;
      // Others are read meanwhile, unless this one is read in part.
      if (isBeginning) this.#current = null;
      return false;
    }
    if (error instanceof Deno.errors.NotFound) {
      if (!isBeginning) {
        return this.#reject({ ...file, ...at }, "the file vanished before it was read to its end"), true;
      }
      this.#tell(`${file.name} vanished before it was read`);
      this.#current = null;
      return false;
    }
    if (error instanceof Deno.errors.NotCapable) throw notAllowed(file.name);
    if (error instanceof Error && typeof (error as { code?: unknown }).code === "string") {
      throw new UnavailableError(`${file.name} cannot be read now: ${error.message}`);
    }
    throw error;
  }

  #take({ items, bytes }: Block, name: string): void {
    const nowMs = this.#clock.now();
    for (const item of items) {
      const made = "value" in item ? this.#options.maker.make(item.value, nowMs) : item;
      if ("record" in made) this.#records.push(made.record);
      else this.#rejected.push({ raw: item.raw(), reason: made.reason, where: `${name}:${item.line}` });
    }
    this.#bytes += bytes;
    this.#isMoved = true;
  }

  /** What is wrong with a file as a whole, or from a place on. */
  #reject({ name, line }: Current, reason: string): void {
    this.#options.log("warn", `${name}:${line}: ${reason}`);
    this.#rejected.push({ raw: new Uint8Array(), reason, where: `${name}:${line}` });
  }

  #finish(file: FoundFile): void {
    this.#done.add(file);
    this.#seen.delete(file.name);
    this.#current = null;
    this.#isMoved = true;
  }

  #isFull(): boolean {
    return this.#records.length + this.#rejected.length >= BATCH_ROWS_MAX || this.#bytes >= BATCH_BYTES_MAX;
  }

  #batch(): SourceBatch {
    const position: FilesPosition = { done: this.#done.toJSON(), current: this.#current };
    const batch = { records: this.#records, rejected: this.#rejected, position: { ...position } };
    this.#records = [];
    this.#rejected = [];
    this.#bytes = 0;
    this.#isMoved = false;
    return batch;
  }

  #isStable({ name, size, mtimeMs }: FoundFile, clock: Clock): boolean {
    const { stableMs } = this.#options;
    if (stableMs === 0 || clock.now() - mtimeMs >= stableMs + SURELY_STABLE_MS) return true;
    const seen = this.#seen.get(name);
    if (seen !== undefined && seen.size === size && seen.mtimeMs === mtimeMs) {
      return clock.monotonic() - seen.sinceMs >= stableMs;
    }
    this.#seen.set(name, { size, mtimeMs, sinceMs: clock.monotonic() });
    return false;
  }

  #forgetSeen(found: readonly FoundFile[]): void {
    if (this.#seen.size === 0) return;
    const names = new Set(found.map(({ name }) => name));
    for (const name of this.#seen.keys()) if (!names.has(name)) this.#seen.delete(name);
  }

  #tell(message: string): void {
    if (this.#told.has(message)) return;
    if (this.#told.size >= DONE_MAX) this.#told.clear();
    this.#told.add(message);
    this.#options.log("warn", message);
  }
}

const NOT_AGAIN = 'it is not read again (changed: "again" reads it as a whole)';
