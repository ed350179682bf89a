/**
 * Writes records back, in one transaction with what the journal tells of them. So a letter is redriven and written down, or
 * neither, and where it is not known whether a transaction was committed the journal decides it.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { UnavailableError } from "../errors.ts";
import type { OutgoingPart, TransactionalPublisher } from "../log/transactions.ts";
import { type Journal, journalRecord, journalTopic } from "./journal.ts";
import type { Accepted } from "./redrive_rules.ts";

/** Tries of a transaction whose outcome is not known. */
const TRIES_MAX = 6;
const RETRY_FIRST_MS = 100;

export interface RedriveTarget {
  readonly topic: string;
  readonly journal: Journal;
  readonly publisher: TransactionalPublisher;
}

/**
 * Resolves when all is written, and the journal knows it.
 *
 * @throws UnavailableError when it is not known in time whether it was: a repeat finds out
 * @throws ConfigError when the brokers refuse a record: nothing was written
 * @throws ConflictError when another process redrives this topic now
 */
export async function writeBack(
  accepted: readonly Accepted[],
  { topic, journal, publisher }: RedriveTarget,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<void> {
  const parts = [...partsOf(topic, accepted), {
    topic: journalTopic(topic),
    partition: 0,
    records: accepted.map(({ item, edited }) =>
      journalRecord({ letter: item.letter, attempt: item.target!.attempt, atMs: clock.now(), edited })
    ),
  }];
  const isThere = () => accepted.every(({ item }) => journal.attemptsOf(item.letter) >= item.target!.attempt);
  for (let tries = 0;; tries++) {
    try {
      if (tries > 0) {
        await publisher.claim({ signal });
        await journal.refresh(signal);
        if (isThere()) return;
      }
      await publisher.commit(parts, { signal });
      return accepted.forEach(({ item }) => journal.note(item.letter, item.target!.attempt));
    } catch (error) {
      if (!(error instanceof UnavailableError) || signal.aborted || tries + 1 >= TRIES_MAX) throw error;
      await clock.sleep(RETRY_FIRST_MS * 2 ** tries, signal);
    }
  }
}

function partsOf(topic: string, accepted: readonly Accepted[]): OutgoingPart[] {
  const byPartition = Map.groupBy(accepted, ({ item }) => item.target!.partition);
  return [...byPartition].map(([partition, of]) => ({ topic, partition, records: of.map(({ record }) => record) }));
}
