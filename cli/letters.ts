/**
 * `tailrace letters list|show|redrive`: late records and dead letters of a running Tailrace, through its API.
 *
 * @module
 */
import type { z } from "@hono/zod-openapi";
import type { letterDetailSchema, letterPageSchema, redriveReportSchema } from "../api/letter_schemas.ts";
import { ApiClient } from "./api_client.ts";
import type { Call } from "./call.ts";
import { Exit } from "./exit.ts";
import { editOf, fault, filterOf, parsePlace, type Place, placeText, type Redrive } from "./letter_arguments.ts";
import { positiveNumber, wholeNumber } from "./numbers.ts";
import { printable, table, terminalWidth } from "./table.ts";

type Page = z.infer<typeof letterPageSchema>;
type Detail = z.infer<typeof letterDetailSchema>;
type Report = z.infer<typeof redriveReportSchema>;
const PAGE = 500;
/** Records of one request; a larger cap takes several. */
const REQUEST_CAP = 1_000;
/** Letters that a report shows one by one. */
const SHOWN = 50;

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
  const limit = wholeNumber(flags.limit, "--limit") ?? 50;
  const filter = filterOf(flags);
  let cursor: string | null = null;
  let shown = 0;
  do {
    const asked = { ...filter, order: flags.order, cursor, limit: Math.min(PAGE, limit - shown) };
    const query = new URLSearchParams(
      Object.entries(asked).flatMap(([name, value]) => (value ?? null) === null ? [] : [[name, String(value)]]),
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

const HEAD = ["letter", "record's time", "pipeline", "record", "redriven", "key", "cause"];

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
  const text = table(HEAD, rows, { width: terminalWidth() });
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
    rate: positiveNumber(flags.rate, "--rate"),
    force: flags.force === "true",
  };
  return await redriveAll(client, request, flags);
}

/** Asks again and again until the cap is reached or nothing is left. */
async function redriveAll(client: ApiClient, request: Redrive, flags: Call["flags"]): Promise<number> {
  const cap = wholeNumber(flags.cap, "--cap") ?? REQUEST_CAP;
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
    ...rows.length > 0
      ? [table(["letter", "goes to", "attempt", "what happens"], rows, { width: terminalWidth() })]
      : [],
    ...all > rows.length && rows.length > 0 ? [`... and ${all - rows.length} more`] : [],
    `${redriven} ${isDry ? "would be redriven" : "redriven"}, ${skipped} skipped, ${refused} refused.`,
    ...isMore ? ["More are left: a higher --cap takes more at a time."] : [],
    ...isDry && redriven > 0 ? ["Nothing was written. --yes does it."] : [],
  ].join("\n");
}
