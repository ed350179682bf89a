/**
 * Final rows that are not in the lake's table yet, kept in files beside the pipeline's checkpoint.
 *
 *     <folder>/<table>.<journal>.<number>.journal             as it was made
 *              <table>.<journal>.<number>.<taker>.journal     as whoever goes on with it calls it
 *
 *     frame   {"version": 1, "pipeline": .., "table": .., "columns": [..]}
 *     frame   the rows of one write; then the next
 *
 * see `journal_frames.ts`. Each process that opens the folder writes a journal of its own, and takes over the files it finds by
 * giving them another name. A write looks for its file's name before it resolves: so one that a frozen process finishes late is
 * either among what its successor read, or fails. A journal's files are numbered from 0; what is committed are always whole files,
 * and the table's own log says up to which number (`txn {appId: journalAppId(..), version: number}`).
 *
 * @module
 */
import { type Disk, type DiskFile, systemDisk } from "../../../disk.ts";
import { ConfigError, ConflictError, UnavailableError } from "../../../errors.ts";
import type { ResultColumn } from "../../../plan/plan.ts";
import type { ResultRows } from "../../sink.ts";
import { countRows, decodeRows, encodeRows, frame, FRAME_HEADER_BYTES, frameAt } from "./journal_frames.ts";

/** A file that has grown beyond this is followed by another one: so much is read at once. */
const FILE_BYTES_MAX = 16 * 1024 * 1024;
/** How often what is there is looked at anew while another process takes some of it. */
const LOOKS_MAX = 10;

export interface JournalOptions {
  readonly folder: string;
  readonly pipeline: string;
  readonly table: string;
  readonly columns: readonly ResultColumn[];
  readonly disk?: Disk;
  /** Instead of `FILE_BYTES_MAX`. */
  readonly fileBytesMax?: number;
}

/** Another process goes on with this journal. */
export class TakenOverError extends ConflictError {}

/** One file. Rows and bytes are those that are durable. */
export interface JournalFile {
  readonly journal: string;
  readonly number: number;
  readonly path: string;
  readonly columns: readonly ResultColumn[];
  readonly rows: number;
  readonly bytes: number;
}

/** What a commit says of a journal in the table's log; its version is the number of the journal's last file that is in the table. */
export function journalAppId(pipeline: string, journal: string): string {
  return `tailrace.results/${pipeline}/${journal}`;
}

interface OpenFile {
  readonly journal: string;
  readonly number: number;
  readonly path: string;
  readonly columns: readonly ResultColumn[];
  rows: number;
  bytes: number;
}

/** The journal of one table of one pipeline. One write at a time. */
export class Journal implements AsyncDisposable {
  readonly #options: JournalOptions;
  readonly #disk: Disk;
  #id = crypto.randomUUID();
  #files: OpenFile[] = [];
  /** Paths that were found or made, and perhaps removed since. */
  readonly #known = new Set<string>();
  #number = 0;
  /** The file that grows, the last of `#files`. */
  #growing: { readonly handle: DiskFile; readonly file: OpenFile } | null = null;
  /** A write failed, and left part of itself perhaps. */
  #isTorn = false;
  #holds = 0;
  #turn: Promise<unknown> = Promise.resolve();
  /** Paths to remove when nobody reads any more. */
  #leftovers: string[] = [];

  constructor(options: JournalOptions) {
    this.#options = options;
    this.#disk = options.disk ?? systemDisk;
  }

  /** Rows in all files. */
  get rows(): number {
    return this.#files.reduce((sum, { rows }) => sum + rows, 0);
  }

