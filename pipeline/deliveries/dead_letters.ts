import type { Clock } from "../clock.ts";
import type { CommittedLog, TransactionalPublisher } from "../log/transactions.ts";
import { setAsideWithRetry } from "../sinks/retry.ts";
import { createSetAsideSink, setAsideTopics } from "../sinks/set_aside.ts";
import { HEADER, splitHeaders } from "../sinks/set_aside_headers.ts";
import type { SetAsideRecord, SetAsideSink } from "../sinks/sink.ts";
import type { Teller } from "../sources/rejected.ts";

export interface DeadLettersOptions {
  /** Of the delivery: letters name it as who set them aside. */
  readonly name: string;
  readonly topic: string;
  readonly clock: Clock;
  readonly log: CommittedLog;
  /** A writer under a transactional id of its own. */
  readonly publisher: (transactionalId: string) => TransactionalPublisher;
  readonly onWaiting: (reason: string | null) => void;
}

/**
 * Dead letters of partitions that one member holds: to `<topic>.dead`, each once. Every partition has a transactional id of its
 * own, so that whoever holds the partition next fences whoever held it before, and nobody else.
 */
export class DeadLetters {
  readonly #options: DeadLettersOptions;
  /** Of partitions that had a letter since they were taken over: most have none. */
  readonly #sinks = new Map<number, Promise<SetAsideSink>>();
  readonly #since: ReadonlyMap<number, number>;

  /** @param since where each partition is read from: letters of offsets before it are not met again */
  constructor(since: ReadonlyMap<number, number>, options: DeadLettersOptions) {
    this.#since = since;
    this.#options = options;
  }

  /** Resolves when all of them are in the topic. @throws ConflictError when another member has the partition now */
  async write(partition: number, letters: readonly SetAsideRecord[], signal: AbortSignal): Promise<void> {
    if (letters.length === 0) return;
    let opening = this.#sinks.get(partition);
    if (!opening) {
      this.#sinks.set(partition, opening = this.#open(partition, signal));
      opening.catch(() => this.#sinks.delete(partition));
    }
    await (await opening).write(letters, { epoch: 0, signal });
  }

  async #open(partition: number, signal: AbortSignal): Promise<SetAsideSink> {
    const { name, topic, clock, log, publisher, onWaiting } = this.#options;
    const { dead } = setAsideTopics(topic);
    const sink = setAsideWithRetry(
      createSetAsideSink({
        publisher: publisher(`tailrace.delivery.${name}.${partition}`),
        log,
        pipeline: name,
        topic,
        isDeadOnly: true,
      }),
      { clock, onWaiting },
    );
    // Of the topic beside, only the partition that this one's letters go to is looked through.
    const ends = await log.offsets(dead, "latest");
    const own = partition % ends.size;
    const elsewhere = [...ends].filter(([number]) => number !== own);
    const since = { [partition]: this.#since.get(partition) ?? 0 };
    await sink.resume({ topics: { [dead]: Object.fromEntries(elsewhere) }, since }, { signal });
    return sink;
  }
}

/** Of the records in `<topic>.dead` that this delivery could not hand over. */
export function refusedBy(delivery: string): Teller {
  return ({ headers }) => {
    const { origin, added } = splitHeaders(headers);
    if (origin?.pipeline !== delivery) return null;
    const where = `${origin.topic}, partition ${origin.partition}, offset ${origin.offset}`;
    return { reason: added.get(HEADER.reason.dead) ?? "", where };
  };
}
