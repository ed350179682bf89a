import { type Checkpoint, type CheckpointStore, encodeCheckpoint } from "../../pipeline/checkpoint/checkpoint.ts";
import { crc32c } from "../../pipeline/log/crc32c.ts";
import type { OracleRaise } from "./oracle.ts";

/** A checkpoint, and the one that whoever saved it had before. */
export interface Saved {
  readonly checkpoint: Checkpoint;
  readonly parent: Saved | null;
  /** The process that saved it. */
  readonly by: string;
  /** The store said that it is durable. It may be so without a word. */
  isAcknowledged: boolean;
}

/**
 * All checkpoints that were ever given to a store, and which followed from which. A crash may leave an earlier one: then what
 * was decided in the later ones has not happened.
 */
export class Lineage {
  readonly #known = new Map<string, Saved>();
  readonly #onSave: (saved: Saved) => void;

  constructor(onSave: (saved: Saved) => void) {
    this.#onSave = onSave;
  }

  /** The store of one process, watched. */
  watch(store: CheckpointStore, by: string): CheckpointStore {
    let last: Saved | null = null;
    return {
      load: async (pipeline) => {
        const checkpoint = await store.load(pipeline);
        last = null;
        if (checkpoint === null) return null;
        last = this.#known.get(nameOf(checkpoint)) ?? null;
        if (last === null) throw new Error("a checkpoint was loaded that nobody saved");
        return checkpoint;
      },
      save: async (pipeline, checkpoint) => {
        const saved: Saved = { checkpoint: structuredClone(checkpoint), parent: last, by, isAcknowledged: false };
        this.#onSave(saved);
        this.#known.set(nameOf(checkpoint), saved);
        await store.save(pipeline, checkpoint);
        saved.isAcknowledged = true;
        last = saved;
      },
    };
  }
}

function nameOf(checkpoint: Checkpoint): string {
  const bytes = encodeCheckpoint(checkpoint);
  // Not over the checksum that ends it: over that, all have the same.
  return `${bytes.length} ${crc32c(bytes, 0, bytes.length - 4)}`;
}

/** When idle partitions' watermarks were raised on the way to a checkpoint. */
export function raisesOf(saved: Saved | null): Map<number, OracleRaise[]> {
  const raises = new Map<number, OracleRaise[]>();
  for (let at = saved; at !== null; at = at.parent) {
    for (const { partition, position, raisedToMs } of at.checkpoint.partitions) {
      if (raisedToMs === null) continue;
      const before = at.parent?.checkpoint.partitions.find((other) => other.partition === partition)?.raisedToMs ??
        null;
      if (before !== null && before >= raisedToMs) continue;
      const list = raises.get(partition) ?? [];
      list.unshift({ position, toMs: raisedToMs });
      raises.set(partition, list);
    }
  }
  return raises;
}
