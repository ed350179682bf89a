import type { Clock } from "../../pipeline/clock.ts";
import { DiskBudget } from "./disk_budget.ts";
import { Groups } from "./groups/groups.ts";
import { FilePool } from "./log/file_pool.ts";
import type { PartitionLog } from "./log/partition_log.ts";
import type { ResolvedOptions } from "./options.ts";
import { ProducerIds } from "./producer_ids.ts";
import { Topics } from "./topics.ts";
import { Transactions } from "./transactions/coordinator.ts";

/** How many partitions are put on disk at a time in the background. */
const flushesAtOnce = 8;

/** What requests act on: topics, groups, producer ids and transactions, all kept in one data folder. Knows nothing of connections. */
export class Broker {
  readonly options: ResolvedOptions;
  readonly clock: Clock;
  readonly log: (line: string) => void;
  readonly topics: Topics;
  readonly budget: DiskBudget;
  readonly groups: Groups;
  readonly producerIds: ProducerIds;
  readonly transactions: Transactions;
  /** Where clients are told to connect. */
  advertised: { host: string; port: number };
  readonly #files: FilePool;
  readonly #timers: ReturnType<typeof setInterval>[];
  #flushing: Promise<void> = Promise.resolve();
  #isFlushing = false;

  constructor(options: ResolvedOptions) {
    this.options = options;
    this.clock = options.clock;
    this.log = options.log;
    this.advertised = { host: options.advertisedHost, port: options.port };
    this.#files = new FilePool(options.openFilesMax, options.openFile);
    this.topics = new Topics(options, this.#files);
    this.budget = new DiskBudget(options, this.topics);
    this.groups = new Groups(options);
    this.producerIds = new ProducerIds(`${options.dataDir}/producer_id`);
    this.transactions = new Transactions(options, {
      topics: this.topics,
      offsets: this.groups.offsets,
      producerIds: this.producerIds,
    });
    this.#timers = [
      setInterval(() => this.#flushSoon(), options.flushMs),
      setInterval(() => this.retain(), options.retentionCheckMs),
    ];
    // What a kill left in the page cache is not shown before it is on disk.
    this.#flushSoon();
  }

  /** Applies retention to every partition; see `PartitionLog.retain`. */
  retain(): void {
    for (const topic of this.topics.all()) {
      for (const [index, partition] of topic.partitions.entries()) {
        try {
          const removed = partition.retain(this.clock.now());
          if (removed > 0) {
            this.log(
              `Removed ${removed} old segments of ${topic.name}-${index}; it starts at offset ${partition.startOffset}`,
            );
          }
        } catch (error) {
          this.log(`Cannot remove old segments of ${topic.name}-${index}: ${(error as Error).message}`);
        }
      }
    }
  }

  /**
   * Puts everything on disk.
   *
   * @param served resolves when no request is under way any more; some wait for members of groups, which are answered here
   */
  async close(served: Promise<unknown>): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    await this.#flushing;
    await this.transactions.close();
    await this.groups.close();
    // Until then requests write, and open files.
    await served;
    await this.#forEachPartition((partition) => partition.close());
    this.#files.closeAll();
  }

  #flushSoon(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    this.#flushing = this.#forEachPartition((partition) => partition.flush()).finally(() => this.#isFlushing = false);
  }

  async #forEachPartition(act: (partition: PartitionLog) => Promise<void>): Promise<void> {
    const partitions = this.topics.all().flatMap((topic) => topic.partitions).values();
    const worker = async () => {
      for (const partition of partitions) {
        // A partition that fails has said so itself, and refuses appends from then on.
        await act(partition).catch((error) => this.log(`${partition.folder}: ${(error as Error).message}`));
      }
    };
    await Promise.all(Array.from({ length: flushesAtOnce }, worker));
  }
}
