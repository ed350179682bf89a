/**
 * Topics in memory, with transactions: what is committed is there at once, what is aborted never, and the outcome of a commit can
 * be hidden.
 *
 * @module
 */
import { ConfigError, ConflictError, UnavailableError } from "../../pipeline/errors.ts";
import type { OutgoingRecord } from "../../pipeline/log/publisher.ts";
import type {
  CommittedLog,
  CommittedRecord,
  Offsets,
  OutgoingPart,
  TransactionalPublisher,
} from "../../pipeline/log/transactions.ts";

export class MemoryLog implements CommittedLog {
  readonly #topics = new Map<string, (CommittedRecord | null)[][]>();
  readonly #epochs = new Map<string, number>();
  /** Records handed to readers. */
  recordsRead = 0;
  /** What happens to the next commits, in order: written or not, and in both cases nobody says so. */
  readonly hidden: ("written" | "not written")[] = [];
  /** Called before each commit. */
  onCommit: () => void = () => {};
  commits: (readonly OutgoingPart[])[] = [];
  isAway = false;
  /** Larger values are refused. */
  valueBytesMax = Infinity;

  /** Makes a topic; an existing one loses its records. */
  make(topic: string, partitions: number): void {
    this.#topics.set(topic, Array.from({ length: partitions }, () => []));
  }

  append(topic: string, partition: number, ...records: readonly OutgoingRecord[]): void {
    const log = this.#topics.get(topic)![partition];
    for (const record of records) log.push({ ...record, partition, offset: log.length });
  }

  /** What a transaction leaves in a log besides records. */
  mark(topic: string, partition: number): void {
    this.#topics.get(topic)![partition].push(null);
  }

  records(topic: string): CommittedRecord[] {
    return this.#topics.get(topic)!.flat().filter((record) => record !== null);
  }

  offsets(topic: string, position: "earliest" | "latest"): Promise<Offsets> {
    const found = this.#topics.get(topic);
    if (!found || this.isAway) return Promise.reject(new UnavailableError(`topic ${topic} is not there`));
    return Promise.resolve(new Map(found.map((log, i) => [i, position === "earliest" ? 0 : log.length])));
  }

  async read(
    topic: string,
    from: Offsets,
    { take, signal }: { readonly take: (record: CommittedRecord) => boolean | void; readonly signal: AbortSignal },
  ): Promise<Offsets> {
    const stopped = new Map<number, number>();
    const logs = this.#topics.get(topic)!;
    for (const [partition, start] of from) {
      const end = logs[partition].length;
      let at = start;
      while (at < end) {
        if (at % 1_000 === 0) await Promise.resolve();
        signal.throwIfAborted();
        const record = logs[partition][at++];
        if (record === null) continue;
        this.recordsRead++;
        if (take(record) === false) break;
      }
      stopped.set(partition, at);
    }
    return stopped;
  }

  publisher(id: string): TransactionalPublisher {
    let epoch = -1;
    const fenced = () => epoch !== this.#epochs.get(id);
    return {
      partitionCount: (topic) => Promise.resolve(this.#topics.get(topic)!.length),
      claim: () => {
        if (epoch < 0) this.#epochs.set(id, epoch = (this.#epochs.get(id) ?? 0) + 1);
        return fenced() ? Promise.reject(new ConflictError(`${id} was taken over`)) : Promise.resolve();
      },
      commit: async (parts) => {
        await Promise.resolve();
        this.onCommit();
        const large = parts.flatMap(({ records }) => records).find(({ value }) =>
          (value?.length ?? 0) > this.valueBytesMax
        );
        if (large) {
          throw new ConfigError({ where: "kafka", problem: "the record batch is larger than the broker allows" });
        }
        if (fenced()) throw new ConflictError(`${id} was taken over`);
        const outcome = this.hidden.shift();
        const ends: number[] = [];
        if (outcome !== "not written") {
          this.commits.push(parts);
          for (const { topic, partition, records } of parts) {
            this.append(topic, partition, ...records);
            this.mark(topic, partition);
            ends.push(this.#topics.get(topic)![partition].length - 1);
          }
        }
        if (outcome) throw new UnavailableError("no answer");
        return ends;
      },
    };
  }
}
