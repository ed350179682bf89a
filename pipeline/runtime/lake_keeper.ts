/**
 * Keeps the lake's tables in shape while data comes in: many small files become few large ones, and files that no version within
 * the retention names are removed. One table at a time, so that what comes in has the machine.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { ConfigError, ConflictError } from "../errors.ts";
import type { Snapshot } from "../sinks/lake/delta/table.ts";
import type { Lake } from "../sinks/lake/lake.ts";
import { type CompactReport, SMALL_FILE_BYTES } from "../sinks/lake/maintenance/compact.ts";
import type { Maintenance } from "../sinks/lake/maintenance/maintenance.ts";
import type { VacuumReport } from "../sinks/lake/maintenance/vacuum.ts";
import { supervise } from "./supervisor.ts";

/** A partition with so many small files is compacted. */
export const SMALL_FILES_MAX = 16;
/** One that nothing was written to for so long already when it has two. */
const QUIET_MS = 3_600_000;
/** Less is refused unless it is meant: a question may still read them, and a flush not yet have committed its own. */
export const RETENTION_MS_LEAST = 86_400_000;
/** Between two looks at the tables. */
const LOOK_MS = 60_000;
/** The first vacuum is so long after the start, the others a day apart. */
const FIRST_VACUUM_MS = 10 * 60_000;
const VACUUM_EVERY_MS = 86_400_000;

interface JobBase {
  readonly table: string;
  readonly isAutomatic: boolean;
  readonly state: "waiting" | "running" | "done" | "failed";
  readonly startedMs: number | null;
  readonly endedMs: number | null;
  /** Why it failed. */
  readonly problem: string | null;
}

/** A piece of work on one table: where it is, and what came of it. */
export type LakeJob =
  & JobBase
  & (
    | { readonly kind: "compact"; readonly report: CompactReport | null }
    | { readonly kind: "vacuum"; readonly report: VacuumReport | null }
  );

/** Sums since the start. */
export interface KeeperTotals {
  readonly compactions: number;
  readonly bytesCompacted: number;
  readonly vacuums: number;
  readonly filesVacuumed: number;
  readonly failures: number;
}

export interface LakeKeeper {
  /** Looks after all tables until the signal. */
  run(signal: AbortSignal): Promise<void>;
  /** Asks for a compaction; gives the one that waits or runs, if there is. */
  compact(table: string): LakeJob;
  /** Asks for a vacuum, as `compact`, with the maintenance's retention unless told. @throws ConfigError for less than the least retention, unless `isShortMeant` */
  vacuum(table: string, options?: { readonly retentionMs?: number; readonly isShortMeant?: boolean }): LakeJob;
  /** The last of each kind that was asked for or began by itself, as it is now. */
  jobs(table: string): readonly LakeJob[];
  totals(): KeeperTotals;
}

export interface LakeKeeperOptions {
  readonly lake: Pick<Lake, "table" | "tables">;
  /** Over a lake with one thread and little memory of its own: what comes in goes before. */
  readonly maintenance: Maintenance;
  readonly clock: Clock;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
  /** Ends work under way. */
  readonly signal: AbortSignal;
  /** Instead of `SMALL_FILES_MAX` and `SMALL_FILE_BYTES`. */
  readonly smallFilesMax?: number;
  readonly smallFileBytes?: number;
}

/** Makes a keeper. Its jobs run without `run`, too; what begins by itself does in it. */
export function createLakeKeeper(options: LakeKeeperOptions): LakeKeeper {
  return new Keeper(options);
}

/** Whether a partition of the table has so many small files that readers feel it, or some that stay as they are. */
export function isScattered(
  { files, partitionColumns }: Pick<Snapshot, "files" | "partitionColumns">,
  { nowMs, smallFilesMax = SMALL_FILES_MAX, smallFileBytes = SMALL_FILE_BYTES }: {
    readonly nowMs: number;
    readonly smallFilesMax?: number;
    readonly smallFileBytes?: number;
  },
): boolean {
  const small = files.filter(({ bytes }) => bytes < smallFileBytes);
  const partitions = Map.groupBy(
    small,
    ({ partitionValues }) => JSON.stringify(partitionColumns.map((column) => partitionValues[column] ?? null)),
  );
  return partitions.values().some((some) =>
    some.length >= smallFilesMax || (some.length > 1 && some.every(({ modifiedMs }) => modifiedMs < nowMs - QUIET_MS))
  );
}

type Report = CompactReport | VacuumReport;

interface Job {
  readonly table: string;
  readonly kind: LakeJob["kind"];
  readonly isAutomatic: boolean;
  state: LakeJob["state"];
  startedMs: number | null;
  endedMs: number | null;
  problem: string | null;
  report: Report | null;
}

class Keeper implements LakeKeeper {
  readonly #options: LakeKeeperOptions;
  /** By table, then by kind; those of tables that are gone stay, as few as there are. */
  readonly #jobs = new Map<string, Map<LakeJob["kind"], { readonly job: Job; readonly ended: Promise<void> }>>();
  #turn: Promise<void> = Promise.resolve();
  #totals = { compactions: 0, bytesCompacted: 0, vacuums: 0, filesVacuumed: 0, failures: 0 };

  /** By the monotonic clock. */
  #vacuumAt: number;
  readonly #unreadable = new Set<string>();