  get bytes(): number {
    return this.#files.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** The files as they are now, the oldest first within each journal. */
  files(): readonly JournalFile[] {
    return this.#files.filter(({ rows }) => rows > 0).map((file) => ({ ...file }));
  }

  /**
   * Takes over what other processes left here. None of them may be able to save a checkpoint of this pipeline any more.
   *
   * @throws UnavailableError when the disk cannot be read now
   * @throws ConfigError when a file is damaged
   */
  async recover(): Promise<void> {
    await this.#next(async () => {
      for (let looks = 0; !await this.#recover();) {
        if (++looks === LOOKS_MAX) throw new UnavailableError("another process is taking over the journal as well");
      }
    });
  }

  /** False when another took a file first: a commit that says how far a journal is must be of all that it has. */
  async #recover(): Promise<boolean> {
    const { folder, pipeline } = this.#options;
    await this.#disk.makeFolder(folder);
    const names = await this.#disk.list(folder);
    this.#letGo(new Set(names.map((name) => `${folder}/${name}`)));
    const found = names.flatMap((name) => this.#parse(name) ?? []).filter(({ path }) => !this.#known.has(path))
      .sort((a, b) => b.number - a.number);
    const last = new Map([...found.toReversed(), ...this.#files].map(({ journal, number }) => [journal, number]));
    for (const { journal, number, path: before } of found) {
      const path = `${folder}/${this.#options.table}.${journal}.${number}.${this.#id}.journal`;
      if (before !== path && !await this.#take(before, path)) return false;
      const bytes = await this.#disk.read(path);
      if (bytes === null) continue;
      const file = inspect({ path, bytes, pipeline, isLast: last.get(journal) === number });
      // Once it is one of these it is not looked for again.
      this.#known.add(path);
      if (file === null) this.#leftovers.push(path);
      else this.#files.unshift({ journal, number, path, ...file });
    }
    await this.#disk.syncFolder(folder);
    await this.#removeLeftovers();
    return true;
  }

  /** Forgets files that others have taken over, and goes on with a journal of another name. */
  #letGo(paths: ReadonlySet<string>): void {
    const lost = this.#files.filter(({ path }) => !paths.has(path));
    if (lost.length === 0) return;
    this.#files = this.#files.filter(({ path }) => paths.has(path));
    if (lost.some(({ path }) => path === this.#growing?.file.path)) {
      this.#end();
      this.#isTorn = false;
    }
    this.#id = crypto.randomUUID();
    this.#number = 0;
  }

  /** False when another was faster. */
  async #take(from: string, to: string): Promise<boolean> {
    try {
      await this.#disk.rename(from, to);
      return true;
    } catch (error) {
      if ((await this.#disk.list(this.#options.folder)).includes(nameOf(from))) throw error;
      return false;
    }
  }

  #parse(name: string): { readonly journal: string; readonly number: number; readonly path: string } | null {
    const { folder, table } = this.#options;
    const found = /^([a-z0-9_]+)\.([0-9a-f-]{36})\.(\d{1,15})(?:\.[0-9a-f-]{36})?\.journal$/.exec(name);
    if (found === null || found[1] !== table) return null;
    return { journal: found[2], number: Number(found[3]), path: `${folder}/${name}` };
  }

  /** Whether another process has this file under a name of its own. */
  async isTaken({ journal, number, path }: JournalFile): Promise<boolean> {
    const names = await this.#try(
      `${this.#options.folder} cannot be read`,
      () => this.#disk.list(this.#options.folder),
    );
    return names.some((name) => {
      const found = this.#parse(name);
      return found !== null && found.journal === journal && found.number === number && found.path !== path;
    });
  }

  /**
   * Appends the rows whose numbers are in `picked`; durable when it resolves.
   *
   * @throws UnavailableError when the disk does not take them: none of them is there then, or all
   * @throws TakenOverError when another process goes on with this journal; `recover` begins a new one
   */
  async append(rows: ResultRows, picked: Uint32Array): Promise<void> {
    if (picked.length === 0) return;
    const bytes = frame(encodeRows(rows, picked));
    await this.#next(async () => {
      const { handle, file } = await this.#open();
      await this.#cut();
      this.#isTorn = true;
      await handle.write(bytes);
      await handle.sync();
      await this.#assertMine(file);
      this.#isTorn = false;
      file.bytes += bytes.length;
      file.rows += picked.length;
      if (file.bytes > (this.#options.fileBytesMax ?? FILE_BYTES_MAX)) this.#end();
    });
  }

  /**
   * Ends the file that grows, so that all files there are now stay as they are; those with rows are given.
   *
   * @throws UnavailableError when what a failed write left of itself cannot be cut off now
   */
  async close(): Promise<readonly JournalFile[]> {
    return await this.#next(async () => {
      await this.#cut();
      if (this.#growing !== null && this.#growing.file.rows > 0) this.#end();
      return this.files();
    });
  }

  /** Lets go of files whose rows are in the table; they go when nobody reads them any more. */
  async settle(files: readonly JournalFile[]): Promise<void> {
    const paths = new Set(files.map(({ path }) => path));
    this.#files = this.#files.filter(({ path }) => !paths.has(path));
    this.#leftovers.push(...paths);
    await this.#removeLeftovers();
  }

  /** Keeps files for as long as somebody reads them. */
  hold(): Disposable {
    this.#holds++;
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (isHeld) this.#holds--;
        isHeld = false;
      },
    };
  }

  /**
   * The rows of a file, as far as it was when `file` was made; null when the file is gone.
   *
   * @throws UnavailableError when the disk cannot be read now
   */
  async read({ path, columns, bytes: length }: JournalFile): Promise<Iterable<ResultRows> | null> {
    const bytes = await this.#try(`${path} cannot be read`, () => this.#disk.read(path));
    return bytes === null ? null : rowsOf(bytes.subarray(0, length), { path, columns });
  }

  /** Ends without removing anything. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#turn;
    this.#end();
  }

  /** What was written is read by whoever renames the file after this. */
  async #assertMine({ path }: OpenFile): Promise<void> {
    const { folder, pipeline, table } = this.#options;
    if ((await this.#disk.list(folder)).includes(nameOf(path))) return;
    // Whoever has it now may have read what is torn for us: it stays.
    this.#end();
    this.#isTorn = false;
    throw new TakenOverError(
      `another process has taken over the journal of ${pipeline} for lake("${table}") in ${folder}. Run a pipeline in one ` +
        "process only",
    );
  }

  #end(): void {
    this.#growing?.handle[Symbol.dispose]();
    this.#growing = null;
  }

  /** Cuts off what a failed write left. */
  async #cut(): Promise<void> {
    if (!this.#isTorn || this.#growing === null) return;
    const { handle, file } = this.#growing;
    await this.#assertMine(file);
    await handle.truncate(file.bytes);
    await handle.sync();
    this.#isTorn = false;
  }

  /** One after the other. */
  #next<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(() => this.#try(`${this.#options.folder} does not take the results`, work));
    this.#turn = done.catch(() => {});
    return done;
  }

  async #open(): Promise<{ readonly handle: DiskFile; readonly file: OpenFile }> {
    if (this.#growing !== null) return this.#growing;
    const { folder, table, pipeline, columns } = this.#options;
    const number = this.#number++;
    const path = `${folder}/${table}.${this.#id}.${number}.journal`;
    const header = frame(new TextEncoder().encode(JSON.stringify({ version: 1, pipeline, table, columns })));
    this.#known.add(path);
    // At its end, so that what follows a write that was cut off comes right behind what is whole.
    const handle = await this.#disk.open(path, "end");
    try {
      await handle.write(header);
      await handle.sync();
      await this.#disk.syncFolder(folder);
    } catch (error) {
      handle[Symbol.dispose]();
      this.#leftovers.push(path);
      throw error;
    }
    const file = { journal: this.#id, number, path, columns, rows: 0, bytes: header.length };
    this.#files.push(file);
    return this.#growing = { handle, file };
  }

  /** What cannot be removed now is told to be in the table at the next start. */
  async #removeLeftovers(): Promise<void> {
    if (this.#holds > 0) return;
    const paths = this.#leftovers;
    this.#leftovers = [];
    for (const path of paths) {
      await this.#disk.remove(path).catch((error) => {
        if (!(error instanceof Deno.errors.NotFound)) this.#leftovers.push(path);
      });
    }
  }

  async #try<T>(problem: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof ConfigError || error instanceof ConflictError) throw error;
      throw new UnavailableError(`${problem}: ${(error as Error).message}`, { cause: error });
    }
  }
}

