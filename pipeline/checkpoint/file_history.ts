import { ConfigError } from "../errors.ts";
import type { Disk } from "../disk.ts";
import type { HistoryStore, Sample } from "./history.ts";
import { decodeSamples, encodeSamples, SAMPLE_BYTES } from "./history_file.ts";
import { type PipelineFolders, replaceFile } from "./pipeline_folders.ts";

/** Keeps each pipeline's samples in a file that grows at its end. */
export class FileHistoryStore implements HistoryStore {
  readonly #folders: PipelineFolders;
  /** Files that are known to end with a whole sample. */
  readonly #whole = new Set<string>();

  /** Shares the folders with a `FileCheckpointStore`: both belong to whoever claimed them. */
  constructor(folders: PipelineFolders) {
    this.#folders = folders;
  }

  async load(pipeline: string): Promise<Sample[]> {
    const found = await this.#folders.read(pipeline, "history").catch((error) => {
      throw new ConfigError({ where: pipeline, problem: `the history cannot be read: ${(error as Error).message}` });
    });
    return found === null ? [] : samplesOf(found).samples;
  }

  /** @throws ConflictError when another process has claimed the folder */
  async append(pipeline: string, samples: readonly Sample[]): Promise<void> {
    if (samples.length === 0) return;
    const { disk } = this.#folders;
    await this.#write(pipeline, async (folder) => {
      const path = `${folder}/history`;
      // Reading is left to whoever goes on with the file: others may look at it while it is being written.
      const length = this.#whole.delete(path) ? null : await wholeLength(disk, path);
      {
        using file = await disk.open(path, "end");
        if (length !== null) await file.truncate(length);
        await file.write(encodeSamples(samples));
        await file.sync();
      }
      if (length !== null) await disk.syncFolder(folder);
      this.#whole.add(path);
    });
  }

  /** @throws ConflictError when another process has claimed the folder */
  async replace(pipeline: string, samples: readonly Sample[]): Promise<void> {
    // Each by itself, as nothing here can be torn: damage is damage.
    const bytes = concat(samples.map((sample) => encodeSamples([sample])));
    await this.#write(pipeline, async (folder) => {
      await replaceFile(this.#folders.disk, `${folder}/history`, bytes);
      this.#whole.add(`${folder}/history`);
    });
  }

  async #write(pipeline: string, work: (folder: string) => Promise<void>): Promise<void> {
    let damage: ConfigError | null = null;
    await this.#folders.write(pipeline, `The history of ${pipeline} cannot be written`, async (folder) => {
      try {
        await work(folder);
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
        damage = error;
      }
    });
    if (damage !== null) throw damage;
  }
}

/** The bytes of a file up to where it was torn. */
async function wholeLength(disk: Disk, path: string): Promise<number> {
  const bytes = await disk.read(path);
  return bytes === null ? 0 : samplesOf({ path, bytes }).length;
}

function samplesOf({ path, bytes }: { path: string; bytes: Uint8Array }): ReturnType<typeof decodeSamples> {
  try {
    return decodeSamples(bytes);
  } catch (error) {
    const problem =
      `the history is damaged (${(error as Error).message}). Without it (remove it) results stay right, ` +
      "but records read until now are not explained, and windows that closed are not opened again";
    throw new ConfigError({ where: path, problem });
  }
}

function concat(records: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(records.length * SAMPLE_BYTES);
  records.forEach((record, i) => bytes.set(record, i * SAMPLE_BYTES));
  return bytes;
}