  constructor(options: LakeKeeperOptions) {
    this.#options = options;
    this.#vacuumAt = options.clock.monotonic() + FIRST_VACUUM_MS;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    await supervise("the lake's keeper", (signal) => this.#look(signal), { clock, signal, log });
  }

  /** Looks at all tables, again and again. */
  async #look(signal: AbortSignal): Promise<void> {
    const { lake, clock } = this.#options;
    while (!signal.aborted) {
      await clock.sleep(LOOK_MS, signal).catch(() => {});
      if (signal.aborted) return;
      const isVacuumDue = clock.monotonic() >= this.#vacuumAt;
      for (const name of await lake.tables({ signal })) {
        if (await this.#isScattered(name, signal)) await this.#start(name, "compact", { isAutomatic: true }).ended;
        if (isVacuumDue) await this.#start(name, "vacuum", { isAutomatic: true }).ended;
        if (signal.aborted) return;
      }
      if (isVacuumDue) this.#vacuumAt = clock.monotonic() + VACUUM_EVERY_MS;
    }
  }

  /** A table whose log cannot be read is told of once, and keeps nobody from the others. */
  async #isScattered(name: string, signal: AbortSignal): Promise<boolean> {
    const { lake, clock, log } = this.#options;
    try {
      const snapshot = await (await lake.table(name, { signal }))?.snapshot({ signal });
      this.#unreadable.delete(name);
      return snapshot !== undefined && isScattered(snapshot, { ...this.#options, nowMs: clock.now() });
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      if (!this.#unreadable.has(name)) log("warn", `lake: ${name} cannot be looked after: ${error.message}`);
      this.#unreadable.add(name);
      return false;
    }
  }

  compact(table: string): LakeJob {
    return shown(this.#start(table, "compact").job);
  }

  vacuum(
    table: string,
    { retentionMs, isShortMeant = false }: {
      readonly retentionMs?: number;
      readonly isShortMeant?: boolean;
    } = {},
  ): LakeJob {
    if (retentionMs !== undefined && retentionMs < RETENTION_MS_LEAST && !isShortMeant) {
      const hours = RETENTION_MS_LEAST / 3_600_000;
      const problem =
        `less than ${hours} hours take files away that a question may be reading, or a flush is about to commit`;
      throw new ConfigError({ where: "retention", problem });
    }
    return shown(this.#start(table, "vacuum", { retentionMs }).job);
  }

  jobs(table: string): readonly LakeJob[] {
    return Array.from(this.#jobs.get(table)?.values() ?? [], ({ job }) => shown(job));
  }

  totals(): KeeperTotals {
    return { ...this.#totals };
  }

  #start(
    table: string,
    kind: LakeJob["kind"],
    { isAutomatic = false, retentionMs }: {
      readonly isAutomatic?: boolean;
      readonly retentionMs?: number;
    } = {},
  ): { readonly job: Job; readonly ended: Promise<void> } {
    const ofTable = this.#jobs.get(table) ?? new Map();
    this.#jobs.set(table, ofTable);
    const last = ofTable.get(kind);
    if (last?.job.state === "waiting" || last?.job.state === "running") return last;
    const job: Job = {
      table,
      kind,
      isAutomatic,
      state: "waiting",
      startedMs: null,
      endedMs: null,
      problem: null,
      report: null,
    };
    const ended = this.#turn.then(() => this.#do(job, retentionMs));
    this.#turn = ended;
    ofTable.set(kind, { job, ended });
    return { job, ended };
  }

  async #do(job: Job, retentionMs: number | undefined): Promise<void> {
    const { clock, maintenance, log, signal } = this.#options;
    const { table, kind } = job;
    job.startedMs = clock.now();
    job.state = "running";
    try {
      signal.throwIfAborted();
      job.report = kind === "compact"
        ? this.#noteCompaction(await maintenance.compact(table, { signal }))
        : this.#noteVacuum(
          await maintenance.vacuum(table, { ...retentionMs === undefined ? {} : { retentionMs }, signal }),
        );
      job.state = "done";
      if (job.report.filesRemoved > 0) log("info", `lake: ${table} ${inWords(job)}`);
    } catch (error) {
      job.state = "failed";
      job.problem = signal.aborted ? "it was ended by a stop" : (error as Error).message;
      if (signal.aborted) return;
      this.#totals.failures++;
      // Others changed the same files first; the next look finds what is left to do.
      const isLost = error instanceof ConflictError;
      log(
        isLost ? "info" : "warn",
        `lake: ${table} was not ${kind === "compact" ? "compacted" : "vacuumed"}: ${job.problem}`,
      );
    } finally {
      job.endedMs = clock.now();
    }
  }

  #noteCompaction(report: CompactReport): CompactReport {
    if (report.filesRemoved > 0) this.#totals.compactions++;
    this.#totals.bytesCompacted += report.bytesRemoved;
    return report;
  }

  #noteVacuum(report: VacuumReport): VacuumReport {
    this.#totals.vacuums++;
    this.#totals.filesVacuumed += report.filesRemoved;
    return report;
  }
}

function shown(job: Job): LakeJob {
  // Each kind has its own report.
  return { ...job } as LakeJob;
}

function inWords({ kind, report }: Job): string {
  if (kind === "vacuum") return `vacuumed: ${report!.filesRemoved} files removed`;
  return `compacted: ${(report as CompactReport).filesRemoved} files became ${(report as CompactReport).filesAdded}`;
}
