/**
 * Polls an API: round after round, page after page.
 *
 *     wait until the round is due ──▶ page ──▶ page ──▶ .. ──▶ last page: the since-cursor moves on
 *
 * The position is kept with the records, page by page. After a crash the page that was being read is asked for again, and the
 * records of it that came before are known by their hashes.
 *
 * @module
 */
import type { Clock } from "../../clock.ts";
import { FRAME_BYTES } from "../../codec/framing.ts";
import { ConfigError } from "../../errors.ts";
import type { RecordMaker } from "../record_maker.ts";
import type { ReadOptions, Rejected, Source, SourceBatch, SourcePosition, SourceRecord } from "../source.ts";
import type { HttpPollSpec } from "./definition.ts";
import { type HttpPosition, positionFor } from "./position.ts";
import { type Outcome, Requester, type RequesterOptions } from "./requests.ts";
import type { Schedule } from "./schedule.ts";
import { hashOf, Seen } from "./seen.ts";
import type { SinceReader } from "./since.ts";

/** A batch ends with this many records, or bytes ... */
const BATCH_RECORDS = 2_000;
const BATCH_BYTES = 2 * 1024 * 1024;
/** ... or so long after its first one, milliseconds: small pages share a transaction, and a position. */
const BATCH_MS = 1_000;
/** Larger than this a record does not go into a topic with Kafka's own settings. */
const RECORD_BYTES_MAX = 900_000;
/** Of what is no record so much is kept. */
const RAW_BYTES_MAX = 256 * 1024;
const PAGES_MAX = 10_000;
/** The next round is waited for in pieces: a clock that was set meanwhile is noticed. */
const SLEEP_MS_MAX = 60_000;
/** Pauses after a failure double from the first to the longest: of who is away, and of who answers what makes no sense. */
const BUSY_MS = { first: 1_000, longest: 60_000 };
const WRONG_MS = { first: 5_000, longest: 900_000 };
/** After so many answers that make no sense a round begins anew: what it asked for may be gone. */
const WRONG_TRIES = 3;

export interface PollOptions extends RequesterOptions {
  readonly spec: HttpPollSpec;
  readonly schedule: Schedule;
  readonly since: SinceReader | null;
  readonly shape: (record: unknown) => unknown;
  readonly maker: RecordMaker;
  readonly warn: (message: string) => void;
}

type Progress = { -readonly [Name in keyof HttpPosition]: HttpPosition[Name] };

export class HttpPollSource implements Source {
  readonly #options: PollOptions;
  readonly #requester: Requester;
  #details: Record<string, string | number | boolean | null> = {};

  constructor(options: PollOptions) {
    this.#options = options;
    this.#requester = new Requester(options);
  }

  async *read(position: SourcePosition | null, options: ReadOptions): AsyncGenerator<SourceBatch> {
    const { signal, clock, isBounded, onWaiting } = options;
    const { schedule, since, spec, kept, warn } = this.#options;
    const at: Progress = { ...positionFor(spec, position as HttpPosition | null) };
    const page = kept.again(at.page);
    Object.assign(at, page === null && at.page !== null ? { page, items: 0, pages: 0 } : { page });
    const seen = spec.repeats === "write" ? null : new Seen(at.seen);
    const batch = new Batch(clock);
    const failures = { busy: 0, wrong: 0 };
    // A round that began before does not hold all that is there now.
    let rounds = at.isInRound ? 2 : 1;
    let notBeforeMs = -Infinity;
    let committed = textOf(at);
    const taken = (): SourceBatch => {
      at.seen = seen?.state() ?? null;
      committed = textOf(at);
      return batch.take({ ...at });
    };
    const pause = (ms: number) => clock.sleep(Math.max(ms, 0), signal);

    for (;;) {
      if (!at.isInRound) {
        const dueMs = at.roundMs === null || isBounded ? clock.now() : schedule.after(at.roundMs);
        this.#tell(at, seen, dueMs);
        while (clock.now() < dueMs) await pause(Math.min(dueMs - clock.now(), SLEEP_MS_MAX));
        Object.assign(at, { isInRound: true, roundMs: clock.now(), pages: 0, largest: at.since });
      }
      const waitMs = notBeforeMs - clock.monotonic();
      if (waitMs > 0) {
        if (!batch.isEmpty) yield taken();
        await pause(waitMs);
      }
      const asked = since?.asked(at.since) ?? null;
      const outcome = await this.#requester.ask({
        page: at.page,
        since: since === null || asked === null ? null : since.text(asked),
        validators: at.validators,
        nowMs: clock.now(),
        signal,
      });

