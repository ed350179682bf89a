/**
 * The records of the runs. Each follows from the seed and its number alone, so that what was read back can be compared byte by
 * byte with what was sent, however much that was.
 *
 * @module
 */
import avsc from "avsc";
import { Buffer } from "node:buffer";

/** Partitions of the topic. */
export const PARTITIONS = 4;
const ACCOUNTS = 40;
/** Event time between two records. */
const STEP_MS = 40;
/** How much a record may be behind the newest event time: less than the lateness of faults_plain. */
const DISORDER_MS = 40_000;
const CATEGORIES = ["other", "groceries", "restaurants", "travel", "fuel", "entertainment", "electronics", "health"];

const SCHEMA = new URL("../../schemas/transaction.avsc", import.meta.url);
export const TRANSACTION_TEXT = Deno.readTextFileSync(SCHEMA);
const TRANSACTION = avsc.Type.forSchema(JSON.parse(TRANSACTION_TEXT));

export interface Transaction {
  readonly id: string;
  readonly account: string;
  readonly category: string;
  readonly status: string;
  readonly cents: number;
  readonly eventMs: number;
}

/** What a record is by its making. `empty`: has no value. `bomb`: as dead, and its dead letter is the whole batch. */
export type Nature = "good" | "empty" | "dead" | "bomb";

export interface MadeRecord {
  readonly n: number;
  readonly partition: number;
  readonly key: Uint8Array;
  readonly value: Uint8Array | null;
  readonly nature: Nature;
  /** Null for what cannot be read as one. */
  readonly transaction: Transaction | null;
}

/** Gives the record of a number, always the same. */
export type Recipe = (n: number) => MadeRecord;

/** A number in [0, 1) from the seed, a number, and which of its draws this is. */
export function chance(seed: number, n: number, draw: number): number {
  // splitmix32 over the three.
  let mixed = (seed ^ Math.imul(n + 1, 0x9e3779b1) ^ Math.imul(draw + 1, 0x85ebca6b)) | 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
  return ((mixed ^ (mixed >>> 15)) >>> 0) / 4294967296;
}

export function transaction(seed: number, n: number, startMs: number): Transaction {
  const outcome = chance(seed, n, 1);
  return {
    id: `00000000-0000-7000-8000-${n.toString(16).padStart(12, "0")}`,
    account: `acc-${Math.floor(chance(seed, n, 2) * ACCOUNTS)}`,
    category: CATEGORIES[Math.floor(chance(seed, n, 3) * CATEGORIES.length)],
    status: outcome < 0.05 ? "declined" : outcome < 0.06 ? "reversed" : "approved",
    cents: Math.floor(chance(seed, n, 4) ** 4 * 500_000),
    eventMs: startMs + n * STEP_MS - (chance(seed, n, 5) < 0.3 ? Math.floor(chance(seed, n, 6) * DISORDER_MS) : 0),
  };
}

/** The partition of an account. */
export function partitionOf({ account }: Transaction): number {
  return Number(account.slice(4)) % PARTITIONS;
}

/** A value in Confluent's framing. */
export function framed(schemaId: number, avro: Uint8Array): Buffer {
  const frame = Buffer.alloc(5);
  frame.writeInt32BE(schemaId, 1);
  return Buffer.concat([frame, avro]);
}

/** The fields as `schemas/transaction.avsc` has them. */
export function fields({ id, account, category, status, cents, eventMs }: Transaction) {
  const amount = Buffer.alloc(4);
  amount.writeInt32BE(cents);
  return {
    transaction_id: id,
    account_id: account,
    merchant: "corner shop",
    category,
    status,
    amount,
    currency: "EUR",
    country: null,
    event_time: eventMs,
  };
}

export function encoded(transaction: Transaction): Buffer {
  return TRANSACTION.toBuffer(fields(transaction));
}

export function good(n: number, of: Transaction, schemaId: number): MadeRecord {
  const value = framed(schemaId, encoded(of));
  return { n, partition: partitionOf(of), key: Buffer.from(of.account), value, nature: "good", transaction: of };
}

/** Sixty days ago, at the start of a window: the event time of a run goes faster than the clock. */
export function startOfRun(nowMs = Date.now()): number {
  return Math.floor((nowMs - 60 * 86_400_000) / 60_000) * 60_000;
}

/** Well-formed transactions and nothing else. */
export function plainRecipe(seed: number, schemaId: number, startMs: number): Recipe {
  return (n) => good(n, transaction(seed, n, startMs), schemaId);
}
