/**
 * Reading letters page by page, forwards or backwards, without holding more than a page of any partition.
 *
 *     one partition, newest first:   |........|###########|        blocks are read forwards and handed out backwards
 *                                    lo       hi          read
 *
 * @module
 */
import type { CommittedLog, CommittedRecord } from "../log/transactions.ts";
import { type FullLetter, type Letter, type LetterKind, type LetterPlace, letterTopic, readLetter } from "./letter.ts";
import type { Positions } from "./selection.ts";

/** Letters of a partition that are held at a time. */
const HELD_MAX = 256;
/** Offsets of the first block that is read backwards; the next ones are larger until something is found. */
const BLOCK_FIRST = 256;
const BLOCK_MAX = 8_192;
/** Partitions read at a time. */
const READS_MAX = 8;

/** One partition of a topic of letters: what is to be read of it, `[from, to)`. */
export interface Part {
  readonly kind: LetterKind;
  /** The topic the records came from. */
  readonly topic: string;
  readonly partition: number;
  readonly from: number;
  readonly to: number;
}

export interface PageOptions {
  readonly order: "newest" | "oldest";
  /** Letters of the page. */
  readonly limit: number;
  /** Letters that may be looked at for it; with few matches a page ends short of its limit. */
  readonly looksMax: number;
  readonly keep: (letter: Letter) => boolean;
  readonly signal: AbortSignal;
}

export interface Page {
  readonly letters: readonly Letter[];
  /** What is left of each part, in the order given; `from` is `to` where nothing is. */
  readonly rest: readonly Part[];
}

/**
 * Merges the parts by the records' own timestamps; within a partition letters come in the order of their offsets (or the reverse).
 *
 * @throws UnavailableError when the brokers are away
 */
export async function readPage(log: CommittedLog, parts: readonly Part[], options: PageOptions): Promise<Page> {
  const { order, limit, looksMax } = options;
  const readers = parts.map((part) => new PartReader(log, part, options));
  const letters: Letter[] = [];
  const isBefore = (a: Letter, b: Letter) =>
    order === "newest" ? a.timestampMs > b.timestampMs : a.timestampMs < b.timestampMs;
  while (letters.length < limit) {
    for (;;) {
      const unknown = readers.filter((reader) => reader.head === null && !reader.isDone);
      const looks = readers.reduce((sum, reader) => sum + reader.looks, 0);
      if (unknown.length === 0) break;
      // Without the head of each partition it is not known which letter comes next.
      if (looks >= looksMax) return { letters, rest: readers.map((reader) => reader.rest) };
      await Promise.all(unknown.slice(0, READS_MAX).map((reader) => reader.read()));
    }
    let next: PartReader | null = null;
    for (const reader of readers) {
      if (reader.head !== null && (next === null || isBefore(reader.head, next.head!))) next = reader;
    }
    if (next === null) break;
    letters.push(next.take());
  }
  return { letters, rest: readers.map((reader) => reader.rest) };
}

class PartReader {
  readonly #log: CommittedLog;
  readonly #part: Part;
  readonly #options: PageOptions;
  readonly #held: Letter[] = [];
  #from: number;
  #to: number;
  #block = BLOCK_FIRST;
  /** Letters looked at so far. */
  looks = 0;

  constructor(log: CommittedLog, part: Part, options: PageOptions) {
    this.#log = log;
    this.#part = part;
    this.#options = options;
    this.#from = part.from;
    this.#to = part.to;
  }

  get head(): Letter | null {
    return this.#held[0] ?? null;
  }

  /** Nothing more is to be read. */
  get isDone(): boolean {
    return this.#from >= this.#to;
  }

