/**
 * The file that keys are kept in. With {@linkcode ./audit_file.ts} the only part of the API's security that needs Deno.
 *
 *     {"version": 1, "keys": [{"id": "3f9c...", "name": "ada", "role": "admin", "salt": "...", "hash": "...", "createdAt": "..."}]}
 *
 * @module
 */
import { z } from "zod";
import { ConfigError, UnavailableError } from "../../pipeline/errors.ts";
import type { KeyStore, StoredKey } from "./keys.ts";
import { ROLES } from "./roles.ts";

/** Keys in one file. */
export const KEYS_MAX = 1_000;
/** A change of the file is seen this much later at most. */
const LOOK_EVERY_MS = 1_000;
const BYTES_MAX = 1024 * 1024;

const hex = (characters: number) => z.string().regex(new RegExp(`^[0-9a-f]{${characters}}$`));

const fileSchema = z.strictObject({
  version: z.literal(1),
  keys: z.array(z.strictObject({
    id: hex(16),
    name: z.string().min(1).max(100),
    role: z.enum(ROLES),
    salt: hex(32),
    hash: hex(64),
    createdAt: z.iso.datetime(),
  })).max(KEYS_MAX),
});

/**
 * Reads the keys in a file; null when there is no file.
 *
 * @throws ConfigError when the file is not one of ours, or others may change it
 */
export async function readKeys(path: string): Promise<readonly StoredKey[] | null> {
  const fault = (problem: string) => new ConfigError({ where: "--api-keys (TAILRACE_API_KEYS)", problem });
  let text: string;
  try {
    const { mode, size } = await Deno.stat(path);
    if (mode !== null && (mode & 0o022) !== 0) {
      throw fault(`${path} may be changed by other users, who could let themselves in: chmod 600 '${path}'`);
    }
    if (size > BYTES_MAX) throw fault(`${path} is no file of keys: it has ${size} bytes`);
    text = await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    if (error instanceof ConfigError) throw error;
    throw fault(`${path} cannot be read: ${(error as Error).message}`);
  }
  const parsed = fileSchema.safeParse(parseJson(text));
  if (!parsed.success) {
    const [{ path: place, message }] = parsed.error.issues;
    throw fault(`${path} is no file of keys: ${place.length > 0 ? `${place.join(".")}: ` : ""}${message}`);
  }
  return parsed.data.keys;
}

/**
 * Replaces the keys in a file by what `change` makes of them, under a lock, so that two of these at a time are one after the
 * other; only its owner may read the file.
 *
 * @throws ConfigError as {@linkcode readKeys}, or when the file cannot be written
 */
export async function changeKeys(
  path: string,
  change: (keys: readonly StoredKey[]) => readonly StoredKey[],
): Promise<void> {
  using lock = await openLock(path);
  await lock.lock(true);
  const keys = change(await readKeys(path) ?? []);
  const temporary = `${path}.new`;
  {
    using file = await Deno.open(temporary, { create: true, write: true, truncate: true, mode: 0o600 });
    const bytes = new TextEncoder().encode(JSON.stringify({ version: 1, keys }, null, 2) + "\n");
    for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
    await file.sync();
  }
  if (Deno.build.os !== "windows") await Deno.chmod(temporary, 0o600); // one left by a crash may have another mode
  await Deno.rename(temporary, path);
}

async function openLock(path: string): Promise<Deno.FsFile> {
  try {
    const folder = path.slice(0, Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")));
    if (folder !== "") await Deno.mkdir(folder, { recursive: true });
    return await Deno.open(`${path}.lock`, { create: true, write: true, mode: 0o600 });
  } catch (error) {
    const problem = `${path} cannot be written: ${(error as Error).message}`;
    throw new ConfigError({ where: "--api-keys (TAILRACE_API_KEYS)", problem });
  }
}

/**
 * The keys in a file, read again when it changes, so that a key that is made or removed counts at once. Once there have been
 * keys, a file that is gone means no key is right, not that none is needed.
 */
export class KeyFile implements KeyStore {
  readonly #path: string;
  #state: { readonly stamp: string; readonly keys: readonly StoredKey[] | null } | null = null;
  #lookedAtMs = -Infinity;
  #looking: Promise<readonly StoredKey[] | null> | null = null;
  #hadKeys = false;

  constructor(path: string) {
    this.#path = path;
  }

  async keys(): Promise<readonly StoredKey[] | null> {
    if (this.#state && performance.now() - this.#lookedAtMs < LOOK_EVERY_MS) return this.#state.keys;
    this.#looking ??= this.#look().finally(() => this.#looking = null);
    return await this.#looking;
  }

  async #look(): Promise<readonly StoredKey[] | null> {
    const stamp = await stampOf(this.#path);
    if (stamp !== this.#state?.stamp) {
      this.#state = null;
      const keys = await readKeys(this.#path).catch((error) => {
        throw new UnavailableError(`the API's keys cannot be read: ${error.message}`, { cause: error });
      });
      this.#hadKeys ||= keys !== null;
      this.#state = { stamp, keys: keys ?? (this.#hadKeys ? [] : null) };
    }
    this.#lookedAtMs = performance.now();
    return this.#state.keys;
  }
}

/** Changes whenever the file does: it is always replaced as a whole. */
async function stampOf(path: string): Promise<string> {
  try {
    const { mtime, size, ino } = await Deno.stat(path);
    return `${ino} ${mtime?.getTime()} ${size}`;
  } catch {
    return "none";
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
