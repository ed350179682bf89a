/**
 * What an audit tells, and what can be asked of it.
 *
 * @module
 */
import type { Difference, DifferenceKind } from "./compare.ts";

/** Where results are kept: as sinks call it, and its name there. */
export interface PlaceName {
  readonly kind: "postgres" | "kafka" | "lake";
  readonly name: string;
}

export interface PlaceDifferences extends PlaceName {
  /** Rows, by what is the matter with them. */
  readonly counts: Readonly<Record<DifferenceKind, number>>;
}

export interface AuditStatus {
  readonly pipeline: string;
  /**
   * `agrees`: all windows that can be audited do; `behind`: those that were audited do, and some were not yet; `differs`: there
   * are differences; `waiting`: nothing is audited now, and `reason` says why.
   */
  readonly state: "agrees" | "behind" | "differs" | "waiting";
  readonly reason: string | null;
  /** Windows with rows that were compared, row by row. */
  readonly audited: number;
  readonly agreeing: number;
  readonly differing: number;
  /** Windows with a difference that has to stand a second look. */
  readonly suspected: number;
  readonly notAuditable: readonly { readonly reason: string; readonly windows: number }[];
  /** Windows that start in `[fromMs, toMs)` were audited; null before the first. */
  readonly range: { readonly fromMs: number; readonly toMs: number } | null;
  /** How far back there is anything to audit; null while unknown. */
  readonly oldestMs: number | null;
  /** Rows compared since the start. */
  readonly rows: number;
  readonly lastPassMs: number | null;
  /** Of places with differences only. */
  readonly differences: readonly PlaceDifferences[];
}

export interface FoundDifference extends Difference {
  readonly place: PlaceName;
  readonly foundMs: number;
}

export interface RepairReport {
  readonly rewritten: number;
  readonly inserted: number;
  readonly deleted: number;
  /** Differences that are left, in PostgreSQL and elsewhere. */
  readonly left: number;
  /** Where only a new computation helps: the first window that needs it; null when none does. */
  readonly rewindToMs: number | null;
}

/** The audit of one pipeline. */
export interface Auditor {
  readonly pipeline: string;
  status(): AuditStatus;
  /** Goes on in the background until the signal; never rejects. */
  run(signal: AbortSignal): Promise<void>;
  /** Newest windows first; a bounded number is kept. */
  differences(options: { readonly limit: number }): readonly FoundDifference[];
  /**
   * Puts right what differs in PostgreSQL, and audits these windows again.
   *
   * @throws UnavailableError while it cannot be told what is right, or the database is away
   * @throws ConflictError when the pipeline belongs to another process
   */
  repair(options: { readonly signal: AbortSignal }): Promise<RepairReport>;
}
