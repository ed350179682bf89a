import { Cluster } from "../../pipeline/log/cluster.ts";
import { Fetcher } from "../../pipeline/log/fetcher.ts";
import type { BrokerOptions } from "../../broker/kafka/mod.ts";
import { brokerIn, RawClient, temporaryFolder, type TestBroker } from "../broker/kafka/support.ts";
import { hurriedClock, Proxy } from "./proxy.ts";
import { scanAll, type ScannedRecord } from "./batches.ts";

/** The broker tells clients to come to another loopback address, where the proxy listens at the same port. */
const PROXY_HOST = "127.0.0.2";

export interface BehindProxy extends AsyncDisposable {
  readonly broker: TestBroker;
  readonly proxy: Proxy;
  /** A cluster through the proxy. */
  cluster(): Cluster;
}

export async function brokerBehindProxy(options: Partial<BrokerOptions> = {}): Promise<BehindProxy> {
  const parts = new AsyncDisposableStack();
  const folder = parts.use(temporaryFolder());
  const broker = parts.use(await brokerIn(folder.path, { advertisedHost: PROXY_HOST, ...options }));
  const { port } = broker.running;
  const proxy = parts.use(new Proxy({ hostname: PROXY_HOST, port }, { hostname: "127.0.0.1", port }));
  return {
    broker,
    proxy,
    cluster: () => parts.use(new Cluster([proxy.address], { clientId: "test", ssl: false, sasl: null })),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

/** Makes a topic the way clients do: by asking for it. */
export async function makeTopic(broker: TestBroker, topic: string): Promise<void> {
  using client = await RawClient.open(broker);
  await client.createTopic(topic);
}

/** Fetches until `done`, and gives every record by partition. */
export async function fetchAll(
  cluster: Cluster,
  options: { topic: string; partitions: readonly number[]; done: (all: Map<number, ScannedRecord[]>) => boolean },
): Promise<Map<number, ScannedRecord[]>> {
  const all = new Map(options.partitions.map((partition) => [partition, [] as ScannedRecord[]]));
  const positions = new Map<number, number>();
  const stop = new AbortController();
  const fetcher = new Fetcher(cluster, {
    topic: options.topic,
    partitions: options.partitions,
    clock: hurriedClock,
    signal: stop.signal,
    partitionBytes: 1 << 16,
    fetchBytes: 1 << 18,
    positionOf: (partition) => positions.get(partition) ?? 0,
    onWaiting: () => {},
    take: ({ partition, frame, start, end, aborted }) => {
      const fromOffset = positions.get(partition) ?? 0;
      const scanned = scanAll(frame.slice(start, end), { fromOffset, capacity: 1000, aborted });
      all.get(partition)!.push(...scanned.records);
      positions.set(partition, scanned.nextOffset);
      if (options.done(all)) stop.abort();
      return Promise.resolve();
    },
  });
  await fetcher.run();
  return all;
}
