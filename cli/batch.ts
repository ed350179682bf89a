/**
 * A bounded run: what is there is read, aggregated and delivered, and that is that.
 *
 *     sources ──▶ pipelines ──▶ archives and lake ──▶ compaction, audit, where asked for ──▶ deliveries
 *
 * @module
 */
import type { Clock } from "../pipeline/clock.ts";
import type { Buckets } from "../pipeline/ledger.ts";
import type { ArchiveThread } from "../pipeline/runtime/archive_thread.ts";
import type { Until } from "../pipeline/runtime/bounds.ts";
import type { ConnectorCounts } from "../pipeline/runtime/connector_status.ts";
import type { Afterwards } from "./config.ts";
import type { ConnectorUnit } from "./connector_unit.ts";
import type { LakeWork } from "./lake_work.ts";
import type { PipelineUnit } from "./pipeline_unit.ts";

/** An audit that has not looked at anything after so long has something in its way, or gave up. */
const FIRST_PASS_MS = 5 * 60_000;
const LOOK_MS = 100;

/** What a bounded run did; printed as JSON. */
export interface BatchSummary {
  /** Everything came to its end. */
  readonly ok: boolean;
  /** `latest`, or a time. */
  readonly until: string;
  readonly seconds: number;
  readonly pipelines: readonly {
    readonly name: string;
    readonly ok: boolean;
    readonly topic: string;
    /** Since the first start, as in the ledger. */
    readonly buckets: Buckets;
    /** Result rows written in this run. */
    readonly rowsWritten: number;
    /** Windows that later records may still change; their rows are published as not final. */
    readonly openWindows: number;
    readonly reason: string | null;
  }[];
  /** Tables of the lake that were compacted, with what was left undone. */
  readonly compacted?: readonly { readonly table: string; readonly ok: boolean; readonly reason: string | null }[];
  readonly audited?: readonly {
    readonly pipeline: string;
    /** Every window that can be audited agrees with the records. */
    readonly ok: boolean;
    readonly windows: number;
    readonly differing: number;
    readonly reason: string | null;
  }[];
  readonly connectors: readonly {
    readonly name: string;
    readonly kind: "source" | "delivery";
    readonly ok: boolean;
    /** Since the first start. */
    readonly counts: ConnectorCounts;
    readonly reason: string | null;
  }[];
}

export interface BatchOptions {
  readonly units: readonly PipelineUnit[];
  readonly connectors: readonly ConnectorUnit[];
  readonly archives: readonly ArchiveThread[];
  readonly until: Until;
  /** They were named: one that has to be set up first is a failure then, and is passed over where all of them run. */
  readonly isNamed: boolean;
  /** What is done once results are there. */
  readonly afterwards: readonly Afterwards[];
  readonly lake: Pick<LakeWork, "desk" | "auditors">;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly log: (message: string) => void;
}

/** Runs everything once. What fails does not keep the rest from running, but for what comes after it. */
export async function runBatch(options: BatchOptions): Promise<BatchSummary> {
  const { units, connectors, until, isNamed, afterwards, clock, signal, log } = options;
  const began = clock.monotonic();
  const done = new Map<string, boolean>();
  const run = async (what: string, name: string, unit: Pick<ConnectorUnit, "missing" | "runBounded">) => {
    const missing = unit.missing();
    if (missing !== null) log(`${what} ${name} rests: ${missing}`);
    done.set(name, missing === null ? await unit.runBounded(signal, until) : !isNamed);
  };
  const connect = (kind: "source" | "delivery") =>
    Promise.all(
      connectors.filter((unit) => unit.status().kind === kind).map((unit) => run(kind, unit.name, unit)),
    );
  await connect("source");
  await Promise.all(units.map((unit) => run("pipeline", unit.plan.name, unit)));
  await settle(options);
  const compacted = afterwards.includes("compact") ? { compacted: await compact(options) } : {};
  const audited = afterwards.includes("audit") ? { audited: await audit(options, done) } : {};
  await connect("delivery");
  const checks = [...compacted.compacted ?? [], ...audited.audited ?? []];
  const ok = !signal.aborted && [...done.values()].every(Boolean) && checks.every((check) => check.ok);
  return {
    ok,
    until: until === "latest" ? until : new Date(until).toISOString(),
    seconds: Math.round(clock.monotonic() - began) / 1000,
    pipelines: units.map((unit) => {
      const { name, topic, buckets, rowsWritten, openWindows, reason } = unit.runner.status();
      return { name, ok: done.get(name) ?? false, topic, buckets, rowsWritten, openWindows, reason };
    }),
    ...compacted,
    ...audited,
    connectors: connectors.map((unit) => {
      const { name, kind, counts, reason } = unit.status();
      return { name, kind, ok: done.get(name) ?? false, counts, reason: reason ?? unit.missing() };
    }),
  };
}

