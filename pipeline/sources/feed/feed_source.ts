/**
 * Reads a feed: connection after connection, its messages gathered into batches.
 *
 *     connect ──▶ message ──▶ message ──▶ .. ──▶ break ──▶ pause ──▶ connect behind the last event
 *                 └─ a batch: so many, or a second ─┘
 *
 * Messages are taken no faster than batches are written: then the connection's own window holds the sender back.
 *
 * @module
 */
import { FRAME_BYTES } from "../../codec/framing.ts";
import { ConfigError, MalformedRecordError, UnavailableError } from "../../errors.ts";
import type { Authorization } from "../../net/authorization.ts";
import type { Guard } from "../../net/guarded_fetch.ts";
import { type JsonPath, valueAt } from "../http/json_path.ts";
import { parseExact, recordsOf } from "../http/page_records.ts";
import { hashOf } from "../http/seen.ts";
import type { RecordMaker } from "../record_maker.ts";
import type { ReadOptions, Rejected, Source, SourceBatch, SourcePosition, SourceRecord } from "../source.ts";

const BATCH_RECORDS = 2_000;
const BATCH_BYTES = 2 * 1024 * 1024;
const BATCH_MS = 500;
/** Larger than this a record does not go into a topic with Kafka's own settings. */
const RECORD_BYTES_MAX = 900_000;
const RAW_BYTES_MAX = 256 * 1024;
/** Ids that are remembered to know a record that comes again. */
export const IDS_MAX = 10_000;
const FIRST_PAUSE_MS = 1_000;
const PAUSE_MS_MAX = 60_000;
/** A connection that held so long, milliseconds, starts the pauses from the first again. */
const STEADY_MS = 30_000;

/** One message of a feed. */
export interface FeedMessage {
  readonly text: string;
  /** By which to go on behind it; null where the feed has no such thing. */
  readonly at: string | null;
  /** Why it is no message that can be read, and `text` perhaps only its beginning; null when it can. */
  readonly problem: string | null;
}

/** A kind of feed. */
export interface Feed {
  /** Messages behind `at`. @throws UnavailableError, MalformedRecordError when the connection or what comes over it breaks */
  connect(at: string | null, signal: AbortSignal, onOpen: () => void): AsyncIterable<FeedMessage>;
  /** What the other side wants to be waited for before the next connection, milliseconds; null for nothing said. */
  readonly pauseMs: number | null;
}

interface FeedPosition extends SourcePosition {
  readonly at: string | null;
  /** Hashes of the newest ids, oldest first. */
  readonly ids: string;
}

const HASH_CHARACTERS = hashOf("").length;

export interface FeedSourceOptions {
  readonly feed: Feed;
  readonly guard: Guard;
  readonly authorization: Authorization;
  readonly records: string | undefined;
  readonly shape: (record: unknown) => unknown;
  readonly maker: RecordMaker;
  /** Where a record's id is; null for records without. */
  readonly id: JsonPath | null;
}

export class FeedSource implements Source {
  readonly #options: FeedSourceOptions;
  #details: Record<string, string | number | boolean | null> = { connected: false, connections: 0 };

  constructor(options: FeedSourceOptions) {
    this.#options = options;
  }

  async *read(position: SourcePosition | null, options: ReadOptions): AsyncGenerator<SourceBatch> {
    const { signal, clock, isBounded, onWaiting } = options;
    if (isBounded) {
      throw new ConfigError({ where: "from", problem: "a feed has no end, so it cannot be read up to it" });
    }
    const { at, ids } = { at: null, ids: "", ...position as FeedPosition | null };
    const batch = new Batch(this.#options, { at, ids });
    const { feed } = this.#options;
    for (let failures = 0;; failures++) {
      const beganMs = clock.monotonic();
      let reason = "the feed ended";
      const closing = new AbortController();
      try {
        const onOpen = () => {
          this.#details = { ...this.#details, connected: true, connections: Number(this.#details.connections) + 1 };
          onWaiting(null);
        };
        const messages = feed.connect(batch.at, AbortSignal.any([signal, closing.signal]), onOpen)
          [Symbol.asyncIterator]();
        let dueMs = Infinity;
        let next = messages.next();
        for (;;) {
          const came = await within(next, dueMs - clock.monotonic(), (ms, signal) => clock.sleep(ms, signal));
          if (came !== null) {
            if (came.done) break;
            if (batch.isEmpty) dueMs = clock.monotonic() + BATCH_MS;
            batch.take(came.value, clock.now());
            next = messages.next();
            next.catch(() => {}); // looked at in the next round
          }
          if (batch.isFull || clock.monotonic() >= dueMs) {
            if (!batch.isEmpty) yield batch.end();
            dueMs = Infinity;
          }
        }
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof UnavailableError) && !(error instanceof MalformedRecordError)) throw error;
        reason = error.message;
      } finally {
        closing.abort(new UnavailableError("the feed is closed"));
      }
      this.#details = { ...this.#details, connected: false };
      if (!batch.isEmpty) yield batch.end();
      onWaiting(reason);
      if (clock.monotonic() - beganMs >= STEADY_MS) failures = 0;
      const pauseMs = Math.min(
        (feed.pauseMs ?? FIRST_PAUSE_MS) * 2 ** failures,
        Math.max(PAUSE_MS_MAX, feed.pauseMs ?? 0),
      );
      await clock.sleep(pauseMs * (0.5 + Math.random() / 2), signal);
    }
  }

  details(): Readonly<Record<string, string | number | boolean | null>> {
    return this.#details;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#options.guard[Symbol.dispose]();
    this.#options.authorization[Symbol.dispose]();
    return Promise.resolve();
  }
}

