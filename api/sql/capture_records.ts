/**
 * The relations that are not of one table or pipeline: `ledger`, and `dead_letters` with late records beside the dead.
 *
 * @module
 */
import type { FieldType } from "../../pipeline/columns.ts";
import { BUCKETS, type LedgerEntry } from "../../pipeline/ledger.ts";
import type { Letters, ListedLetter } from "../../pipeline/letters/letters.ts";
import { PAGE_MAX } from "../../pipeline/letters/limits.ts";
import type { ResultColumn } from "../../pipeline/plan/plan.ts";
import type { ResultRows, ResultValue } from "../../pipeline/sinks/sink.ts";

/** Where the records of one pipeline ended. */
export interface PipelineLedger {
  readonly pipeline: string;
  readonly topic: string;
  readonly entries: readonly LedgerEntry[];
}

interface Column<T> extends ResultColumn {
  readonly of: (row: T) => ResultValue;
}

function column<T>(name: string, type: FieldType["type"], of: (row: T) => ResultValue): Column<T> {
  return { name, role: "value", type: { type, nullable: true } as FieldType, of };
}

const LEDGER: readonly Column<{ readonly ledger: PipelineLedger; readonly entry: LedgerEntry }>[] = [
  column("pipeline", "string", ({ ledger }) => ledger.pipeline),
  column("topic", "string", ({ ledger }) => ledger.topic),
  column("partition", "long", ({ entry }) => entry.partition),
  column("start", "long", ({ entry }) => entry.start),
  column("position", "long", ({ entry }) => entry.position),
  column("consumed", "long", ({ entry }) => entry.consumed),
  ...BUCKETS.map((bucket) => column<{ readonly entry: LedgerEntry }>(bucket, "long", ({ entry }) => entry[bucket])),
  column("in_flight", "long", ({ entry }) => entry.inFlight),
];

const LETTERS: readonly Column<ListedLetter>[] = [
  column("kind", "string", ({ kind }) => kind),
  column("topic", "string", ({ topic }) => topic),
  column("partition", "long", ({ partition }) => partition),
  column("offset", "long", ({ offset }) => offset),
  column("pipeline", "string", ({ pipeline }) => pipeline),
  column("source_partition", "long", ({ source }) => source?.partition ?? null),
  column("source_offset", "long", ({ source }) => source?.offset ?? null),
  column("original_offset", "long", ({ originalOffset }) => originalOffset),
  column("timestamp", "timestamp-millis", ({ timestampMs }) => timestampMs),
  column("window_start", "timestamp-millis", ({ windowStartMs }) => windowStartMs),
  column("cause", "string", ({ cause }) => cause),
  column("schema_id", "long", ({ schemaId }) => schemaId),
  column("attempt", "long", ({ attempt }) => attempt),
  column("redriven", "boolean", ({ redriven }) => redriven),
  column("key_start", "string", ({ key }) => key?.start ?? null),
  column("key_bytes", "long", ({ key }) => key?.bytes ?? null),
  column("value_bytes", "long", ({ valueBytes }) => valueBytes),
];

export const LEDGER_COLUMNS: readonly ResultColumn[] = LEDGER;
export const LETTER_COLUMNS: readonly ResultColumn[] = LETTERS;

export function ledgerRows(ledgers: readonly PipelineLedger[]): ResultRows {
  return memoryRows(LEDGER, ledgers.flatMap((ledger) => ledger.entries.map((entry) => ({ ledger, entry }))));
}

/** The newest letters, at most `most`; and whether there are more. @throws UnavailableError when Kafka is away */
export async function letterRows(
  letters: Pick<Letters, "list">,
  { most, signal }: { readonly most: number; readonly signal: AbortSignal },
): Promise<{ readonly rows: ResultRows; readonly isAll: boolean }> {
  const found: ListedLetter[] = [];
  let next: string | null = null;
  do {
    signal.throwIfAborted();
    const limit = Math.min(PAGE_MAX, most - found.length);
    const page = await letters.list({ limit, ...next === null ? {} : { cursor: next } }, { signal });
    found.push(...page.letters);
    next = page.next;
  } while (next !== null && found.length < most);
  return { rows: memoryRows(LETTERS, found), isAll: next === null };
}

function memoryRows<T>(columns: readonly Column<T>[], rows: readonly T[]): ResultRows {
  return { columns, length: rows.length, values: columns.map(({ of }) => rows.map(of)) };
}