/**
 * What a file holds; null when it has no rows. The end of a journal's last file may be torn: that write never resolved.
 *
 * @throws ConfigError when it is damaged elsewhere
 */
function inspect(
  { path, bytes, pipeline, isLast }: {
    readonly path: string;
    readonly bytes: Uint8Array;
    readonly pipeline: string;
    readonly isLast: boolean;
  },
): Pick<OpenFile, "columns" | "rows" | "bytes"> | null {
  const head = frameAt(bytes, 0);
  const damaged = (at: number) =>
    new ConfigError({
      where: path,
      problem:
        `is damaged at byte ${at}: its checksums do not fit. It holds final results that are not in the lake yet; ` +
        `bring it back from a copy of the disk, or remove it and compute them again with: tailrace rewind ${pipeline}`,
    });
  if (head === null) {
    // It was torn as it was made, and has no rows.
    if (!isFollowed(bytes, 0)) return null;
    throw damaged(0);
  }
  const { columns, version } = JSON.parse(new TextDecoder().decode(head)) as {
    readonly columns: readonly ResultColumn[];
    readonly version: number;
  };
  if (version !== 1) {
    throw new ConfigError({
      where: path,
      problem: `was written by a newer Tailrace (format ${version}): start that one`,
    });
  }
  let at = FRAME_HEADER_BYTES + head.length;
  let rows = 0;
  while (at < bytes.length) {
    const payload = frameAt(bytes, at);
    if (payload === null) {
      if (!isLast || isFollowed(bytes, at)) throw damaged(at);
      break;
    }
    rows += countRows(payload, columns.length);
    at += FRAME_HEADER_BYTES + payload.length;
  }
  return rows === 0 ? null : { columns, rows, bytes: at };
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** Whether a whole frame comes after a broken one: then it was not torn, as each write waits for the one before. */
function isFollowed(bytes: Uint8Array, at: number): boolean {
  if (at + FRAME_HEADER_BYTES > bytes.length) return false;
  const next = at + FRAME_HEADER_BYTES + new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0, true);
  return next < bytes.length && frameAt(bytes, next) !== null;
}

function* rowsOf(
  bytes: Uint8Array,
  { path, columns }: { readonly path: string; readonly columns: readonly ResultColumn[] },
): Generator<ResultRows> {
  const head = frameAt(bytes, 0);
  for (let at = FRAME_HEADER_BYTES + (head?.length ?? 0); at < bytes.length;) {
    const payload = frameAt(bytes, at);
    if (head === null || payload === null) throw new Error(`${path} was changed while it was in use`);
    yield* decodeRows(payload, columns);
    at += FRAME_HEADER_BYTES + payload.length;
  }
}
