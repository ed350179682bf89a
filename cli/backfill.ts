/**
 * `tailrace backfill PIPELINE`: builds a pipeline's history from the archive, through the API of a running Tailrace.
 *
 * @module
 */
import { systemClock } from "../pipeline/clock.ts";
import type { z } from "@hono/zod-openapi";
import type { backfillBodySchema, backfillResultSchema, backfillSchema } from "../api/backfill_schemas.ts";
import { ConfigError, UnavailableError } from "../pipeline/errors.ts";
import { API_OPTION, ApiClient } from "./api_client.ts";
import type { Call, Option } from "./call.ts";
import { Exit } from "./exit.ts";
import { printable, table, terminalWidth } from "./table.ts";

type Backfill = z.infer<typeof backfillSchema>;

/** Between two looks at how far it is. */
const LOOK_MS = 500;

export const BACKFILL_OPTIONS: readonly Option[] = [
  { flag: "from", placeholder: "TIME", help: "from the window that holds this time on: 2026-05-01T00:00Z, or ms" },
  { flag: "to", placeholder: "TIME", help: "the log takes over with the window that holds this time" },
  { flag: "dry-run", placeholder: "", help: "only say what it would do; the pipeline runs on" },
  { flag: "status", placeholder: "", help: "how far it is, or what came of the last one" },
  { flag: "cancel", placeholder: "", help: "end it: the pipeline goes on from where it was" },
  { flag: "json", placeholder: "", help: "JSON instead of tables" },
  API_OPTION,
];

const count = new Intl.NumberFormat("en-US");

/** `tailrace backfill PIPELINE [--from TIME] [--to TIME]`. */
export async function backfill({ flags, positionals, signal }: Call): Promise<number> {
  const [pipeline] = positionals;
  if (positionals.length !== 1) throw new ConfigError({ where: "tailrace backfill", problem: "name one PIPELINE" });
  if (flags.status !== undefined && flags.cancel !== undefined) {
    throw new ConfigError({ where: "tailrace backfill", problem: "name one of --status and --cancel" });
  }
  const path = `/v1/pipelines/${encodeURIComponent(pipeline)}/backfill`;
  const api = new ApiClient({ url: flags.api, signal });
  if (flags.status !== undefined) return tell(await api.get<Backfill>(path), flags);
  if (flags.cancel !== undefined) return tell(await api.delete<Backfill>(path), flags);
  const preview = flags["dry-run"] !== undefined;
  const body: z.input<typeof backfillBodySchema> = { from: flags.from, to: flags.to, preview };
  return tell(await followed(await api.post<Backfill>(path, body), { api, path, flags, signal }), flags);
}

/** Looks at it until it has ended. A Ctrl-C ends the looking only: half a backfill helps nobody. */
async function followed(
  begun: Backfill,
  { api, path, flags, signal }: {
    readonly api: ApiClient;
    readonly path: string;
    readonly flags: Call["flags"];
    readonly signal: AbortSignal;
  },
): Promise<Backfill> {
  const isShown = flags.json === undefined && Deno.stderr.isTerminal();
  const onAbort = () => {
    if (isShown) line("");
    const command = `tailrace backfill ${begun.pipeline}`;
    console.error(`It goes on by itself. ${command} --status says how far it is, ${command} --cancel ends it.`);
  };
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    let job = begun;
    while (job.state === "running") {
      if (isShown) line(progressText(job));
      await systemClock.sleep(LOOK_MS, signal);
      const next = await api.get<Backfill>(path);
      if (next.startedAt !== begun.startedAt) {
        throw new UnavailableError(
          "Tailrace was started anew, or another backfill was begun meanwhile: look with --status",
        );
      }
      job = next;
    }
    return job;
  } finally {
    if (isShown) line("");
    signal.removeEventListener("abort", onAbort);
  }
}

function tell(job: Backfill, flags: Call["flags"]): number {
  if (flags.json !== undefined) console.log(JSON.stringify(job));
  if (job.state === "failed") {
    if (job.refused) {
      // The place is told by the message itself.
      const [where, ...problem] = job.problem!.split(": ");
      throw new ConfigError({ where, problem: problem.join(": ") });
    }
    throw new UnavailableError(
      `The backfill of ${job.pipeline} failed: ${job.problem}. The pipeline goes on from where it was`,
    );
  }
  if (flags.json !== undefined) return Exit.ok;
  if (job.state === "running") console.log(progressText(job));
  else if (job.state === "cancelled") console.log(`It was ended. ${job.pipeline} goes on from where it was.`);
  else console.log(resultText(job, job.result!));
  return Exit.ok;
}

function progressText({ pipeline, doing, progress }: Backfill): string {
  if (progress === null || progress.windows === 0) return `${pipeline}: ${doing}`;
  const { windows, windowsDone, records, recordsDone, rowsDone } = progress;
  const share = records === 0 ? 100 : Math.floor(100 * recordsDone / records);
  return `${pipeline}: ${doing}, ${share}%: ${count.format(windowsDone)} of ${count.format(windows)} windows, ` +
    `${count.format(recordsDone)} of ${count.format(records)} records, ${count.format(rowsDone)} rows`;
}

function resultText({ pipeline, preview }: Backfill, result: z.infer<typeof backfillResultSchema>): string {
  const { from, handover, windows, rows, records, unplaced, archive, doubt, generation, partitions } = result;
  const would = preview ? "would be" : "were";
  const figure = (value: number | null) => value === null ? "" : count.format(value);
  const lines = [
    table(
      ["partition", "archived from", "archived to", "log read from", "to read", ""],
      partitions.map((one) => [
        String(one.partition),
        figure(one.archivedFrom),
        figure(one.archivedTo),
        figure(one.offset),
        figure(one.toRead),
        one.silent ? "silent: held nothing back" : "",
      ]),
      { numbers: [0, 1, 2, 3, 4], width: terminalWidth() },
    ),
    "",
    `Windows from ${from} to ${handover}: ${count.format(rows)} rows of ${
      count.format(windows)
    } windows ${would} written, from ` +
    `lake.${archive.table} version ${archive.version}.`,
    `Of ${count.format(records.read)} archived records ${count.format(records.aggregated)} count; ` +
    `${count.format(records.filtered)} are left out by the definition, ${count.format(records.late)} late, ` +
    `${count.format(records.duplicate)} duplicates. ${count.format(unplaced)} records of the archive are in no window.`,
    ...doubt === null ? [] : [`To know: ${printable(doubt)}.`],
    preview
      ? "Nothing was done: leave --dry-run out to do it."
      : `${pipeline} runs from the log again, windows from ${handover} on, as generation ${generation}. ` +
        "Its ledger counts from these offsets on.",
  ];
  return lines.join("\n");
}

/** One line that is written over. */
function line(text: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`\r\x1b[K${text}`));
}