/** What comes of `work` within `ms`; null when that is over first, and the work goes on. */
async function within<T>(
  work: Promise<T>,
  ms: number,
  sleep: (ms: number, signal: AbortSignal) => Promise<void>,
): Promise<T | null> {
  if (ms === Infinity) return await work;
  const ending = new AbortController();
  try {
    return await Promise.race([work, sleep(Math.max(ms, 0), ending.signal).then(() => null)]);
  } finally {
    // The sleeper's own rejection is nobody's: the race is decided.
    ending.abort();
  }
}

/** What is written next, and where that leaves the feed. */
class Batch {
  readonly #options: FeedSourceOptions;
  readonly #ids: Set<string>;
  #at: string | null;
  #records: SourceRecord[] = [];
  #rejected: Rejected[] = [];
  #skipped = 0;
  #messages = 0;
  #bytes = 0;

  constructor(options: FeedSourceOptions, { at, ids }: { readonly at: string | null; readonly ids: string }) {
    this.#options = options;
    this.#at = at;
    this.#ids = new Set();
    for (let from = 0; from < ids.length; from += HASH_CHARACTERS) {
      this.#ids.add(ids.slice(from, from + HASH_CHARACTERS));
    }
  }

  get at(): string | null {
    return this.#at;
  }

  get isEmpty(): boolean {
    return this.#messages === 0;
  }

  get isFull(): boolean {
    return this.#records.length + this.#rejected.length >= BATCH_RECORDS || this.#bytes >= BATCH_BYTES;
  }

  take({ text, at, problem }: FeedMessage, nowMs: number): void {
    this.#messages++;
    this.#at = at ?? this.#at;
    const where = at === null ? "message" : `message ${at}`;
    const reject = (raw: string, reason: string) => {
      const bytes = new TextEncoder().encode(raw).slice(0, RAW_BYTES_MAX);
      this.#rejected.push({ raw: bytes, reason, where });
      this.#bytes += bytes.length;
    };
    if (problem !== null) return reject(text, problem);
    let records: readonly unknown[];
    try {
      records = recordsOf(parseExact(text), this.#options.records);
    } catch (error) {
      if (!(error instanceof MalformedRecordError)) throw error;
      return reject(text, error.message.replace("the answer", "the message"));
    }
    for (const record of records) {
      if (!this.#isNew(record)) this.#skipped++;
      else this.#make(record, nowMs, reject);
    }
  }

  end(): SourceBatch {
    const position: FeedPosition = { at: this.#at, ids: [...this.#ids].join("") };
    const batch = { records: this.#records, rejected: this.#rejected, skipped: this.#skipped, position };
    this.#records = [];
    this.#rejected = [];
    this.#skipped = this.#messages = this.#bytes = 0;
    return batch;
  }

  #make(record: unknown, nowMs: number, reject: (raw: string, reason: string) => void): void {
    const { shape, maker } = this.#options;
    const made = maker.make(shape(record), nowMs);
    if ("reason" in made) return reject(textIn(record), made.reason);
    const bytes = (made.record.value?.length ?? FRAME_BYTES) + (made.record.key?.length ?? 0);
    if (bytes > RECORD_BYTES_MAX) {
      return reject(textIn(record), `it takes ${bytes} bytes, more than ${RECORD_BYTES_MAX}`);
    }
    this.#records.push(made.record);
    this.#bytes += bytes;
  }

  #isNew(record: unknown): boolean {
    const { id } = this.#options;
    const value = id === null ? undefined : valueAt(record, id);
    if (typeof value !== "string" && typeof value !== "number") return true;
    const hash = hashOf(String(value));
    if (this.#ids.has(hash)) return false;
    this.#ids.add(hash);
    if (this.#ids.size > IDS_MAX) this.#ids.delete(this.#ids.values().next().value!);
    return true;
  }
}

/** Empty for what is nested too deep. */
function textIn(value: unknown): string {
  try {
    return JSON.stringify(value) ?? "";
  } catch {
    return "";
  }
}
