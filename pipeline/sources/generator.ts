import type { Clock } from "../clock.ts";
import type { Cluster } from "../log/cluster.ts";
import { BatchingProducer } from "../log/batching_producer.ts";
import { Producer } from "../log/producer.ts";
import { partitionOf } from "../log/murmur2.ts";
import { TransactionWriter } from "./transactions.ts";

/** Time between two looks at what is due. */
const TICK_MS = 20;
/** Records written before the event loop gets a turn, when going as fast as it can. */
const BURST = 20_000;

export interface GeneratorOptions {
  readonly topic: string;
  readonly schemaId: number;
  /** Records per second; Infinity for as many as the broker takes. */
  readonly rate: number;
  /**
   * Event time the stream begins before now, milliseconds. That past is sent at once, at the same density, so that the first
   * windows are full and closed from the start.
   */
  readonly historyMs: number;
  readonly seed: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Told the number of acknowledged records now and then. */
  readonly onProgress?: (acknowledged: number) => void;
}

/**
 * Produces made-up transactions until the signal ends it, with acks=all. Paced by the time each record was meant to be sent at:
 * a stall is caught up with, not forgotten.
 *
 * @throws UnavailableError when the broker stays away; start it again to go on
 */
export async function generate(cluster: Cluster, options: GeneratorOptions): Promise<void> {
  const { clock, signal, rate, topic } = options;
  const producer = new Producer(cluster, { clock, signal, acks: -1 });
  const partitions = await producer.partitionCount(topic);
  const batches = new BatchingProducer(producer, topic);
  const transactions = new TransactionWriter(options.schemaId, options.seed);
  const partitionOfAccount = transactions.keys.map((key) => partitionOf(key, partitions));
  const startMs = clock.now() - (rate === Infinity ? 0 : options.historyMs);
  let sent = 0;
  const write = (timeMs: number) => {
    const account = transactions.nextAccount();
    const partition = partitionOfAccount[account];
    const out = batches.begin(partition, timeMs, transactions.keys[account]);
    transactions.write(out, account, timeMs);
    batches.end(partition);
    sent++;
  };
  while (!signal.aborted) {
    const now = clock.now();
    const due = rate === Infinity ? sent + BURST : Math.floor((now - startMs) * rate / 1000);
    const until = Math.min(due, sent + BURST);
    while (sent < until) {
      write(rate === Infinity ? now : startMs + Math.floor(1000 * sent / rate));
    }
    const isBehind = sent < due;
    if (!isBehind && rate !== Infinity) {
      batches.flush();
      await clock.sleep(TICK_MS, signal).catch(() => {});
    }
    await batches.ready();
    // Acknowledgements come in through the event loop, which a full-speed loop would starve.
    if (isBehind || rate === Infinity) await new Promise((resolve) => setTimeout(resolve, 0));
    options.onProgress?.(batches.acknowledged);
  }
  await batches.drain();
  options.onProgress?.(batches.acknowledged);
}
