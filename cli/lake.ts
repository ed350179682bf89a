/**
 * The lake's tables, asked of a running Tailrace through its API: `tailrace lake`.
 *
 * @module
 */
import { systemClock } from "../pipeline/clock.ts";
import type { z } from "@hono/zod-openapi";
import type { jobSchema, lakeSchema, lakeTableSchema, vacuumSchema } from "../api/lake_schemas.ts";
import { ConfigError, UnavailableError } from "../pipeline/errors.ts";
import { API_OPTION, ApiClient } from "./api_client.ts";
import type { Call, Option } from "./call.ts";
import { Exit } from "./exit.ts";
import { table, terminalWidth } from "./table.ts";

type Lake = z.infer<typeof lakeSchema>;
type LakeTable = z.infer<typeof lakeTableSchema>;
type Job = z.infer<typeof jobSchema>;

/** Between two looks at how far a job is. */
const LOOK_MS = 1_000;
const VERSIONS_SHOWN = 20;

export const LAKE_OPTIONS: readonly Option[] = [
  {
    flag: "retention",
    placeholder: "HOURS",
    help: "vacuum: files that no version of so long ago names are removed (168 unless set)",
  },
  { flag: "force", placeholder: "", help: "vacuum: allows less than 24 hours, where nobody asks or writes the table" },
  { flag: "json", placeholder: "", help: "JSON instead of tables" },
  API_OPTION,
];

const count = new Intl.NumberFormat("en-US");

/** `tailrace lake [TABLE | compact TABLE | vacuum TABLE]`. */
export async function lake({ flags, positionals, signal }: Call): Promise<number> {
  const api = new ApiClient({ url: flags.api, signal });
  const [first, name] = positionals;
  if (positionals.length > 2 || (positionals.length === 2 && first !== "compact" && first !== "vacuum")) {
    throw new ConfigError({ where: "tailrace lake", problem: "takes TABLE, compact TABLE or vacuum TABLE" });
  }
  if (first !== "vacuum" && (flags.retention !== undefined || flags.force !== undefined)) {
    throw new ConfigError({ where: "--retention, --force", problem: "belong to: tailrace lake vacuum TABLE" });
  }
  if (name === undefined && (first === "compact" || first === "vacuum")) {
    throw new ConfigError({ where: `tailrace lake ${first}`, problem: "TABLE is missing; tailrace lake lists them" });
  }
  if (name !== undefined) return await work(api, { verb: first as Job["kind"], name, flags, signal });
  if (first !== undefined) return show(await api.get<LakeTable>(pathOf(first)), flags);
  return list(await api.get<Lake>("/v1/lake"), flags);
}

function list(told: Lake, flags: Call["flags"]): number {
  if (flags.json !== undefined) return say(JSON.stringify(told));
  say(`${told.url}\n`);
  if (told.tables.length === 0) {
    return say('There is no table yet: archive: lake() on a topic, or lake("name") in a pipeline\'s `to`, makes one.');
  }
  const rows = told.tables.map(({ name, version, files, bytes, rows, committedAt, flow }) => [
    name,
    flow ? `${flow.kind} of ${flow.from}` : "",
    figure(version),
    figure(files),
    bytes === null ? "" : size(bytes),
    figure(rows),
    flow ? count.format(flow.rowsWaiting) : "",
    flow?.lagRecords == null ? "" : figure(flow.lagRecords),
    committedAt ?? "",
    flow?.state ?? "",
    flow?.reason ?? "",
  ]);
  const head = ["table", "what", "version", "files", "size", "rows", "waiting", "lag", "last commit", "state", "why"];
  return say(table(head, rows, { width: terminalWidth(), numbers: [2, 3, 4, 5, 6, 7] }));
}

