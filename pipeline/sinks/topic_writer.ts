/**
 * Writing to topics so that what was written before a crash is not written again after it.
 *
 * A checkpoint keeps the offsets up to which all that is in the topics follows from it. What lies behind them at a restart, the
 * tail, was written by a run that was not saved: the next run makes the same things again, at other moments perhaps, and what
 * is in the tail is left out.
 *
 *     0 ............ position in the checkpoint ............ end
 *       covered by the checkpoint     tail: remembered, and left out when it comes again
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import type {
  CommittedLog,
  CommittedRecord,
  Offsets,
  OutgoingPart,
  TransactionalPublisher,
} from "../log/transactions.ts";
import { REVISIONS_PER_GENERATION, type SinkPosition } from "./sink.ts";

/**
 * Bound of what is remembered of tails. They hold what was written since a checkpoint, so as much as a pipeline publishes in
 * its checkpoint interval; an entry with a short key takes about 120 bytes. As many as there may be open panes.
 */
export const REMEMBERED_MAX = 5_000_000;

/** Something that is written once: who it is, and which version of it. */
export interface Written {
  readonly id: string;
  readonly revision: number;
  readonly final: boolean;
}

export interface TopicWriterOptions {
  readonly publisher: TransactionalPublisher;
  readonly log: CommittedLog;
  readonly topics: readonly string[];
  /** What a record in a topic is; null for one of another writer. */
  readonly identify: (record: CommittedRecord, topic: string) => Written | null;
  /** Instead of `REMEMBERED_MAX`. */
  readonly rememberedMax?: number;
}

type Version = Omit<Written, "id">;

/** What `position` gives, as JSON. */
interface Position {
  /** By topic and partition: what lies before is covered by the checkpoint. */
  readonly topics: Readonly<Record<string, Readonly<Record<string, number>>>>;
  /** What lies before, is not covered, and has not come again yet. */
  readonly remembered?: readonly (readonly [id: string, revision: number, final: boolean])[];
}

/** Keeps the position in the topics of one sink, and what is in their tails. */
export class TopicWriter {
  readonly #options: TopicWriterOptions;
  #offsets = new Map<string, Map<number, number>>();
  #remembered = new Map<string, Version>();
  /** A write did not end: what of it is in the topics has to be looked up. */
  #undecided = false;

  constructor(options: TopicWriterOptions) {
    this.#options = options;
  }

  /** Entries remembered now. */
  get remembered(): number {
    return this.#remembered.size;
  }

  /**
   * Takes the topics over and reads their tails from `position` on; at their ends when it is null.
   *
   * @throws UnavailableError when the brokers are away
   * @throws ConflictError when another process owns them now
   * @throws ConfigError when the tails hold more than can be remembered
   */
  async resume(position: SinkPosition, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { publisher, log, topics } = this.#options;
    signal.throwIfAborted();
    await publisher.claim({ signal });
    const { topics: saved = {}, remembered = [] } = (position ?? {}) as Partial<Position>;
    const offsets = new Map<string, Map<number, number>>();
    for (const topic of topics) {
      const latest = await log.offsets(topic, "latest");
      offsets.set(
        topic,
        saved[topic]
          ? tailStart(saved[topic], { latest, earliest: await log.offsets(topic, "earliest") })
          : new Map(latest),
      );
    }
    this.#offsets = offsets;
    this.#remembered = new Map(remembered.map(([id, revision, final]) => [id, { revision, final }]));
    // Should this end half way, the next write starts with it.
    this.#undecided = true;
    await this.#readTails(signal);
  }

