/**
 * The same values of a log brought into Delta tables by an archive's own code and by Python: fastavro to decode, delta-rs to append.
 *
 * @module
 */
import { round } from "../measure.ts";
import { batchesInMemory } from "../memory.ts";
import { SCHEMA } from "../workload.ts";
import { digest } from "./digest.ts";
import { archiveFromLog, writeValues } from "./from_log.ts";
import { append, type Appended, type Appender, deltaRsFromLog } from "./tools.ts";

/** Rows as the log has them, appended as often as there are commits. */
export interface Log {
  readonly frame: Uint8Array;
  readonly rows: number;
  readonly commits: number;
  readonly deltaRs: Appender;
  /** Paths of what delta-rs's program reads. */
  readonly schema: string;
  readonly values: string;
}

/** One round. */
export interface FromLog {
  readonly seconds: number;
  readonly deltaRs: Appended;
}

/** Makes the rows, and their files in a folder. @param options.python as for `deltaRs` */
export async function logIn(
  folder: string,
  options: { readonly rows: number; readonly commits: number; readonly python: string | undefined },
): Promise<Log> {
  const [schema, values] = [`${folder}/schema.json`, `${folder}/values`];
  const frame = batchesInMemory(options.rows);
  await Deno.writeTextFile(schema, JSON.stringify(SCHEMA));
  await writeValues(frame, values);
  const { python, ...counts } = options;
  return { frame, ...counts, deltaRs: await deltaRsFromLog(python), schema, values };
}

/** One after the other. @throws when a table has not the rows that the Parquet files of `sameAs` have */
export async function appendFromLog(
  { frame, rows, commits, deltaRs, schema, values }: Log,
  { folder, sameAs }: { readonly folder: string; readonly sameAs: readonly string[] },
): Promise<FromLog> {
  const { seconds, table } = await archiveFromLog(frame, { folder: `${folder}/own`, rows, commits });
  const target = `${folder}/delta_rs`;
  const appended = await append(deltaRs, { target, words: [schema, values, String(commits)] });
  const expected = await digest(sameAs, folder);
  for (const made of "why" in appended ? [table] : [table, target]) {
    const found = await digest([`${made}/**/*.parquet`], folder);
    if (found !== expected) throw new Error(`${made} has ${found} instead of ${expected}`);
  }
  return { seconds, deltaRs: appended };
}

/** What the case prints of the fastest rounds. */
export function fromLogDetails(
  rounds: readonly FromLog[],
  log: Pick<Log, "rows" | "commits">,
): Record<string, number | string> {
  const rows = log.rows * log.commits;
  const best = Math.min(...rounds.map(({ seconds }) => seconds));
  const own = { from_log_rows_per_s: Math.round(rows / best) };
  const whys: string[] = [];
  let least: Exclude<Appended, { readonly why: string }> | null = null;
  for (const { deltaRs } of rounds) {
    if ("why" in deltaRs) whys.push(deltaRs.why);
    else if (least === null || deltaRs.seconds < least.seconds) least = deltaRs;
  }
  if (least === null) return { ...own, from_log_delta_rs: `left out: ${whys[0]}` };
  const { seconds, decode_seconds = 0 } = least;
  return {
    ...own,
    from_log_delta_rs_rows_per_s: Math.round(rows / seconds),
    from_log_delta_rs_ratio: round(seconds / best, 2),
    from_log_delta_rs_decode_s: round(decode_seconds, 2),
    from_log_delta_rs_append_s: round(seconds - decode_seconds, 2),
  };
}
