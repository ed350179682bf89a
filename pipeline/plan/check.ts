/**
 * `check`: is everything in `streams/` fit to run, without running it.
 *
 * @module
 */
import { join } from "node:path";
import { ConfigError, type Fault } from "../errors.ts";
import { showDuration } from "./durations.ts";
import { inspect, type LoadOptions, staleTypes } from "./load.ts";
import { readSchemas } from "./schemas.ts";

/** One pipeline, in words. */
export interface CheckedStream {
  readonly name: string;
  readonly file: string;
  readonly topic: string;
  readonly key: readonly string[];
  readonly window: string;
  readonly sinks: readonly string[];
}

/** What `check` found: fit to run if there are no faults. */
export interface CheckReport {
  readonly streams: readonly CheckedStream[];
  readonly faults: readonly Fault[];
}

/** Checks every pipeline of the folder, and that `schemas/mod.ts` is what `deno task schemas` would write. */
export async function checkStreams(dir: string, options: LoadOptions = {}): Promise<CheckReport> {
  const schemasDir = options.schemas ?? join(dir, "..", "schemas");
  try {
    const { streams, faults } = await inspect(dir, { ...options, schemas: schemasDir });
    const stale = await staleness(schemasDir);
    return {
      streams: streams.map(({ file, plan }) => ({
        name: plan.name,
        file,
        topic: plan.topic,
        key: plan.groupBy.map(({ name }) => name),
        window: showDuration(plan.window.sizeMs),
        sinks: plan.sinks.map((sink) => sink.kind === "postgres" ? `table ${sink.table}` : `topic ${sink.topic}`),
      })),
      faults: stale === null ? faults : [...faults, stale],
    };
  } catch (error) {
    if (error instanceof ConfigError) return { streams: [], faults: error.faults };
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
export function formatCheck({ streams, faults }: CheckReport): string {
  const lines: string[] = [];
  if (streams.length > 0) {
    const rows = [
      ["pipeline", "from topic", "key", "window", "to"],
      ...streams.map(({ name, topic, key, window, sinks }) => [
        name,
        topic,
        key.join(", ") || "(none)",
        window,
        sinks.join(", "),
      ]),
    ];
    const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
    lines.push(...rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column])).join("  ").trimEnd()));
  }
  if (faults.length > 0) {
    if (lines.length > 0) lines.push("");
    lines.push(`${faults.length} ${faults.length === 1 ? "fault" : "faults"} to fix:`);
    lines.push(...faults.map(({ where, problem }) => `  ${where}: ${problem.replaceAll("\n", "\n  ")}`));
  }
  return lines.join("\n");
}
