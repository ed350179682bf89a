import { ConfigError, UnavailableError } from "../errors.ts";
import { type Disk, systemDisk } from "./disk.ts";
import type { HistoryStore, Sample } from "./history.ts";
import { decodeSamples, encodeSamples, SAMPLE_BYTES } from "./history_file.ts";
import { replaceFile } from "./replace_file.ts";

/** Keeps each pipeline's samples in a file that grows at its end. */
export class FileHistoryStore implements HistoryStore {
  readonly #folder: string;
  readonly #disk: Disk;
  /** Pipelines whose file is known to end with a whole sample. */
  readonly #whole = new Set<string>();

  constructor(folder: string, disk: Disk = systemDisk) {
    this.#folder = folder;
    this.#disk = disk;
  }

  async load(pipeline: string): Promise<Sample[]> {
    const path = this.#path(pipeline);
    try {
      return (await this.#read(path)).samples;
    } catch (error) {
      if (error instanceof ConfigError) throw error;
      throw new ConfigError({ where: path, problem: `the history cannot be read: ${(error as Error).message}` });
    }
  }

  async append(pipeline: string, samples: readonly Sample[]): Promise<void> {
    if (samples.length === 0) return;
    const path = this.#path(pipeline);
    // Reading is left to whoever goes on with the file: others may look at it while it is being written.
    const isKnown = this.#whole.delete(pipeline);
    await this.#keep(path, async () => {
      const length = isKnown ? null : (await this.#read(path)).length;
      {
        using file = await this.#disk.open(path, "end");
        if (length !== null) await file.truncate(length);
        await file.write(encodeSamples(samples));
        await file.sync();
      }
      if (length !== null) await this.#disk.syncFolder(this.#folder);
    });
    this.#whole.add(pipeline);
  }

  async replace(pipeline: string, samples: readonly Sample[]): Promise<void> {
    const path = this.#path(pipeline);
    // Each by itself, as nothing here can be torn: damage is damage.
    const bytes = concat(samples.map((sample) => encodeSamples([sample])));
    await this.#keep(path, () => replaceFile(this.#disk, path, bytes));
    this.#whole.add(pipeline);
  }

  async #read(path: string): Promise<ReturnType<typeof decodeSamples>> {
    const bytes = await this.#disk.read(path);
    try {
      return decodeSamples(bytes ?? new Uint8Array(0));
    } catch (error) {
      const problem =
        `the history is damaged (${(error as Error).message}). Without it (remove it) results stay right, but ` +
        "records read until now are not explained, and windows that closed are not opened again";
      throw new ConfigError({ where: path, problem });
    }
  }

  async #keep(path: string, write: () => Promise<void>): Promise<void> {
    try {
      await this.#disk.makeFolder(this.#folder);
      await write();
    } catch (error) {
      if (error instanceof ConfigError) throw error;
      throw new UnavailableError(`The history ${path} cannot be written: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  #path(pipeline: string): string {
    return `${this.#folder}/${pipeline}.history`;
  }
}

function concat(records: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(records.length * SAMPLE_BYTES);
  records.forEach((record, i) => bytes.set(record, i * SAMPLE_BYTES));
  return bytes;
}
