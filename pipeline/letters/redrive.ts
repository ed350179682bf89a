/**
 * Brings letters back: writes the record again to its own topic and partition, with its own key, value, headers and timestamp, and
 *
 *     tailrace.redrive.offset      its first offset in that partition
 *     tailrace.redrive.attempt     1, 2, 3
 *     tailrace.redrive.pipeline    whose letter it is: the others have counted it already, or have a letter of their own
 *
 * in one transaction with what the journal tells of it. So a letter is redriven and written down, or neither, and where it is not
 * known whether a transaction was committed the journal decides it.
 *
 * @module
 */
import { avroType } from "../codec/avro_values.ts";
import type { Clock } from "../clock.ts";
import { ConfigError, ConflictError, MalformedRecordError, UnavailableError } from "../errors.ts";
import type { OutgoingRecord } from "../log/publisher.ts";
import type { RegistryClient } from "../log/registry_client.ts";
import type { CommittedLog, Offsets, OutgoingPart, TransactionalPublisher } from "../log/transactions.ts";
import type { AvroSchema, Plan } from "../plan/plan.ts";
import { BATCH_BYTES_MAX } from "../log/record_batches.ts";
import { type Forecast, Forecaster } from "./forecast.ts";
import { type Journal, journalRecord, journalTopic } from "./journal.ts";
import {
  ATTEMPTS_MAX,
  type FullLetter,
  type Letter,
  type LetterPlace,
  letterTopic,
  readLetter,
  redriveHeaders,
} from "./letter.ts";
import { CAP_DEFAULT, ITEMS_MAX, RATE_DEFAULT, REDRIVE_MS_MAX } from "./limits.ts";
import { type Part, partsOf, positionsOf, readOne, readPart } from "./scan.ts";
import { chosenTopics, cursorText, type LetterFilter, matches, parseCursor, SelectionError } from "./selection.ts";

/** Records of one transaction. */
const CHUNK_RECORDS_MAX = 100;
/** Tries of a transaction whose outcome is not known. */
const TRIES_MAX = 6;
const RETRY_FIRST_MS = 100;

/** Another value for a letter. */
export type RedriveEdit =
  | {
    readonly kind: "json";
    readonly value: unknown;
    /** The letter's own schema, the newest of its topic, or the one with this id. */
    readonly schema: "letter" | "newest" | number;
  }
  | { readonly kind: "bytes"; readonly bytes: Uint8Array };

export interface RedriveRequest {
  /** By what is told of them, oldest first; or one by one. */
  readonly selection: { readonly filter: LetterFilter } | { readonly letters: readonly LetterPlace[] };
  /** Only tells what would happen. */
  readonly dryRun: boolean;
  /** For one letter, named by its place. */
  readonly edit?: RedriveEdit;
  /** Records written at most; `CAP_DEFAULT` unless told. */
  readonly cap?: number;
  /** Records a second; `RATE_DEFAULT` unless told. */
  readonly rate?: number;
  /** Also what was redriven already, and what would be a dead letter again. Never more than `ATTEMPTS_MAX` attempts. */
  readonly force?: boolean;
  /** `next` of the report before, asked with the same selection. */
  readonly cursor?: string;
}

export interface RedriveItem {
  readonly letter: Letter;
  /** `skipped`: it was redriven already. In a dry run, `redriven` is what would be. */
  readonly outcome: "redriven" | "skipped" | "refused";
  /** Why it was skipped or refused. */
  readonly reason: string | null;
  /** Where it goes, and which attempt it is; null when it does not. */
  readonly target: { readonly topic: string; readonly partition: number; readonly attempt: number } | null;
  /** What becomes of it with the definition and the schemas as they are now; null where that was not looked at. */
  readonly forecast: Forecast | null;
}

export interface RedriveReport {
  readonly dryRun: boolean;
  readonly redriven: number;
  readonly skipped: number;
  readonly refused: number;
  /** The first `ITEMS_MAX`, in the order they were looked at. */
  readonly items: readonly RedriveItem[];
  /** Where to go on when the cap or the time was reached; null when nothing is left. */
  readonly next: string | null;
}

