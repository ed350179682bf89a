/**
 * What was redriven, in the compacted topic `<topic>.redriven`. A record is written in the same transaction as the record that
 * is redriven, so that what is read here is exactly what was done.
 *
 *     key     pipeline/partition/offset                         of the record's first original
 *     value   {"attempt":1,"at":"2026-11-20T21:04:00.000Z","kind":"late","letter":{"partition":0,"offset":17},"edited":false}
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import type { CommittedLog, CommittedRecord } from "../log/transactions.ts";
import type { OutgoingRecord } from "../log/publisher.ts";
import { AttemptTable } from "./attempt_table.ts";
import type { Letter } from "./letter.ts";

/** Letters whose redrives are known, over all pipelines and partitions of a topic: about 50 MiB at most. */
export const JOURNAL_ENTRIES_MAX = 2_000_000;

/** Where the redrives of a topic are written down. */
export function journalTopic(topic: string): string {
  return `${topic}.redriven`;
}

export interface JournalEntry {
  readonly letter: Letter;
  readonly attempt: number;
  readonly atMs: number;
  readonly edited: boolean;
}

/** The record of an entry. The letter has a pipeline and an original. */
export function journalRecord({ letter, attempt, atMs, edited }: JournalEntry): OutgoingRecord {
  const bytes = (text: string) => new TextEncoder().encode(text);
  const { kind, partition, offset } = letter;
  return {
    key: bytes(`${letter.pipeline}/${letter.source!.partition}/${letter.originalOffset}`),
    value: bytes(
      JSON.stringify({ attempt, at: new Date(atMs).toISOString(), kind, letter: { partition, offset }, edited }),
    ),
    headers: [],
    timestampMs: atMs,
  };
}

/** Remembers the attempts that the topic tells of, and reads only what is new. */
export class Journal {
  readonly #log: CommittedLog;
  readonly #topic: string;
  readonly #entriesMax: number;
  readonly #tables = new Map<string, AttemptTable>();
  #known = 0;
  #positions = new Map<number, number>();
  #turn: Promise<void> = Promise.resolve();

  /** `topic`: the one whose letters are redriven. */
  constructor(log: CommittedLog, topic: string, { entriesMax = JOURNAL_ENTRIES_MAX } = {}) {
    this.#log = log;
    this.#topic = journalTopic(topic);
    this.#entriesMax = entriesMax;
  }

  /**
   * Reads on to the end.
   *
   * @throws UnavailableError when the brokers are away
   * @throws ConfigError when the topic tells of more letters than are remembered
   */
  refresh(signal: AbortSignal): Promise<void> {
    const turn = this.#turn.then(() => this.#read(signal));
    this.#turn = turn.catch(() => {});
    return turn;
  }

  /** How often this letter's original was redriven; 0 for never. */
  attemptsOf({ pipeline, source, originalOffset }: Letter): number {
    if (pipeline === null || source === null || originalOffset === null) return 0;
    return this.#tables.get(`${pipeline}/${source.partition}`)?.get(originalOffset) ?? 0;
  }

  /** Whether it was redriven after it was set aside. */
  wasRedriven(letter: Letter): boolean {
    return this.attemptsOf(letter) > letter.attempt;
  }

  async #read(signal: AbortSignal): Promise<void> {
    const [first, end] = await Promise.all([
      this.#log.offsets(this.#topic, "earliest"),
      this.#log.offsets(this.#topic, "latest"),
    ]);
    if ([...this.#positions].some(([partition, position]) => position > (end.get(partition) ?? 0))) {
      // Made anew: what it told before holds no longer.
      this.#tables.clear();
      this.#known = 0;
      this.#positions.clear();
    }
    const from = new Map([...first].map(([partition, low]) => [
      partition,
      Math.max(low, this.#positions.get(partition) ?? 0),
    ]));
    const behind = new Map([...from].filter(([partition, position]) => position < (end.get(partition) ?? 0)));
    if (behind.size === 0) return;
    const take = (record: CommittedRecord) => this.#take(record);
    const stopped = await this.#log.read(this.#topic, behind, { take, signal });
    this.#positions = new Map([...from, ...stopped]);
  }

  /** Remembers what was just written, before it is read. */
  note({ pipeline, source, originalOffset }: Letter, attempt: number): void {
    this.#raise(`${pipeline}/${source!.partition}`, originalOffset!, attempt);
  }

  #take({ key, value }: CommittedRecord): void {
    const text = (bytes: Uint8Array | null) => bytes === null ? "" : new TextDecoder().decode(bytes);
    const [, table, offset] = /^(.+\/\d+)\/(\d{1,16})$/.exec(text(key)) ?? [];
    const attempt = attemptIn(text(value));
    // What is not ours shall not end the reading: others may write to the topic.
    if (table !== undefined && attempt !== null) this.#raise(table, Number(offset), attempt);
  }

  #raise(name: string, offset: number, attempt: number): void {
    const table = this.#tables.get(name) ?? new AttemptTable();
    this.#tables.set(name, table);
    const before = table.length;
    table.raise(offset, attempt);
    this.#known += table.length - before;
    if (this.#known <= this.#entriesMax) return;
    const problem = `tells of more than ${this.#entriesMax} redriven letters; delete its oldest records ` +
      `(kafka-delete-records), with the letters they are of, and start again`;
    throw new ConfigError({ where: `topic ${this.#topic}`, problem });
  }
}

function attemptIn(json: string): number | null {
  try {
    const { attempt } = JSON.parse(json);
    return Number.isInteger(attempt) && attempt > 0 ? Math.min(attempt, 255) : null;
  } catch {
    return null;
  }
}
