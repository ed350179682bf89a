/**
 * What people ask of a running Tailrace and do to its pipelines, through its API: `tailrace pipelines`, `ledger`, `explain` and
 * `rewind`.
 *
 * @module
 */
import type { z } from "@hono/zod-openapi";
import type { connectorsSchema } from "../api/connector_schemas.ts";
import type { explanationSchema, ledgerSchema, rewindBodySchema, rewindSchema } from "../api/operation_schemas.ts";
import type { pipelineListSchema } from "../api/schemas.ts";
import { ConfigError } from "../pipeline/errors.ts";
import { BUCKETS } from "../pipeline/ledger.ts";
import { API_OPTION, ApiClient } from "./api_client.ts";
import type { Call, Option } from "./call.ts";
import { Exit } from "./exit.ts";
import { limitOf, wholeNumber } from "./numbers.ts";
import { printable, table, terminalWidth } from "./table.ts";

type Connectors = z.infer<typeof connectorsSchema>;
type Ledger = z.infer<typeof ledgerSchema>;
type Explanation = z.infer<typeof explanationSchema>;
type PipelineList = z.infer<typeof pipelineListSchema>;
type Rewind = z.infer<typeof rewindSchema>;

const JSON_OPTION: Option = { flag: "json", placeholder: "", help: "JSON instead of tables" };

export const LEDGER_OPTIONS: readonly Option[] = [
  { flag: "partitions", placeholder: "", help: "a line for each partition" },
  JSON_OPTION,
  API_OPTION,
];
export const EXPLAIN_OPTIONS: readonly Option[] = [JSON_OPTION, API_OPTION];
export const PIPELINES_OPTIONS: readonly Option[] = [JSON_OPTION, API_OPTION];
export const REWIND_OPTIONS: readonly Option[] = [
  { flag: "to", placeholder: "TIME", help: "from the window that holds this time on: 2026-05-01T00:00Z, or ms" },
  { flag: "offset", placeholder: "N", help: "from the windows that have records at this offset on" },
  { flag: "partition", placeholder: "N", help: "the partition of --offset (default 0)" },
  { flag: "earliest", placeholder: "", help: "all that the log still holds" },
  { flag: "yes", placeholder: "", help: "do it: stop, rewind, start; without this it only tells what it would do" },
  JSON_OPTION,
  API_OPTION,
];

const FIGURES = ["consumed", ...BUCKETS, "inFlight"] as const;
const count = new Intl.NumberFormat("en-US");

/** `tailrace ledger [NAME]`: of all, or of one pipeline, source or delivery. */
export async function ledger({ flags, positionals, signal }: Call): Promise<number> {
  const [name] = named(positionals, ["NAME"], { least: 0 });
  const api = new ApiClient({ url: flags.api, signal });
  const told = await api.get<Ledger>(`/v1/ledger${name === undefined ? "" : await queryOf(name, api)}`);
  if (flags.json !== undefined) return say(JSON.stringify(told));
  const isByPartition = flags.partitions !== undefined;
  const rows = told.pipelines.flatMap(({ pipeline, partitions, ...total }) => {
    const figures = (entry: Record<(typeof FIGURES)[number], number>) =>
      FIGURES.map((name) => count.format(entry[name]));
    if (!isByPartition) return [[pipeline, ...figures(total)]];
    return partitions.map((
      entry,
    ) => [pipeline, String(entry.partition), count.format(entry.position), ...figures(entry)]);
  });
  const head = ["pipeline", ...(isByPartition ? ["partition", "position"] : []), ...FIGURES.slice(0, -1), "in flight"];
  const numbers = head.keys().filter((column) => column > 0).toArray();
  const tables = rows.length > 0 ? [table(head, rows, { width: terminalWidth(), numbers })] : [];
  if (told.connectors.length > 0) tables.push(connectorLedger(told));
  return say(tables.length > 0 ? tables.join("\n\n") : "Nothing is defined, so nothing was read.");
}