      if (outcome.kind === "busy" || outcome.kind === "wrong") {
        if (!batch.isEmpty) yield taken();
        onWaiting(outcome.reason);
        failures[outcome.kind]++;
        if (outcome.kind === "wrong" && failures.wrong % WRONG_TRIES === 0) {
          if (isBounded && (at.page === null || failures.wrong > WRONG_TRIES)) {
            throw new ConfigError({ where: "from", problem: outcome.reason });
          }
          if (at.page !== null && !this.#options.pager.isKept) {
            warn(`${outcome.reason}; the round begins again at its first page`);
            Object.assign(at, { page: null, items: 0, pages: 0 });
          }
        }
        await pause(pauseAfter(outcome, failures));
        continue;
      }
      if (failures.busy + failures.wrong > 0) onWaiting(null);
      failures.busy = failures.wrong = 0;
      const gapMs = spec.requestsPerSecond === undefined ? 0 : 1000 / spec.requestsPerSecond;
      notBeforeMs = clock.monotonic() + Math.max(outcome.pauseMs ?? 0, gapMs);

      if (outcome.kind === "page") {
        const where = `${spec.method ?? "GET"} page ${at.pages + 1}`;
        for (const [index, record] of outcome.records.entries()) {
          if (index < at.items && seen === null) continue;
          this.#take(record, { batch, seen, at, where: `${where} item ${index + 1}`, nowMs: clock.now() });
          at.items = index + 1;
          if (batch.isFull) yield taken();
        }
        Object.assign(at, { page: outcome.next.page, items: 0, pages: at.pages + 1 });
        seen?.trim(since?.asked(at.largest) ?? null);
        if (!outcome.next.isLast && at.pages < (spec.pagesMax ?? PAGES_MAX)) {
          if (batch.isDue) yield taken();
          continue;
        }
        if (!outcome.next.isLast) {
          // It goes on with the next page when the next round is due: an endless list is not read without end.
          warn(`a round ends after ${at.pages} pages, and goes on with the next one: see pagesMax`);
          this.#tell(at, seen, null);
          yield taken();
          if (isBounded) {
            throw new ConfigError({ where: "from.pagesMax", problem: `there are more than ${at.pages} pages` });
          }
          at.pages = 0;
          const dueMs = schedule.after(at.roundMs!);
          while (clock.now() < dueMs) await pause(Math.min(dueMs - clock.now(), SLEEP_MS_MAX));
          at.roundMs = clock.now();
          continue;
        }
        at.validators = outcome.validators;
      } else {
        seen?.meetAgain();
      }
      // The round ends.
      if (at.largest !== null) at.since = at.largest;
      const forgotten = seen?.forgotten ?? 0;
      if (forgotten > 0) {
        warn(`${forgotten} records more than can be remembered came in one round: unchanged, they are written again`);
      }
      seen?.endRound(since === null ? null : since.asked(at.since), at.since);
      Object.assign(at, { isInRound: false, pages: 0, largest: null });
      at.seen = seen?.state() ?? null;
      if (!batch.isEmpty || textOf(at) !== committed) yield taken();
      if (isBounded && --rounds === 0) return;
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

