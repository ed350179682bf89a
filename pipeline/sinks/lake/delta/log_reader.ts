/**
 * Finds out what a table's log holds, and plays it back to a version.
 *
 * @module
 */
import { ConfigError } from "../../../errors.ts";
import { MissingObjectError } from "../object_store.ts";
import { type Commit, commitKey, logFolder, parseCommit, versionText } from "./actions.ts";
import { type CheckpointOptions, lastCheckpointKey, readCheckpoint } from "./log_checkpoint.ts";
import { LogState } from "./log_state.ts";

/** Commits that are fetched at a time. */
const COMMITS_AT_A_TIME = 16;
/** How often a log is listed anew when somebody removes old parts of it meanwhile. */
const LOADS_MAX = 5;

/** What is in a log's folder. */
export interface LogListing {
  /** Versions that have a commit, in order. */
  readonly commits: readonly { readonly version: number; readonly modifiedMs: number }[];
  /** Whole checkpoints, in order. */
  readonly checkpoints: readonly LoggedCheckpoint[];
}

interface LoggedCheckpoint {
  readonly version: number;
  readonly keys: readonly string[];
  readonly modifiedMs: number;
}

/** Everything in the log's folder, or all from a version on. */
export async function listLog(options: CheckpointOptions, from = 0): Promise<LogListing> {
  const { store, table, signal } = options;
  const commits: { version: number; modifiedMs: number }[] = [];
  const parts = new Map<string, { version: number; of: number; keys: string[]; modifiedMs: number }>();
  const prefix = logFolder(table);
  const after = from === 0 ? undefined : prefix + versionText(from);
  for await (const { key, modifiedMs } of store.list(prefix, { signal, after })) {
    const name = key.slice(prefix.length);
    const found = /^(\d{20})(?:\.json|\.checkpoint(?:\.(\d{10})\.(\d{10}))?\.parquet)$/.exec(name);
    if (found === null) continue;
    const version = Number(found[1]);
    if (name.endsWith(".json")) {
      commits.push({ version, modifiedMs });
      continue;
    }
    const id = `${version} ${found[3] ?? ""}`;
    const whole = parts.get(id) ?? { version, of: Number(found[3] ?? 1), keys: [], modifiedMs };
    whole.keys.push(key);
    parts.set(id, whole);
  }
  return { commits, checkpoints: [...parts.values()].filter(({ of, keys }) => keys.length === of) };
}

/**
 * The table at its newest version, or at `version`; null when there is no such version (any more), or no table.
 *
 * @throws ConfigError when a commit is missing or cannot be read: the state would be wrong without it
 */
export async function loadLog(options: CheckpointOptions, version?: number): Promise<LogState | null> {
  for (let load = 1;; load++) {
    try {
      return await loadOnce(options, version);
    } catch (error) {
      // Old commits are removed when they are old and a checkpoint has them: the next look begins there.
      if (!(error instanceof MissingObjectError) || load === LOADS_MAX) throw error;
    }
  }
}

async function loadOnce(options: CheckpointOptions, version: number | undefined): Promise<LogState | null> {
  const hint = version === undefined ? await readHint(options) : 0;
  let listing = await listLog(options, hint);
  if (hint > 0 && listing.checkpoints.length === 0) listing = await listLog(options);
  const { commits } = listing;
  const newest = Math.max(commits.at(-1)?.version ?? -1, listing.checkpoints.at(-1)?.version ?? -1);
  if (newest < 0 || (version !== undefined && version > newest)) return null;

  const target = version ?? newest;
  const checkpoint = listing.checkpoints.findLast((one) => one.version <= target);
  const first = checkpoint === undefined ? 0 : checkpoint.version + 1;
  const wanted = commits.filter((one) => one.version >= first && one.version <= target).map((one) => one.version);
  const gap = wanted.findIndex((one, i) => one !== first + i);
  const missing = gap >= 0 ? first + gap : first + wanted.length;
  if (missing <= target) {
    // What a later checkpoint has may be gone, or going: the log simply does not reach back to this version.
    if (version !== undefined && listing.checkpoints.some((one) => one.version > missing)) return null;
    throw new ConfigError({
      where: `${options.store.url}/${commitKey(options.table, missing)}`,
      problem: `is missing, though the table's log goes on to version ${newest}` +
        (checkpoint === undefined
          ? " and no checkpoint is before it"
          : ` from the checkpoint at ${checkpoint.version}`) +
        ": restore it",
    });
  }
  const state = checkpoint === undefined
    ? new LogState(options.table)
    : await readCheckpoint(checkpoint.keys, checkpoint.version, {
      ...options,
      committedMs: await timeOf(options, checkpoint),
    });
  for (let i = 0; i < wanted.length; i += COMMITS_AT_A_TIME) {
    const some = wanted.slice(i, i + COMMITS_AT_A_TIME);
    for (const commit of await Promise.all(some.map((one) => needCommit(options, one)))) state.apply(commit);
  }
  state.snapshot();
  return state;
}

/** A commit; null when there is none of this version. */
export async function readCommit(options: CheckpointOptions, version: number): Promise<Commit | null> {
  const key = commitKey(options.table, version);
  const bytes = await options.store.get(key, { signal: options.signal });
  return bytes === null ? null : parseCommit(bytes, version, `${options.store.url}/${key}`);
}

async function needCommit(options: CheckpointOptions, version: number): Promise<Commit> {
  const commit = await readCommit(options, version);
  if (commit === null) throw new MissingObjectError(options.store.url, commitKey(options.table, version));
  return commit;
}

/** When a version was committed: as its commit says, or as the store does. */
export async function timeOf(
  options: CheckpointOptions,
  entry: { readonly version: number; readonly modifiedMs: number },
): Promise<number> {
  const commit = await readCommit(options, entry.version);
  return commit?.commitInfo?.timestamp ?? entry.modifiedMs;
}

/** The version of the last checkpoint, as far as the hint knows; 0 when there is no hint, or none that can be read. */
async function readHint(options: CheckpointOptions): Promise<number> {
  const bytes = await options.store.get(lastCheckpointKey(options.table), { signal: options.signal });
  if (bytes === null) return 0;
  try {
    const { version } = JSON.parse(new TextDecoder().decode(bytes)) as { version?: unknown };
    return Number.isSafeInteger(version) && version as number > 0 ? version as number : 0;
  } catch {
    return 0;
  }
}
