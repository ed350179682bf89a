import { ingest, spread } from "../lake/ingestion.ts";
import { type Measured, Meter, round } from "../measure.ts";
import type { Servers } from "../servers.ts";

/**
 * The full stream kept: transactions produced at a rate, aggregated to PostgreSQL, and archived as Parquet and Delta on disk, all
 * at once. Every record must be in the table once.
 */
export async function archive(
  servers: Servers,
  { rate, seconds }: { readonly rate: number; readonly seconds: number },
): Promise<Measured> {
  const folder = `${servers.folder}/archive-${Date.now()}`;
  const meter = new Meter();
  const { produced, producedIn, aggregatedAfter, archivedAfter, looks, files, bytes } = await ingest(servers, {
    rate,
    seconds,
    folder,
  });
  const measured = meter.stop("archive", produced, producedIn);
  await Deno.remove(folder, { recursive: true });
  const during = looks.filter(({ at }) => at <= seconds);
  const quarter = Math.max(1, Math.floor(during.length / 4));
  const rss = during.map(({ rssMb }) => rssMb);
  const behind = spread(during.map(({ archiveBehind }) => archiveBehind));
  return {
    ...measured,
    rate,
    archive_behind_median: behind.median,
    archive_behind_max: behind.most,
    aggregate_behind_max: spread(during.map((look) => look.behind)).most,
    aggregated_after_s: round(aggregatedAfter, 2),
    archived_after_s: round(archivedAfter, 2),
    cores: round(measured.cpu_s / producedIn, 2),
    rss_mb_first_quarter: Math.max(...rss.slice(0, quarter)),
    rss_mb_last_quarter: Math.max(...rss.slice(-quarter)),
    files,
    table_mb: Math.round(bytes / 1e6),
  };
}
