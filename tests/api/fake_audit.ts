/**
 * An audit that found a difference, for tests of what tells of it.
 *
 * @module
 */
import type { Auditor, AuditStatus, FoundDifference } from "../../pipeline/audit/audit.ts";

export const START = Date.parse("2026-11-20T21:00:00Z");
const MINUTE = 60_000;

export const STATUS: AuditStatus = {
  pipeline: "account_minute",
  state: "differs",
  reason: null,
  audited: 12,
  agreeing: 11,
  differing: 1,
  suspected: 2,
  notAuditable: [{ reason: "the archive begins after their first records", windows: 3 }],
  range: { fromMs: START, toMs: START + 12 * MINUTE },
  oldestMs: START - MINUTE,
  rows: 1200,
  lastPassMs: START + 13 * MINUTE,
  differences: [{ kind: "postgres", name: "account_minute", counts: { wrong: 1, missing: 2, extra: 0 } }],
};

const ROW = ["a", START, START + MINUTE, 2, "12.50", "9.00", 2, true];
const DIFFERENCE: FoundDifference = {
  kind: "wrong",
  place: { kind: "postgres", name: "account_minute" },
  windowStartMs: START,
  key: ["a"],
  columns: ["total"],
  expected: ROW,
  actual: ROW.with(4, "99.00"),
  at: { expected: 0, actual: 0 },
  foundMs: START + 2 * MINUTE,
};

/** Of the pipeline `account_minute`; `changes` replaces parts. */
export function fakeAuditor(changes: Partial<Auditor> = {}): Auditor {
  return {
    pipeline: "account_minute",
    status: () => STATUS,
    run: () => Promise.resolve(),
    differences: ({ limit }) => [DIFFERENCE, { ...DIFFERENCE, kind: "extra" as const, expected: null }].slice(0, limit),
    repair: () => Promise.resolve({ rewritten: 1, inserted: 2, deleted: 3, left: 0, rewindToMs: null }),
    ...changes,
  };
}
