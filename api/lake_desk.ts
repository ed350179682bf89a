/**
 * The lake as people see it: its tables, what waits for them, and what is done to keep them in shape.
 *
 * @module
 */
import type { Plan } from "../pipeline/plan/plan.ts";
import type { LakeJob, LakeKeeper } from "../pipeline/runtime/lake_keeper.ts";
import type { Archive } from "../pipeline/sinks/lake/archive/archive.ts";
import type { DeltaSchema, Snapshot, TableVersion } from "../pipeline/sinks/lake/delta/table.ts";
import type { Lake } from "../pipeline/sinks/lake/lake.ts";
import type { StoreOptions } from "../pipeline/sinks/lake/object_store.ts";
import type { LakeSinkStatus } from "../pipeline/sinks/lake/results/lake_sink.ts";

/** Versions of a table's history that are told. */
const HISTORY_MAX = 50;
/** Tables that are read at a time. */
const TABLES_AT_ONCE = 8;

/** What fills a table; null where nothing of this process does. */
export type LakeSource =
  | { readonly kind: "archive"; readonly topic: string }
  | { readonly kind: "results"; readonly pipeline: string };

/** What waits for a table, and how it goes. */
export interface LakeFlow {
  readonly table: string;
  readonly source: LakeSource;
  readonly state: "starting" | "running" | "waiting" | "failed" | "stopped";
  /** Why it waits or failed. */
  readonly reason: string | null;
  /** Rows that the next flush commits. */
  readonly rowsWaiting: number;
  /** Rows committed since the start. */
  readonly rowsCommitted: number;
  readonly committedMs: number | null;
  /** Records of the topic that were not read yet; null for results, where the pipeline's own says it. */
  readonly lagRecords: number | null;
}

export interface LakeTableStatus {
  readonly name: string;
  readonly flow: LakeFlow | null;
  /** Null before the first commit, as are all that follow. */
  readonly version: number | null;
  readonly files: number | null;
  readonly bytes: number | null;
  /** Null where a file's writer did not count. */
  readonly rows: number | null;
  readonly committedMs: number | null;
}

export interface LakeTableDetail extends LakeTableStatus {
  readonly schema: DeltaSchema;
  readonly partitionColumns: readonly string[];
  /** Newest first, `HISTORY_MAX` at most. */
  readonly history: readonly TableVersion[];
  readonly jobs: readonly LakeJob[];
}

/** What the API needs. Calls may throw UnavailableError. */
export interface LakeDesk {
  /** Where the lake is, without secrets. */
  readonly url: string;
  tables(options?: StoreOptions): Promise<LakeTableStatus[]>;
  /** Null when there is no such table. */
  table(name: string, options?: StoreOptions): Promise<LakeTableDetail | null>;
  readonly keeper: Pick<LakeKeeper, "compact" | "vacuum" | "totals">;
  /** At once, and without a look at the store. */
  flows(): LakeFlow[];
}

export interface LakeDeskOptions {
  readonly lake: Pick<Lake, "store" | "table" | "tables">;
  readonly archives: readonly Pick<Archive, "topic" | "table" | "status">[];
  /** Those with a table in the lake. */
  readonly results: readonly {
    readonly plan: Pick<Plan, "name">;
    readonly sink: { readonly table: string; status(): LakeSinkStatus };
    /** The pipeline's own state. */
    state(): LakeFlow["state"];
  }[];
  readonly keeper: LakeKeeper;
}

export function createLakeDesk({ lake, archives, results, keeper }: LakeDeskOptions): LakeDesk {
  const flows = () => [...archives.map(archiveFlow), ...results.map(resultFlow)];
  const statusOf = (name: string, snapshot: Snapshot | null): LakeTableStatus => {
    const flow = flows().find(({ table }) => table === name) ?? null;
    if (snapshot === null) {
      return { name, flow, version: null, files: null, bytes: null, rows: null, committedMs: null };
    }
    const { version, files, committedMs } = snapshot;
    return {
      name,
      flow,
      version,
      files: files.length,
      bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
      // Of a file without statistics it is not known.
      rows: files.reduce<number | null>((sum, { stats }) => sum === null || !stats ? null : sum + stats.numRecords, 0),
      committedMs,
    };
  };
  return {
    url: lake.store.url,
    keeper,
    flows,
    async tables(options = {}) {
      const there = await lake.tables(options);
      const names = [...new Set([...there, ...flows().map(({ table }) => table)])].sort();
      const statuses: LakeTableStatus[] = [];
      for (let i = 0; i < names.length; i += TABLES_AT_ONCE) {
        const some = names.slice(i, i + TABLES_AT_ONCE).map(async (name) => {
          const table = there.includes(name) ? await lake.table(name, options) : null;
          return statusOf(name, await table?.snapshot(options) ?? null);
        });
        statuses.push(...await Promise.all(some));
      }
      return statuses;
    },
    async table(name, options = {}) {
      const table = await lake.table(name, options);
      if (table === null) return null;
      const [snapshot, history] = await Promise.all([
        table.snapshot(options),
        table.history({ ...options, limit: HISTORY_MAX }),
      ]);
      const { schema, partitionColumns } = snapshot;
      return { ...statusOf(name, snapshot), schema, partitionColumns, history, jobs: keeper.jobs(name) };
    },
  };
}

function archiveFlow(archive: LakeDeskOptions["archives"][number]): LakeFlow {
  const { topic, table, state, reason, rowsWaiting, rowsArchived, committedMs, lagRecords } = archive.status();
  const source = { kind: "archive", topic } as const;
  return { table, source, state, reason, rowsWaiting, rowsCommitted: rowsArchived, committedMs, lagRecords };
}

function resultFlow({ plan, sink, state }: LakeDeskOptions["results"][number]): LakeFlow {
  const { table, reason, rowsWaiting, rowsCommitted, committedMs } = sink.status();
  const source = { kind: "results", pipeline: plan.name } as const;
  const now = reason === null || state() !== "running" ? state() : "waiting";
  return { table, source, state: now, reason, rowsWaiting, rowsCommitted, committedMs, lagRecords: null };
}
