/**
 * Where the archive's part of a backfill ends and the log's begins.
 *
 *     offsets      0 ............ O ................ P ............. end of the log
 *                    all before H   some at or after H   read live only
 *     windows < H    from the archive, all of [0, P)
 *     windows >= H                 from the log, from O on
 *
 * O is the first archived offset with an event time at or after H; P is where the archive ends. Between O and P the log is read
 * again for the windows from H on; what belongs to earlier windows there has counted. A record behind P belongs to no window before
 * H, because it would be late there: each partition's watermark at P has passed H, by its records or, of one that is
 * silent, by an idle decision made here.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import type { Plan } from "../plan/plan.ts";
import { tumblingStart } from "../windows/tumbling.ts";

/** What the archive and the log hold of one partition. Times are milliseconds since the epoch. */
export interface PartitionFacts {
  readonly partition: number;
  /** The first archived offset, and the offset after the last; null where the archive has nothing of it. */
  readonly first: number | null;
  readonly position: number | null;
  /** What the log holds. */
  readonly earliest: number;
  readonly end: number;
  /** Event time of the first archived record that has one, and the largest; null where none has. */
  readonly firstEventMs: number | null;
  readonly maxEventMs: number | null;
  /** Kafka's timestamp of the newest archived record; null where none has one. */
  readonly lastTimestampMs: number | null;
}

export interface HandoverOptions {
  readonly nowMs: number;
  /** The least archived event time. */
  readonly earliestMs: number;
  /** Windows from the one that holds this time on; all that the archive has whole where it is not told. */
  readonly fromMs?: number;
  /** Windows from the one that holds this time on are the log's; as late as the archive allows where it is not told. */
  readonly toMs?: number;
}

/** `[fromMs, handoverMs)` is the archive's part; both are starts of windows. `raised` are partitions that an idle decision is made for. */
export interface Handover {
  readonly fromMs: number;
  readonly handoverMs: number;
  readonly raised: readonly number[];
}

/**
 * Decides it.
 *
 * @throws ConfigError when the archive does not reach back so far, or not up to there, or leaves no window in between
 */
export function decideHandover(plan: Plan, facts: readonly PartitionFacts[], options: HandoverOptions): Handover {
  const { sizeMs, offsetMs } = plan.window;
  const windowOf = (timeMs: number) => tumblingStart(timeMs, sizeMs, offsetMs);
  const watermarkOf = ({ maxEventMs }: PartitionFacts) => (maxEventMs ?? -Infinity) - plan.allowedLatenessMs;
  const speaking = facts.filter((partition) => !isSilent(plan, partition, options.nowMs));
  const unread = speaking.find(({ maxEventMs }) => maxEventMs === null);
  if (unread) {
    throw refused(
      plan,
      `the archive has no records of partition ${unread.partition} of ${plan.topic} yet: wait until it has (the log ends at ` +
        `offset ${unread.end})`,
    );
  }
  const reached = speaking.length > 0 ? Math.min(...speaking.map(watermarkOf)) : Math.max(...facts.map(watermarkOf));
  if (!Number.isFinite(reached)) {
    throw refused(plan, `the archive of ${plan.topic} holds no records with an event time yet`);
  }
  // Nothing is held back by silence: as late as the pipeline itself would close windows that are open for long.
  const latest = windowOf(speaking.length > 0 ? reached : options.nowMs - plan.allowedLatenessMs - plan.idleAfterMs);
  let handoverMs = options.toMs === undefined ? windowOf(reached) : windowOf(options.toMs);
  if (options.toMs !== undefined && handoverMs > latest) {
    throw refused(
      plan,
      `the archive holds all records of the windows before ${
        iso(latest)
      } only: leave --to out, or name that or an earlier time`,
    );
  }
  // One that is silent but has records at or after the handover is read like the others: its own records have to pass it.
  for (let again = true; again;) {
    const behind = facts.filter((partition) =>
      (partition.maxEventMs ?? -Infinity) >= handoverMs && watermarkOf(partition) < handoverMs
    );
    again = behind.length > 0;
    if (again) handoverMs = windowOf(Math.min(...behind.map(watermarkOf)));
  }
  const fromMs = firstWindow(plan, facts, { ...options, windowOf });
  if (fromMs >= handoverMs) {
    throw refused(
      plan,
      `there is no whole window to build: the archive's windows begin at ${iso(fromMs)}, and those from ` +
        `${iso(handoverMs)} on are read from the log`,
    );
  }
  const raised = facts.filter((partition) => watermarkOf(partition) < handoverMs).map(({ partition }) => partition);
  return { fromMs, handoverMs, raised };
}

/** The start of the first window to build: the one wanted, or the first of which the archive has all records. */
function firstWindow(
  plan: Plan,
  facts: readonly PartitionFacts[],
  { fromMs: wantedMs, earliestMs, windowOf }: HandoverOptions & { readonly windowOf: (timeMs: number) => number },
): number {
  // A partition that begins at offset 0 lacks nothing. Of another, what was in time is no later than this.
  const lost = facts.flatMap(({ first, firstEventMs }) =>
    first === null || first === 0 || firstEventMs === null ? [] : [firstEventMs + plan.allowedLatenessMs]
  );
  const wholeMs = lost.length === 0 ? -Infinity : windowOf(Math.max(...lost)) + plan.window.sizeMs;
  if (wantedMs === undefined) return Math.max(wholeMs, windowOf(earliestMs));
  const from = windowOf(wantedMs);
  if (from >= wholeMs) return from;
  throw refused(
    plan,
    `the archive does not reach back to ${iso(from)}: it holds all records of the windows from ${iso(wholeMs)} on. ` +
      `Use --from ${iso(wholeMs)}, or leave --from out`,
  );
}

/** Archived to its end, and nothing came for as long as makes a partition idle. */
function isSilent(plan: Plan, { position, end, earliest, lastTimestampMs }: PartitionFacts, nowMs: number): boolean {
  if (position === null) return end <= earliest;
  return position >= end && (lastTimestampMs === null || nowMs - lastTimestampMs > plan.idleAfterMs);
}

/** Where reading of a partition begins, and what is known of what lies before. */
export interface HandoverOffset {
  readonly partition: number;
  readonly offset: number;
  /** Largest event time before it, or more; null where there is none. */
  readonly maxEventMs: number | null;
}

/** @throws ConfigError when the log does not hold the offsets any more */
export function assertLogHolds(
  plan: Plan,
  offsets: readonly HandoverOffset[],
  { facts, handoverMs }: { readonly facts: readonly PartitionFacts[]; readonly handoverMs: number },
): void {
  for (const { partition, offset } of offsets) {
    const { earliest, end } = facts.find((fact) => fact.partition === partition)!;
    if (offset > end) {
      throw refused(
        plan,
        `the archive holds partition ${partition} up to offset ${offset}, but the log ends at ${end}: it lost records, or is ` +
          "another topic of the same name",
      );
    }
    if (earliest <= offset) continue;
    throw refused(
      plan,
      `the windows from ${
        iso(handoverMs)
      } on are read from the log, from offset ${offset} of partition ${partition} on; but ` +
        `it begins at offset ${earliest}: retention deleted what lies between. Name a later --to, let the archive be flushed ` +
        "more often (archive: lake(.., { flushEvery })), or keep the topic's records longer",
    );
  }
}

export function refused(plan: Plan, problem: string): ConfigError {
  return new ConfigError({ where: `backfill ${plan.name}`, problem });
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
