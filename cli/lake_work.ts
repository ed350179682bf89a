/**
 * What is done with the lake beside writing it: tables kept in shape, answers in SQL, audits.
 *
 * @module
 */
import type { BackfillDesk } from "../api/backfill_desk.ts";
import type { ExportDesk } from "../api/export_desk.ts";
import { createLakeDesk, type LakeDesk } from "../api/lake_desk.ts";
import type { PreviewDesk } from "../api/preview_desk.ts";
import type { SqlCatalog } from "../api/sql/catalog.ts";
import { createSqlCatalog } from "../api/sql/lake_catalog.ts";
import type { Auditor } from "../pipeline/audit/audit.ts";
import { createAuditor } from "../pipeline/audit/auditor.ts";
import { systemClock } from "../pipeline/clock.ts";
import type { Letters } from "../pipeline/letters/letters.ts";
import { postgresClient } from "../pipeline/postgres_client.ts";
import { createLakeKeeper } from "../pipeline/runtime/lake_keeper.ts";
import type { Archive } from "../pipeline/sinks/lake/archive/archive.ts";
import { type LakeAddress, openLakeAt } from "../pipeline/sinks/lake/lake_address.ts";
import { createMaintenance } from "../pipeline/sinks/lake/maintenance/maintenance.ts";
import type { LakeSinkStatus } from "../pipeline/sinks/lake/results/lake_sink.ts";
import { createBackfills } from "./backfills.ts";
import { createExports } from "./exports.ts";
import type { PipelineUnit, Shared } from "./pipeline_unit.ts";
import { createPreviews } from "./previews.ts";

/** Memory of the DuckDB that packs files, and of the one that audits. */
const KEEPER_MEMORY_BYTES = 512 * 1024 ** 2;
const AUDIT_MEMORY_BYTES = 512 * 1024 ** 2;
/** The same for backfills, previews and exports: what needs more goes to the disk. */
const DESK_MEMORY_BYTES = 1024 ** 3;

export interface LakeWorkOptions {
  readonly shared: Shared;
  readonly address: Omit<LakeAddress, "memoryBytesMax" | "threads">;
  readonly archives: readonly Archive[];
  readonly units: readonly PipelineUnit[];
  readonly letters: Letters;
  readonly signal: AbortSignal;
}

export interface LakeWork {
  readonly desk: LakeDesk;
  readonly catalog: SqlCatalog;
  readonly auditors: readonly Auditor[];
  readonly backfills: BackfillDesk;
  readonly previews: PreviewDesk;
  readonly exports: ExportDesk;
  /** Resolves after the signal, when nothing of it goes on. */
  readonly stopped: Promise<unknown>;
}

export function startLakeWork({ shared, address, archives, units, letters, signal }: LakeWorkOptions): LakeWork {
  const { lake, log, config, parts } = shared;
  const log_ = (level: "info" | "warn" | "error", message: string) => log[level](message);
  const spare = (memoryBytesMax: number) => parts.use(openLakeAt({ ...address, memoryBytesMax, threads: 1 }));
  const maintenance = createMaintenance({ lake: spare(KEEPER_MEMORY_BYTES) });
  const keeper = createLakeKeeper({
    lake,
    maintenance: {
      ...maintenance,
      vacuum: (table, { retentionMs = config.lake.retentionMs, ...options }) =>
        maintenance.vacuum(table, { ...options, retentionMs }),
    },
    clock: systemClock,
    log: log_,
    signal,
  });
  const { database } = spare(AUDIT_MEMORY_BYTES);
  const auditSql = postgresClient(shared.databaseUrl, { connect_timeout: 5, backoff: () => 0 });
  parts.defer(() => auditSql.end({ timeout: 1 }));
  const auditors = units.flatMap((unit) => {
    const archive = archives.find(({ topic }) => topic === unit.plan.topic);
    if (!archive) return [];
    return [createAuditor({
      plan: unit.plan,
      archive,
      lake,
      database,
      log: shared.committed,
      history: shared.history,
      sql: auditSql,
      clock: systemClock,
      pipeline: { settled: () => unit.runner.settled(), status: () => unit.runner.status() },
      fence: () => unit.fence,
      lakeWaits: () => (unit.lakeSink?.status().reason ?? null) !== null,
      onLog: log_,
    })];
  });
  const { database: desk } = parts.use(openLakeAt({ ...address, memoryBytesMax: DESK_MEMORY_BYTES, threads: 2 }));
  const atDesk = { ...shared, archives, database: desk, clock: systemClock };
  const results = units.flatMap((unit) => {
    const table = unit.lakeTable;
    if (table === null) return [];
    const status = () => unit.lakeSink?.status() ?? unopened(table);
    return [{ plan: unit.plan, sink: { table, status }, state: () => unit.runner.status().state }];
  });
  return {
    desk: createLakeDesk({ lake, archives, results, keeper }),
    catalog: createSqlCatalog({
      lake,
      archives,
      pipelines: units.map((unit) => ({
        plan: unit.plan,
        unsettled: () => unit.runner.unsettled(),
        settled: () => unit.runner.settled(),
        ledger: () => unit.runner.ledger(),
        ...(unit.lakeTable === null ? {} : { lakeSink: { pending: () => unit.lakeSink?.pending() ?? null } }),
      })),
      letters,
      scratch: `${config.dataDir}/sql`,
      fetchBytesMax: lake.store.url.startsWith("s3:") ? config.lake.cacheBytes / 2 : Infinity,
    }),
    auditors,
    backfills: parts.use(createBackfills({ ...atDesk, units, signal, log: log_ })),
    previews: createPreviews({ ...atDesk, plans: units.map(({ plan }) => plan) }),
    exports: createExports({ ...atDesk, units, folder: `${config.dataDir}/exports` }),
    stopped: Promise.all([keeper.run(signal), ...auditors.map((auditor) => auditor.run(signal))]),
  };
}

function unopened(table: string): LakeSinkStatus {
  return { table, reason: null, version: null, committedMs: null, rowsWaiting: 0, bytesWaiting: 0, rowsCommitted: 0 };
}
