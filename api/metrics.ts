/**
 * Figures for Prometheus. Nothing is counted per record here: every figure is read from the pipelines' status when scraped.
 *
 * @module
 */
import process from "node:process";
import { Counter, Gauge, Registry } from "prom-client";
import type { BulkFigures } from "../pipeline/ingest/bulk.ts";
import { BUCKETS } from "../pipeline/ledger.ts";
import type { ConnectorStatus } from "../pipeline/runtime/connector_status.ts";
import type { PipelineStatus } from "../pipeline/runtime/status.ts";
import type { Auditor } from "../pipeline/audit/audit.ts";
import { auditMetrics } from "./audit_metrics.ts";
import { connectorMetrics } from "./connector_metrics.ts";
import type { LakeDesk } from "./lake_desk.ts";
import { createLakeMetrics } from "./lake_metrics.ts";
import type { LiveStats } from "./live.ts";

export interface MetricsOptions {
  /** The SSE hub's state, for the number of live clients. */
  readonly live?: () => LiveStats;
  readonly lake?: LakeDesk;
  readonly audit?: readonly Auditor[];
  /** Sources and deliveries. */
  readonly connectors?: () => readonly ConnectorStatus[];
  /** Bulk requests. */
  readonly bulk?: () => BulkFigures;
  readonly version?: string;
  /** Wall clock in milliseconds, for ages. */
  readonly now?: () => number;
}

export interface Metrics {
  /** Prometheus text exposition 0.0.4, read now. */
  text(): Promise<string>;
}

/** A pipeline with more partitions than this gets no figures per partition: each would be a series for ever. */
const PARTITION_SERIES_MAX = 200;

/** Makes the figures of the pipelines that `status` tells about, and of this process. */
export function createMetrics(status: () => readonly PipelineStatus[], options: MetricsOptions = {}): Metrics {
  const { live, lake, version = "unknown", now = Date.now } = options;
  const registry = new Registry();
  const registers = [registry];
  /** Read once a scrape, so that all its figures are of one moment. */
  let pipelines: readonly PipelineStatus[] = [];
  let connectors: readonly ConnectorStatus[] = [];

  /** One figure per pipeline; a null is left out. */
  const gauge = (name: string, help: string, read: (pipeline: PipelineStatus) => number | null) =>
    new Gauge({
      name,
      help,
      labelNames: ["pipeline"],
      registers,
      collect() {
        this.reset();
        for (const pipeline of pipelines) {
          const value = read(pipeline);
          if (value !== null) this.set({ pipeline: pipeline.name }, value);
        }
      },
    });

  gauge(
    "tailrace_up",
    "1 while the pipeline reads its topic, 0 while it starts, waits, failed or stopped",
    (p) => p.state === "running" ? 1 : 0,
  );
  gauge(
    "tailrace_lag_records",
    "Records in the topic that the pipeline has not read yet",
    (p) => p.lagRecords < 0 ? null : p.lagRecords,
  );
  gauge(
    "tailrace_lag_seconds",
    "Age of the last record read while more are waiting, 0 when none are",
    (p) => p.lagSeconds,
  );
  gauge(
    "tailrace_watermark_delay_seconds",
    "How far the watermark, up to which windows are closed, is behind the wall clock",
    (p) => p.watermarkDelaySeconds,
  );
  gauge("tailrace_open_windows", "Windows that may still change", (p) => p.openWindows);
  gauge("tailrace_open_panes", "Results of open windows held in memory, one per key and window", (p) => p.openPanes);
  gauge("tailrace_in_flight_records", "Records read since the last commit", (p) => p.inFlight);
  gauge(
    "tailrace_checkpoint_age_seconds",
    "Time since the last saved checkpoint",
    (p) => p.checkpointAtMs === null ? null : Math.max(0, (now() - p.checkpointAtMs) / 1000),
  );

  new Counter({
    name: "tailrace_records_total",
    help:
      "Records read from the topic, by where they ended: aggregated, filtered, late, dead (did not decode) or duplicate",
    labelNames: ["pipeline", "bucket"],
    registers,
    collect() {
      this.reset();
      for (const { name, buckets } of pipelines) {
        for (const bucket of BUCKETS) this.inc({ pipeline: name, bucket }, buckets[bucket]);
      }
    },
  });
  new Counter({
    name: "tailrace_consumed_records_total",
    help: "Records read from the topic: the sum of tailrace_records_total over all buckets, always",
    labelNames: ["pipeline"],
    registers,
    collect() {
      this.reset();
      for (const { name, buckets } of pipelines) this.inc({ pipeline: name }, buckets.consumed);
    },
  });
  new Counter({
    name: "tailrace_result_rows_total",
    help: "Result rows written to the sinks since the start",
    labelNames: ["pipeline"],
    registers,
    collect() {
      this.reset();
      for (const { name, rowsWritten } of pipelines) this.inc({ pipeline: name }, rowsWritten);
    },
  });
  new Gauge({
    name: "tailrace_partition_lag_records",
    help:
      `Records of one partition not read yet; left out for pipelines of more than ${PARTITION_SERIES_MAX} partitions`,
    labelNames: ["pipeline", "partition"],
    registers,
    collect() {
      this.reset();
      for (const { name, partitions } of pipelines) {
        if (partitions.length > PARTITION_SERIES_MAX) continue;
        for (const { partition, lagRecords } of partitions) {
          if (lagRecords >= 0) this.set({ pipeline: name, partition: String(partition) }, lagRecords);
        }
      }
    },
  });
  if (live) liveMetrics(registers, live);
  if (options.audit) auditMetrics(registers, options.audit);
  if (options.connectors) connectorMetrics(registers, () => connectors, { now });
  if (options.bulk) bulkMetrics(registers, options.bulk);
  const lakeMetrics = lake && createLakeMetrics(registers, lake, { now });
  processMetrics(registers, version);
  return {
    async text() {
      await lakeMetrics?.look();
      pipelines = status();
      connectors = options.connectors?.() ?? [];
      return await registry.metrics();
    },
  };
}

