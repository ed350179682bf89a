/**
 * Everything that comes in at a rate: produced by a thread, aggregated to PostgreSQL, and archived to the lake.
 *
 * @module
 */
import { racePlan } from "../plan.ts";
import { produceInThread } from "../produce_in_thread.ts";
import { runPipeline } from "../run_pipeline.ts";
import { dropTable, ensureTopic, type Servers } from "../servers.ts";
import { looked, runArchive } from "./run_archive.ts";

const WINDOW_MS = 5_000;
const SAMPLE_MS = 1_000;
/** Longest wait for the last records after the producer has ended. */
const CATCH_UP_MS = 60_000;
export const ARCHIVE_TABLE = "bench_ingested";

/** One look, about a second after the one before. */
export interface Look {
  /** Seconds since the start. */
  readonly at: number;
  /** Records that were to be produced by then, and were not aggregated, or not read by the archive, yet. */
  readonly behind: number;
  readonly archiveBehind: number;
  readonly rssMb: number;
}

export interface Ingested {
  readonly produced: number;
  readonly producedIn: number;
  /** After the producer's end, until all was aggregated, and until all was in the table. */
  readonly aggregatedAfter: number;
  readonly archivedAfter: number;
  readonly looks: readonly Look[];
  readonly files: number;
  readonly bytes: number;
}

/** Runs it for some seconds. `meanwhile` begins with it. @throws when a record is missing at the end, or there twice */
export async function ingest(
  servers: Servers,
  options: {
    readonly rate: number;
    readonly seconds: number;
    readonly folder: string;
    readonly meanwhile?: () => Promise<void>;
  },
): Promise<Ingested> {
  const { rate, seconds, folder, meanwhile } = options;
  const topic = `bench.ingest.${Date.now()}`;
  const table = "bench_ingest";
  await ensureTopic(servers, topic);
  await dropTable(servers, table);
  const { runner, stop } = await runPipeline(servers, racePlan(topic, table, { windowMs: WINDOW_MS }), {
    onRows: () => {},
  });
  const archiving = runArchive(servers, { topic, table: ARCHIVE_TABLE, folder });
  const began = performance.now();
  const since = () => (performance.now() - began) / 1000;
  const looks: Look[] = [];
  const sampler = setInterval(() => {
    const due = Math.min(since(), seconds) * rate;
    const { rowsArchived, rowsWaiting } = archiving.archive.status();
    looks.push({
      at: since(),
      behind: Math.max(0, Math.round(due - runner.status().buckets.consumed)),
      archiveBehind: Math.max(0, Math.round(due - rowsArchived - rowsWaiting)),
      rssMb: Math.round(Deno.memoryUsage().rss / 1e6),
    });
  }, SAMPLE_MS);
  try {
    const other = meanwhile?.();
    other?.catch(() => {});
    const { brokers, schemaId } = servers;
    const produced = await produceInThread({ brokers, topic, schemaId, rate, seconds });
    const producedIn = since();
    const archived = archiving.holds(produced);
    archived.catch(() => {});
    const until = performance.now() + CATCH_UP_MS;
    while (runner.status().buckets.consumed < produced && performance.now() < until) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const aggregatedAfter = since() - producedIn;
    const archivedAfter = await archived;
    await other;
    const { buckets } = runner.status();
    if (buckets.aggregated !== produced) {
      throw new Error(`${produced} records were produced and ${buckets.aggregated} aggregated`);
    }
    const { rows, places, files, bytes } = await looked(folder, ARCHIVE_TABLE);
    if (rows !== produced || places !== produced) {
      throw new Error(`${produced} records were produced; the archive has ${rows} rows of ${places} records`);
    }
    return { produced, producedIn, aggregatedAfter, archivedAfter, looks, files, bytes };
  } finally {
    clearInterval(sampler);
    await archiving.stop();
    await stop();
  }
}

/** The median and the greatest of a figure. */
export function spread(values: readonly number[]): { readonly median: number; readonly most: number } {
  const sorted = values.toSorted((a, b) => a - b);
  return { median: sorted[sorted.length >> 1] ?? 0, most: sorted.at(-1) ?? 0 };
}