  position(): SinkPosition {
    const topics = Object.fromEntries(
      Array.from(this.#offsets, ([topic, offsets]) => [topic, Object.fromEntries(offsets)]),
    );
    if (this.#remembered.size === 0) return { topics };
    return { topics, remembered: Array.from(this.#remembered, ([id, { revision, final }]) => [id, revision, final]) };
  }

  /**
   * Begins a write. When the one before did not end, finds out first what became of it.
   *
   * @throws as `resume`
   */
  async begin({ signal }: { readonly signal: AbortSignal }): Promise<TopicWrite> {
    const { publisher, topics } = this.#options;
    signal.throwIfAborted();
    if (topics.some((topic) => !this.#offsets.has(topic))) {
      throw new Error(`Cannot write to ${topics}: not resumed yet`);
    }
    await publisher.claim({ signal });
    if (this.#undecided) await this.#readTails(signal);
    return new TopicWrite(publisher, {
      remembered: this.#remembered,
      onCommit: () => this.#undecided = true,
      onEnd: (offsets, overtaken, generation) => {
        for (const [topic, ends] of offsets) {
          ends.forEach((end, partition) => this.#offsets.get(topic)!.set(partition, end));
        }
        for (const id of overtaken) this.#remembered.delete(id);
        this.#forgetBefore(generation);
        this.#undecided = false;
      },
    });
  }

  /** Remembers all that was committed since the position, and moves that behind it. */
  async #readTails(signal: AbortSignal): Promise<void> {
    const { log, topics, identify, rememberedMax = REMEMBERED_MAX } = this.#options;
    for (const topic of topics) {
      const ends = await log.read(topic, this.#offsets.get(topic)!, {
        signal,
        // Another pipeline sets records of the same topic aside: what it has open must not hide what was written here.
        isWhole: true,
        take: (record) => {
          const written = identify(record, topic);
          if (written) this.#remember(written);
          return this.#remembered.size <= rememberedMax;
        },
      });
      if (this.#remembered.size > rememberedMax) throw this.#tooMuch(topic, rememberedMax);
      // Remembered now, so it may lie before the position.
      this.#offsets.set(topic, new Map([...this.#offsets.get(topic)!, ...ends]));
    }
    this.#undecided = false;
  }

  #remember({ id, revision, final }: Written): void {
    const there = this.#remembered.get(id);
    if (!there || compare({ revision, final }, there) > 0) this.#remembered.set(id, { revision, final });
  }

  /** What an earlier computation wrote never comes again once a newer one has begun. */
  #forgetBefore(generation: number): void {
    if (generation === 0) return;
    for (const [id, { revision }] of this.#remembered) {
      if (generationOf(revision) < generation) this.#remembered.delete(id);
    }
  }

  #tooMuch(topic: string, max: number): ConfigError {
    return new ConfigError({
      where: `topic ${topic}`,
      problem:
        `more than ${max} records were written to it since the last checkpoint, too many to tell what is there ` +
        `already. Save checkpoints more often, and name another topic in the pipeline's definition`,
    });
  }
}

/** What a write has of its writer. */
interface Shared {
  readonly remembered: ReadonlyMap<string, Version>;
  readonly onCommit: () => void;
  readonly onEnd: (offsets: Map<string, Map<number, number>>, overtaken: readonly string[], generation: number) => void;
}

/** One write: what of it is not there yet goes out in transactions, and `end` says that all of it did. */
class TopicWrite {
  readonly #publisher: TransactionalPublisher;
  readonly #shared: Shared;
  readonly #offsets = new Map<string, Map<number, number>>();
  readonly #overtaken: string[] = [];
  #generation = 0;

  constructor(publisher: TransactionalPublisher, shared: Shared) {
    this.#publisher = publisher;
    this.#shared = shared;
  }

  /** True when it is in the topics already, or a newer version of it. */
  isThere({ id, revision, final }: Written): boolean {
    this.#generation = Math.max(this.#generation, generationOf(revision));
    const there = this.#shared.remembered.get(id);
    if (!there) return false;
    const order = compare({ revision, final }, there);
    // Once this version has come, all that come after it are newer.
    if (order >= 0) this.#overtaken.push(id);
    return order <= 0;
  }

  /** One transaction. When it fails, the next write finds out what is there. */
  async commit(parts: readonly OutgoingPart[], options: { readonly signal: AbortSignal }): Promise<void> {
    if (parts.length === 0) return;
    options.signal.throwIfAborted();
    this.#shared.onCommit();
    const ends = await this.#publisher.commit(parts, options);
    parts.forEach(({ topic, partition }, index) => {
      let offsets = this.#offsets.get(topic);
      if (!offsets) this.#offsets.set(topic, offsets = new Map());
      offsets.set(partition, ends[index]);
    });
  }

  end(): void {
    this.#shared.onEnd(this.#offsets, this.#overtaken, this.#generation);
  }
}

function generationOf(revision: number): number {
  return Math.floor(revision / REVISIONS_PER_GENERATION);
}

function compare(a: Version, b: Version): number {
  return a.revision - b.revision || Number(a.final) - Number(b.final);
}

/** Where the tail begins in each partition: all of it where the partition, or the whole topic, was made since. */
function tailStart(
  saved: Readonly<Record<string, number>>,
  { earliest, latest }: { readonly earliest: Offsets; readonly latest: Offsets },
): Map<number, number> {
  return new Map(Array.from(earliest, ([partition, first]) => {
    const from = saved[partition] ?? first;
    return [partition, from <= (latest.get(partition) ?? 0) ? Math.max(from, first) : first];
  }));
}