function liveMetrics(registers: Registry[], live: () => LiveStats): void {
  new Gauge({
    name: "tailrace_live_clients",
    help: "Open live streams (server-sent events)",
    registers,
    collect() {
      this.set(live().clients);
    },
  });
  new Counter({
    name: "tailrace_live_clients_dropped_total",
    help: "Live streams closed because their reader did not keep up",
    registers,
    collect() {
      this.reset();
      this.inc(live().dropped);
    },
  });
}

function bulkMetrics(registers: Registry[], figures: () => BulkFigures): void {
  new Counter({
    name: "tailrace_bulk_requests_total",
    help: "Bulk requests by what they came to: written, repeated, refused, busy, failed and so on",
    labelNames: ["outcome"],
    registers,
    collect() {
      this.reset();
      for (const [outcome, count] of figures().requests) this.inc({ outcome: outcome.replaceAll(" ", "_") }, count);
    },
  });
  new Counter({
    name: "tailrace_bulk_records_total",
    help: "Records written for bulk requests",
    registers,
    collect() {
      this.reset();
      this.inc(figures().records);
    },
  });
  new Gauge({
    name: "tailrace_bulk_requests_under_way",
    help: "Bulk requests that are being read or written",
    registers,
    collect() {
      this.set(figures().underWay);
    },
  });
  new Gauge({
    name: "tailrace_bulk_held_bytes",
    help: "Bytes of records that bulk requests under way hold",
    registers,
    collect() {
      this.set(figures().heldBytes);
    },
  });
}

/**
 * Memory and CPU of the process. prom-client's own default metrics are not used: under Deno several of them are wrong (heap
 * larger than the process, event loop figures that are not numbers).
 */
function processMetrics(registers: Registry[], version: string): void {
  const startedAt = Math.round(Date.now() / 1000 - process.uptime());
  new Gauge({
    name: "tailrace_build_info",
    help: "Always 1; the label tells the version",
    labelNames: ["version"],
    registers,
  })
    .set({ version }, 1);
  new Gauge({ name: "process_start_time_seconds", help: "When the process started, seconds since 1970", registers })
    .set(startedAt);
  new Gauge({
    name: "process_resident_memory_bytes",
    help: "Memory the process holds, all its threads together",
    registers,
    collect() {
      this.set(process.memoryUsage().rss);
    },
  });
  new Gauge({
    name: "process_heap_used_bytes",
    help: "JavaScript heap in use on the main thread",
    registers,
    collect() {
      this.set(process.memoryUsage().heapUsed);
    },
  });
  new Counter({
    name: "process_cpu_seconds_total",
    help: "CPU time the process has used, user and system, all its threads together",
    registers,
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
}