  #take(
    record: unknown,
    { batch, seen, at, where, nowMs }: {
      readonly batch: Batch;
      readonly seen: Seen | null;
      readonly at: Progress;
      readonly where: string;
      readonly nowMs: number;
    },
  ): void {
    const { since, shape, maker } = this.#options;
    const value = since?.of(record) ?? null;
    if (since !== null && value !== null) {
      at.largest = Math.max(at.largest ?? -Infinity, since.bounded(value, at.roundMs!));
    }
    const made = maker.make(shape(record), nowMs);
    const text = "reason" in made ? textIn(record) : null;
    const hash = "reason" in made
      ? hashOf(text, made.reason)
      : hashOf(made.record.key, made.record.value?.subarray(FRAME_BYTES) ?? null);
    if (seen?.meet({ hash, since: value })) return batch.skip();
    const reject = (reason: string) => {
      const raw = new TextEncoder().encode(text ?? textIn(record) ?? "").slice(0, RAW_BYTES_MAX);
      batch.reject({ raw, reason, where });
    };
    if ("reason" in made) return reject(made.reason);
    const bytes = (made.record.value?.length ?? 0) + (made.record.key?.length ?? 0);
    if (bytes > RECORD_BYTES_MAX) return reject(`it takes ${bytes} bytes, more than ${RECORD_BYTES_MAX}`);
    batch.add(made.record, bytes);
  }

  #tell(at: HttpPosition, seen: Seen | null, dueMs: number | null): void {
    const time = (ms: number | null) => ms === null ? null : new Date(ms).toISOString();
    const { since } = this.#options;
    this.#details = {
      lastRound: time(at.roundMs),
      nextRound: time(dueMs),
      ...(since === null ? {} : { since: at.since === null ? null : since.text(at.since) }),
      ...(seen === null ? {} : { remembered: seen.size }),
    };
  }
}

function pauseAfter(
  outcome: Extract<Outcome, { readonly reason: string }>,
  failures: { readonly busy: number; readonly wrong: number },
): number {
  const { first, longest } = outcome.kind === "busy" ? BUSY_MS : WRONG_MS;
  const doubled = Math.min(first * 2 ** (failures[outcome.kind] - 1), longest);
  // Processes that failed together do not return together.
  const pauseMs = doubled * (0.5 + Math.random() / 2);
  return outcome.kind === "busy" && outcome.pauseMs !== null ? Math.max(outcome.pauseMs, pauseMs) : pauseMs;
}

/** All of a position but when its round began: of nothing else nothing has to be told. */
function textOf(at: HttpPosition): string {
  return JSON.stringify({ ...at, roundMs: null });
}

/** Null for what is nested too deep. */
function textIn(value: unknown): string | null {
  try {
    return JSON.stringify(value);
  } catch {
    return null;
  }
}

/** What is written next. */
class Batch {
  readonly #clock: Clock;
  #records: SourceRecord[] = [];
  #rejected: Rejected[] = [];
  #skipped = 0;
  #bytes = 0;
  #sinceMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get isEmpty(): boolean {
    return this.#came === 0;
  }

  get isFull(): boolean {
    return this.#records.length + this.#rejected.length >= BATCH_RECORDS || this.#bytes >= BATCH_BYTES;
  }

  get isDue(): boolean {
    return !this.isEmpty && (this.isFull || this.#clock.monotonic() - this.#sinceMs >= BATCH_MS);
  }

  add(record: SourceRecord, bytes: number): void {
    this.#begin();
    this.#records.push(record);
    this.#bytes += bytes;
  }

  reject(rejected: Rejected): void {
    this.#begin();
    this.#rejected.push(rejected);
    this.#bytes += rejected.raw.length;
  }

  skip(): void {
    this.#begin();
    this.#skipped++;
  }

  take(position: HttpPosition): SourceBatch {
    const taken = { records: this.#records, rejected: this.#rejected, skipped: this.#skipped, position };
    this.#records = [];
    this.#rejected = [];
    this.#skipped = this.#bytes = 0;
    return taken;
  }

  get #came(): number {
    return this.#records.length + this.#rejected.length + this.#skipped;
  }

  #begin(): void {
    if (this.#came === 0) this.#sinceMs = this.#clock.monotonic();
  }
}