function show(told: LakeTable, flags: Call["flags"]): number {
  if (flags.json !== undefined) return say(JSON.stringify(told));
  const { name, version, files, bytes, rows, flow, columns, history, jobs } = told;
  const what = flow ? `: ${flow.kind} of ${flow.from}, ${flow.state}${flow.reason ? ` (${flow.reason})` : ""}` : "";
  say(`${name}${what}`);
  say(`version ${version}: ${counted(rows, "row")} in ${counted(files, "file")}, ${size(bytes ?? 0)}`);
  if (flow) say(`${counted(flow.rowsWaiting, "row")} waiting for the next flush`);
  say("");
  const width = terminalWidth();
  say(
    table(["column", "type", ""], columns.map((one) => [one.name, one.type, one.partition ? "partition" : ""]), {
      width,
    }),
  );
  say("");
  const versions = history.slice(0, VERSIONS_SHOWN).map((one) => [
    String(one.version),
    one.at ?? "",
    one.operation,
    `+${count.format(one.filesAdded)} -${count.format(one.filesRemoved)}`,
    one.rowsAdded === null ? "" : count.format(one.rowsAdded),
  ]);
  say(table(["version", "at", "operation", "files", "rows"], versions, { width, numbers: [0, 4] }));
  const last = jobs.filter(({ state }) => state !== "waiting");
  if (last.length > 0) say("");
  for (const job of last) say(`${job.endedAt ?? job.startedAt ?? ""} ${outcome(job)}`);
  return Exit.ok;
}

/** Begins it and waits until it has ended. */
async function work(
  api: ApiClient,
  { verb, name, flags, signal }: {
    readonly verb: Job["kind"];
    readonly name: string;
    readonly flags: Call["flags"];
    readonly signal: AbortSignal;
  },
): Promise<number> {
  const body = verb === "vacuum" ? vacuumBody(flags) : {};
  let job = await api.post<Job>(`${pathOf(name)}/${verb}`, body);
  const isShown = flags.json === undefined && Deno.stdout.isTerminal();
  const began = Date.now();
  while (job.state === "waiting" || job.state === "running") {
    if (isShown) {
      progress(
        `${name} is ${job.state === "waiting" ? "waiting for another table" : "being worked on"}, ${
          Math.round((Date.now() - began) / 1000)
        } s`,
      );
    }
    await systemClock.sleep(LOOK_MS, signal);
    const { jobs } = await api.get<LakeTable>(pathOf(name));
    const found = jobs.find(({ kind }) => kind === verb);
    if (!found) {
      throw new UnavailableError(`Tailrace was started anew meanwhile; what ${verb} did until then stays. Ask again`);
    }
    job = found;
  }
  if (isShown) progress("");
  if (flags.json !== undefined) say(JSON.stringify(job));
  else if (job.state === "done") say(outcome(job));
  if (job.state === "done") return Exit.ok;
  throw new UnavailableError(outcome(job));
}

function vacuumBody(flags: Call["flags"]): z.input<typeof vacuumSchema> {
  const { retention, force } = flags;
  if (retention !== undefined && !/^\d{1,5}(\.\d+)?$/.test(retention)) {
    throw new ConfigError({ where: "--retention", problem: `must be a number of hours; "${retention}" is not` });
  }
  return { retentionHours: retention === undefined ? undefined : Number(retention), force: force !== undefined };
}

function outcome({ table, kind, state, problem, filesRemoved, filesAdded, bytesRemoved, bytesAdded }: Job): string {
  const done = kind === "compact" ? "compacted" : "vacuumed";
  if (state === "failed") return `${table} was not ${done}: ${problem}`;
  if (state !== "done") return `${table} is being ${done}`;
  if (filesRemoved === 0) return `${table}: there was nothing to ${kind === "compact" ? "compact" : "remove"}`;
  return kind === "compact"
    ? `${table}: ${counted(filesRemoved, "file")} of ${size(bytesRemoved!)} became ${count.format(filesAdded!)} of ${
      size(bytesAdded!)
    }`
    : `${table}: ${counted(filesRemoved, "file")} of ${size(bytesRemoved!)} removed`;
}

function pathOf(name: string): string {
  return `/v1/lake/${encodeURIComponent(name)}`;
}

function counted(value: number | null, what: string): string {
  return value === null ? `an unknown number of ${what}s` : `${count.format(value)} ${what}${value === 1 ? "" : "s"}`;
}

function figure(value: number | null): string {
  return value === null ? "" : count.format(value);
}

/** 512 B, 4.2 kB, 1.3 MB, 2 GB. */
function size(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const unit = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  return `${new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 }).format(bytes / 1000 ** unit)} ${units[unit]}`;
}

/** One line that is written over. */
function progress(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`\r\x1b[K${text}`));
}

function say(text: string): number {
  console.log(text);
  return Exit.ok;
}
