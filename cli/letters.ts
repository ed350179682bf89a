/**
 * `tailrace letters list|show|redrive`: late records and dead letters of a running Tailrace, through its API.
 *
 * @module
 */
import type { z } from "@hono/zod-openapi";
import type {
  letterDetailSchema,
  letterPageSchema,
  redriveReportSchema,
  redriveSchema,
} from "../api/letter_schemas.ts";
import { ConfigError } from "../pipeline/errors.ts";
import { API_OPTION, ApiClient } from "./api_client.ts";
import type { Call, Option } from "./call.ts";
import { Exit } from "./exit.ts";
import { printable, table, terminalWidth } from "./table.ts";

type Page = z.infer<typeof letterPageSchema>;
type Detail = z.infer<typeof letterDetailSchema>;
type Report = z.infer<typeof redriveReportSchema>;
type Redrive = z.input<typeof redriveSchema>;
type Place = {
  readonly kind: "late" | "dead";
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
};

const PAGE = 500;
/** Records of one request; a larger cap takes several. */
const REQUEST_CAP = 1_000;
/** Letters that a report shows one by one. */
const SHOWN = 50;

const FILTERS = [
  { flag: "kind", placeholder: "late|dead", help: "only these" },
  { flag: "topic", placeholder: "TOPIC", help: "only of this topic" },
  { flag: "pipeline", placeholder: "NAME", help: "only of this pipeline" },
  { flag: "partition", placeholder: "N", help: "only records of this partition" },
  { flag: "offsets", placeholder: "FROM-TO", help: "only records of these offsets, both included" },
  {
    flag: "from",
    placeholder: "TIME",
    help: "only records with a timestamp at or after this: 2026-11-20T21:00Z, or ms",
  },
  { flag: "to", placeholder: "TIME", help: "only records with a timestamp before this" },
  { flag: "cause", placeholder: "TEXT", help: "only those whose cause contains this" },
  { flag: "schema-id", placeholder: "ID", help: "only records of this schema" },
  { flag: "attempt", placeholder: "N", help: "only those that had been redriven so often when they were set aside" },
  { flag: "redriven", placeholder: "true|false", help: "only those that were redriven since, or were not" },
] as const satisfies readonly Option[];

/** What `tailrace letters` takes. */
export const LETTER_OPTIONS: readonly Option[] = [
  ...FILTERS,
  { flag: "order", placeholder: "newest|oldest", help: "list: which come first (default newest)" },
  { flag: "limit", placeholder: "N", help: "list: how many (default 50)" },
  { flag: "value", placeholder: "", help: "show: only the decoded value, to edit it" },
  { flag: "yes", placeholder: "", help: "redrive: do it; without this it only tells what it would do" },
  {
    flag: "edit",
    placeholder: "FILE",
    help: "redrive: the one letter named, with this JSON as its value; - reads standard input",
  },
  { flag: "edit-base64", placeholder: "TEXT", help: "redrive: the one letter named, with these bytes as its value" },
  {
    flag: "encode-with",
    placeholder: "letter|newest|ID",
    help: "redrive: the schema for --edit (default: the letter's own)",
  },
  { flag: "cap", placeholder: "N", help: "redrive: at most so many records (default 1000)" },
  { flag: "rate", placeholder: "N", help: "redrive: so many records a second (default 1000)" },
  { flag: "force", placeholder: "", help: "redrive: also what was redriven already, or would be a dead letter again" },
  { flag: "json", placeholder: "", help: "JSON instead of tables: a line for each letter or report" },
  API_OPTION,
];

