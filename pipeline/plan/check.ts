/**
 * `check`: is everything in `streams/` fit to run, without running it.
 *
 * @module
 */
import { join } from "node:path";
import { ConfigError, type Fault } from "../errors.ts";
import { showDuration } from "./durations.ts";
import { deliveryKind } from "../deliveries/delivery_spec.ts";
import { sourceKind } from "../sources/source_spec.ts";
import { inspect, type LoadOptions, staleTypes } from "./load.ts";
import { targetOf } from "./plan.ts";
import { readSchemas } from "./schemas.ts";

const SINK_WORDS = { postgres: "table", kafka: "topic", lake: "lake table", cassandra: "Cassandra table" };

/** One pipeline, in words. */
export interface CheckedStream {
  readonly name: string;
  readonly file: string;
  readonly topic: string;
  readonly key: readonly string[];
  readonly window: string;
  readonly sinks: readonly string[];
}

/** One source or delivery, in words. */
export interface CheckedConnector {
  readonly name: string;
  readonly file: string;
  readonly kind: "source" | "delivery";
  readonly from: string;
  readonly to: readonly string[];
}

/** What `check` found: fit to run if there are no faults. */
export interface CheckReport {
  readonly streams: readonly CheckedStream[];
  readonly connectors: readonly CheckedConnector[];
  readonly faults: readonly Fault[];
}

/** Checks every pipeline of the folder, and that `schemas/mod.ts` is what `deno task schemas` would write. */
export async function checkStreams(dir: string, options: LoadOptions = {}): Promise<CheckReport> {
  const schemasDir = options.schemas ?? join(dir, "..", "schemas");
  try {
    const { streams, sources, deliveries, faults } = await inspect(dir, { ...options, schemas: schemasDir });
    const stale = await staleness(schemasDir);
    return {
      connectors: await Promise.all([
        ...sources.map(async ({ file, plan: { name, from, to } }): Promise<CheckedConnector> => ({
          name,
          file,
          kind: "source",
          from: (await sourceKind(from)).describe(from),
          to: [to.kind === "topic" ? `topic ${to.topic}` : `topics ${to.prefix}.*`],
        })),
        ...deliveries.map(async ({ file, plan: { name, topic, to } }): Promise<CheckedConnector> => ({
          name,
          file,
          kind: "delivery",
          from: `topic ${topic}`,
          to: await Promise.all(to.map(async (spec) => (await deliveryKind(spec)).describe(spec))),
        })),
      ]),
      streams: streams.map(({ file, plan }) => ({
        name: plan.name,
        file,
        topic: plan.topic,
        key: plan.groupBy.map(({ name }) => name),
        window: showDuration(plan.window.sizeMs),
        sinks: plan.sinks.map((sink) => `${SINK_WORDS[sink.kind]} ${targetOf(sink)}`),
      })),
      faults: stale === null ? faults : [...faults, stale],
    };
  } catch (error) {
    if (error instanceof ConfigError) return { streams: [], connectors: [], faults: error.faults };
    throw error;
  }
}

/** The generated types are only worth comparing where the schemas can be read; that they cannot is a fault already. */
async function staleness(dir: string): Promise<Fault | null> {
  try {
    return await staleTypes(dir, await readSchemas(dir));
  } catch (error) {
    if (error instanceof ConfigError) return null;
    throw error;
  }
}

/** The report as people read it: a table of what is fine, then the faults. No line ends in spaces. */
export function formatCheck({ streams, connectors, faults }: CheckReport): string {
  const lines: string[] = [];
  if (streams.length > 0) {
    lines.push(...table([
      ["pipeline", "from topic", "key", "window", "to"],
      ...streams.map(({ name, topic, key, window, sinks }) => [
        name,
        topic,
        key.join(", ") || "(none)",
        window,
        sinks.join(", "),
      ]),
    ]));
  }
  for (const kind of ["source", "delivery"] as const) {
    const some = connectors.filter((connector) => connector.kind === kind);
    if (some.length === 0) continue;
    if (lines.length > 0) lines.push("");
    lines.push(...table([[kind, "from", "to"], ...some.map(({ name, from, to }) => [name, from, to.join(", ")])]));
  }
  if (faults.length > 0) {
    if (lines.length > 0) lines.push("");
    lines.push(`${faults.length} ${faults.length === 1 ? "fault" : "faults"} to fix:`);
    lines.push(...faults.map(({ where, problem }) => `  ${where}: ${problem.replaceAll("\n", "\n  ")}`));
  }
  return lines.join("\n");
}

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column])).join("  ").trimEnd());
}
