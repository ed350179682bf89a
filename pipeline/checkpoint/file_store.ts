import { ConfigError, UnavailableError } from "../errors.ts";
import { type Checkpoint, type CheckpointStore, decodeCheckpoint, encodeCheckpoint } from "./checkpoint.ts";
import { type Disk, systemDisk } from "./disk.ts";
import { replaceFile } from "./replace_file.ts";

/** Keeps each pipeline's last checkpoint as one file, replaced as a whole: a crash leaves the old one or the new one. */
export class FileCheckpointStore implements CheckpointStore {
  readonly #folder: string;
  readonly #disk: Disk;

  constructor(folder: string, disk: Disk = systemDisk) {
    this.#folder = folder;
    this.#disk = disk;
  }

  async load(pipeline: string): Promise<Checkpoint | null> {
    const path = this.#path(pipeline);
    let bytes: Uint8Array | null;
    try {
      bytes = await this.#disk.read(path);
    } catch (error) {
      throw new ConfigError({ where: path, problem: `the checkpoint cannot be read: ${(error as Error).message}` });
    }
    if (bytes === null) return null;
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
    try {
      await this.#disk.makeFolder(this.#folder);
      await replaceFile(this.#disk, path, encodeCheckpoint(checkpoint));
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