export async function letters({ flags, positionals, signal }: Call): Promise<number> {
  const [action, ...places] = positionals;
  const client = new ApiClient({ url: flags.api, signal });
  switch (action) {
    case "list":
      if (places.length > 0) throw fault("command line", `"${places[0]}" is not expected`);
      return await list(client, flags);
    case "show":
      if (places.length !== 1) {
        throw fault("PLACE", "name one letter: tailrace letters show late/TOPIC/PARTITION/OFFSET");
      }
      return await show(client, parsePlace(places[0]), flags);
    case "redrive":
      return await redrive(client, places.map(parsePlace), flags);
  }
  const asked = action === undefined ? "say what to do" : `there is no "letters ${action}"`;
  throw fault("tailrace letters", `${asked}: letters list, letters show PLACE, letters redrive [PLACE...]`);
}

async function list(client: ApiClient, flags: Call["flags"]): Promise<number> {
  const limit = whole(flags.limit, "--limit") ?? 50;
  const { offsetFrom, offsetTo, ...rest } = filterOf(flags);
  let cursor: string | null = null;
  let shown = 0;
  do {
    const query = new URLSearchParams(
      Object.entries({
        ...rest,
        offsetFrom,
        offsetTo,
        order: flags.order,
        cursor,
        limit: Math.min(PAGE, limit - shown),
      })
        .flatMap(([name, value]) => value === undefined || value === null ? [] : [[name, String(value)]]),
    );
    const page: Page = await client.get(`/v1/letters?${query}`);
    if (flags.json) page.letters.forEach((letter) => console.log(JSON.stringify(letter)));
    else if (page.letters.length > 0) console.log(tableOf(page.letters, { withHead: shown === 0 }));
    shown += page.letters.length;
    cursor = page.next;
  } while (cursor !== null && shown < limit);
  if (shown === 0) console.error("No letter matches.");
  else if (cursor !== null) console.error(`${shown} shown; there are more: --limit N shows so many.`);
  return Exit.ok;
}

const HEAD = ["LETTER", "RECORD'S TIME", "PIPELINE", "RECORD", "REDRIVEN", "KEY", "CAUSE"];

function tableOf(letters: Page["letters"], { withHead }: { withHead: boolean }): string {
  const rows = letters.map((letter) => [
    placeText(letter),
    letter.timestamp ?? "-",
    letter.pipeline ?? "-",
    letter.source ? `${letter.source.partition}/${letter.originalOffset}` : "-",
    letter.redriven ? "yes" : letter.attempt > 0 ? `${letter.attempt} before` : "no",
    (letter.key?.start ?? "-").slice(0, 30),
    letter.cause,
  ]);
  const text = table(HEAD, rows, terminalWidth());
  return withHead ? text : text.slice(text.indexOf("\n") + 1);
}

async function show(client: ApiClient, place: Place, flags: Call["flags"]): Promise<number> {
  const { kind, topic, partition, offset } = place;
  const letter: Detail = await client.get(`/v1/letters/${kind}/${encodeURIComponent(topic)}/${partition}/${offset}`);
  if (flags.value) {
    console.log(JSON.stringify(letter.decoded, null, 2));
    if (letter.fault !== null) console.error(`It decodes no further: ${printable(letter.fault)}`);
    return letter.fault === null ? Exit.ok : Exit.failed;
  }
  console.log(flags.json ? JSON.stringify(letter) : detailText(letter));
  return Exit.ok;
}

