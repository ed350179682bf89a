import { type Clock, systemClock } from "../../clock.ts";
import { ConfigError, UnavailableError } from "../../errors.ts";
import { Guard, type GuardedResponse, hostOf, showUrl } from "../../net/guarded_fetch.ts";
import { retryAfterMs } from "../../net/retry_after.ts";
import type { ResultColumn } from "../../plan/plan.ts";
import { NO_POSITION, RejectedRowsError, type ResultRows, type Sink, type WriteOptions } from "../sink.ts";
import { bodyOf, RecordTexts } from "./body.ts";
import { Signer } from "./signature.ts";

/** Bytes of a body; a single larger record goes alone. */
const BODY_BYTES_MAX = 1024 * 1024;
/** What is read of an answer. */
const ANSWER_BYTES_MAX = 64 * 1024;
const REASON_CHARACTERS_MAX = 300;

/** What says that a body is not wanted, and a smaller one may be: of the records in it, not of the address or the sender. */
const REFUSED = new Set([400, 409, 413, 422]);
/** What time mends, beside all of 5xx. */
const PASSING = new Set([408, 425, 429]);

export interface WebhookSinkOptions {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** Null for no signature. */
  readonly signingSecret: string | null;
  /** Records in a request. */
  readonly batch: number;
  readonly concurrency: number;
  readonly timeoutMs: number;
  readonly allowPrivate: boolean;
  /** For the name of the sender. */
  readonly delivery: string;
  readonly columns: readonly ResultColumn[];
  readonly clock?: Clock;
}

/** What became of the rows of a partition in a write that could not be finished. */
interface Progress {
  /** Records before this were taken, or are in `refused`. */
  readonly upTo: number;
  /** Reason by offset. */
  readonly refused: ReadonlyMap<number, string>;
}

type Verdict = { readonly kind: "taken" } | { readonly kind: "refused"; readonly reason: string };

/**
 * Posts rows of a delivery. A request that has no answer is sent again, with the same key while the process lives: at least once, and
 * once for a receiver that remembers offsets.
 */
export class WebhookSink implements Sink {
  readonly name: string;
  readonly resume = NO_POSITION.resume;
  readonly position = NO_POSITION.position;
  readonly #options: WebhookSinkOptions;
  readonly #clock: Clock;
  readonly #guard: Guard;
  readonly #signer: Signer | null;
  readonly #texts: RecordTexts;
  /** Of partitions whose last write failed. */
  readonly #progress = new Map<string, Progress>();
  /** The write under way of each partition; never rejects. */
  readonly #turns = new Map<string, Promise<void>>();
  readonly #room: Room;
  /** When the receiver wants to be asked again, by the monotonic clock. */
  #notBeforeMs = -Infinity;

  constructor(options: WebhookSinkOptions) {
    this.#options = options;
    this.name = `webhook:${showUrl(options.url)}`;
    this.#clock = options.clock ?? systemClock;
    this.#guard = new Guard({ hosts: [hostOf(options.url)], allowPrivate: options.allowPrivate });
    this.#signer = options.signingSecret === null ? null : new Signer(options.signingSecret);
    this.#texts = new RecordTexts(options.columns);
    this.#room = new Room(options.concurrency);
  }

