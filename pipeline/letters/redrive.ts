/**
 * Brings letters back: writes the record again to its own topic and partition, with its own key, value, headers and timestamp, and
 *
 *     tailrace.redrive.offset      its first offset in that partition
 *     tailrace.redrive.attempt     1, 2, 3
 *     tailrace.redrive.pipeline    whose letter it is: the others have counted it already, or have a letter of their own
 *
 * Which letters go back is in redrive_rules.ts, how they are written in redrive_writer.ts; here is in what order, how many at a
 * time and how fast.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { ConfigError, ConflictError, UnavailableError } from "../errors.ts";
import { BATCH_BYTES_MAX } from "../log/record_batches.ts";
import type { RegistryClient } from "../log/registry_client.ts";
import type { CommittedLog, TransactionalPublisher } from "../log/transactions.ts";
import type { Plan } from "../plan/plan.ts";
import type { Journal } from "./journal.ts";
import { type FullLetter, type LetterPlace, letterTopic, readLetter } from "./letter.ts";
import { CAP_DEFAULT, ITEMS_MAX, LOOKS_MAX, RATE_DEFAULT, REDRIVE_MS_MAX } from "./limits.ts";
import { checkEdit, type RedriveItem, type RedriveReport, type RedriveRequest } from "./redrive_request.ts";
import { type Accepted, RedriveRules, type TopicState } from "./redrive_rules.ts";
import { writeBack } from "./redrive_writer.ts";
import { type Part, partsOf, positionsOf, readOne, readPart } from "./scan.ts";
import { chosenTopics, cursorText, type LetterFilter, matches, parseCursor, SelectionError } from "./selection.ts";

/** Records of one transaction. */
const CHUNK_RECORDS_MAX = 100;

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

/** A topic whose letters are redriven; without a publisher it is only told what would happen. */
interface Topic extends TopicState {
  readonly publisher: TransactionalPublisher | null;
}

export class Redriver {
  readonly #options: RedriverOptions;
  readonly #rules: RedriveRules;
  /** Topics with a redrive under way. */
  readonly #busy = new Set<string>();

  constructor(options: RedriverOptions) {
    this.#options = options;
    this.#rules = new RedriveRules(options.plans, options.registry);
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
  async #chunk(run: Run, state: Topic, from: { part: Part; filter: LetterFilter }): Promise<number> {
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
  async #within(run: Run, topic: string, work: (state: Topic) => Promise<void>): Promise<void> {
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

  async #process(run: Run, state: Topic, letters: readonly FullLetter[]): Promise<void> {
    const accepted: Accepted[] = [];
    const taken = new Set<string>();
    for (const full of letters) {
      const decided = await this.#rules.decide(full, { request: run.request, state, taken });
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
  async #writeEach(run: Run, state: Topic, accepted: readonly Accepted[]): Promise<void> {
    const { topic, journal } = state;
    const { signal } = run;
    const publisher = state.publisher!;
    try {
      await writeBack(accepted, { topic, journal, publisher }, { clock: this.#options.clock, signal });
    } catch (error) {
      if (error instanceof UnavailableError && !signal.aborted) throw notKnown(run, accepted, error);
      if (!(error instanceof ConfigError)) throw error;
      await publisher.claim({ signal });
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

  /** Waits until so many records may be written. */
  async #pace(run: Run, records: number): Promise<void> {
    const { clock } = this.#options;
    const wait = run.dueAt - clock.monotonic();
    if (wait > 0) await clock.sleep(wait, run.signal);
    run.dueAt = Math.max(run.dueAt, clock.monotonic()) + 1000 * records / (run.request.rate ?? RATE_DEFAULT);
  }
}

function notKnown(run: Run, accepted: readonly Accepted[], cause: Error): UnavailableError {
  return new UnavailableError(
    `${run.counts.redriven} letters were redriven; of ${accepted.length} more it is not known yet (${cause.message}). ` +
      "Ask again: what was redriven is not redriven twice",
    { cause },
  );
}

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

/** How many of the letters named one by one were done. */
function placeNumber(cursor: string | undefined): number {
  if (cursor === undefined || /^\d{1,6}$/.test(cursor)) return Number(cursor ?? 0);
  throw new SelectionError({ where: "cursor", problem: "is not the `next` of a report" });
}
