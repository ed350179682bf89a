/**
 * What a pipeline has to come to, computed the plain way from the whole logs: one record after the other, no batches, no state
 * but lists. Written from the definition's rules, and sharing nothing with the engine.
 *
 * The one thing that is not in the logs is given: when a silent partition's watermark was raised, and to what.
 *
 * @module
 */
import type { Buckets } from "../../pipeline/ledger.ts";
import type { Event, Told } from "./source_log.ts";

/** The rules that a simulation varies. Sizes in milliseconds. */
export interface Rules {
  readonly pipeline: string;
  readonly windowMs: number;
  readonly allowedLatenessMs: number;
  /** Records with `v` at or beyond this are filtered out. */
  readonly below: number;
  readonly dedupeMs: number | null;
}

/** From `position` on a partition's watermark was at least `toMs`. */
export interface OracleRaise {
  readonly position: number;
  readonly toMs: number;
}

export interface Pane {
  readonly k: string;
  readonly startMs: number;
  n: number;
  total: number;
  /** How many of its records came back. */
  back: number;
}

export interface Judged {
  readonly buckets: Buckets;
  /** Event time as far as it has come in the partition; -Infinity before the first record. */
  readonly watermarkMs: number;
  readonly panes: ReadonlyMap<string, Pane>;
  readonly aside: ReadonlyMap<number, "late" | "dead">;
}

const DAY_MS = 86_400_000;

/** What becomes of the records of one partition before `until`. */
export function judge(
  told: readonly Told[],
  rules: Rules,
  { raises, until }: { raises: readonly OracleRaise[]; until: number },
): Judged {
  const buckets = { consumed: 0, aggregated: 0, filtered: 0, late: 0, dead: 0, duplicate: 0 };
  const panes = new Map<string, Pane>();
  const aside = new Map<number, "late" | "dead">();
  const seen: { readonly id: string; readonly at: number }[] = [];
  const backOf = new Set<number>();
  let maxMs = -Infinity;
  const raised = (offset: number) =>
    Math.max(-Infinity, ...raises.filter(({ position }) => position <= offset).map(({ toMs }) => toMs));

  told.slice(0, until).forEach((one, offset) => {
    const fate = fateOf(one, offset);
    buckets.consumed++;
    buckets[fate]++;
    if (fate === "late" || fate === "dead") aside.set(offset, fate);
  });
  return { buckets, watermarkMs: Math.max(maxMs - rules.allowedLatenessMs, raised(until)), panes, aside };

  function fateOf({ event, isTombstone, record, back }: Told, offset: number): keyof Omit<Buckets, "consumed"> {
    if (back !== null && (back.pipeline !== null && back.pipeline !== rules.pipeline || backOf.has(back.source))) {
      return "duplicate";
    }
    if (isTombstone) return "filtered";
    if (event === null) return "dead";
    const at = event.at !== null && event.at <= record.timestampMs + DAY_MS ? event.at : null;
    if (at !== null) maxMs = Math.max(maxMs, at);
    if (event.v >= rules.below) return "filtered";
    if (at === null) return "dead";
    const startMs = Math.floor(at / rules.windowMs) * rules.windowMs;
    const isLate = startMs + rules.windowMs <= Math.max(maxMs - rules.allowedLatenessMs, raised(offset));
    if (isLate && back === null) return "late";
    if (!isLate && isRepeated(event, at)) return "duplicate";
    if (back !== null) backOf.add(back.source);
    count(event, startMs, back === null ? 0 : 1);
    return "aggregated";
  }

  function isRepeated({ id }: Event, at: number): boolean {
    const { dedupeMs } = rules;
    if (dedupeMs === null || id === null) return false;
    const isKnown = seen.some((other) => other.id === id && Math.abs(other.at - at) <= dedupeMs);
    seen.push({ id, at });
    return isKnown;
  }

  function count({ k, v }: Event, startMs: number, back: number): void {
    const key = JSON.stringify([k, startMs]);
    const pane = panes.get(key) ?? { k, startMs, n: 0, total: 0, back: 0 };
    pane.n++;
    pane.total += v;
    pane.back += back;
    panes.set(key, pane);
  }
}

/** The panes of all partitions together. */
export function sumPanes(judged: readonly Judged[]): Map<string, Pane> {
  const all = new Map<string, Pane>();
  for (const { panes } of judged) {
    for (const [key, { k, startMs, n, total, back }] of panes) {
      const pane = all.get(key) ?? { k, startMs, n: 0, total: 0, back: 0 };
      pane.n += n;
      pane.total += total;
      pane.back += back;
      all.set(key, pane);
    }
  }
  return all;
}