function detailText(letter: Detail): string {
  const { source, window, keyBytes, value, headers } = letter;
  const bytesText = (bytes: Detail["value"]) =>
    bytes === null ? "none" : bytes.text === null ? `hex ${bytes.hex}` : printable(bytes.text);
  const rows = [
    ["Letter", placeText(letter)],
    ["Cause", letter.cause],
    ["Pipeline", letter.pipeline ?? "not told"],
    ["Record", source ? `${source.topic}, partition ${source.partition}, offset ${source.offset}` : "not told"],
    ...source && source.offset !== letter.originalOffset ? [["First original", `offset ${letter.originalOffset}`]] : [],
    ["Timestamp", letter.timestamp ?? "none"],
    ["Window", window ? `${window.start} to ${window.end}` : letter.windowStart ?? "not known"],
    ["Schema", letter.schemaId === null ? "not told" : `id ${letter.schemaId}`],
    ["Redriven", `${letter.attempts} of 3 times`],
    ["Key", bytesText(keyBytes)],
    ...headers.map(({ name, value }) => [`Header ${name}`, bytesText(value)]),
    [
      "Value",
      value === null ? "none" : `${value.bytes} bytes${value.truncated ? ", the first of them" : ""}: ${value.hex}`,
    ],
  ].map(([name, text]) => [printable(name), printable(text)]);
  const width = Math.max(...rows.map(([name]) => name.length));
  return [
    ...rows.map(([name, text]) => `${name.padEnd(width)}  ${text}`),
    "",
    letter.fault === null ? "Decoded:" : `Decoded as far as it goes; it goes no further: ${printable(letter.fault)}`,
    JSON.stringify(letter.decoded, null, 2),
  ].join("\n");
}

async function redrive(client: ApiClient, places: readonly Place[], flags: Call["flags"]): Promise<number> {
  const filter = filterOf(flags);
  if (places.length > 0 && Object.keys(filter).length > 0) {
    throw fault("tailrace letters redrive", "takes letters by name or by a filter, not both");
  }
  if (places.length === 0 && Object.keys(filter).length === 0) {
    throw fault(
      "tailrace letters redrive",
      "say which: late/TOPIC/PARTITION/OFFSET, or a filter such as --pipeline NAME",
    );
  }
  if ((flags.edit ?? flags["edit-base64"]) !== undefined && places.length !== 1) {
    throw fault("--edit", "is for one letter, named by its place");
  }
  const edit = await editOf(flags);
  const request: Redrive = {
    selection: places.length > 0 ? { letters: [...places] } : { filter },
    dryRun: !flags.yes,
    edit,
    rate: number(flags.rate, "--rate"),
    force: flags.force === "true",
  };
  return await redriveAll(client, request, flags);
}

/** Asks again and again until the cap is reached or nothing is left. */
async function redriveAll(client: ApiClient, request: Redrive, flags: Call["flags"]): Promise<number> {
  const cap = whole(flags.cap, "--cap") ?? REQUEST_CAP;
  const total = { redriven: 0, skipped: 0, refused: 0 };
  const items: Report["items"] = [];
  let cursor: string | undefined;
  do {
    const left = cap - total.redriven;
    const report: Report = await client.post("/v1/letters/redrive", {
      ...request,
      cap: Math.min(REQUEST_CAP, left),
      cursor,
    });
    if (flags.json) console.log(JSON.stringify(report));
    total.redriven += report.redriven;
    total.skipped += report.skipped;
    total.refused += report.refused;
    items.push(...report.items.slice(0, SHOWN - items.length));
    cursor = report.next ?? undefined;
  } while (cursor !== undefined && total.redriven < cap);
  if (!flags.json) {
    console.log(reportText(total, { items, isDry: request.dryRun ?? false, isMore: cursor !== undefined }));
  }
  return total.refused > 0 && !request.dryRun ? Exit.failed : Exit.ok;
}

function reportText(
  { redriven, skipped, refused }: Pick<Report, "redriven" | "skipped" | "refused">,
  { items, isDry, isMore }: { items: Report["items"]; isDry: boolean; isMore: boolean },
): string {
  const rows = items.map(({ letter, outcome, reason, target, forecast }) => [
    placeText(letter),
    target ? `${target.topic}/${target.partition}` : "-",
    target ? String(target.attempt) : "-",
    outcome !== "redriven"
      ? `${outcome}: ${reason}`
      : forecast?.window
      ? `${isDry ? "would count" : "counts"} in the window from ${forecast.window.start}`
      : `${isDry ? "would be" : "is"} ${forecast?.fate}: ${forecast?.reason}`,
  ]);
  const all = redriven + skipped + refused;
  return [
    ...rows.length > 0 ? [table(["LETTER", "GOES TO", "ATTEMPT", "WHAT HAPPENS"], rows, terminalWidth())] : [],
    ...all > rows.length && rows.length > 0 ? [`... and ${all - rows.length} more`] : [],
    `${redriven} ${isDry ? "would be redriven" : "redriven"}, ${skipped} skipped, ${refused} refused.`,
    ...isMore ? ["More are left: a higher --cap takes more at a time."] : [],
    ...isDry && redriven > 0 ? ["Nothing was written. --yes does it."] : [],
  ].join("\n");
}

