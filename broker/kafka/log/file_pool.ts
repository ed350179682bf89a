/** The calls of an open file that the log makes; `Deno.FsFile` has them, and a test can make them fail. */
export interface LogFile {
  readSync(bytes: Uint8Array): number | null;
  writeSync(bytes: Uint8Array): number;
  seekSync(offset: number, whence: Deno.SeekMode): number;
  truncateSync(length?: number): void;
  syncData(): Promise<void>;
  close(): void;
}

/** Opens a segment file to read anywhere and to append. */
export type OpenFile = (path: string) => LogFile;

const openToAppend: OpenFile = (path) => Deno.openSync(path, { read: true, append: true, create: true });

/**
 * Keeps at most `openFilesMax` segment files open, closing the one unused for longest. A file closed with writes that are not
 * on disk yet loses nothing: syncing it later through a new handle covers them.
 */
export class FilePool {
  readonly #files = new Map<string, LogFile>();
  readonly #max: number;
  readonly #open: OpenFile;

  constructor(openFilesMax: number, open: OpenFile = openToAppend) {
    this.#max = openFilesMax;
    this.#open = open;
  }

  get size(): number {
    return this.#files.size;
  }

  get(path: string): LogFile {
    let file = this.#files.get(path);
    if (file !== undefined) {
      this.#files.delete(path);
    } else {
      file = this.#open(path);
      if (this.#files.size >= this.#max) this.forget(this.#files.keys().next().value!);
    }
    this.#files.set(path, file);
    return file;
  }

  /** Closes the file, if it is open. */
  forget(path: string): void {
    const file = this.#files.get(path);
    if (file === undefined) return;
    this.#files.delete(path);
    file.close();
  }

  closeAll(): void {
    for (const path of [...this.#files.keys()]) this.forget(path);
  }
}
