import { Counter, Gauge, type Registry } from "prom-client";
import type { LakeDesk, LakeFlow, LakeTableStatus } from "./lake_desk.ts";
import { within } from "./within.ts";

/** A scrape does not wait longer for the store; the figures of the last look stand then. */
const LOOK_MS = 2_000;
/** Sizes are looked up no more often: each look asks the store. */
const LOOK_EVERY_MS = 15_000;

export interface LakeMetrics {
  /** Looks at the tables, unless it did so just now. */
  look(): Promise<void>;
}

/** Figures of the lake's tables, and of what keeps them in shape. */
export function createLakeMetrics(
  registers: Registry[],
  lake: LakeDesk,
  { now }: { readonly now: () => number },
): LakeMetrics {
  let tables: readonly LakeTableStatus[] = [];
  let lookedMs = -Infinity;

  /** One figure for each of some things, by table; a null is left out. */
  const gauge = <T>(name: string, help: string, of: {
    readonly list: () => readonly T[];
    readonly table: (one: T) => string;
    readonly read: (one: T) => number | null;
  }) =>
    new Gauge({
      name,
      help,
      labelNames: ["table"],
      registers,
      collect() {
        this.reset();
        for (const one of of.list()) {
          const value = of.read(one);
          if (value !== null) this.set({ table: of.table(one) }, value);
        }
      },
    });
  const size = (name: string, help: string, read: (table: LakeTableStatus) => number | null) =>
    gauge(name, help, { list: () => tables, table: ({ name }) => name, read });
  const flow = (name: string, help: string, read: (flow: LakeFlow) => number | null) =>
    gauge(name, help, { list: () => lake.flows(), table: ({ table }) => table, read });
  const total = (name: string, help: string, read: () => number) =>
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(read());
      },
    });

  size("tailrace_lake_files", "Data files of a table's newest version", ({ files }) => files);
  size("tailrace_lake_bytes", "Bytes of these files", ({ bytes }) => bytes);
  size("tailrace_lake_rows", "Rows of a table's newest version", ({ rows }) => rows);
  flow(
    "tailrace_lake_up",
    "1 while rows go into the table, 0 while that starts, waits, failed or stopped",
    ({ state }) => state === "running" ? 1 : 0,
  );
  flow("tailrace_lake_waiting_rows", "Rows that the next flush commits", ({ rowsWaiting }) => rowsWaiting);
  flow(
    "tailrace_lake_lag_records",
    "Records of the topic that its archive has not read yet",
    ({ lagRecords }) => lagRecords,
  );
  flow(
    "tailrace_lake_commit_age_seconds",
    "Time since this process last committed to the table",
    ({ committedMs }) => committedMs === null ? null : Math.max(0, (now() - committedMs) / 1000),
  );
  new Counter({
    name: "tailrace_lake_rows_committed_total",
    help: "Rows committed to a table since the start",
    labelNames: ["table"],
    registers,
    collect() {
      this.reset();
      for (const { table, rowsCommitted } of lake.flows()) this.inc({ table }, rowsCommitted);
    },
  });
  const { keeper } = lake;
  total("tailrace_lake_compactions_total", "Compactions that made files larger", () => keeper.totals().compactions);
  total(
    "tailrace_lake_compacted_bytes_total",
    "Bytes of small files made larger",
    () => keeper.totals().bytesCompacted,
  );
  total(
    "tailrace_lake_vacuumed_files_total",
    "Files that no version needed, removed",
    () => keeper.totals().filesVacuumed,
  );
  total("tailrace_lake_keeper_failures_total", "Compactions and vacuums that failed", () => keeper.totals().failures);

  return {
    async look() {
      if (now() - lookedMs < LOOK_EVERY_MS) return;
      try {
        tables = await within(LOOK_MS, "the lake did not answer in time", lake.tables());
        lookedMs = now();
      } catch {
        // That it is away is seen at tailrace_lake_up; the other figures have to be there.
      }
    },
  };
}
