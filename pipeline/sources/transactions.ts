/**
 * Made-up card transactions that look like real ones: few accounts are busy, most amounts are small, most payments are
 * approved, some arrive a little late. The same seed gives the same transactions.
 *
 * @module
 */
import type { ByteWriter } from "../codec/byte_writer.ts";

const ACCOUNTS = 10_000;
const MERCHANTS = 500;
const CATEGORIES = 8;
const CURRENCIES = ["EUR", "USD", "GBP", "INR"];
const COUNTRIES = ["DE", "FR", "IN", "US", "GB", null];
const STATUSES = ["approved", "declined", "reversed"];
/** Of 1,000 transactions; the rest are approved. */
const DECLINED = 50;
const REVERSED = 10;
/** A tenth of the transactions are stamped up to this much before they are sent. */
const DELAY_MS_MAX = 2_000;

const text = new TextEncoder();
const HEX = text.encode("0123456789abcdef");

/** A string as Avro has it: zigzag length, UTF-8. */
function avroString(value: string): Uint8Array {
  const bytes = text.encode(value);
  if (bytes.length > 63) throw new RangeError("only short strings have a length of one byte");
  return Uint8Array.of(2 * bytes.length, ...bytes);
}

/** Writes transactions as `schemas/transaction.avsc` has them, field by field into a buffer, without making objects. */
export class TransactionWriter {
  /** Every account's id, which is the record's key. */
  readonly keys: readonly Uint8Array[];
  readonly #frame: Uint8Array;
  readonly #accounts: readonly Uint8Array[];
  readonly #merchants = Array.from(
    { length: MERCHANTS },
    (_, i) => avroString(`merchant-${String(i).padStart(3, "0")}`),
  );
  readonly #statuses = STATUSES.map(avroString);
  readonly #currencies = CURRENCIES.map(avroString);
  /** With the branch of the union before it. */
  readonly #countries = COUNTRIES.map((code) =>
    code === null ? Uint8Array.of(0) : Uint8Array.of(2, ...avroString(code))
  );
  #state: number;
  #count = 0;

  /** `schemaId` goes into Confluent's framing; `seed` is any integer. */
  constructor(schemaId: number, seed: number) {
    const ids = Array.from({ length: ACCOUNTS }, (_, i) => `acc-${String(i).padStart(5, "0")}`);
    this.keys = ids.map((id) => text.encode(id));
    this.#accounts = ids.map(avroString);
    this.#frame = Uint8Array.of(0, schemaId >>> 24, schemaId >>> 16, schemaId >>> 8, schemaId);
    this.#state = (seed | 0) || 1;
  }

  /** The account of the next transaction: an index into `keys`. Low numbers are busier. */
  nextAccount(): number {
    const u = this.#random() / 4294967296;
    return Math.floor(u * u * ACCOUNTS);
  }

  /** Writes one transaction of `account`, sent at `nowMs`; returns its event time. */
  write(out: ByteWriter, account: number, nowMs: number): number {
    const r = this.#random();
    const s = this.#random();
    out.ensure(160);
    const { buffer } = out;
    let at = append(buffer, out.position, this.#frame);
    buffer[at++] = 72;
    at = this.#uuid(buffer, at, nowMs);
    at = append(buffer, at, this.#accounts[account]);
    at = append(buffer, at, this.#merchants[r % MERCHANTS]);
    buffer[at++] = 2 * ((r >>> 9) % CATEGORIES);
    const outcome = (r >>> 12) % 1000;
    at = append(buffer, at, this.#statuses[outcome < DECLINED ? 1 : outcome < DECLINED + REVERSED ? 2 : 0]);
    // Between 0.01 and about 5,000.00, half of them below 40.
    const u = (s >>> 8) / 16777216;
    const cents = 1 + Math.floor(500_000 * u * u * u * u * u * u * u);
    buffer[at++] = 8;
    buffer[at++] = cents >>> 24;
    buffer[at++] = cents >>> 16;
    buffer[at++] = cents >>> 8;
    buffer[at++] = cents;
    at = append(buffer, at, this.#currencies[s & 3]);
    at = append(buffer, at, this.#countries[(s >>> 2) % COUNTRIES.length]);
    out.position = at;
    const eventTimeMs = nowMs - (s % 10 === 0 ? (s >>> 4) % DELAY_MS_MAX : 0);
    out.long(eventTimeMs);
    return eventTimeMs;
  }

  /** A version 7 UUID (RFC 9562): the time, then a counter and noise. */
  #uuid(buffer: Uint8Array, start: number, nowMs: number): number {
    const high = Math.floor(nowMs / 65536);
    const low = nowMs % 65536;
    const count = this.#count = (this.#count + 1) >>> 0;
    const noise = this.#random();
    let at = hex(buffer, start, high, 8);
    buffer[at++] = 45;
    at = hex(buffer, at, low, 4);
    buffer[at++] = 45;
    buffer[at++] = 55;
    at = hex(buffer, at, count >>> 20, 3);
    buffer[at++] = 45;
    buffer[at++] = 56;
    at = hex(buffer, at, count >>> 8, 3);
    buffer[at++] = 45;
    at = hex(buffer, at, count, 4);
    return hex(buffer, at, noise, 8);
  }

  /** xorshift32 (Marsaglia, 2003). */
  #random(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return x >>> 0;
  }
}

function append(buffer: Uint8Array, at: number, bytes: Uint8Array): number {
  for (let i = 0; i < bytes.length; i++) buffer[at++] = bytes[i];
  return at;
}

/** The lowest `digits` hexadecimal digits of `value`. */
function hex(buffer: Uint8Array, at: number, value: number, digits: number): number {
  for (let shift = 4 * (digits - 1); shift >= 0; shift -= 4) buffer[at++] = HEX[(value >>> shift) & 15];
  return at;
}