  async write(rows: ResultRows, { signal }: WriteOptions): Promise<void> {
    signal.throwIfAborted();
    if (rows.length === 0) return;
    if (!rows.origin) throw new Error("A webhook takes records of a topic, not results of windows");
    const id = `${rows.origin.topic}/${rows.origin.partition}`;
    const turn = (this.#turns.get(id) ?? Promise.resolve()).then(() => this.#write(id, rows, signal));
    const settled = turn.catch(() => {});
    this.#turns.set(id, settled);
    try {
      await turn;
    } finally {
      if (this.#turns.get(id) === settled) this.#turns.delete(id);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#turns.values());
    this.#guard[Symbol.dispose]();
  }

  async #write(id: string, rows: ResultRows, signal: AbortSignal): Promise<void> {
    const { offsets } = rows.origin!;
    const before = this.#progress.get(id);
    const refused = new Map(before?.refused);
    // A repeat of a write that was cut off goes on behind what was taken; records before the first of these come for another reason.
    let row = before === undefined ? 0 : offsets.findIndex((offset) => offset >= before.upTo);
    if (row < 0) row = rows.length;
    try {
      while (row < rows.length) {
        const texts = this.#next(rows, row);
        await this.#send(rows, { from: row, texts, refused, signal });
        row += texts.length;
      }
    } catch (error) {
      const upTo = row < rows.length ? offsets[row] : rows.origin!.to;
      if (error instanceof UnavailableError) this.#progress.set(id, { upTo, refused });
      throw error;
    }
    this.#progress.delete(id);
    const rejected = offsets.flatMap((offset, row) => {
      const reason = refused.get(offset);
      return reason === undefined ? [] : [{ row, reason }];
    });
    if (rejected.length > 0) throw new RejectedRowsError(rejected);
  }

  /** Texts of the rows that go into the next request. */
  #next(rows: ResultRows, from: number): string[] {
    const texts: string[] = [];
    let bytes = 0;
    for (let row = from; row < rows.length && texts.length < this.#options.batch; row++) {
      const text = this.#texts.text(rows, row);
      bytes += text.length;
      if (texts.length > 0 && bytes > BODY_BYTES_MAX) break;
      texts.push(text);
    }
    return texts;
  }

  /** Sends rows from `from` on; in halves where they are refused together, so that one alone is. */
  async #send(rows: ResultRows, sent: {
    readonly from: number;
    readonly texts: readonly string[];
    readonly refused: Map<number, string>;
    readonly signal: AbortSignal;
  }): Promise<void> {
    const { from, texts, refused, signal } = sent;
    const { topic, partition, offsets } = rows.origin!;
    const verdict = await this.#post(bodyOf(texts, { topic, partition }), {
      key: `${topic}/${partition}/${offsets[from]}-${offsets[from + texts.length - 1]}`,
      signal,
    });
    if (verdict.kind === "taken") return;
    if (texts.length === 1) {
      refused.set(offsets[from], verdict.reason);
      return;
    }
    const half = texts.length >> 1;
    await this.#send(rows, { ...sent, texts: texts.slice(0, half) });
    await this.#send(rows, { ...sent, from: from + half, texts: texts.slice(half) });
  }

  async #post(body: string, { key, signal }: { readonly key: string; readonly signal: AbortSignal }): Promise<Verdict> {
    using _place = await this.#room.enter(signal);
    const { url, headers, delivery, timeoutMs } = this.#options;
    const leftMs = this.#notBeforeMs - this.#clock.monotonic();
    if (leftMs > 0) await this.#clock.sleep(leftMs, signal);
    const bytes = new TextEncoder().encode(body);
    using response = await this.#guard.fetch(url, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        accept: "application/json, text/plain, */*",
        "user-agent": "tailrace",
        ...headers,
        "idempotency-key": key,
        "x-tailrace-delivery": delivery,
        ...await this.#signer?.headers(bytes, this.#clock.now()),
      },
      body: bytes,
      headersMs: timeoutMs,
      totalMs: timeoutMs,
      bytesMax: ANSWER_BYTES_MAX,
      signal,
    });
    const said = await wordsOf(response, signal);
    return this.#judge(response, said);
  }

  /** @throws UnavailableError for what time mends, ConfigError for what a person does */
  #judge({ status, headers }: GuardedResponse, said: string): Verdict {
    if (status >= 200 && status < 300) return { kind: "taken" };
    const what = `${this.name} answers ${status}${said === "" ? "" : `: ${said}`}`;
    if (status >= 500 || PASSING.has(status)) {
      const afterMs = retryAfterMs(headers, this.#clock.now());
      if (afterMs === null) throw new UnavailableError(what);
      this.#notBeforeMs = Math.max(this.#notBeforeMs, this.#clock.monotonic() + afterMs);
      throw new UnavailableError(`${what} (it is asked again after ${Math.ceil(afterMs / 1000)} s, as it wants)`);
    }
    if (REFUSED.has(status)) return { kind: "refused", reason: `the webhook answers ${status}${said && `: ${said}`}` };
    const advice = status === 401 || status === 403
      ? "check its headers and the signing secret"
      : status < 400
      ? "a redirect is not followed: name the address it leads to"
      : "check its address";
    throw new ConfigError({ where: "to.webhook", problem: `${what}. Nothing is taken for refused; ${advice}` });
  }
}

/** The beginning of what was answered, in one line. Reading it to its end leaves the connection for the next request. */
async function wordsOf(response: GuardedResponse, signal: AbortSignal): Promise<string> {
  try {
    const text = await response.text();
    return text.replaceAll(/\s+/g, " ").trim().slice(0, REASON_CHARACTERS_MAX);
  } catch (error) {
    if (signal.aborted) throw error;
    // The status says enough.
    return "";
  }
}

/** Lets so many in at a time, first come, first served. */
class Room {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(places: number) {
    this.#free = places;
  }

  async enter(signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted();
    if (this.#free > 0) this.#free--;
    else await this.#wait(signal);
    return { [Symbol.dispose]: () => this.#leave() };
  }

  #wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const enter = () => {
        signal.removeEventListener("abort", onAbort);
        resolve();
      };
      const onAbort = () => {
        this.#waiting.splice(this.#waiting.indexOf(enter), 1);
        reject(signal.reason);
      };
      signal.addEventListener("abort", onAbort, { once: true });
      this.#waiting.push(enter);
    });
  }

  #leave(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free++;
  }
}
