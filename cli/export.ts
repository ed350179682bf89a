/**
 * `tailrace export`: results, or a table of the lake, into one file, through the API of a running Tailrace.
 *
 * @module
 */
import { dirname, resolve } from "node:path";
import { EXPORT_FORMATS, type ExportFormat } from "../pipeline/export/export_file.ts";
import { ConfigError, UnavailableError } from "../pipeline/errors.ts";
import { syncFolder } from "../pipeline/sync_folder.ts";
import { API_OPTION, ApiClient } from "./api_client.ts";
import type { Call, Option } from "./call.ts";
import { Exit } from "./exit.ts";

/** Between two words on how far it is. */
const SHOWN_MS = 200;

export const EXPORT_OPTIONS: readonly Option[] = [
  { flag: "table", placeholder: "NAME", help: "a table of the lake instead of a pipeline's results" },
  {
    flag: "from",
    placeholder: "TIME",
    help: "windows that start at or after this (of raw records: Kafka's timestamps)",
  },
  { flag: "to", placeholder: "TIME", help: "... and before this: 2026-05-01T00:00Z, or ms" },
  { flag: "format", placeholder: "FORMAT", help: "parquet or csv (default: by the file's name, or parquet)" },
  {
    flag: "out",
    placeholder: "FILE",
    help: "the file to write (default NAME.parquet or NAME.csv); one that is there is replaced",
  },
  API_OPTION,
];

const count = new Intl.NumberFormat("en-US");

/** `tailrace export PIPELINE | --table NAME`. */
export async function exportFile({ flags, positionals, signal }: Call): Promise<number> {
  const [pipeline, ...others] = positionals;
  if (others.length > 0 || (pipeline === undefined) === (flags.table === undefined)) {
    throw new ConfigError({ where: "tailrace export", problem: "name one PIPELINE, or --table NAME" });
  }
  const format = formatOf(flags);
  const out = resolve(flags.out ?? `${pipeline ?? flags.table}.${format}`);
  const query = new URLSearchParams({ format });
  for (const [name, value] of Object.entries({ pipeline, table: flags.table, from: flags.from, to: flags.to })) {
    if (value !== undefined) query.set(name, value);
  }
  const isShown = Deno.stderr.isTerminal();
  if (isShown) line("the file is being made");
  try {
    const response = await new ApiClient({ url: flags.api, signal }).open(`/v1/export?${query}`, { accept: "*/*" });
    const bytes = Number(response.headers.get("content-length"));
    await receive(response, {
      out,
      bytes,
      signal,
      onBytes: isShown ? (got) => line(shownBytes(got, bytes)) : () => {},
    });
    if (isShown) line("");
    const rows = Number(response.headers.get("tailrace-rows"));
    console.log(`${count.format(rows)} rows, ${size(bytes)}: ${out}`);
    return Exit.ok;
  } finally {
    if (isShown) line("");
  }
}

function formatOf({ format, out = "" }: Call["flags"]): ExportFormat {
  if (format === undefined) return out.toLowerCase().endsWith(".csv") ? "csv" : "parquet";
  const known = EXPORT_FORMATS.find((name) => name === format);
  if (known) return known;
  throw new ConfigError({ where: "--format", problem: `must be parquet or csv, not "${format}"` });
}

/**
 * Writes the body to a file of its own, and gives it the name when it is whole and on the disk: whatever happens, there is the
 * file that was there before, or the new one.
 */
async function receive(
  response: Response,
  { out, bytes, signal, onBytes }: {
    readonly out: string;
    readonly bytes: number;
    readonly signal: AbortSignal;
    readonly onBytes: (got: number) => void;
  },
): Promise<void> {
  const temporary = `${out}.${crypto.randomUUID().slice(0, 8)}.part`;
  let got = 0;
  let shownAt = 0;
  try {
    {
      using file = await Deno.open(temporary, { write: true, createNew: true }).catch((error) => {
        throw new ConfigError({ where: `--out ${out}`, problem: `cannot be written: ${(error as Error).message}` });
      });
      for await (const part of response.body!) {
        signal.throwIfAborted();
        for (let at = 0; at < part.length;) at += await file.write(part.subarray(at));
        got += part.length;
        if (performance.now() - shownAt > SHOWN_MS) onBytes(got), shownAt = performance.now();
      }
      if (got !== bytes) throw new UnavailableError(`the file broke off after ${got} of ${bytes} bytes`);
      await file.sync();
    }
    await Deno.rename(temporary, out);
    await syncFolder(dirname(out));
  } catch (error) {
    await response.body?.cancel().catch(() => {});
    await Deno.remove(temporary).catch(() => {});
    if (signal.aborted || error instanceof ConfigError || error instanceof UnavailableError) throw error;
    throw new UnavailableError(`${out} was not written: ${(error as Error).message}`, { cause: error });
  }
}

function shownBytes(got: number, all: number): string {
  return `${size(got)} of ${size(all)} (${all === 0 ? 100 : Math.floor(100 * got / all)}%)`;
}

/** 512 B, 4.2 kB, 1.3 MB, 2 GB. */
function size(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const unit = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  return `${new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 }).format(bytes / 1000 ** unit)} ${units[unit]}`;
}

/** One line that is written over. */
function line(text: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`\r\x1b[K${text}`));
}