export interface RedriverOptions {
  readonly log: CommittedLog;
  readonly publishers: (transactionalId: string) => TransactionalPublisher;
  readonly registry: Pick<RegistryClient, "schemaById" | "latest">;
  readonly plans: readonly Plan[];
  readonly clock: Clock;
  readonly journals: ReadonlyMap<string, Journal>;
}

/** One redrive under way. */
interface Run {
  readonly request: RedriveRequest;
  readonly signal: AbortSignal;
  /** When to end, by the clock that never goes back. */
  readonly endsAt: number;
  /** Records that may still be written. */
  left: number;
  /** When the next record may be written. */
  dueAt: number;
  readonly counts: { redriven: number; skipped: number; refused: number };
  readonly items: RedriveItem[];
}

/** A record that is to be written, with what is told of it. */
interface Accepted {
  readonly item: RedriveItem;
  readonly record: OutgoingRecord;
  readonly edited: boolean;
}

/** What is asked once for all letters of a topic. */
interface TopicState {
  readonly topic: string;
  readonly journal: Journal;
  readonly publisher: TransactionalPublisher | null;
  /** Where its partitions end. */
  readonly ends: Offsets;
}

export class Redriver {
  readonly #options: RedriverOptions;
  readonly #forecasters = new Map<string, Forecaster>();
  /** Topics with a redrive under way. */
  readonly #busy = new Set<string>();

  constructor(options: RedriverOptions) {
    this.#options = options;
  }

  async redrive(request: RedriveRequest, signal: AbortSignal): Promise<RedriveReport> {
    const { clock } = this.#options;
    checkEdit(request);
    const now = clock.monotonic();
    const run: Run = {
      request,
      signal,
      endsAt: now + REDRIVE_MS_MAX,
      left: request.cap ?? CAP_DEFAULT,
      dueAt: now,
      counts: { redriven: 0, skipped: 0, refused: 0 },
      items: [],
    };
    const next = "letters" in request.selection
      ? await this.#named(run, request.selection.letters)
      : await this.#selected(run, request.selection.filter);
    return { dryRun: request.dryRun, ...run.counts, items: run.items, next };
  }

  async #named(run: Run, letters: readonly LetterPlace[]): Promise<string | null> {
    const topics = [...this.#options.journals.keys()];
    const byTopic = Map.groupBy(letters, ({ topic }) => topic);
    for (const topic of byTopic.keys()) chosenTopics(topics, { topic });
    const places = [...byTopic.values()].flat();
    let next = placeNumber(run.request.cursor);
    for (const topic of byTopic.keys()) {
      if (places[next]?.topic !== topic || this.#isOver(run)) continue;
      await this.#within(run, topic, async (state) => {
        while (places[next]?.topic === topic && !this.#isOver(run)) {
          const chunk = new Chunk(run);
          while (places[next]?.topic === topic && !chunk.isFull) {
            chunk.add(await this.#there(places[next++], run.signal));
          }
          await this.#process(run, state, chunk.letters);
        }
      });
    }
    return next < places.length ? String(next) : null;
  }

  async #there(place: LetterPlace, signal: AbortSignal): Promise<FullLetter> {
    const found = await readOne(this.#options.log, place, signal);
    if (found !== null) return found;
    const { kind, topic, partition, offset } = place;
    throw new SelectionError({ where: `letter ${kind}/${topic}/${partition}/${offset}`, problem: "is not there" });
  }