  /** What was not taken. */
  get rest(): Part {
    const { head } = this;
    if (this.#options.order === "newest") return { ...this.#part, to: head === null ? this.#to : head.offset + 1 };
    return { ...this.#part, from: head === null ? Math.min(this.#from, this.#to) : head.offset, to: this.#part.to };
  }

  take(): Letter {
    return this.#held.shift()!;
  }

  async read(): Promise<void> {
    if (this.#options.order === "oldest") await this.#forwards();
    else await this.#backwards();
  }

  async #forwards(): Promise<void> {
    const room = Math.min(HELD_MAX, this.#options.limit);
    const begin = this.looks;
    this.#from = await readPart(this.#log, { ...this.#part, from: this.#from }, {
      signal: this.#options.signal,
      take: (record) => {
        const letter = this.#look(record);
        if (letter) this.#held.push(letter);
        return this.#held.length < room && this.looks - begin < BLOCK_MAX;
      },
    });
  }

  async #backwards(): Promise<void> {
    const low = Math.max(this.#from, this.#to - this.#block);
    const found: Letter[] = [];
    let next = low;
    await readPart(this.#log, { ...this.#part, from: low, to: this.#to }, {
      signal: this.#options.signal,
      take: (record) => {
        const letter = this.#look(record);
        if (!letter) return true;
        found.push(letter);
        // The older ones are read again when it is their turn.
        if (found.length > HELD_MAX) {
          found.shift();
          next = found[0].offset;
        }
        return true;
      },
    });
    this.#to = next;
    this.#held.push(...found.reverse());
    if (found.length === 0) this.#block = Math.min(2 * this.#block, BLOCK_MAX);
  }

  /** The letter, when it is one of those asked for. */
  #look(record: CommittedRecord): Letter | null {
    this.looks++;
    const { letter } = readLetter(this.#part, record);
    return this.#options.keep(letter) ? letter : null;
  }
}

/**
 * Reads the records of `[from, to)`; where to go on: `to`, or the offset after the record for which `take` returned false.
 *
 * @throws UnavailableError when the brokers are away
 */
export async function readPart(
  log: CommittedLog,
  { kind, topic, partition, from, to }: Part,
  { take, signal }: { readonly take: (record: CommittedRecord) => boolean; readonly signal: AbortSignal },
): Promise<number> {
  if (from >= to) return to;
  let next = to;
  await log.read(letterTopic({ topic, kind }), new Map([[partition, from]]), {
    signal,
    take: (record) => {
      if (record.offset >= to) return false;
      if (!take(record)) {
        next = record.offset + 1;
        return false;
      }
      return record.offset < to - 1;
    },
  });
  return next;
}

/**
 * The partitions of letters' topics that `filter` leaves, each from its first offset to its end.
 *
 * @throws UnavailableError when the brokers are away
 */
export async function partsOf(
  log: CommittedLog,
  topics: readonly { readonly topic: string; readonly kind: LetterKind }[],
  { partition }: { readonly partition?: number },
): Promise<Part[]> {
  const parts = await Promise.all(topics.map(async ({ topic, kind }) => {
    const name = letterTopic({ topic, kind });
    const [first, end] = await Promise.all([log.offsets(name, "earliest"), log.offsets(name, "latest")]);
    return [...end].filter(([letters]) => partition === undefined || partition % end.size === letters)
      .sort(([a], [b]) => a - b)
      .map(([letters, to]): Part => ({ kind, topic, partition: letters, from: first.get(letters) ?? 0, to }));
  }));
  return parts.flat();
}

/** The letter at a place; null when there is none. */
export async function readOne(log: CommittedLog, place: LetterPlace, signal: AbortSignal): Promise<FullLetter | null> {
  const { kind, topic, partition, offset } = place;
  const name = letterTopic(place);
  const [first, end] = await Promise.all([log.offsets(name, "earliest"), log.offsets(name, "latest")]);
  if (offset < (first.get(partition) ?? 0) || offset >= (end.get(partition) ?? 0)) return null;
  let found: FullLetter | null = null;
  await readPart(log, { kind, topic, partition, from: offset, to: offset + 1 }, {
    signal,
    take: (record) => {
      found = readLetter(place, record);
      return false;
    },
  });
  return found;
}

/** A position of each part, as a cursor holds them. */
export function positionsOf(parts: readonly Part[], of: (part: Part) => number): Positions {
  const positions = new Map<string, Map<number, number>>();
  for (const part of parts) {
    const name = letterTopic(part);
    const offsets = positions.get(name) ?? new Map<number, number>();
    positions.set(name, offsets.set(part.partition, of(part)));
  }
  return positions;
}
