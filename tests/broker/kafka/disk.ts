import type { LogFile } from "../../../broker/kafka/log/file_pool.ts";

/** Segment files whose content reaches the disk when the test says so; what did not can be cut off as a power cut does. */
export class Disk implements Disposable {
  #gate = Promise.withResolvers<void>();
  #isOpen = true;
  readonly #synced = new Map<string, number>();

  readonly openFile = (path: string): LogFile => {
    const file = Deno.openSync(path, { read: true, append: true, create: true });
    if (!this.#synced.has(path)) this.#synced.set(path, 0);
    return Object.assign(file, {
      syncData: async () => {
        const { size } = file.statSync();
        if (!this.#isOpen) await this.#gate.promise;
        await Deno.FsFile.prototype.syncData.call(file);
        this.#synced.set(path, Math.max(size, this.#synced.get(path)!));
      },
    });
  };

  stall(): void {
    this.#isOpen = false;
    this.#gate = Promise.withResolvers();
  }

  goOn(): void {
    this.#isOpen = true;
    this.#gate.resolve();
  }

  [Symbol.dispose](): void {
    this.goOn();
  }

  /** A copy of the folder without what is not on disk. */
  afterPowerCut(folder: string, copy: string): void {
    const copyAll = (from: string, to: string) => {
      Deno.mkdirSync(to, { recursive: true });
      for (const { name, isDirectory } of Deno.readDirSync(from)) {
        const [source, target] = [`${from}/${name}`, `${to}/${name}`];
        if (isDirectory) copyAll(source, target);
        else Deno.copyFileSync(source, target);
        if (this.#synced.has(source)) Deno.truncateSync(target, this.#synced.get(source));
      }
    };
    copyAll(folder, copy);
  }
}
