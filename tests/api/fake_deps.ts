/**
 * What the application needs, made up: pipelines whose status and rows a test sets by hand.
 *
 * @module
 */
import type { FieldType } from "../../pipeline/columns.ts";
import type { ResultColumn } from "../../pipeline/plan/plan.ts";
import type { ConnectorControl } from "../../pipeline/runtime/connector_status.ts";
import type { PipelineStatus } from "../../pipeline/runtime/status.ts";
import type { ResultRows, ResultValue } from "../../pipeline/sinks/sink.ts";
import type { AppDeps, Ingest, PipelineControl, ResultJson, ResultQuery } from "../../api/deps.ts";
import { rowToJson } from "../../api/result_json.ts";

type Listener = (pipeline: string, rows: ResultRows) => void;

function column(name: string, role: ResultColumn["role"], type: FieldType["type"] | FieldType): ResultColumn {
  return { name, role, type: typeof type === "string" ? { type, nullable: false } as FieldType : type };
}

/** Columns as `resultColumns` gives them for count, sum and max of an amount by account. */
export const ACCOUNT_COLUMNS: readonly ResultColumn[] = [
  column("account_id", "key", "string"),
  column("window_start", "window_start", "timestamp-millis"),
  column("window_end", "window_end", "timestamp-millis"),
  column("n", "value", "long"),
  column("total", "value", { type: "decimal", precision: 38, scale: 2, nullable: true }),
  column("largest", "value", { type: "decimal", precision: 18, scale: 2, nullable: true }),
  column("revision", "revision", "long"),
  column("final", "final", "boolean"),
];

/** Rows of `accounts` accounts for the minute that starts at `startMs`. */
export function accountRows(
  startMs: number,
  accounts: number,
  options: { n?: number; final?: boolean } = {},
): ResultRows {
  const { n = 3, final = true } = options;
  const all = <T extends ResultValue>(make: (account: number) => T) =>
    Array.from({ length: accounts }, (_, i) => make(i));
  return {
    columns: ACCOUNT_COLUMNS,
    length: accounts,
    values: [
      all((i) => `A-${String(i).padStart(4, "0")}`),
      all(() => startMs),
      all(() => startMs + 60_000),
      all((i) => n + i % 3),
      all((i) => `${(n + i % 3) * 20}.50`),
      all((i) => `${20 + i}.00`),
      all((i) => n + i % 3),
      all(() => final),
    ],
  };
}

/** A running pipeline with nothing read yet; `changes` replaces fields. */
export function pipelineStatus(changes: Partial<PipelineStatus> = {}): PipelineStatus {
  return {
    name: "account_minute",
    topic: "transactions",
    state: "running",
    reason: null,
    lastError: null,
    rates: { inPerSecond: 0, outPerSecond: 0 },
    lagRecords: 0,
    lagSeconds: 0,
    watermarkMs: null,
    watermarkDelaySeconds: null,
    openWindows: 0,
    openPanes: 0,
    rowsWritten: 0,
    epoch: 0,
    checkpointAtMs: null,
    limitPerSecond: null,
    buckets: { consumed: 0, aggregated: 0, filtered: 0, late: 0, dead: 0, duplicate: 0 },
    inFlight: 0,
    partitions: [],
    definition: {
      where: "status = 'approved' AND amount > 0",
      groupBy: ["account_id"],
      window: { kind: "tumbling", sizeMs: 60_000 },
      select: { n: "count()", total: "sum(amount)", largest: "max(amount)" },
      sinks: ["postgres account_minute", "kafka account-minute"],
    },
    ...changes,
  };
}

/** Nothing was read, and whatever is asked for is done at once. */
function idleControl(): PipelineControl {
  const rewound = { pipeline: "account_minute", fromWindowMs: null, generation: 1, isNewTopic: false, partitions: [] };
  return {
    ledger: () => [],
    explain: () => Promise.resolve([]),
    stop: () => Promise.resolve(),
    start: () => Promise.resolve(),
    limit: () => {},
    previewRewind: () => Promise.resolve(rewound),
    rewind: () => Promise.resolve(rewound),
  };
}

/** None is defined. */
function noConnectors(): ConnectorControl {
  return {
    status: () => [],
    stop: () => Promise.resolve(),
    start: () => Promise.resolve(),
    limit: () => {},
    rejected: () => Promise.resolve([]),
  };
}

export interface Fake {
  readonly deps: AppDeps;
  /** As the sinks do once rows are durable: keeps them for /results and tells the live listeners. */
  publish(pipeline: string, rows: ResultRows): void;
  statuses: PipelineStatus[];
  readonly queries: ResultQuery[];
  readonly logged: string[];
}

/** Dependencies with one pipeline, `account_minute`; `changes` replaces parts. */
export function fakeDeps(changes: Partial<AppDeps> & { ingest?: Ingest; control?: PipelineControl } = {}): Fake {
  const { ingest, control, ...rest } = changes;
  const listeners = new Set<Listener>();
  const stored: ResultJson[] = [];
  const queries: ResultQuery[] = [];
  const logged: string[] = [];
  const fake: Fake = {
    statuses: [pipelineStatus()],
    queries,
    logged,
    publish(pipeline, rows) {
      for (let r = 0; r < rows.length; r++) {
        const row = rowToJson(rows.columns, rows.values, r);
        const same = stored.findIndex((one) =>
          one.account_id === row.account_id && one.window_start === row.window_start
        );
        if (same >= 0) stored.splice(same, 1);
        stored.unshift(row);
      }
      stored.splice(5000);
      for (const listener of listeners) listener(pipeline, rows);
    },
    deps: {
      pipelines: [{ name: "account_minute", columns: ACCOUNT_COLUMNS }],
      results: {
        read(_, query) {
          queries.push(query);
          const rows = stored.filter((row) => query.key === undefined || row.account_id === query.key[0]);
          const next = rows.length > query.limit ? "further" : null;
          return Promise.resolve({ rows: rows.slice(0, query.limit), next });
        },
      },
      engine: {
        status: () => fake.statuses,
        live: {
          subscribe(listener) {
            listeners.add(listener);
            return () => listeners.delete(listener);
          },
        },
        ingest: ingest ?? {
          write: (topic, records) =>
            Promise.resolve(
              topic === "transactions"
                ? { kind: "written", records: records.map((_, i) => ({ partition: i % 2, offset: 100 + i })) }
                : { kind: "unknown topic" },
            ),
        },
        control: control ?? idleControl(),
        metrics: () => Promise.resolve("tailrace_up 1\n"),
      },
      connectors: noConnectors(),
      audit: [],
      ready: () => Promise.resolve([{ name: "broker", ready: true, detail: "answers" }]),
      asset: () => Promise.resolve(null),
      log: (message, error) => logged.push(`${message}: ${error}`),
      version: "0.1.0",
      ...rest,
    },
  };
  return fake;
}