/** Commits to the lake what waits for it. */
async function settle({ units, archives, clock, signal }: BatchOptions): Promise<void> {
  for (const archive of archives) {
    const isUnderWay = () => {
      const { state, lagRecords } = archive.status();
      return state !== "failed" && state !== "stopped" && (state !== "running" || lagRecords > 0);
    };
    while (!signal.aborted && isUnderWay()) await clock.sleep(LOOK_MS, signal).catch(() => {});
  }
  if (signal.aborted) return;
  await Promise.all([
    ...archives.filter((archive) => archive.status().state === "running").map((archive) => archive.flush({ signal })),
    ...units.map((unit) => unit.lakeSink?.flush({ signal })),
  ]);
}

/** Compacts every table that these pipelines fill. */
async function compact(
  { lake: { desk }, clock, signal }: BatchOptions,
): Promise<NonNullable<BatchSummary["compacted"]>> {
  const tables = desk.flows().map(({ table }) => table);
  for (const table of tables) desk.keeper.compact(table);
  return await Promise.all(tables.map(async (table) => {
    for (;;) {
      const job = (await desk.table(table, { signal }))?.jobs.find(({ kind }) => kind === "compact");
      // A table that nothing was written to yet has nothing to compact.
      if (!job) return { table, ok: true, reason: null };
      if (job.endedMs !== null) return { table, ok: job.problem === null, reason: job.problem };
      await clock.sleep(LOOK_MS, signal);
    }
  }));
}

/** Waits until each auditor has looked at all that is there, from the beginning of a pass on. */
async function audit(
  { units, lake: { auditors }, clock, signal }: BatchOptions,
  done: ReadonlyMap<string, boolean>,
): Promise<NonNullable<BatchSummary["audited"]>> {
  return await Promise.all(auditors.map(async (auditor) => {
    const nothing = (ok: boolean, reason: string) => ({
      pipeline: auditor.pipeline,
      ok,
      windows: 0,
      differing: 0,
      reason,
    });
    const unit = units.find(({ plan }) => plan.name === auditor.pipeline);
    // No pass would ever come to its end.
    if (!done.get(auditor.pipeline)) return nothing(false, "the pipeline did not come to its end");
    if (unit?.runner.status().watermarkMs === null) return nothing(true, "no window has closed yet");
    const began = clock.monotonic();
    // A pass that was under way when the results came may not have seen them all.
    for (let passes = 0, last = auditor.status().lastPassMs; passes < 2 || auditor.status().state === "behind";) {
      await clock.sleep(LOOK_MS, signal);
      if (passes === 0 && clock.monotonic() - began > FIRST_PASS_MS) {
        const { reason } = auditor.status();
        return nothing(false, `the audit did not look at them within ${FIRST_PASS_MS / 60_000} minutes: ${reason}`);
      }
      const { lastPassMs } = auditor.status();
      if (lastPassMs !== last) passes++;
      last = lastPassMs;
    }
    const { pipeline, state, audited, differing, reason } = auditor.status();
    return { pipeline, ok: state === "agrees", windows: audited, differing, reason };
  }));
}
