/**
 * One writer of requests, under a transactional id of its own.
 *
 *     claim the id ──▶ read the receipts to their end ──▶ is the key there? ──▶ [ records + receipt ] committed ──▶ answer
 *       ▲                                                                              │
 *       └───────────────── not known how it ended, or another process has the id ◀─────┘
 *
 * Whoever holds the id and has read the receipts to their end knows every key that was answered: whoever claims it later shuts
 * this one out, and what was open under it is decided by then. So several processes may take requests; a key that two of them
 * get is written by one.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { ConflictError, UnavailableError } from "../errors.ts";
import { RenewablePublisher } from "../log/renewable_publisher.ts";
import type { CommittedLog, OutgoingPart, TransactionalPublisher } from "../log/transactions.ts";
import { unlessAborted } from "../log/unless_aborted.ts";
import { readReceipt, type Receipt, ReceiptMemory, receiptRecord, RECEIPTS_TOPIC } from "./receipts.ts";

/** How often a transaction is begun for one request: processes that take the id from each other go on sometime. */
const TRIES_MAX = 8;
const PAUSE_MS = 50;

export interface IngestSlotOptions {
  /** Partition of the receipts. */
  readonly slot: number;
  readonly publishers: (transactionalId: string) => TransactionalPublisher;
  readonly log: CommittedLog;
  readonly clock: Clock;
  readonly keysMax: number;
  readonly keyMs: number;
}

/** Writes requests one after the other. */
export class IngestSlot {
  readonly #options: IngestSlotOptions;
  readonly #publisher: RenewablePublisher;
  readonly #receipts: ReceiptMemory;
  #turn: Promise<unknown> = Promise.resolve();
  /** Offset of the next receipt; null before the first look. */
  #position: number | null = null;
  /** This one holds the id, as far as it knows, and has read all receipts. */
  #isSure = false;
  /** Requests that wait for their turn, or have it. */
  waiting = 0;

  constructor(options: IngestSlotOptions) {
    this.#options = options;
    const { publishers, slot } = options;
    this.#publisher = new RenewablePublisher(() => publishers(`${RECEIPTS_TOPIC}.${slot}`));
    this.#receipts = new ReceiptMemory(options);
  }

  /** Ends what a process before left open, and learns what it answered. @throws UnavailableError */
  open(signal: AbortSignal): Promise<void> {
    return this.#inTurn(() => this.#makeSure(signal), signal);
  }

  /** What was answered under the key, as far as this one knows. */
  find(key: string): Receipt | null {
    return this.#receipts.get(key, this.#options.clock.now());
  }

  /**
   * Writes the parts and the receipt, unless there is one under its key already. The receipt that is there then: of this
   * request when it has its id.
   *
   * @throws UnavailableError when Kafka is away, or the signal's reason: then it may be written
   * @throws BatchTooLargeError, ConfigError when Kafka refuses the records: nothing of them is written
   */
  write(receipt: Receipt, parts: readonly OutgoingPart[], signal: AbortSignal): Promise<Receipt> {
    return this.#inTurn(async () => {
      for (let tries = 1;; tries++) {
        await this.#makeSure(signal);
        const known = this.find(receipt.key);
        if (known) return known;
        try {
          const own = { topic: RECEIPTS_TOPIC, partition: this.#options.slot, records: [receiptRecord(receipt)] };
          const ends = await this.#publisher.commit([...parts, own], { signal });
          this.#position = ends.at(-1)!;
          this.#receipts.add(receipt);
          return receipt;
        } catch (error) {
          this.#isSure = false;
          if (error instanceof ConflictError) this.#publisher.renew();
          else if (!(error instanceof UnavailableError)) {
            // Ends the transaction: readers of committed records wait for it.
            if (!signal.aborted) await this.#publisher.claim({ signal }).catch(() => {});
            throw error;
          }
          if (tries === TRIES_MAX) throw unavailable(error);
          await this.#options.clock.sleep(tries * PAUSE_MS * (0.5 + Math.random()), signal);
        }
      }
    }, signal);
  }

  async #makeSure(signal: AbortSignal): Promise<void> {
    if (this.#isSure) return;
    try {
      await this.#publisher.claim({ signal });
    } catch (error) {
      if (!(error instanceof ConflictError)) throw error;
      this.#publisher.renew();
      await this.#publisher.claim({ signal }).catch((error) => {
        throw unavailable(error);
      });
    }
    await this.#readReceipts(signal);
    this.#isSure = true;
  }

  async #readReceipts(signal: AbortSignal): Promise<void> {
    const { log, slot } = this.#options;
    const [first, end] = await Promise.all([
      log.offsets(RECEIPTS_TOPIC, "earliest"),
      log.offsets(RECEIPTS_TOPIC, "latest"),
    ]);
    if (!first.has(slot)) {
      throw new UnavailableError(
        `Topic ${RECEIPTS_TOPIC} has no partition ${slot}: delete it, and it is made as it has to be`,
      );
    }
    if (this.#position === null || end.get(slot)! < this.#position) {
      // The topic was deleted and made again.
      this.#receipts.clear();
      this.#position = first.get(slot)!;
    }
    const take = (record: Parameters<typeof readReceipt>[0]) => {
      const receipt = readReceipt(record);
      if (receipt) this.#receipts.add(receipt);
    };
    const to = await log.read(RECEIPTS_TOPIC, new Map([[slot, this.#position]]), { take, signal, isWhole: true });
    this.#position = to.get(slot)!;
  }

  #inTurn<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    this.waiting++;
    const turn = this.#turn.then(() => {
      signal.throwIfAborted();
      return work();
    }).finally(() => this.waiting--);
    this.#turn = turn.catch(() => {});
    return unlessAborted(turn, signal);
  }
}

function unavailable(error: unknown): Error {
  return error instanceof ConflictError
    ? new UnavailableError("Other processes write under the same keys all the time; try again", { cause: error })
    : error as Error;
}
