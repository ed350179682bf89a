/**
 * Who a process is to Kafka's groups from one start to the next, so that one that was killed gets its partitions back at once instead
 * of after a session (KIP-345).
 *
 *     <data>/deliveries/id                     the folder's own, random
 *     <data>/deliveries/<name>/0.lock          held by the first process that runs the delivery with this folder
 *     <data>/deliveries/<name>/1.lock          by the second one, beside it; ..
 *
 * A lock ends with its process, however that ends; the next process takes the first that is free.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { takeLock } from "../file_lock.ts";

/** Processes with one folder that deliver the same; further ones have no place of their own, and wait for a session. */
export const INSTANCES_MAX = 64;

/** A place that is this process's until it is disposed of, or the process ends. */
export interface Instance extends Disposable {
  /** Letters, digits, `.`, `_` and `-`. */
  readonly id: string;
}

/** Null where all places are taken. @throws what the file system does */
export async function takeInstance(dataDir: string, name: string): Promise<Instance | null> {
  const folder = join(dataDir, "deliveries", name);
  await Deno.mkdir(folder, { recursive: true });
  const own = await folderId(join(dataDir, "deliveries", "id"));
  for (let place = 0; place < INSTANCES_MAX; place++) {
    const lock = await takeLock(join(folder, `${place}.lock`));
    if (lock !== null) return { id: `${own}.${place}`, [Symbol.dispose]: () => lock[Symbol.dispose]() };
  }
  return null;
}

async function folderId(path: string): Promise<string> {
  const found = await Deno.readTextFile(path).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  });
  if (found !== null) return found.trim();
  const temporary = join(dirname(path), `${crypto.randomUUID()}.tmp`);
  await Deno.writeTextFile(temporary, `${crypto.randomUUID()}\n`);
  try {
    // Of several that make it at the same time one is first.
    await Deno.link(temporary, path);
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
  } finally {
    await Deno.remove(temporary);
  }
  return (await Deno.readTextFile(path)).trim();
}
