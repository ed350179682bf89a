import { Counter, Gauge, type Registry } from "prom-client";
import type { ConnectorCounts, ConnectorStatus } from "../pipeline/runtime/connector_status.ts";

/** Facts of its own that become figures, of one source or delivery: each is a series for ever. */
const DETAILS_MAX = 20;

const STATES = ["starting", "running", "waiting", "failed", "stopped"] as const satisfies ConnectorStatus["state"][];

const COUNTS: readonly (readonly [keyof ConnectorCounts, string])[] = [
  ["read", "What a source or delivery has read: the sum of written, rejected and skipped, always"],
  ["written", "Records of a source or delivery that are durable on the other side"],
  ["rejected", "What a source read that is no record, or a delivery could not hand over: kept beside the topic"],
  ["skipped", "What a source or delivery met again, or what is no record by itself"],
];

/** Figures of the sources and deliveries that `status` tells about. */
export function connectorMetrics(
  registers: Registry[],
  status: () => readonly ConnectorStatus[],
  { now }: { readonly now: () => number },
): void {
  for (const [count, help] of COUNTS) {
    new Counter({
      name: `tailrace_connector_${count}_total`,
      help,
      labelNames: ["connector", "kind"],
      registers,
      collect() {
        this.reset();
        for (const { name, kind, counts } of status()) this.inc({ connector: name, kind }, counts[count]);
      },
    });
  }
  new Gauge({
    name: "tailrace_connector_state",
    help: "1 for the state that a source or delivery is in, 0 for all others; stopped: it rests",
    labelNames: ["connector", "kind", "state"],
    registers,
    collect() {
      this.reset();
      for (const { name, kind, state } of status()) {
        for (const one of STATES) this.set({ connector: name, kind, state: one }, one === state ? 1 : 0);
      }
    },
  });

  /** One figure for each; a null is left out. */
  const gauge = (name: string, help: string, read: (status: ConnectorStatus) => number | null) =>
    new Gauge({
      name,
      help,
      labelNames: ["connector", "kind"],
      registers,
      collect() {
        this.reset();
        for (const one of status()) {
          const value = read(one);
          if (value !== null) this.set({ connector: one.name, kind: one.kind }, value);
        }
      },
    });
  gauge(
    "tailrace_connector_lag_records",
    "Records that are there and not read yet; left out where nobody knows",
    ({ lagRecords }) => lagRecords,
  );
  gauge(
    "tailrace_connector_limit",
    "Records per second that a source or delivery may go; left out where there is no limit",
    ({ limitPerSecond }) => limitPerSecond,
  );
  gauge(
    "tailrace_connector_commit_age_seconds",
    "Time since a source or delivery last committed",
    ({ committedAtMs }) => committedAtMs === null ? null : Math.max(0, (now() - committedAtMs) / 1000),
  );
  new Gauge({
    name: "tailrace_connector_detail",
    help: `A fact of its kind's own, such as walBehindBytes; yes is 1 and no 0; the first ${DETAILS_MAX} of each`,
    labelNames: ["connector", "name"],
    registers,
    collect() {
      this.reset();
      for (const { name: connector, details } of status()) {
        const figures = Object.entries(details).filter(([, value]) => ["number", "boolean"].includes(typeof value));
        for (const [name, value] of figures.slice(0, DETAILS_MAX)) this.set({ connector, name }, Number(value));
      }
    },
  });
}
