/**
 * Questions in SQL to a running Tailrace, through its API: `tailrace sql`.
 *
 * @module
 */
import type { z } from "@hono/zod-openapi";
import { type Format, FORMATS, MEDIA_TYPES } from "../api/sql/service.ts";
import type { relationsSchema, sqlAnswerSchema } from "../api/sql_schemas.ts";
import { ConfigError, UnavailableError } from "../pipeline/errors.ts";
import { API_OPTION, ApiClient } from "./api_client.ts";
import type { Call, Option } from "./call.ts";
import { Exit } from "./exit.ts";
import { wholeNumber } from "./numbers.ts";
import { printable, table, terminalWidth } from "./table.ts";

type Answer = z.infer<typeof sqlAnswerSchema>;
type Relations = z.infer<typeof relationsSchema>;

export const SQL_OPTIONS: readonly Option[] = [
  { flag: "format", placeholder: "FORMAT", help: `table (default), or as it is sent: ${FORMATS.join(", ")}` },
  { flag: "limit", placeholder: "N", help: "rows at most (default 10,000 for tables and JSON)" },
  { flag: "parameters", placeholder: "JSON", help: 'values for $name: {"since": "2026-11-21", "n": 3}' },
  { flag: "tables", placeholder: "", help: "list what can be asked, with its columns" },
  API_OPTION,
];

/** `tailrace sql [SELECT ..]`; without an argument it reads the question from standard input. */
export async function sql({ flags, positionals, signal }: Call): Promise<number> {
  const api = new ApiClient({ url: flags.api, signal });
  if (flags.tables !== undefined) return relations(await api.get<Relations>("/v1/sql/relations"));
  const format = formatOf(flags.format);
  const question = await questionOf(positionals);
  const limit = wholeNumber(flags.limit, "--limit");
  const sent: Format = format === "table" ? "json" : format;
  const body = { sql: question, format: sent, limit, parameters: parametersOf(flags.parameters) };
  let response: Response;
  try {
    response = await api.open("/v1/sql", { body, accept: MEDIA_TYPES[sent] });
  } catch (error) {
    if (!(error instanceof ConfigError) || !pointAt(question, error)) throw error;
    return Exit.misconfigured;
  }
  try {
    if (format === "table") show(await response.json());
    else {
      for await (const bytes of response.body!) await writeAll(bytes);
      tell(JSON.parse(response.headers.get("tailrace-completeness") ?? "[]"));
    }
  } catch (error) {
    if (signal.aborted) throw error;
    throw new UnavailableError(`the answer was broken off: it took too much, or ${api.url} is stopping`);
  }
  return Exit.ok;
}

function formatOf(text = "table"): Format | "table" {
  const format = (["table", ...FORMATS] as const).find((one) => one === text);
  if (format !== undefined) return format;
  throw new ConfigError({ where: "--format", problem: `must be table, ${FORMATS.join(", ")}` });
}

function parametersOf(text: string | undefined): unknown {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    throw new ConfigError({ where: "--parameters", problem: 'is not JSON: {"name": "value"}' });
  }
}

async function questionOf(positionals: readonly string[]): Promise<string> {
  if (positionals.length > 1) {
    throw new ConfigError({ where: "tailrace sql", problem: 'takes one question: put it in quotes, "select .."' });
  }
  const question = positionals[0] ?? await new Response(Deno.stdin.readable).text();
  if (question.trim() !== "") return question;
  throw new ConfigError({ where: "tailrace sql", problem: 'asks nothing: tailrace sql "select * from ledger"' });
}

async function writeAll(bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await Deno.stdout.write(bytes.subarray(at));
}

/** Shows the line at fault with a mark below the place; false when no place is told. */
function pointAt(question: string, { faults }: ConfigError): boolean {
  const [, line, column] = /^sql:(\d+):(\d+)$/.exec(faults[0]?.where ?? "") ?? [];
  if (line === undefined) return false;
  const text = question.split(/\r\n|\n|\r/)[Number(line) - 1] ?? "";
  // Of a very long line the part around the place.
  const characters = [...text];
  const from = Math.max(0, Number(column) - 61);
  const shown = printable(characters.slice(from, from + 100).join(""));
  const before = printable(characters.slice(from, Number(column) - 1).join(""));
  const place = Number(line) > 1 ? `line ${line}: ` : "";
  console.error(`${place}${shown}\n${" ".repeat(place.length + [...before].length)}^\n${printable(faults[0].problem)}`);
  return true;
}

const NUMERIC = /^(?:U?(?:TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL)/;

function show({ columns, rows, truncated, completeness, notes, elapsedMs }: Answer): void {
  const names = columns.map(({ name }) => name);
  const numbers = columns.flatMap(({ type }, i) => NUMERIC.test(type) && !type.endsWith("]") ? [i] : []);
  const cells = rows.map((row) => names.map((name) => cell(row[name])));
  console.log(table(names, cells, { width: terminalWidth(), numbers }));
  const many = `${rows.length} ${rows.length === 1 ? "row" : "rows"}${
    truncated ? ", and there are more (--limit)" : ""
  }`;
  console.error(`\n${many}, ${elapsedMs} ms`);
  tell(completeness);
  for (const note of notes) console.error(printable(note));
}

function cell(value: unknown): string {
  if (value === null || value === undefined) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** On standard error: standard output holds the answer only. */
function tell(completeness: Answer["completeness"]): void {
  for (const { topic, watermark, offsets } of completeness) {
    const places = Object.entries(offsets ?? {}).map(([partition, offset]) => `${partition}:${offset}`);
    const shown = places.length > 16 ? `${places.slice(0, 16).join(" ")} ...` : places.join(" ");
    const windows = watermark === null ? "" : `, windows final up to ${watermark}`;
    console.error(printable(`complete: ${topic}${shown === "" ? "" : ` up to ${shown}`}${windows}`));
  }
}

function relations({ relations }: Relations): number {
  for (const { name, about, columns } of relations) {
    console.log(printable(`${name}  ${about}`.trimEnd()));
    for (const column of columns) console.log(printable(`    ${column.name} ${column.type}`));
  }
  return Exit.ok;
}
