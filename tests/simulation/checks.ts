import type { OutgoingRecord } from "../../pipeline/log/publisher.ts";
import type { Row } from "./sim_postgres.ts";
import type { Saved } from "./lineage.ts";

/** What must never happen did. */
export class Violation extends Error {
  override readonly name = "Violation";
}

const decoder = new TextDecoder();

export function headerOf(record: OutgoingRecord, name: string): string | null {
  const value = record.headers.findLast(([known]) => known === name)?.[1];
  return value ? decoder.decode(value) : null;
}

/** The readers of the committed results: for each key and window the versions come in order, each once. */
export class ResultReader {
  /** The newest of each key and window. */
  readonly newest = new Map<string, { revision: number; final: boolean; record: OutgoingRecord }>();
  /** How often each key and window was called final. */
  readonly finals = new Map<string, number>();

  take(record: OutgoingRecord): void {
    const id = JSON.stringify([
      record.key === null ? null : decoder.decode(record.key),
      Number(headerOf(record, "window_start")),
    ]);
    const revision = Number(headerOf(record, "revision"));
    const final = headerOf(record, "final") === "true";
    const before = this.newest.get(id);
    const order = before ? revision - before.revision || Number(final) - Number(before.final) : 1;
    if (order <= 0) {
      const what = order === 0 ? "is there twice" : "came after a newer one";
      throw new Violation(
        `results topic: ${id} revision ${revision} final ${final} ${what} (revision ${before!.revision} final ${
          before!.final
        })`,
      );
    }
    this.newest.set(id, { revision, final, record });
    if (final) this.finals.set(id, 1 + (this.finals.get(id) ?? 0));
  }
}

/** A row of the database that is replaced by another. */
export function checkReplaced(before: Row, after: Row): void {
  const [revision, final] = after.slice(-2) as [number, boolean];
  const [revisionBefore, finalBefore] = before.slice(-2) as [number, boolean];
  if (revision < revisionBefore || revision === revisionBefore && (finalBefore || !final)) {
    throw new Violation(`postgres went from ${JSON.stringify(before)} back to ${JSON.stringify(after)}`);
  }
}

/** A checkpoint and the one that it follows from. */
export function checkSaved({ checkpoint, parent }: Saved): void {
  for (const partition of checkpoint.partitions) {
    const { consumed, aggregated, filtered, late, dead, duplicate } = partition.buckets;
    const where = `partition ${partition.partition} at ${partition.position}`;
    if (consumed !== aggregated + filtered + late + dead + duplicate) {
      throw new Violation(`the ledger of ${where} does not add up: ${JSON.stringify(partition.buckets)}`);
    }
    const before = parent?.checkpoint.partitions.find((other) => other.partition === partition.partition);
    if (!before || parent!.checkpoint.generation !== checkpoint.generation) continue;
    for (const what of ["position", "maxEventTimeMs", "raisedToMs"] as const) {
      if ((partition[what] ?? -Infinity) < (before[what] ?? -Infinity)) {
        throw new Violation(`${what} of ${where} went back from ${before[what]} to ${partition[what]}`);
      }
    }
    if (partition.position - before.position !== consumed - before.buckets.consumed) {
      throw new Violation(`${where}: ${consumed - before.buckets.consumed} records counted since ${before.position}`);
    }
  }
}
