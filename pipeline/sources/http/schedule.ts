/** When rounds begin. @module */
import { Cron } from "croner";
import { parseDuration } from "../../plan/durations.ts";

export interface Schedule {
  /** When the next round is due, after one that began at `lastMs`; both milliseconds since the epoch. */
  after(lastMs: number): number;
}

/** Rounds of a source without a schedule. */
const EVERY = "1 minute";
/** A cron expression with no time at all in it comes round so late. */
const NEVER_MS = 366 * 86_400_000;

/** A schedule; or, as a string, what is wrong with it. */
export function parseSchedule(
  { every, cron, timezone = "UTC" }: {
    readonly every?: string;
    readonly cron?: string;
    readonly timezone?: string;
  },
): Schedule | string {
  if (cron === undefined) {
    const ms = parseDuration(every ?? EVERY);
    if (typeof ms === "string") return ms;
    return ms > 0 ? { after: (lastMs) => lastMs + ms } : "rounds need some time between them";
  }
  if (every !== undefined) return "give either every or cron";
  // Five parts: croner itself would also take seconds, years and names such as @daily.
  if (typeof cron !== "string" || cron.trim().split(/\s+/).length !== 5) {
    return `${JSON.stringify(cron)} is not five parts, such as "*/15 * * * *" or "0 6 * * 1-5"`;
  }
  try {
    const pattern = new Cron(cron, { timezone, paused: true });
    if (pattern.nextRun(new Date(0)) === null) return `${JSON.stringify(cron)} is never due`;
    return { after: (lastMs) => pattern.nextRun(new Date(lastMs))?.getTime() ?? lastMs + NEVER_MS };
  } catch (error) {
    return `${JSON.stringify(cron)} in ${timezone} is no time: ${(error as Error).message}`;
  }
}
