/**
 * What was answered under which key, in Kafka itself: written in one transaction with the records of the request, so that there
 * is a receipt exactly where there are records.
 *
 *     tailrace.ingest, partition s:   .. receipt  receipt  receipt
 *       key    the Idempotency-Key; of requests without one an id of our own
 *       value  JSON: {id, key, digest, topic, records, atMs}
 *
 * Partitions 0 to 7 hold those of keys, by the key's hash; the others those of requests without: however many of these there
 * are, they push no key out.
 *
 * @module
 */
import type { TopicSpec } from "../log/admin.ts";
import { partitionOf } from "../log/murmur2.ts";
import type { OutgoingRecord } from "../log/publisher.ts";
import type { CommittedRecord } from "../log/transactions.ts";

export const RECEIPTS_TOPIC = "tailrace.ingest";
export const KEYED_SLOTS = 8;
export const SLOTS = KEYED_SLOTS + 2;
/** Characters of a key. */
export const KEY_LENGTH_MAX = 255;
/** A receipt in the log, with its batch and the transaction's end; a key and a topic take 255 and 249 bytes. */
const RECEIPT_BYTES_MAX = 1_100;

export interface Receipt {
  /** Of the request that was answered, to tell it from a repeat. */
  readonly id: string;
  readonly key: string;
  /** Of everything that makes the request what it is. */
  readonly digest: string;
  readonly topic: string;
  readonly records: number;
  readonly atMs: number;
}

/** Keeps as many receipts as are remembered, at least. */
export function receiptsTopicSpec(keysMax: number): TopicSpec {
  return { topic: RECEIPTS_TOPIC, partitions: SLOTS, keepsBytes: keysMax * RECEIPT_BYTES_MAX };
}

export function slotOf(key: string): number {
  return partitionOf(utf8.encode(key), KEYED_SLOTS);
}

const utf8 = new TextEncoder();

export function receiptRecord(receipt: Receipt): OutgoingRecord {
  const value = utf8.encode(JSON.stringify(receipt));
  return { key: utf8.encode(receipt.key), value, headers: [], timestampMs: receipt.atMs };
}

/** Null for what is none: another program wrote it. */
export function readReceipt({ value }: CommittedRecord): Receipt | null {
  try {
    const receipt = JSON.parse(new TextDecoder().decode(value ?? undefined)) as Receipt;
    const { id, key, digest, topic, records, atMs } = receipt;
    const isWhole = [id, key, digest, topic].every((text) => typeof text === "string") &&
      Number.isSafeInteger(records) && Number.isFinite(atMs);
    return isWhole ? receipt : null;
  } catch {
    return null;
  }
}

/** The newest receipts by key: so many, and none that is older than so long. */
export class ReceiptMemory {
  readonly #most: number;
  readonly #ageMs: number;
  readonly #byKey = new Map<string, Receipt>();

  constructor({ keysMax, keyMs }: { readonly keysMax: number; readonly keyMs: number }) {
    this.#most = keysMax;
    this.#ageMs = keyMs;
  }

  get size(): number {
    return this.#byKey.size;
  }

  get(key: string, nowMs: number): Receipt | null {
    const found = this.#byKey.get(key);
    return found && nowMs - found.atMs < this.#ageMs ? found : null;
  }

  add(receipt: Receipt): void {
    // A Map keeps the order of insertion: the first is the oldest.
    this.#byKey.delete(receipt.key);
    this.#byKey.set(receipt.key, receipt);
    if (this.#byKey.size > this.#most) this.#byKey.delete(this.#byKey.keys().next().value!);
  }

  clear(): void {
    this.#byKey.clear();
  }
}
