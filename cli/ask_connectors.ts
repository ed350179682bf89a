/**
 * What people ask of the sources and deliveries of a running Tailrace and do to them, through its API: `tailrace connectors`.
 *
 * @module
 */
import type { z } from "@hono/zod-openapi";
import type { connectorSchema, connectorsSchema, rejectedSchema } from "../api/connector_schemas.ts";
import { ConfigError } from "../pipeline/errors.ts";
import { API_OPTION, ApiClient } from "./api_client.ts";
import type { Call, Option } from "./call.ts";
import { Exit } from "./exit.ts";
import { limitOf } from "./numbers.ts";
import { printable, table, terminalWidth } from "./table.ts";

type Connector = z.infer<typeof connectorSchema>;
type Connectors = z.infer<typeof connectorsSchema>;
type Rejected = z.infer<typeof rejectedSchema>;

export const CONNECTORS_OPTIONS: readonly Option[] = [
  { flag: "json", placeholder: "", help: "JSON instead of tables" },
  API_OPTION,
];

/** What follows each verb. */
const VERBS: Readonly<Record<string, readonly string[]>> = {
  rejected: ["NAME"],
  stop: ["NAME"],
  start: ["NAME"],
  limit: ["NAME", "N or none"],
};

/** Characters of a rejected value in the table; --json gives more. */
const VALUE_SHOWN_MAX = 500;

const count = new Intl.NumberFormat("en-US");

/** `tailrace connectors [NAME | rejected NAME | stop NAME | start NAME | limit NAME N|none]`. */
export async function connectors({ flags, positionals, signal }: Call): Promise<number> {
  const api = new ApiClient({ url: flags.api, signal });
  if (positionals.length === 0) return list(await api.get<Connectors>("/v1/connectors"), flags);
  const [verb, name, value] = readArguments(positionals);
  const path = `/v1/connectors/${encodeURIComponent(name)}`;
  if (verb === "rejected") return listRejected(await api.get<Rejected>(`${path}/rejected`), flags);
  const told = verb === null
    ? await api.get<Connector>(path)
    : verb === "limit"
    ? await api.put<Connector>(`${path}/limit`, { perSecond: limitOf(value) })
    : await api.post<Connector>(`${path}/${verb}`, {});
  if (flags.json !== undefined) return say(JSON.stringify(told));
  return say(verb === null ? facts(told) : done(verb, told));
}

/** The verb, null for a name alone, and what follows it. @throws ConfigError when that is too little, too much or no verb */
function readArguments(given: readonly string[]): [verb: string | null, name: string, value: string] {
  const where = "tailrace connectors";
  const [verb, ...rest] = given;
  if (!Object.hasOwn(VERBS, verb)) {
    if (rest.length === 0) return [null, verb, ""];
    throw new ConfigError({ where, problem: `takes NAME, ${Object.keys(VERBS).join(", ")}, not "${verb}"` });
  }
  const names = VERBS[verb];
  if (rest.length < names.length) throw new ConfigError({ where, problem: `${names[rest.length]} is missing` });
  if (rest.length > names.length) {
    throw new ConfigError({ where, problem: `"${rest[names.length]}" is one argument too many` });
  }
  return [verb, rest[0], rest[1] ?? ""];
}

function done(verb: string, { name, limitPerSecond, state, reason }: Connector): string {
  if (verb === "stop") return `${name} rests; it goes on where it was when it is started`;
  if (verb === "start" && state === "stopped" && reason !== null) return `${name} still rests: ${reason}`;
  if (verb === "start") return `${name} starts where it was`;
  return limitPerSecond === null
    ? `${name} goes as fast as it can`
    : `${name} goes at ${count.format(limitPerSecond)} records a second at most, until its process ends`;
}

function list({ connectors }: Connectors, flags: Call["flags"]): number {
  if (flags.json !== undefined) return say(JSON.stringify({ connectors }));
  if (connectors.length === 0) return say("There is no source and no delivery: files in streams/ make them.");
  const head = ["name", "kind", "state", "in", "out", "read", "written", "rejected", "skipped", "lag", "limit", "way"];
  const rows = connectors.map(({ name, kind, state, rates, counts, lagRecords, limitPerSecond, from, to }) => [
    name,
    kind,
    stateWord(state),
    `${count.format(Math.round(rates.inPerSecond))}/s`,
    `${count.format(Math.round(rates.outPerSecond))}/s`,
    ...[counts.read, counts.written, counts.rejected, counts.skipped].map((n) => count.format(n)),
    lagRecords === null ? "?" : count.format(lagRecords),
    limitPerSecond === null ? "" : `${count.format(limitPerSecond)}/s`,
    `${from} -> ${to.join(", ")}`,
  ]);
  say(table(head, rows, { width: terminalWidth(), numbers: [3, 4, 5, 6, 7, 8, 9, 10] }));
  // Below the table: what to set must not be cut off.
  const reasons = connectors.filter(({ reason }) => reason !== null)
    .map(({ name, state, reason }) => `${name} ${VERB[state] ?? state}: ${printable(reason!)}`);
  return reasons.length === 0 ? Exit.ok : say(`\n${reasons.join("\n")}`);
}

const VERB: Readonly<Record<string, string>> = { stopped: "rests", waiting: "waits", starting: "starts" };

function stateWord(state: Connector["state"]): string {
  return state === "stopped" ? "at rest" : state;
}

function facts(connector: Connector): string {
  const { name, kind, state, reason, from, to, counts, lagRecords, committedAt, limitPerSecond, lastError, details } =
    connector;
  const { read, written, rejected, skipped } = counts;
  const sum = [written, rejected, skipped].map((n) => count.format(n));
  const lines: [string, string | null][] = [
    [kind, name],
    ["state", reason === null ? stateWord(state) : `${stateWord(state)}: ${reason}`],
    ["from", from],
    ["to", to.join(", ")],
    ["counts", `${count.format(read)} read = ${sum[0]} written + ${sum[1]} rejected + ${sum[2]} skipped`],
    ["lag", lagRecords === null ? null : `${count.format(lagRecords)} records`],
    ["last commit", committedAt],
    ["limit", limitPerSecond === null ? null : `${count.format(limitPerSecond)} records a second`],
    ["last error", lastError && `${lastError.at} ${lastError.message}`],
    ...Object.entries(details).map(([fact, value]): [string, string | null] => [
      fact,
      value === null ? null : String(value),
    ]),
  ];
  const shown = lines.filter((line): line is [string, string] => line[1] !== null);
  const width = Math.max(...shown.map(([fact]) => fact.length)) + 2;
  return shown.map(([fact, text]) => `${printable(fact).padEnd(width)}${printable(text)}`).join("\n");
}

function listRejected(told: Rejected, flags: Call["flags"]): number {
  if (flags.json !== undefined) return say(JSON.stringify(told));
  if (told.rejected.length === 0) return say(`${told.connector} rejected nothing that is still there.`);
  const rows = told.rejected.map(({ timestamp, where, reason, value }) => [
    timestamp ?? "",
    where,
    reason,
    (value.text ?? `hex ${value.hex}`).slice(0, VALUE_SHOWN_MAX),
  ]);
  return say(table(["time", "where", "why", "value"], rows, { width: terminalWidth() }));
}

function say(text: string): number {
  console.log(text);
  return Exit.ok;
}
