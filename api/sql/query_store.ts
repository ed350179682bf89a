/**
 * Saved questions in one JSON file, replaced as a whole:
 *
 *     {"queries": [{"name": "..", "sql": "..", "about": "..", "parameters": [{"name": "..", "type": "..", "default": ".."}]}]}
 *
 * @module
 */
import { ConfigError } from "../../pipeline/errors.ts";
import type { QueryStore, SavedQuery } from "./service.ts";

/** Questions kept. */
export const QUERIES_MAX = 500;

/** A store in a file that need not be there yet; its folder has to. One process at a time. */
export function createQueryStore(path: string): QueryStore {
  let turn: Promise<unknown> = Promise.resolve();
  /** One change after the other: each begins with what the one before has left. */
  const changing = <T>(change: () => Promise<T>): Promise<T> => {
    const mine = turn.then(change);
    turn = mine.catch(() => {});
    return mine;
  };
  const save = async (queries: readonly SavedQuery[]) => {
    const fresh = `${path}.new`;
    {
      using file = await Deno.open(fresh, { write: true, create: true, truncate: true, mode: 0o600 });
      const bytes = new TextEncoder().encode(`${JSON.stringify({ queries }, null, 2)}\n`);
      for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
      await file.sync();
    }
    await Deno.rename(fresh, path);
  };
  return {
    list: () => read(path),
    put: (query) =>
      changing(async () => {
        const others = (await read(path)).filter(({ name }) => name !== query.name);
        if (others.length >= QUERIES_MAX) return false;
        await save([...others, query].sort((a, b) => a.name < b.name ? -1 : 1));
        return true;
      }),
    remove: (name) =>
      changing(async () => {
        const all = await read(path);
        const others = all.filter((query) => query.name !== name);
        if (others.length === all.length) return false;
        await save(others);
        return true;
      }),
  };
}

/** @throws ConfigError when the file is none of ours */
async function read(path: string): Promise<SavedQuery[]> {
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
  try {
    const { queries } = JSON.parse(text);
    if (Array.isArray(queries)) return queries;
  } catch {
    // told below
  }
  throw new ConfigError({
    where: path,
    problem: "is damaged: repair it, or move it away to start without saved questions",
  });
}
