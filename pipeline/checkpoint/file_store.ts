import { ConfigError, UnavailableError } from "../errors.ts";
import { syncFolder } from "../sync_folder.ts";
import { type Checkpoint, type CheckpointStore, decodeCheckpoint, encodeCheckpoint } from "./checkpoint.ts";

/** Keeps each pipeline's last checkpoint as one file, replaced as a whole: a crash leaves the old one or the new one. */
export class FileCheckpointStore implements CheckpointStore {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async load(pipeline: string): Promise<Checkpoint | null> {
    const path = this.#path(pipeline);
    let bytes: Uint8Array;
    try {
      bytes = await Deno.readFile(path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return null;
      throw new ConfigError({ where: path, problem: `the checkpoint cannot be read: ${(error as Error).message}` });
    }
    try {
      return decodeCheckpoint(bytes);
    } catch (error) {
      const problem = `the checkpoint is damaged (${
        (error as Error).message
      }); remove it to read the topic from its start`;
      throw new ConfigError({ where: path, problem });
    }
  }

  async save(pipeline: string, checkpoint: Checkpoint): Promise<void> {
    const path = this.#path(pipeline);
    const temporary = `${path}.new`;
    try {
      await Deno.mkdir(this.#folder, { recursive: true });
      const file = await Deno.open(temporary, { write: true, create: true, truncate: true });
      try {
        const bytes = encodeCheckpoint(checkpoint);
        for (let written = 0; written < bytes.length;) written += await file.write(bytes.subarray(written));
        await file.sync();
      } finally {
        file.close();
      }
      await Deno.rename(temporary, path);
      await syncFolder(this.#folder);
    } catch (error) {
      throw new UnavailableError(`The checkpoint ${path} cannot be written: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  #path(pipeline: string): string {
    return `${this.#folder}/${pipeline}.checkpoint`;
  }
}
