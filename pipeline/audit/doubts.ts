import type { Plan } from "../plan/plan.ts";
import { unreadSql, type WindowRange } from "./expected_sql.ts";
import type { View } from "./view.ts";

/** Why a window that never agreed may differ and be right all the same; null when there is no reason. */
export async function doubtAbout(plan: Plan, startMs: number, view: View): Promise<string | null> {
  const { mark, doubt } = view;
  const { dedupe, window } = plan;
  if (doubt !== null) return doubt;
  if (mark.floorMs !== null && startMs < mark.floorMs) {
    return `computed by a backfill, or before a rewind: the pipeline computes from ${
      new Date(mark.floorMs).toISOString()
    } on`;
  }
  const unread = await unreadIn(plan, { fromMs: startMs, toMs: startMs + window.sizeMs }, view);
  if (unread > 0) return "the archive could not read all records of it whole, and the pipeline may have";
  if (dedupe === null) return null;
  const isNear = mark.partitions.some(({ redriven }) =>
    redriven.some(({ windowStartMs }) => Math.abs(windowStartMs - startMs) <= window.sizeMs + dedupe.withinMs)
  );
  return isNear ? "records came back near it: whether others repeat these is not told by the archive" : null;
}

/** Records that the archive could not read whole and the pipeline did not set aside, which are of these windows or may be. */
async function unreadIn(
  plan: Plan,
  range: WindowRange,
  { connection, cut, tables, signal }: View,
): Promise<number> {
  const ask = async (archive: string) => {
    const reader = await connection.runAndReadAll(unreadSql(plan, { archive, tables, range }));
    return Number(reader.getRows()[0][0]);
  };
  return await cut.read(range, ask, signal);
}