  async #selected(run: Run, filter: LetterFilter): Promise<string | null> {
    const { log, journals } = this.#options;
    const chosen = chosenTopics([...journals.keys()], filter);
    const parts = bounded(await partsOf(log, chosen, filter), run.request.cursor);
    const rest = [...parts];
    for (const topic of new Set(parts.map(({ topic }) => topic))) {
      if (this.#isOver(run)) break;
      await this.#within(run, topic, async (state) => {
        for (let i = 0; i < rest.length; i++) {
          while (rest[i].topic === topic && rest[i].from < rest[i].to && !this.#isOver(run)) {
            rest[i] = { ...rest[i], from: await this.#chunk(run, state, { part: rest[i], filter }) };
          }
        }
      });
    }
    if (rest.every(({ from, to }) => from >= to)) return null;
    return cursorText({ at: positionsOf(rest, ({ from }) => from), ends: positionsOf(parts, ({ to }) => to) });
  }

  #isOver(run: Run): boolean {
    return run.left <= 0 || this.#options.clock.monotonic() >= run.endsAt;
  }

  /** Redrives the next letters of one partition; where to go on. */
  async #chunk(run: Run, state: TopicState, from: { part: Part; filter: LetterFilter }): Promise<number> {
    const { part, filter } = from;
    const chunk = new Chunk(run);
    let looks = 0;
    const next = await readPart(this.#options.log, part, {
      signal: run.signal,
      take: (record) => {
        const full = readLetter(part, record);
        if (matches(filter, full.letter, (letter) => state.journal.wasRedriven(letter))) chunk.add(full);
        return !chunk.isFull && ++looks < LOOKS_MAX;
      },
    });
    await this.#process(run, state, chunk.letters);
    return next;
  }

  /** Readies a topic, one redrive at a time. */
  async #within(run: Run, topic: string, work: (state: TopicState) => Promise<void>): Promise<void> {
    const { log, journals, publishers } = this.#options;
    const { dryRun } = run.request;
    if (!dryRun && this.#busy.has(topic)) {
      throw new ConflictError(`A redrive of topic ${topic} is under way; ask again when it has ended`);
    }
    if (!dryRun) this.#busy.add(topic);
    try {
      const journal = journals.get(topic)!;
      const publisher = dryRun ? null : publishers(`tailrace-redrive.${topic}`);
      // Whoever held the id is fenced from here on, so that the journal ends where it is read to.
      await publisher?.claim({ signal: run.signal });
      await journal.refresh(run.signal);
      await work({ topic, journal, publisher, ends: await log.offsets(topic, "latest") });
    } finally {
      if (!dryRun) this.#busy.delete(topic);
    }
  }

  async #process(run: Run, state: TopicState, letters: readonly FullLetter[]): Promise<void> {
    const accepted: Accepted[] = [];
    const taken = new Set<string>();
    for (const full of letters) {
      const decided = await this.#decide(full, { run, state, taken });
      if ("record" in decided) accepted.push(decided);
      else this.#tell(run, decided);
    }
    if (accepted.length === 0) return;
    if (state.publisher) {
      await this.#pace(run, accepted.length);
      await this.#writeEach(run, state, accepted);
    } else {
      this.#done(run, accepted);
    }
  }

  #done(run: Run, accepted: readonly Accepted[]): void {
    run.left -= accepted.length;
    for (const { item } of accepted) this.#tell(run, item);
  }

  /** Writes all in one transaction; where the brokers refuse it, one by one, so that a single record holds up no other. */
  async #writeEach(run: Run, state: TopicState, accepted: readonly Accepted[]): Promise<void> {
    try {
      await this.#write(run, state, accepted);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      await state.publisher!.claim({ signal: run.signal });
      const [{ item }] = accepted;
      if (accepted.length === 1) {
        return this.#tell(run, { ...item, outcome: "refused", reason: error.message, target: null });
      }
      for (const one of accepted) await this.#writeEach(run, state, [one]);
      return;
    }
    this.#done(run, accepted);
  }

  #tell({ counts, items }: Run, item: RedriveItem): void {
    counts[item.outcome]++;
    if (items.length < ITEMS_MAX) items.push(item);
  }

  /** Whether and how a letter goes back. `taken`: originals that this transaction has already. */
  async #decide(
    full: FullLetter,
    { run, state, taken }: { run: Run; state: TopicState; taken: Set<string> },
  ): Promise<Accepted | RedriveItem> {
    const { letter } = full;
    const { edit, force = false } = run.request;
    const not = (outcome: "skipped" | "refused", reason: string, forecast: Forecast | null = null): RedriveItem => ({
      letter,
      outcome,
      reason,
      target: null,
      forecast,
    });
    const { source, originalOffset: offset } = letter;
    if (source === null || offset === null || source.topic !== state.topic) {
      return not("refused", `no header says where in topic ${state.topic} it was`);
    }
    if (letter.isBatch) return not("refused", "it is a whole batch that could not be unpacked, not one record");
    const plan = this.#options.plans.find(({ name, topic }) => name === letter.pipeline && topic === state.topic);
    if (!plan) return not("refused", `no pipeline ${letter.pipeline ?? ""} reads topic ${state.topic} here`);
    const end = state.ends.get(source.partition);
    if (end === undefined || offset >= end) {
      const found = end === undefined ? "is not there" : `ends at ${end}`;
      return not(
        "refused",
        `it was at ${source.partition}/${offset}, but that partition ${found}: was the topic made anew?`,
      );
    }
    const original = `${letter.pipeline}/${source.partition}/${offset}`;
    const before = Math.max(letter.attempt, state.journal.attemptsOf(letter)) + (taken.has(original) ? 1 : 0);
    if (before > letter.attempt && (!force || taken.has(original))) {
      return not("skipped", `it was redriven already, attempt ${before}`);
    }
    const attempt = before + 1;
    if (attempt > ATTEMPTS_MAX) {
      return not("refused", `it was redriven ${before} times, and came back; ${ATTEMPTS_MAX} are the most`);
    }
    const edited = edit === undefined ? full.value : await this.#edited(full, edit);
    if (typeof edited === "string") return not("refused", edited);
    const forecast = await this.#forecaster(plan).forecast(edited, letter.timestampMs);
    if (forecast.fate === "dead" && !force) {
      return not("refused", `it would be a dead letter again: ${forecast.reason}`, forecast);
    }
    taken.add(original);
    return {
      item: {
        letter,
        outcome: "redriven",
        reason: null,
        target: { topic: state.topic, partition: source.partition, attempt },
        forecast,
      },
      record: {
        key: full.key,
        value: edited,
        headers: redriveHeaders(full, { attempt, offset }),
        timestampMs: letter.timestampMs,
      },
      edited: edit !== undefined,
    };
  }

  #forecaster(plan: Plan): Forecaster {
    const known = this.#forecasters.get(plan.name) ?? new Forecaster(plan, this.#options.registry);
    this.#forecasters.set(plan.name, known);
    return known;
  }

  /** The value in place of the letter's own, or why there is none, in words. */
  async #edited({ letter }: FullLetter, edit: RedriveEdit): Promise<Uint8Array | string> {
    if (edit.kind === "bytes") return edit.bytes;
    const found = await this.#schemaFor(letter, edit.schema);
    if (typeof found === "string") return found;
    try {
      return avroType(found.schema).encodeFramed(found.id, edit.value);
    } catch (error) {
      if (error instanceof MalformedRecordError) {
        return `the new value does not fit schema ${found.id}: ${error.message}`;
      }
      throw error;
    }
  }

  async #schemaFor(
    { topic, schemaId }: Letter,
    wanted: "letter" | "newest" | number,
  ): Promise<{ readonly id: number; readonly schema: AvroSchema } | string> {
    const { registry } = this.#options;
    if (wanted === "newest") {
      return await registry.latest(`${topic}-value`) ?? `the registry has no schema for subject ${topic}-value`;
    }
    const id = wanted === "letter" ? schemaId : wanted;
    if (id === null) return "the letter names no schema: say which, or take the newest";
    try {
      const schema = await registry.schemaById(id);
      return schema === null ? `schema id ${id} is not in the registry: say which, or take the newest` : { id, schema };
    } catch (error) {
      if (error instanceof MalformedRecordError) return error.message;
      throw error;
    }
  }

  /** Waits until so many records may be written. */
  async #pace(run: Run, records: number): Promise<void> {
    const { clock } = this.#options;
    const wait = run.dueAt - clock.monotonic();
    if (wait > 0) await clock.sleep(wait, run.signal);
    run.dueAt = Math.max(run.dueAt, clock.monotonic()) + 1000 * records / (run.request.rate ?? RATE_DEFAULT);
  }

  /** Writes one transaction, and finds out whether it was written where nobody says so. */
  async #write(run: Run, state: TopicState, accepted: readonly Accepted[]): Promise<void> {
    const { clock } = this.#options;
    const { journal, topic } = state;
    const publisher = state.publisher!;
    const { signal } = run;
    const parts = [...partsFor(topic, accepted), {
      topic: journalTopic(topic),
      partition: 0,
      records: accepted.map(({ item, edited }) =>
        journalRecord({ letter: item.letter, attempt: item.target!.attempt, atMs: clock.now(), edited })
      ),
    }];
    const isThere = () => accepted.every(({ item }) => journal.attemptsOf(item.letter) >= item.target!.attempt);
    for (let tries = 0;; tries++) {
      try {
        if (tries > 0) {
          await publisher.claim({ signal });
          await journal.refresh(signal);
          if (isThere()) return;
        }
        await publisher.commit(parts, { signal });
        return accepted.forEach(({ item }) => journal.note(item.letter, item.target!.attempt));
      } catch (error) {
        if (!(error instanceof UnavailableError) || signal.aborted) throw error;
        if (tries + 1 >= TRIES_MAX) {
          throw new UnavailableError(
            `${run.counts.redriven} letters were redriven; of ${accepted.length} more it is not known yet (${error.message}). ` +
              "Ask again: what was redriven is not redriven twice",
            { cause: error },
          );
        }
        await clock.sleep(RETRY_FIRST_MS * 2 ** tries, signal);
      }
    }
  }
}