/** Which one the ledger is asked of. */
async function queryOf(name: string, api: ApiClient): Promise<string> {
  const { connectors } = await api.get<Connectors>("/v1/connectors");
  const kind = connectors.some((connector) => connector.name === name) ? "connector" : "pipeline";
  return `?${kind}=${encodeURIComponent(name)}`;
}

function connectorLedger({ connectors }: Ledger): string {
  const head = ["name", "kind", "read", "= written", "+ rejected", "+ skipped"];
  const rows = connectors.map(({ connector, kind, read, written, rejected, skipped }) => [
    connector,
    kind,
    ...[read, written, rejected, skipped].map((n) => count.format(n)),
  ]);
  return table(head, rows, { width: terminalWidth(), numbers: [2, 3, 4, 5] });
}

/** `tailrace explain TOPIC PARTITION OFFSET`. */
export async function explain({ flags, positionals, signal }: Call): Promise<number> {
  const [topic, partition, offset] = named(positionals, ["TOPIC", "PARTITION", "OFFSET"], { least: 3 });
  const query = new URLSearchParams({ topic, partition, offset });
  const told = await new ApiClient({ url: flags.api, signal }).get<Explanation>(`/v1/explain?${query}`);
  if (flags.json !== undefined) return say(JSON.stringify(told));
  for (const { pipeline, fate, reason, window, key, outputs, row } of told.explanations) {
    const lines: [string, string][] = [
      ["pipeline", pipeline],
      ["fate", fate],
      ["why", reason],
      ["window", window ? `${window.start} to ${window.end}` : ""],
      ["key", key ? JSON.stringify(key) : ""],
      ["in", outputs.join(", ")],
      ["row now", row ? JSON.stringify(row) : ""],
    ];
    say(
      lines.filter(([, text]) => text !== "").map(([name, text]) => `${name.padEnd(10)}${printable(text)}`).join("\n"),
    );
    say("");
  }
  return Exit.ok;
}

/** `tailrace pipelines [stop NAME | start NAME | limit NAME N|none]`. */
export async function pipelines({ flags, positionals, signal }: Call): Promise<number> {
  const api = new ApiClient({ url: flags.api, signal });
  if (positionals.length === 0) return list(await api.get<PipelineList>("/v1/pipelines"), flags);
  if (!["stop", "start", "limit"].includes(positionals[0])) {
    throw new ConfigError({
      where: "tailrace pipelines",
      problem: `takes stop, start or limit, not "${positionals[0]}"`,
    });
  }
  const names = positionals[0] === "limit" ? ["limit", "NAME", "N or none"] : [positionals[0], "NAME"];
  const [verb, name, value] = named(positionals, names, { least: names.length });
  const path = `/v1/pipelines/${encodeURIComponent(name)}`;
  if (verb === "limit") {
    const perSecond = limitOf(value);
    await api.put(`${path}/limit`, { perSecond });
    return say(
      perSecond === null
        ? `${name} reads as fast as it can`
        : `${name} reads ${count.format(perSecond)} records a second at most, until its process ends`,
    );
  }
  await api.post(`${path}/${verb}`, {});
  return say(verb === "stop" ? `${name} rests, with a last commit` : `${name} starts from its last commit`);
}

function list(told: PipelineList, flags: Call["flags"]): number {
  if (flags.json !== undefined) return say(JSON.stringify(told));
  const rows = told.pipelines.map(({ name, topic, state, rates, lagRecords, watermark, reason }) => [
    name,
    topic,
    state,
    `${count.format(Math.round(rates.inPerSecond))}/s`,
    lagRecords === null ? "?" : count.format(lagRecords),
    watermark ?? "",
    reason ?? "",
  ]);
  const head = ["pipeline", "topic", "state", "in", "lag", "watermark", "why"];
  return say(table(head, rows, { width: terminalWidth(), numbers: [3, 4] }));
}

