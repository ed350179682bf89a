/**
 * How far an answer is complete, from how far each relation in it is.
 *
 * @module
 */
import type { PendingRows } from "../../pipeline/sinks/lake/results/lake_sink.ts";
import type { Completeness } from "./catalog.ts";

/** How far one relation is complete over one topic. */
export interface Reach {
  readonly topic: string;
  readonly offsets: ReadonlyMap<number, number>;
  /** Null: unknown. Times that are not finite are none. */
  readonly watermarkMs: number | null;
}

/** What all of the relations have: of each topic's partitions the least offset, and the least watermark. */
export function completenessOf(reaches: readonly Reach[]): Completeness[] {
  return Array.from(Map.groupBy(reaches, ({ topic }) => topic), ([topic, of]) => {
    const common = [...of[0].offsets.keys()].filter((partition) => of.every(({ offsets }) => offsets.has(partition)));
    const offsets = common.sort((a, b) => a - b).map((partition) => [
      String(partition),
      Math.min(...of.map(({ offsets }) => offsets.get(partition)!)),
    ]);
    const watermarks = of.map(({ watermarkMs }) => watermarkMs ?? -Infinity);
    return { topic, offsets: Object.fromEntries(offsets), watermark: timeText(Math.min(...watermarks)) };
  });
}

/** Of more rows that wait it is not found out which windows they are of. */
const LOOKED_AT_MAX = 200_000;

/**
 * Up to which time a table of final results is complete, without the rows that wait for it; null when that is not known.
 *
 * @param settled.watermarkMs all windows that end at or before this are in the table or wait
 * @param settled.sizeMs size of the windows
 */
export async function tableWatermark(
  waiting: Pick<PendingRows, "length" | "rows">,
  { watermarkMs, sizeMs }: { readonly watermarkMs: number; readonly sizeMs: number },
): Promise<number | null> {
  if (waiting.length > LOOKED_AT_MAX) return null;
  let least = watermarkMs;
  for await (const { columns, values } of waiting.rows()) {
    const ends = values[columns.findIndex(({ role }) => role === "window_end")] as readonly number[];
    for (const end of ends) least = Math.min(least, end - sizeMs);
  }
  return least;
}

function timeText(ms: number): string | null {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? null : date.toISOString();
}
