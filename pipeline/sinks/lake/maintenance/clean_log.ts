/**
 * Removes the beginning of a table's log, once it is old and a checkpoint has it.
 *
 * @module
 */
import { commitKey } from "../delta/actions.ts";
import { type CheckpointOptions } from "../delta/log_checkpoint.ts";
import { listLog } from "../delta/log_reader.ts";

/** How far back versions can be read, if files are still there: what Delta writers commonly keep. */
export const LOG_KEPT_MS = 30 * 86_400_000;

export interface CleanLogReport {
  readonly commitsRemoved: number;
  readonly checkpointsRemoved: number;
}

/** Everything before the newest checkpoint that is older than {@linkcode LOG_KEPT_MS} goes; what comes after it stays readable. */
export async function cleanLog(options: CheckpointOptions & { readonly nowMs: number }): Promise<CleanLogReport> {
  const { store, table, nowMs, signal } = options;
  const { commits, checkpoints } = await listLog(options);
  const keep = checkpoints.findLast(({ modifiedMs }) => modifiedMs < nowMs - LOG_KEPT_MS);
  if (keep === undefined) return { commitsRemoved: 0, checkpointsRemoved: 0 };
  const oldCheckpoints = checkpoints.filter(({ version }) => version < keep.version);
  const oldCommits = commits.filter(({ version }) => version < keep.version);
  // Checkpoints first: one whose following commits are gone would lead nowhere.
  await store.remove(oldCheckpoints.flatMap(({ keys }) => keys), { signal });
  await store.remove(oldCommits.map(({ version }) => commitKey(table, version)), { signal });
  return { commitsRemoved: oldCommits.length, checkpointsRemoved: oldCheckpoints.length };
}
