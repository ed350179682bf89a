import { systemClock } from "../../pipeline/clock.ts";
import type { DeliverySpec } from "../../pipeline/deliveries/delivery_spec.ts";
import { createDelivery } from "../../pipeline/deliveries/delivery_runner.ts";
import { planDelivery } from "../../pipeline/deliveries/plan.ts";
import { KafkaAdmin } from "../../pipeline/log/admin.ts";
import { Cluster } from "../../pipeline/log/cluster.ts";
import { createCommittedLog } from "../../pipeline/log/committed_log.ts";
import { createRegistryClient } from "../../pipeline/log/registry_client.ts";
import { createTransactionalPublisher } from "../../pipeline/log/transactional_publisher.ts";
import { delivery, topic } from "../../pipeline/mod.ts";
import type { AvroSchema } from "../../pipeline/plan/plan.ts";
import { type Measured, Meter } from "../measure.ts";
import { NO_SECURITY, type Servers } from "../servers.ts";
import { SCHEMA } from "../workload.ts";

/** Delivers all that is in a topic once, and gives how long that took. */
export async function measureDelivery(
  servers: Servers,
  { name, from, to, records, consumers, batchRows = 10_000 }: {
    readonly name: string;
    readonly from: string;
    readonly to: DeliverySpec;
    readonly records: number;
    readonly consumers: number;
    readonly batchRows?: number;
  },
): Promise<Measured> {
  const cluster = (clientId: string) => new Cluster(servers.brokers, { clientId, ...NO_SECURITY });
  await using own = cluster("tailrace-bench");
  const ended = new AbortController();
  const definition = delivery({
    name: `bench_${name.replaceAll("-", "_")}_${Date.now()}`,
    from: topic(from, { schema: SCHEMA as unknown as AvroSchema, eventTime: "event_time" }),
    to: [to],
    consumers,
    batchRows,
  });
  const running = createDelivery(await planDelivery(definition, new Map()), {
    clock: systemClock,
    newCluster: cluster,
    admin: new KafkaAdmin(servers.brokers, NO_SECURITY, "tailrace-bench"),
    registry: createRegistryClient({ url: servers.registryUrl }),
    log: createCommittedLog(own, { clock: systemClock }),
    publisher: (transactionalId) =>
      createTransactionalPublisher(own, { transactionalId, clock: systemClock, signal: ended.signal }),
    say: (_, message) => console.error(message),
    context: {
      secrets: { find: () => null, get: () => "" },
      databaseUrl: servers.databaseUrl,
      dataDir: servers.folder,
      fetch,
    },
  });
  const meter = new Meter();
  await running.run(ended.signal, { isBounded: true });
  const measured = meter.stop(name, records);
  ended.abort();
  return measured;
}