/** `tailrace rewind PIPELINE --to TIME | --offset N | --earliest`. */
export async function rewind({ flags, positionals, signal }: Call): Promise<number> {
  const [pipeline] = named(positionals, ["PIPELINE"], { least: 1 });
  const target = targetOf(flags);
  const api = new ApiClient({ url: flags.api, signal });
  const isMeant = flags.yes !== undefined;
  const ask = () =>
    api.post<Rewind>(`/v1/pipelines/${encodeURIComponent(pipeline)}/rewind`, { ...target, preview: !isMeant });
  const told = isMeant ? await whileAtRest(flags, { pipeline, signal }, ask) : await ask();
  if (flags.json !== undefined) return say(JSON.stringify(told));
  const rows = told.partitions.map((
    { partition, from, to, offsets },
  ) => [String(partition), count.format(from), count.format(to), count.format(offsets)]);
  say(table(["partition", "goes on at", "had come to", "read again"], rows, { numbers: [0, 1, 2, 3] }));
  const windows = told.fromWindow === null ? "All windows" : `Windows from ${told.fromWindow} on`;
  const anew = told.isNewTopic ? " The topic is a new one of the same name: it is read from its beginning." : "";
  return say(
    isMeant
      ? `\n${windows} are being computed again, as generation ${told.generation}.${anew}`
      : `\n${windows} would be computed again, as generation ${told.generation}.${anew} Nothing was done: add --yes to do it.`,
  );
}

/** Works while a pipeline rests. It is started again whatever came of the work: what could not be rewound goes on as it was. */
async function whileAtRest<T>(
  flags: Call["flags"],
  { pipeline, signal }: { readonly pipeline: string; readonly signal: AbortSignal },
  work: () => Promise<T>,
): Promise<T> {
  const path = `/v1/pipelines/${encodeURIComponent(pipeline)}`;
  // No Ctrl-C ends this: the pipeline must not be left at rest by a command that was broken off.
  const start = () => new ApiClient({ url: flags.api, signal: new AbortController().signal }).post(`${path}/start`, {});
  const why = (error: Error) =>
    `${pipeline} may rest; tailrace pipelines start ${pipeline} starts it: ${error.message}`;
  try {
    await new ApiClient({ url: flags.api, signal }).post(`${path}/stop`, {});
  } catch (error) {
    if (signal.aborted) await start().catch((error) => console.error(why(error)));
    throw error;
  }
  let result: T;
  try {
    result = await work();
  } catch (error) {
    await start().catch((error) => console.error(why(error)));
    throw error;
  }
  await start();
  return result;
}

function targetOf(flags: Call["flags"]): z.input<typeof rewindBodySchema> {
  const { to, offset, partition, earliest } = flags;
  if (partition !== undefined && offset === undefined) {
    throw new ConfigError({ where: "--partition", problem: "says which partition --offset is in; give --offset too" });
  }
  if ([to, offset, earliest].filter((target) => target !== undefined).length !== 1) {
    throw new ConfigError({ where: "tailrace rewind", problem: "name one of --to TIME, --offset N and --earliest" });
  }
  return {
    to,
    offset: wholeNumber(offset, "--offset"),
    partition: wholeNumber(partition, "--partition"),
    earliest: earliest === undefined ? undefined : true,
  };
}

/** The positional arguments, as many as there are names. @throws ConfigError when there are fewer than `least`, or more */
function named(
  given: readonly string[],
  names: readonly string[],
  { least }: { readonly least: number },
): readonly string[] {
  if (given.length >= least && given.length <= names.length) return given;
  throw new ConfigError({
    where: "tailrace",
    problem: given.length < least
      ? `${names[given.length]} is missing`
      : `"${given[names.length]}" is one argument too many`,
  });
}

function say(text: string): number {
  console.log(text);
  return Exit.ok;
}
