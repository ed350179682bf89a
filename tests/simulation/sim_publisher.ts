import { UnavailableError } from "../../pipeline/errors.ts";
import type {
  CommittedLog,
  CommittedRecord,
  Offsets,
  OutgoingPart,
  TransactionalPublisher,
} from "../../pipeline/log/transactions.ts";
import type { SimKafka } from "./sim_kafka.ts";
import type { SimProcess } from "./sim_process.ts";

/** A process's writer under a transactional id. */
export class SimPublisher implements TransactionalPublisher {
  readonly #kafka: SimKafka;
  readonly #process: SimProcess;
  readonly #id: string;
  #epoch: number | null = null;
  /** Nothing is pending, and the epoch is known. */
  #isClean = false;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(kafka: SimKafka, process: SimProcess, id: string) {
    this.#kafka = kafka;
    this.#process = process;
    this.#id = id;
  }

  partitionCount(topic: string): Promise<number> {
    return this.#process.call("kafka", `for ${topic}`, () => this.#kafka.topic(topic).length);
  }

  claim({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    return this.#inTurn(() => this.#claim(signal));
  }

  commit(parts: readonly OutgoingPart[], { signal }: { readonly signal: AbortSignal }): Promise<readonly number[]> {
    return this.#inTurn(async () => {
      await this.#claim(signal);
      const epoch = this.#epoch!;
      this.#isClean = false;
      const ends: number[] = [];
      for (const part of parts) {
        const what = `to take ${part.records.length} records of ${part.topic}/${part.partition}`;
        ends.push(await this.#once(what, () => this.#kafka.produce(this.#id, epoch, part), signal));
      }
      await this.#once("to commit", () => this.#kafka.commit(this.#id, epoch), signal);
      this.#isClean = true;
      return ends;
    });
  }

  async #claim(signal: AbortSignal): Promise<void> {
    if (this.#isClean) return;
    const known = this.#epoch;
    this.#epoch = await this.#once("for the id", () => this.#kafka.claim(this.#id, known), signal);
    this.#isClean = true;
  }

  /** A broker takes a request once: it knows the sequence numbers that it has seen, and a connection repeats nothing. */
  #once<T>(what: string, serve: () => T, signal: AbortSignal): Promise<T> {
    let isServed = false;
    return this.#process.call("kafka", what, () => {
      if (isServed) throw new UnavailableError("seen before");
      isServed = true;
      return serve();
    }, signal);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => {});
    return turn;
  }
}

/** Records in one answer. */
const ANSWER_RECORDS_MAX = 20;

/** Reads what is committed, a few records at a time. */
export class SimCommittedLog implements CommittedLog {
  readonly #kafka: SimKafka;
  readonly #process: SimProcess;

  constructor(kafka: SimKafka, process: SimProcess) {
    this.#kafka = kafka;
    this.#process = process;
  }

  offsets(topic: string, position: "earliest" | "latest"): Promise<Offsets> {
    return this.#process.call("kafka", `for the ${position} offsets of ${topic}`, () =>
      new Map(
        this.#kafka.topic(topic).map((_, partition) => [
          partition,
          position === "earliest" ? 0 : this.#kafka.lastStable(topic, partition),
        ]),
      ));
  }

  async read(
    topic: string,
    from: Offsets,
    { take, signal }: { readonly take: (record: CommittedRecord) => boolean | void; readonly signal: AbortSignal },
  ): Promise<Offsets> {
    const ends = await this.offsets(topic, "latest");
    const reached = new Map<number, number>();
    for (const [partition, first] of from) {
      const end = Math.max(first, ends.get(partition) ?? first);
      let at = first;
      while (at < end) {
        const start = at;
        const until = Math.min(end, start + ANSWER_RECORDS_MAX);
        const records = await this.#process.call(
          "kafka",
          `for ${topic}/${partition} from ${start}`,
          () => this.#committed(topic, partition, start, until),
          signal,
        );
        at = until;
        if (records.some((record) => take(record) === false)) break;
      }
      reached.set(partition, at);
    }
    return reached;
  }

  #committed(topic: string, partition: number, from: number, until: number): CommittedRecord[] {
    const entries = this.#kafka.topic(topic)[partition];
    const found: CommittedRecord[] = [];
    for (let offset = from; offset < until; offset++) {
      const { record, state } = entries[offset];
      if (record !== null && state === "committed") found.push({ ...record, partition, offset });
    }
    return found;
  }
}
