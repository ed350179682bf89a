import { Gauge, type Registry } from "prom-client";
import type { Auditor } from "../pipeline/audit/audit.ts";
import type { DifferenceKind } from "../pipeline/audit/compare.ts";

const KINDS: readonly DifferenceKind[] = ["wrong", "missing", "extra"];

/** Makes the figures of the audit, read when they are scraped. */
export function auditMetrics(registers: Registry[], auditors: readonly Auditor[]): void {
  new Gauge({
    name: "tailrace_audit_windows",
    help: "Closed windows by what the audit found: agreeing, differing, suspected (looked at again), not_auditable",
    labelNames: ["pipeline", "state"],
    registers,
    collect() {
      this.reset();
      for (const auditor of auditors) {
        const { pipeline, agreeing, differing, suspected, notAuditable } = auditor.status();
        const not_auditable = notAuditable.reduce((sum, { windows }) => sum + windows, 0);
        for (const [state, windows] of Object.entries({ agreeing, differing, suspected, not_auditable })) {
          this.set({ pipeline, state }, windows);
        }
      }
    },
  });
  new Gauge({
    name: "tailrace_audit_differences",
    help: "Result rows that are not what the topic's records give, by where they are and what is the matter with them",
    labelNames: ["pipeline", "place", "kind"],
    registers,
    collect() {
      this.reset();
      for (const auditor of auditors) {
        const { pipeline, differences } = auditor.status();
        // Also the zeros: who watches it has to tell "none" from "not audited".
        for (const kind of KINDS) this.set({ pipeline, place: "postgres", kind }, 0);
        for (const { kind: place, counts } of differences) {
          for (const kind of KINDS) this.inc({ pipeline, place, kind }, counts[kind]);
        }
      }
    },
  });
  new Gauge({
    name: "tailrace_audit_last_pass_timestamp_seconds",
    help: "When the audit last went round, seconds since 1970; 0 before the first time",
    labelNames: ["pipeline"],
    registers,
    collect() {
      this.reset();
      for (const auditor of auditors) {
        const { pipeline, lastPassMs } = auditor.status();
        this.set({ pipeline }, (lastPassMs ?? 0) / 1000);
      }
    },
  });
}
