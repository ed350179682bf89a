/**
 * Removes data files that no version within the retention names.
 *
 * @module
 */
import { ConfigError } from "../../../errors.ts";
import type { LakeDatabase } from "../database.ts";
import { logFolder } from "../delta/actions.ts";
import { REMOVED_KEPT_MS } from "../delta/delta_table.ts";
import { listLog, loadLog, readCommit } from "../delta/log_reader.ts";
import { plainPath } from "../delta/log_state.ts";
import type { ObjectStore, StoreOptions } from "../object_store.ts";
import { LOG_KEPT_MS } from "./clean_log.ts";

/** Unless told: what Delta writers commonly keep. */
export const RETENTION_MS = 7 * 86_400_000;
/**
 * A file that no commit names may belong to one that is being made, or waits for a store that is away. Commits refuse files that
 * are half as old, so none of these is wanted any more.
 */
export const ORPHAN_AGE_MIN_MS = 24 * 3_600_000;
/** Files removed with one call. */
const REMOVED_AT_A_TIME = 500;

export interface VacuumOptions extends StoreOptions {
  readonly store: ObjectStore;
  readonly database: LakeDatabase;
  readonly table: string;
  readonly nowMs: number;
  readonly retentionMs?: number;
}

export interface VacuumReport {
  readonly filesRemoved: number;
  readonly bytesRemoved: number;
}

/**
 * Removes files that were removed from the table longer ago than the retention, and those that never came into it and are older
 * than the retention and than {@linkcode ORPHAN_AGE_MIN_MS}. Files and folders whose name begins with `_` or `.` are others' own.
 *
 * @throws ConfigError for a retention longer than the log remembers, or a table that is not there
 */
export async function vacuum(options: VacuumOptions): Promise<VacuumReport> {
  const { store, table, nowMs, signal, retentionMs = RETENTION_MS } = options;
  if (!(retentionMs >= 0 && retentionMs <= LOG_KEPT_MS)) {
    throw new ConfigError({
      where: "retention",
      problem:
        `${retentionMs} ms is not between 0 and ${LOG_KEPT_MS} ms, as long as the log remembers what was removed`,
    });
  }
  const state = await loadLog(options);
  if (state === null) throw new ConfigError({ where: "table", problem: `there is no table ${table} in ${store.url}` });
  const cutoffMs = nowMs - retentionMs;
  const orphanCutoffMs = Math.min(cutoffMs, nowMs - ORPHAN_AGE_MIN_MS);
  const removedMs = new Map<string, number>();
  for (const [path, { deletionTimestamp }] of state.removed) removedMs.set(path, deletionTimestamp ?? 0);
  if (retentionMs > REMOVED_KEPT_MS) await addRemovedSince(cutoffMs, removedMs, options);

  let filesRemoved = 0;
  let bytesRemoved = 0;
  let keys: string[] = [];
  const removeSome = async () => {
    if (keys.length > 0) await store.remove(keys, { signal });
    filesRemoved += keys.length;
    keys = [];
  };
  const prefix = `${table}/`;
  for await (const { key, bytes, modifiedMs } of store.list(prefix, { signal })) {
    const path = key.slice(prefix.length);
    if (key.startsWith(logFolder(table)) || path.split("/").some((part) => /^[_.]/.test(part))) continue;
    if (state.files.has(path)) continue;
    const since = removedMs.get(path);
    if (since === undefined ? modifiedMs >= orphanCutoffMs : since >= cutoffMs) continue;
    keys.push(key);
    bytesRemoved += bytes;
    if (keys.length === REMOVED_AT_A_TIME) await removeSome();
  }
  await removeSome();
  return { filesRemoved, bytesRemoved };
}

/** What a checkpoint no longer says: the commits since then do. */
async function addRemovedSince(
  cutoffMs: number,
  removedMs: Map<string, number>,
  options: VacuumOptions,
): Promise<void> {
  const { commits } = await listLog(options);
  for (const { version, modifiedMs } of commits) {
    // The store's clock and the writer's may differ by some minutes; a day is more than enough.
    if (modifiedMs < cutoffMs - 86_400_000) continue;
    const commit = await readCommit(options, version);
    for (const { path, deletionTimestamp } of commit?.removes ?? []) {
      removedMs.set(plainPath(path), deletionTimestamp ?? modifiedMs);
    }
  }
}
