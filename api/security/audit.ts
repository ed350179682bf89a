/**
 * The record of what operators and admins did.
 *
 * @module
 */
import type { Role } from "./roles.ts";

/** One action. There is no place in it for a secret: no query, no header, no body. */
export interface AuditEntry {
  /** When it was answered, ISO 8601. */
  readonly time: string;
  /** The key's name; `local` where no keys are set. */
  readonly who: string;
  readonly role: Role | null;
  /** The client's address. */
  readonly from: string;
  readonly method: string;
  /** Without its query. */
  readonly path: string;
  /** Status of the answer; a refused action is told too. */
  readonly status: number;
}

/** Where actions are noted. */
export interface AuditLog {
  /**
   * Resolves when entries can be written; asked before an action, so that none goes unnoted.
   *
   * @throws UnavailableError when the last entry could not be written and this still cannot be
   */
  ready(): Promise<void>;
  /** Resolves when the entry is durable. Never rejects: the action is done by then. A failure is told by {@linkcode ready}. */
  append(entry: AuditEntry): Promise<void>;
  /** The newest entries, newest first, at most `limit`. */
  read(limit: number): Promise<readonly AuditEntry[]>;
}
