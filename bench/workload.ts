/**
 * The race's transactions: reproducible, keyed by account, about 76 bytes each, and what the right answer to the race's query
 * over them is, worked out the plain way.
 *
 * @module
 */
import type { ByteWriter } from "../pipeline/codec/byte_writer.ts";
import { FRAME_BYTES, writeFrame } from "../pipeline/codec/framing.ts";
import { partitionOf } from "../pipeline/log/murmur2.ts";

export const ACCOUNTS = 10_000;
const MERCHANTS = 500;
const CATEGORIES = ["grocery", "fuel", "travel", "online", "dining"];
const CURRENCIES = ["USD", "EUR", "INR", "GBP"];
/** Records per millisecond of event time. */
const PER_MILLISECOND = 100;
const DISORDER_MS = 2_000;
export const START_MS = Date.UTC(2026, 0, 1);
export const WINDOW_MS = 10_000;
export const ALLOWED_LATENESS_MS = 5_000;

export const SCHEMA = {
  type: "record",
  name: "Transaction",
  namespace: "bench",
  fields: [
    { name: "transaction_id", type: "long" },
    { name: "account_id", type: "string" },
    { name: "merchant", type: "string" },
    { name: "category", type: "string" },
    { name: "amount", type: "double" },
    { name: "currency", type: "string" },
    { name: "event_time", type: { type: "long", logicalType: "timestamp-millis" } },
  ],
} as const;

/** When records happen: as the race has it, 100,000 a second from the start of 2026, or at given times. */
type EventTime = (index: number) => number;

const text = new TextEncoder();

function avroString(value: string): Uint8Array {
  const bytes = text.encode(value);
  return Uint8Array.of(2 * bytes.length, ...bytes);
}

/** Makes the transactions one after the other and writes them without making objects. */
export class Workload {
  readonly keys: readonly Uint8Array[];
  readonly #accounts: readonly Uint8Array[];
  readonly #merchants = Array.from({ length: MERCHANTS }, (_, i) => avroString(`merchant-${i}`));
  readonly #categories = CATEGORIES.map(avroString);
  readonly #currencies = CURRENCIES.map(avroString);
  readonly #frame = new Uint8Array(FRAME_BYTES);
  readonly #amount = new Float64Array(1);
  readonly #amountBytes = new Uint8Array(this.#amount.buffer);
  readonly #baseTime: EventTime;
  #seed = 42;
  #index = 0;
  // The transaction that `next` made.
  account = 0;
  amount = 0;
  eventTimeMs = 0;
  #merchant = 0;
  #category = 0;
  #currency = 0;

  constructor(schemaId: number, baseTime: EventTime = (index) => START_MS + Math.floor(index / PER_MILLISECOND)) {
    const ids = Array.from({ length: ACCOUNTS }, (_, i) => `acc-${String(i).padStart(5, "0")}`);
    this.keys = ids.map((id) => text.encode(id));
    this.#accounts = ids.map(avroString);
    this.#baseTime = baseTime;
    writeFrame(this.#frame, 0, schemaId);
  }

  /** Which partition each account's records go to. */
  partitions(count: number): number[] {
    return this.keys.map((key) => partitionOf(key, count));
  }

  /** Makes the next transaction. */
  next(): void {
    this.account = Math.floor(this.#random() * ACCOUNTS);
    this.#merchant = Math.floor(this.#random() * MERCHANTS);
    this.#category = Math.floor(this.#random() * CATEGORIES.length);
    this.amount = Math.round(this.#random() * 100_000) / 100;
    this.#currency = Math.floor(this.#random() * CURRENCIES.length);
    this.eventTimeMs = this.#baseTime(this.#index++) - Math.floor(this.#random() * DISORDER_MS);
  }

  /** Writes the transaction made last. */
  write(out: ByteWriter): void {
    out.ensure(128);
    const { buffer } = out;
    let at = append(buffer, out.position, this.#frame);
    out.position = at;
    out.long(this.#index - 1);
    at = append(buffer, out.position, this.#accounts[this.account]);
    at = append(buffer, at, this.#merchants[this.#merchant]);
    at = append(buffer, at, this.#categories[this.#category]);
    this.#amount[0] = this.amount;
    at = append(buffer, at, this.#amountBytes);
    out.position = append(buffer, at, this.#currencies[this.#currency]);
    out.long(this.eventTimeMs);
  }

  #random(): number {
    return (this.#seed = (Math.imul(this.#seed, 1664525) + 1013904223) >>> 0) / 4294967296;
  }
}

function append(buffer: Uint8Array, at: number, bytes: Uint8Array): number {
  for (let i = 0; i < bytes.length; i++) buffer[at++] = bytes[i];
  return at;
}

/** One row of the right answer. */
export interface ExpectedRow {
  n: number;
  total: number;
  lo: number;
  hi: number;
}

/** The right answer for the first `records` transactions, by `accountNumber * 2^20 + window number`. */
export function expectedRows(records: number): Map<number, ExpectedRow> {
  const workload = new Workload(0);
  const rows = new Map<number, ExpectedRow>();
  for (let i = 0; i < records; i++) {
    workload.next();
    const { account, amount, eventTimeMs } = workload;
    const id = rowId(account, Math.floor(eventTimeMs / WINDOW_MS) * WINDOW_MS);
    const row = rows.get(id);
    if (row) {
      row.n++;
      row.total += amount;
      row.lo = Math.min(row.lo, amount);
      row.hi = Math.max(row.hi, amount);
    } else {
      rows.set(id, { n: 1, total: amount, lo: amount, hi: amount });
    }
  }
  return rows;
}

/** A number for an account and a window. */
export function rowId(account: number, windowStartMs: number): number {
  return account * 2 ** 20 + Math.floor((windowStartMs - START_MS) / WINDOW_MS) + 1000;
}
