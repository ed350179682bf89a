/**
 * The bench's producer in a thread of its own: transactions at a given rate, each stamped with the time it was meant to be sent.
 *
 * @module
 */
import { systemClock } from "../pipeline/clock.ts";
import { BatchingProducer } from "../pipeline/log/batching_producer.ts";
import { Cluster } from "../pipeline/log/cluster.ts";
import { Producer } from "../pipeline/log/producer.ts";
import { NO_SECURITY } from "./servers.ts";
import { Workload } from "./workload.ts";

export interface ProducerStart {
  readonly brokers: readonly string[];
  readonly topic: string;
  readonly schemaId: number;
  readonly rate: number;
  readonly seconds: number;
}

const TICK_MS = 10;

const thread = self as unknown as {
  postMessage(message: { acknowledged: number; failure?: string }): void;
  onmessage: (event: MessageEvent<ProducerStart>) => void;
};

thread.onmessage = async ({ data }) => {
  try {
    thread.postMessage({ acknowledged: await run(data) });
  } catch (error) {
    thread.postMessage({ acknowledged: 0, failure: (error as Error).message });
  }
};

async function run({ brokers, topic, schemaId, rate, seconds }: ProducerStart): Promise<number> {
  await using cluster = new Cluster(brokers, { clientId: "tailrace-bench-producer", ...NO_SECURITY });
  const stop = new AbortController();
  const producer = new Producer(cluster, { clock: systemClock, signal: stop.signal, acks: -1 });
  const batches = new BatchingProducer(producer, topic);
  const startMs = Date.now();
  const workload = new Workload(schemaId, (index) => startMs + Math.floor(1000 * index / rate));
  const partitionOfAccount = workload.partitions(await producer.partitionCount(topic));
  const count = Math.floor(rate * seconds);
  for (let sent = 0; sent < count;) {
    const due = Math.min(count, Math.floor((Date.now() - startMs) * rate / 1000));
    for (; sent < due; sent++) {
      workload.next();
      const partition = partitionOfAccount[workload.account];
      workload.write(batches.begin(partition, workload.eventTimeMs, workload.keys[workload.account]));
      batches.end(partition);
    }
    batches.flush();
    await batches.ready();
    await new Promise((resolve) => setTimeout(resolve, TICK_MS));
  }
  await batches.drain();
  return batches.acknowledged;
}
