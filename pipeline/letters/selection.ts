/**
 * Which letters: by what is told of them, and from where to go on.
 *
 * @module
 */
import type { Fault } from "../errors.ts";
import type { Letter, LetterKind } from "./letter.ts";

/** All that is given must hold. */
export interface LetterFilter {
  readonly kind?: LetterKind;
  /** The topic the records came from. */
  readonly topic?: string;
  readonly pipeline?: string;
  /** Partition of that topic. */
  readonly partition?: number;
  /** First offset in that partition: `>= offsetFrom`, `< offsetTo`. */
  readonly offsetFrom?: number;
  readonly offsetTo?: number;
  /** The record's own timestamp, milliseconds since the epoch: `>= from`, `< to`. */
  readonly from?: number;
  readonly to?: number;
  /** The cause contains this; capitals count for nothing. */
  readonly cause?: string;
  readonly schemaId?: number;
  /** How often it had been redriven when it was set aside. */
  readonly attempt?: number;
  /** Whether it was redriven since. */
  readonly redriven?: boolean;
}

/** A selection that cannot be answered as asked; whoever asked has to change it. */
export class SelectionError extends Error {
  override readonly name = "SelectionError";
  readonly faults: readonly Fault[];

  constructor(...faults: Fault[]) {
    super(faults.map(({ where, problem }) => `${where}: ${problem}`).join("\n"));
    this.faults = faults;
  }
}

/** @throws SelectionError for a topic whose letters are not known here */
export function chosenTopics(
  topics: readonly string[],
  { topic, kind }: LetterFilter,
): { readonly topic: string; readonly kind: LetterKind }[] {
  if (topic !== undefined && !topics.includes(topic)) {
    const problem = `no pipeline reads ${JSON.stringify(topic)}; there are: ${topics.join(", ")}`;
    throw new SelectionError({ where: "topic", problem });
  }
  const kinds: readonly LetterKind[] = kind === undefined ? ["dead", "late"] : [kind];
  return topics.filter((name) => topic === undefined || name === topic)
    .flatMap((name) => kinds.map((kind) => ({ topic: name, kind })));
}

/** Whether a letter is among those asked for; `wasRedriven` is asked only where it matters. */
export function matches(filter: LetterFilter, letter: Letter, wasRedriven: (letter: Letter) => boolean): boolean {
  const { originalOffset: offset, timestampMs } = letter;
  return (filter.pipeline === undefined || letter.pipeline === filter.pipeline) &&
    (filter.partition === undefined || letter.source?.partition === filter.partition) &&
    (filter.offsetFrom === undefined || (offset !== null && offset >= filter.offsetFrom)) &&
    (filter.offsetTo === undefined || (offset !== null && offset < filter.offsetTo)) &&
    (filter.from === undefined || timestampMs >= filter.from) &&
    (filter.to === undefined || timestampMs < filter.to) &&
    (filter.cause === undefined || letter.cause.toLowerCase().includes(filter.cause.toLowerCase())) &&
    (filter.schemaId === undefined || letter.schemaId === filter.schemaId) &&
    (filter.attempt === undefined || letter.attempt === filter.attempt) &&
    (filter.redriven === undefined || wasRedriven(letter) === filter.redriven);
}

/**
 * Where to go on, by topic of letters and partition; as text, base64url of JSON:
 *
 *     {"a":{"transactions.dead":{"0":17,"1":4}}, "e":{...}}      a: positions, e: where to end, when that was decided
 */
export interface Cursor {
  readonly at: Positions;
  readonly ends: Positions | null;
}

export type Positions = ReadonlyMap<string, ReadonlyMap<number, number>>;

export function cursorText({ at, ends }: Cursor): string {
  const json = JSON.stringify({ a: plain(at), ...ends ? { e: plain(ends) } : {} });
  return new TextEncoder().encode(json).toBase64({ alphabet: "base64url", omitPadding: true });
}

/** @throws SelectionError when the text is not a cursor of ours */
export function parseCursor(text: string): Cursor {
  try {
    const json = JSON.parse(new TextDecoder().decode(Uint8Array.fromBase64(text, { alphabet: "base64url" })));
    return { at: positions(json.a), ends: json.e === undefined ? null : positions(json.e) };
  } catch {
    throw new SelectionError({ where: "cursor", problem: "is not the `next` of a page" });
  }
}

function plain(positions: Positions): Record<string, Record<string, number>> {
  return Object.fromEntries([...positions].map(([topic, offsets]) => [topic, Object.fromEntries(offsets)]));
}

function positions(json: unknown): Positions {
  return new Map(entries(json).map(([topic, offsets]) => [topic, new Map(entries(offsets).map(position))]));
}

function position([partition, offset]: [string, unknown]): [number, number] {
  if (!/^\d{1,9}$/.test(partition) || !Number.isSafeInteger(offset) || (offset as number) < 0) throw new TypeError();
  return [Number(partition), offset as number];
}

function entries(json: unknown): [string, unknown][] {
  if (typeof json !== "object" || json === null || Array.isArray(json)) throw new TypeError();
  return Object.entries(json);
}
