/**
 * Late records and dead letters: found, shown, and brought back.
 *
 * @module
 */
import { avroType, type JsonPrefix } from "../codec/avro_values.ts";
import { FRAME_BYTES, schemaIdAt } from "../codec/framing.ts";
import type { Clock } from "../clock.ts";
import { ConfigError, MalformedRecordError, UnavailableError } from "../errors.ts";
import type { RegistryClient } from "../log/registry_client.ts";
import type { CommittedLog, TransactionalPublisher } from "../log/transactions.ts";
import type { Plan } from "../plan/plan.ts";
import { Journal } from "./journal.ts";
import { type FullLetter, type Letter, type LetterPlace, letterTopic } from "./letter.ts";
import { LOOKS_MAX, PAGE_MAX } from "./limits.ts";
import { Redriver } from "./redrive.ts";
import type { RedriveReport, RedriveRequest } from "./redrive_request.ts";
import { type Part, partsOf, positionsOf, readOne, readPage } from "./scan.ts";
import { chosenTopics, cursorText, type LetterFilter, matches, parseCursor } from "./selection.ts";

/** Values up to this many bytes are shown decoded. */
export const DECODED_BYTES_MAX = 4 * 1024 * 1024;

export interface LetterQuery extends LetterFilter {
  /** By the records' own timestamps; within a partition, by offset. Newest first unless told. */
  readonly order?: "newest" | "oldest";
  /** 1 to `PAGE_MAX`. */
  readonly limit: number;
  /** `next` of the page before, asked with the same filter and order. */
  readonly cursor?: string;
}

export interface ListedLetter extends Letter {
  /** Whether it was redriven since it was set aside. */
  readonly redriven: boolean;
}

export interface LetterPage {
  readonly letters: readonly ListedLetter[];
  /** Where to go on; null at the end. A page may be short, even empty, and still have one. */
  readonly next: string | null;
}

export interface LetterDetail extends FullLetter {
  readonly letter: ListedLetter;
  /** How often its original was redriven, by all of its letters. */
  readonly attempts: number;
  /** The value as JSON as far as it decodes with its schema, and why no further. */
  readonly decoded: JsonPrefix;
  /** The window it would have counted in, milliseconds since the epoch. */
  readonly window: { readonly startMs: number; readonly endMs: number } | null;
}

/** What the API and the command line need; every call may throw UnavailableError and SelectionError. */
export interface Letters {
  list(query: LetterQuery, options: { readonly signal: AbortSignal }): Promise<LetterPage>;
  /** Null when there is no such letter. */
  show(place: LetterPlace, options: { readonly signal: AbortSignal }): Promise<LetterDetail | null>;
  /** @throws ConflictError when another redrive of the same topic is under way, or took this one's place */
  redrive(request: RedriveRequest, options: { readonly signal: AbortSignal }): Promise<RedriveReport>;
}

export interface LettersOptions {
  readonly log: CommittedLog;
  /** Makes a writer under a transactional id; called once for each redrive of a topic. */
  readonly publishers: (transactionalId: string) => TransactionalPublisher;
  readonly registry: Pick<RegistryClient, "schemaById" | "latest">;
  readonly plans: readonly Plan[];
  readonly clock: Clock;
}

/** Letters of all topics that `plans` read. */
export function createLetters(options: LettersOptions): Letters {
  const { log, plans, registry } = options;
  const topics = [...new Set(plans.map(({ topic }) => topic))];
  const journals = new Map(topics.map((topic) => [topic, new Journal(log, topic)]));
  const redriver = new Redriver({ ...options, journals });

  const refreshed = async (of: readonly string[], signal: AbortSignal) => {
    await Promise.all(of.map((topic) => journals.get(topic)!.refresh(signal)));
  };
  const listed = (letter: Letter): ListedLetter => ({
    ...letter,
    redriven: journals.get(letter.topic)!.wasRedriven(letter),
  });

  return {
    async list({ order = "newest", limit, cursor, ...filter }, { signal }) {
      const chosen = chosenTopics(topics, filter);
      await refreshed([...new Set(chosen.map(({ topic }) => topic))], signal);
      const parts = continued(await partsOf(log, chosen, filter), cursor, order);
      const wasRedriven = (letter: Letter) => journals.get(letter.topic)!.wasRedriven(letter);
      const { letters, rest } = await readPage(log, parts, {
        order,
        limit: Math.min(limit, PAGE_MAX),
        looksMax: LOOKS_MAX,
        keep: (letter) => matches(filter, letter, wasRedriven),
        signal,
      });
      const isMore = rest.some(({ from, to }) => from < to);
      const at = positionsOf(rest, ({ from, to }) => order === "newest" ? to : from);
      return { letters: letters.map(listed), next: isMore ? cursorText({ at, ends: null }) : null };
    },

    async show(place, { signal }) {
      if (!topics.includes(place.topic)) return null;
      await refreshed([place.topic], signal);
      const full = await readOne(log, place, signal);
      if (!full) return null;
      const { letter } = full;
      const plan = plans.find(({ name, topic }) => name === letter.pipeline && topic === place.topic);
      const startMs = letter.windowStartMs;
      return {
        ...full,
        letter: listed(letter),
        attempts: Math.max(letter.attempt, journals.get(place.topic)!.attemptsOf(letter)),
        decoded: await decoded(full, registry),
        window: plan && startMs !== null ? { startMs, endMs: startMs + plan.window.sizeMs } : null,
      };
    },

    redrive: (request, { signal }) => redriver.redrive(request, signal),
  };
}

/** What the pages before have left. Letters that came meanwhile are for whoever reads oldest first. */
function continued(parts: readonly Part[], cursor: string | undefined, order: "newest" | "oldest"): Part[] {
  if (cursor === undefined) return [...parts];
  const { at } = parseCursor(cursor);
  return parts.map((part) => {
    const position = at.get(letterTopic(part))?.get(part.partition);
    if (order === "oldest") return { ...part, from: Math.max(part.from, position ?? part.from) };
    return { ...part, to: Math.min(part.to, position ?? part.from) };
  });
}

async function decoded(
  { letter, value }: FullLetter,
  registry: Pick<RegistryClient, "schemaById">,
): Promise<JsonPrefix> {
  const not = (fault: string): JsonPrefix => ({ json: null, fault });
  if (letter.isBatch) return not("the value is a whole batch as it was fetched, not one record");
  if (value === null) return not("there is no value");
  if (value.length > DECODED_BYTES_MAX) return not(`the value has ${value.length} bytes, too many to be shown decoded`);
  const id = schemaIdAt(value, 0, value.length);
  if (id < 0) return not("the value does not start with a schema id (0x00 and four bytes)");
  try {
    const schema = await registry.schemaById(id);
    if (schema === null) return not(`schema id ${id} is not in the registry`);
    return avroType(schema).decodePrefix(value.subarray(FRAME_BYTES));
  } catch (error) {
    const told = error instanceof UnavailableError || error instanceof ConfigError ||
      error instanceof MalformedRecordError;
    if (!told) throw error;
    return not(`its schema ${id} cannot be read: ${error.message}`);
  }
}
