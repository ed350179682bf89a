import { ConfigError } from "../errors.ts";
import { type Checkpoint, type CheckpointStore, decodeCheckpoint, encodeCheckpoint } from "./checkpoint.ts";
import { type PipelineFolders, replaceFile } from "./pipeline_folders.ts";

/** Keeps each pipeline's last checkpoint as one file, replaced as a whole: a crash leaves the old one or the new one. */
export class FileCheckpointStore implements CheckpointStore {
  readonly #folders: PipelineFolders;

  /** Shares the folders with a `FileHistoryStore`: both belong to whoever claimed them. */
  constructor(folders: PipelineFolders) {
    this.#folders = folders;
  }

  async load(pipeline: string): Promise<Checkpoint | null> {
    const found = await this.#folders.read(pipeline, "checkpoint").catch((error) => {
      throw new ConfigError({ where: pipeline, problem: `the checkpoint cannot be read: ${(error as Error).message}` });
    });
    if (found === null) return null;
    const { path, bytes } = found;
    try {
      return decodeCheckpoint(bytes);
    } catch (error) {
      const problem = `the checkpoint is damaged (${
        (error as Error).message
      }); remove it to read the topic from its start`;
      throw new ConfigError({ where: path, problem });
    }
  }

  /** @throws ConflictError when another process has claimed the folder: what is there is not replaced */
  async save(pipeline: string, checkpoint: Checkpoint): Promise<void> {
    const { disk } = this.#folders;
    await this.#folders.write(
      pipeline,
      `The checkpoint of ${pipeline} cannot be written`,
      (path) => replaceFile(disk, `${path}/checkpoint`, encodeCheckpoint(checkpoint)),
    );
  }
}
