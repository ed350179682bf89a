import { ConflictError, UnavailableError } from "../errors.ts";
import { type Disk, systemDisk } from "../disk.ts";

/**
 * Where a process keeps what its pipelines go on from: a folder for each, that belongs to the process which claimed it last.
 *
 *     <folder>/<pipeline>.<n>/checkpoint, history
 *
 * A claim renames the folder from n to n + 1. Whoever had it before, frozen perhaps in the middle of a save, finds nothing any
 * more under the path it knows: what it saves then fails, and cannot take the place of what the new owner saved.
 */
export class PipelineFolders {
  readonly disk: Disk;
  readonly #folder: string;
  readonly #claimed = new Map<string, Promise<number>>();

  constructor(folder: string, disk: Disk = systemDisk) {
    this.#folder = folder;
    this.disk = disk;
  }

  /**
   * Takes a pipeline's folder over, once; again after `release`.
   *
   * @throws ConflictError when another process has claimed it since
   * @throws UnavailableError when the disk does not take it now
   */
  async claim(pipeline: string): Promise<string> {
    const claimed = this.#claimed.get(pipeline);
    if (claimed !== undefined) {
      const number = await claimed;
      if (!await this.#isThere(pipeline, number)) throw this.#lost(pipeline);
      return this.#path(pipeline, number);
    }
    const claiming = this.#take(pipeline).catch((error) => {
      this.#claimed.delete(pipeline);
      throw new UnavailableError(`${this.#folder} cannot be claimed for ${pipeline}: ${(error as Error).message}`, {
        cause: error,
      });
    });
    this.#claimed.set(pipeline, claiming);
    return this.#path(pipeline, await claiming);
  }

  /** Lets go of a pipeline that has stopped: others may claim it without a conflict, and so may this process. */
  release(pipeline: string): void {
    this.#claimed.delete(pipeline);
  }

  /** The folder to read from: that of the last claim, whoever made it; null when there is none. */
  async newest(pipeline: string): Promise<string | null> {
    const number = await this.#newest(pipeline);
    return number === 0 ? null : this.#path(pipeline, number);
  }

  /** A file of a pipeline as it is now, whoever has the folder; null when there is none. @throws what the disk does */
  async read(pipeline: string, name: string): Promise<{ readonly path: string; readonly bytes: Uint8Array } | null> {
    for (;;) {
      const folder = await this.newest(pipeline);
      if (folder === null) return null;
      const path = `${folder}/${name}`;
      const bytes = await this.disk.read(path);
      if (bytes !== null) return { path, bytes };
      // A claim may have renamed the folder meanwhile: it is not gone then.
      if (await this.newest(pipeline) === folder) return null;
    }
  }

  /**
   * Writes to the folder, which is claimed where it was not.
   *
   * @throws ConflictError when another process has claimed it since
   * @throws UnavailableError with `problem` when the disk does not take it now
   */
  async write(pipeline: string, problem: string, work: (path: string) => Promise<void>): Promise<void> {
    // Not looked for each time: whose folder is gone finds that out by it.
    const claimed = this.#claimed.get(pipeline);
    const path = claimed ? this.#path(pipeline, await claimed) : await this.claim(pipeline);
    try {
      await work(path);
    } catch (error) {
      const isThere = await this.disk.list(this.#folder).then((names) => names.includes(nameOf(path)), () => true);
      if (!isThere) throw this.#lost(pipeline);
      throw new UnavailableError(`${problem}: ${(error as Error).message}`, { cause: error });
    }
  }

  async #take(pipeline: string): Promise<number> {
    const { disk } = this;
    await disk.makeFolder(this.#folder);
    for (;;) {
      const number = await this.#newest(pipeline);
      const [from, to] = [this.#path(pipeline, number), this.#path(pipeline, number + 1)];
      if (number === 0) {
        if (!await disk.makeNewFolder(to)) continue;
      } else {
        try {
          await disk.rename(from, to);
        } catch (error) {
          // Another one was faster.
          if (!await this.#isThere(pipeline, number)) continue;
          throw error;
        }
      }
      // Among the first ever, one may have been overtaken twice.
      if (await this.#newest(pipeline) !== number + 1) continue;
      await this.#separate(to);
      await disk.syncFolder(this.#folder);
      return number + 1;
    }
  }

  /** Copies what the former owner may have open: what it still writes goes into a file without a name. */
  async #separate(path: string): Promise<void> {
    const { disk } = this;
    const names = await disk.list(path);
    const isLeftover = (name: string) => name.endsWith(".new");
    // Those first: a copy is made under such a name.
    for (const name of names.filter(isLeftover)) await disk.remove(`${path}/${name}`);
    for (const name of names.filter((name) => !isLeftover(name))) {
      await replaceFile(disk, `${path}/${name}`, (await disk.read(`${path}/${name}`))!);
    }
  }

  async #newest(pipeline: string): Promise<number> {
    const numbers = (await this.disk.list(this.#folder)).map((name) => {
      const at = name.lastIndexOf(".");
      return name.slice(0, at) === pipeline && /^\d{1,9}$/.test(name.slice(at + 1)) ? Number(name.slice(at + 1)) : 0;
    });
    return Math.max(0, ...numbers);
  }

  async #isThere(pipeline: string, number: number): Promise<boolean> {
    return (await this.disk.list(this.#folder)).includes(`${pipeline}.${number}`);
  }

  #path(pipeline: string, number: number): string {
    return `${this.#folder}/${pipeline}.${number}`;
  }

  #lost(pipeline: string): ConflictError {
    return new ConflictError(
      `another process has taken over pipeline ${pipeline} in ${this.#folder}. Run a pipeline in one process only`,
    );
  }
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** Puts `bytes` in the place of a file: whenever the machine stops, the file is whole, the old one or the new one. */
export async function replaceFile(disk: Disk, path: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${path}.new`;
  {
    using file = await disk.open(temporary, "empty");
    await file.write(bytes);
    // Before the rename: a name may reach the disk earlier than the bytes it stands for.
    await file.sync();
  }
  await disk.rename(temporary, path);
  await disk.syncFolder(path.slice(0, path.lastIndexOf("/")));
}