/** Letters seen by one read, at most. */
const LOOKS_MAX = 50_000;

/** Letters gathered for one transaction, bounded in number and bytes. */
class Chunk {
  readonly letters: FullLetter[] = [];
  readonly #recordsMax: number;
  #bytes = 0;

  constructor({ left, request: { rate = RATE_DEFAULT } }: Run) {
    // At low rates a few at a time, so that they come evenly.
    this.#recordsMax = Math.max(1, Math.min(CHUNK_RECORDS_MAX, left, Math.ceil(rate / 4)));
  }

  get isFull(): boolean {
    return this.letters.length >= this.#recordsMax || this.#bytes >= BATCH_BYTES_MAX / 2;
  }

  add(full: FullLetter): void {
    this.letters.push(full);
    this.#bytes += 500 + (full.key?.length ?? 0) + (full.value?.length ?? 0);
    for (const [name, value] of full.headers) this.#bytes += 3 * name.length + (value?.length ?? 0);
  }
}

function partsFor(topic: string, accepted: readonly Accepted[]): OutgoingPart[] {
  const byPartition = Map.groupBy(accepted, ({ item }) => item.target!.partition);
  return [...byPartition].map(([partition, of]) => ({ topic, partition, records: of.map(({ record }) => record) }));
}

/** What is left, ending where the first of these requests saw the end: a letter that comes back is not redriven in the same go. */
function bounded(parts: readonly Part[], cursor: string | undefined): Part[] {
  if (cursor === undefined) return [...parts];
  const { at, ends } = parseCursor(cursor);
  return parts.map((part) => {
    const name = letterTopic(part);
    const from = at.get(name)?.get(part.partition) ?? part.to;
    return {
      ...part,
      from: Math.max(part.from, from),
      to: Math.min(part.to, ends?.get(name)?.get(part.partition) ?? 0),
    };
  });
}

/** @throws SelectionError for an edit of more than one letter */
function checkEdit({ edit, selection }: RedriveRequest): void {
  if (edit === undefined || ("letters" in selection && selection.letters.length === 1)) return;
  throw new SelectionError({ where: "edit", problem: "is for one letter, named by its place" });
}

/** How many of the letters named one by one were done. */
function placeNumber(cursor: string | undefined): number {
  if (cursor === undefined || /^\d{1,6}$/.test(cursor)) return Number(cursor ?? 0);
  throw new SelectionError({ where: "cursor", problem: "is not the `next` of a report" });
}
