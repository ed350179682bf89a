import type { ResolvedOptions } from "../options.ts";
import { Journal } from "../journal.ts";

/** The place a group has reached in a partition: the next offset to read. */
export interface Committed {
  readonly offset: number;
  readonly leaderEpoch: number;
  readonly metadata: string | null;
}

/** One change in the journal; no offset means it was removed. */
interface Entry {
  readonly group: string;
  readonly topic: string;
  readonly partition: number;
  readonly committed?: Committed;
}

/** The offsets that groups have committed, kept in `offsets.log`, a journal. */
export class OffsetStore {
  readonly #groups = new Map<string, Map<string, Map<number, Committed>>>();
  readonly #journal: Journal<Entry>;

  constructor(options: Pick<ResolvedOptions, "dataDir" | "log">) {
    this.#journal = new Journal<Entry>(`${options.dataDir}/offsets.log`, {
      apply: (entry) => this.#apply(entry),
      snapshot: () => this.#entries(),
      log: options.log,
    });
  }

  groups(): Iterable<string> {
    return this.#groups.keys();
  }

  get groupCount(): number {
    return this.#groups.size;
  }

  has(group: string): boolean {
    return this.#groups.has(group);
  }

  get(group: string, topic: string, partition: number): Committed | null {
    return this.#groups.get(group)?.get(topic)?.get(partition) ?? null;
  }

  /** All that a group has committed, by topic. */
  all(group: string): { name: string; partitions: number[] }[] {
    const topics = this.#groups.get(group) ?? new Map<string, Map<number, Committed>>();
    return Array.from(topics, ([name, partitions]) => ({ name, partitions: [...partitions.keys()] }));
  }

  /** Resolves when the commits are on disk. */
  async commit(entries: readonly Required<Entry>[]): Promise<void> {
    this.#record(entries);
    await this.#journal.sync();
  }

  forgetGroup(group: string): void {
    this.#record([...this.#entries()].filter((entry) => entry.group === group).map(withoutOffset));
  }

  forgetTopic(topic: string): void {
    this.#record([...this.#entries()].filter((entry) => entry.topic === topic).map(withoutOffset));
  }

  close(): Promise<void> {
    return this.#journal.close();
  }

  #record(entries: readonly Entry[]): void {
    if (entries.length === 0) return;
    this.#journal.append(entries);
    for (const entry of entries) this.#apply(entry);
  }

  #apply({ group, topic, partition, committed }: Entry): void {
    const topics = this.#groups.get(group) ?? new Map<string, Map<number, Committed>>();
    const partitions = topics.get(topic) ?? new Map<number, Committed>();
    if (committed === undefined) partitions.delete(partition);
    else partitions.set(partition, committed);
    if (partitions.size > 0) topics.set(topic, partitions);
    else topics.delete(topic);
    if (topics.size > 0) this.#groups.set(group, topics);
    else this.#groups.delete(group);
  }

  *#entries(): Generator<Required<Entry>> {
    for (const [group, topics] of this.#groups) {
      for (const [topic, partitions] of topics) {
        for (const [partition, committed] of partitions) yield { group, topic, partition, committed };
      }
    }
  }
}

function withoutOffset({ group, topic, partition }: Entry): Entry {
  return { group, topic, partition };
}
