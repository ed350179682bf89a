/**
 * How far a topic's records are in an archive, and in what was read since.
 *
 * @module
 */
import type { Plan } from "../../pipeline/plan/plan.ts";
import { archiveAppId, type ArchiveTail } from "../../pipeline/sinks/lake/archive/archive.ts";
import type { Snapshot } from "../../pipeline/sinks/lake/delta/table.ts";
import type { Reach } from "./capture_completeness.ts";

/** `tailrace.archive/transactions/<id>/0`, as `archiveAppId` makes it. */
const APP_ID = new RegExp(`^${archiveAppId("([^/]+)", "([^/]+)", 0).replace(/0$/, "(\\d+)").replaceAll(".", "\\.")}$`);

/**
 * How far a table has each topic, by what its log says; nothing of tables that no archive writes. Of a topic that was made anew
 * under its name, the newer one counts.
 */
export function archiveReach({ applications }: Snapshot): Reach[] {
  const topics = new Map<string, Map<string, Map<number, number>>>();
  for (const [appId, version] of applications) {
    const [, topic, id, partition] = APP_ID.exec(appId) ?? [];
    if (topic === undefined) continue;
    const ids = topics.get(topic) ?? new Map<string, Map<number, number>>();
    topics.set(topic, ids);
    const offsets = ids.get(id) ?? new Map<number, number>();
    // The last one in the log stands last.
    ids.delete(id);
    ids.set(id, offsets.set(Number(partition), version));
  }
  return Array.from(topics, ([topic, ids]) => ({ topic, offsets: [...ids.values()].at(-1)!, watermarkMs: null }));
}

/** How far table and tail together have a topic. Without an event time of each partition it is not known which windows are complete. */
export function tailReach(topic: string, tail: ArchiveTail, plans: readonly Plan[]): Reach {
  const { positions, maxEventTimeMs } = tail;
  const lateness = plans.filter((plan) => plan.topic === topic).map(({ allowedLatenessMs }) => allowedLatenessMs);
  const times = Array.from(positions.keys(), (partition) => maxEventTimeMs.get(partition) ?? -Infinity);
  const watermarkMs = lateness.length === 0 ? -Infinity : Math.min(...times) - Math.max(...lateness);
  return { topic, offsets: positions, watermarkMs };
}