async function editOf(flags: Call["flags"]): Promise<Redrive["edit"]> {
  const { edit: path, "edit-base64": base64, "encode-with": schema = "letter" } = flags;
  if (path !== undefined && base64 !== undefined) throw fault("--edit", "and --edit-base64 exclude each other");
  if (base64 !== undefined) return { base64 };
  if (path === undefined) {
    if (flags["encode-with"] !== undefined) throw fault("--encode-with", "is for --edit");
    return undefined;
  }
  if (!/^(letter|newest|\d{1,10})$/.test(schema)) {
    throw fault("--encode-with", "must be letter, newest, or a schema's id");
  }
  try {
    const text = path === "-" ? await new Response(Deno.stdin.readable).text() : await Deno.readTextFile(path);
    const value = JSON.parse(text);
    return { value, schema: schema === "letter" || schema === "newest" ? schema : Number(schema) };
  } catch (error) {
    throw fault(`--edit ${path}`, `cannot be read as JSON: ${(error as Error).message}`);
  }
}

/** The filter's parameters, as a body has them. */
function filterOf(
  flags: Call["flags"],
): z.input<typeof redriveSchema>["selection"] extends infer S ? S extends { filter: infer F } ? F : never
  : never {
  const { kind, topic, pipeline, from, to, cause } = flags;
  if (kind !== undefined && kind !== "late" && kind !== "dead") throw fault("--kind", "must be late or dead");
  const [, first, last] = /^(\d{1,15})(?:-(\d{1,15}))?$/.exec(flags.offsets ?? "") ?? [];
  if (flags.offsets !== undefined && first === undefined) throw fault("--offsets", "must be one offset or FROM-TO");
  const { redriven } = flags;
  if (redriven !== undefined && !["true", "false"].includes(redriven)) {
    throw fault("--redriven", "must be true or false");
  }
  const all = {
    kind,
    topic,
    pipeline,
    partition: whole(flags.partition, "--partition"),
    offsetFrom: first === undefined ? undefined : Number(first),
    offsetTo: first === undefined ? undefined : Number(last ?? first) + 1,
    from,
    to,
    cause,
    schemaId: whole(flags["schema-id"], "--schema-id"),
    attempt: whole(flags.attempt, "--attempt"),
    redriven: redriven === undefined ? undefined : redriven === "true",
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

function parsePlace(text: string): Place {
  const [, kind, topic, partition, offset] = /^(late|dead)\/([A-Za-z0-9._-]+)\/(\d{1,9})\/(\d{1,15})$/.exec(text) ?? [];
  if (kind === undefined) {
    throw fault(text, "is no letter's place: late/TOPIC/PARTITION/OFFSET, as letters list shows it");
  }
  return { kind: kind as Place["kind"], topic, partition: Number(partition), offset: Number(offset) };
}

function placeText({ kind, topic, partition, offset }: Place): string {
  return `${kind}/${topic}/${partition}/${offset}`;
}

function whole(text: string | undefined, where: string): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,15}$/.test(text)) throw fault(where, "must be a whole number");
  return Number(text);
}

function number(text: string | undefined, where: string): number | undefined {
  if (text === undefined) return undefined;
  if (!(Number(text) > 0)) throw fault(where, "must be a number above 0");
  return Number(text);
}

function fault(where: string, problem: string): ConfigError {
  return new ConfigError({ where, problem });
}
