/** A broker, a registry in memory, a topic of products, and deliveries over it. @module */
import { avroType } from "../../pipeline/codec/avro_values.ts";
import { systemClock } from "../../pipeline/clock.ts";
import type { DeliveryOptions } from "../../pipeline/deliveries/definition.ts";
import { createDelivery, type Delivery } from "../../pipeline/deliveries/delivery_runner.ts";
import { planDelivery } from "../../pipeline/deliveries/plan.ts";
import { KafkaAdmin } from "../../pipeline/log/admin.ts";
import { Cluster } from "../../pipeline/log/cluster.ts";
import { createCommittedLog } from "../../pipeline/log/committed_log.ts";
import type { OutgoingRecord } from "../../pipeline/log/publisher.ts";
import type { RegistryClient } from "../../pipeline/log/registry_client.ts";
import { createTransactionalPublisher } from "../../pipeline/log/transactional_publisher.ts";
import { delivery, topic } from "../../pipeline/mod.ts";
import type { AvroSchema } from "../../pipeline/plan/plan.ts";
import type { Secrets } from "../../pipeline/secrets.ts";
import type { BrokerOptions } from "../../broker/kafka/mod.ts";
import { brokerIn, temporaryFolder } from "../broker/kafka/support.ts";

export const PRODUCT: AvroSchema = {
  type: "record",
  name: "Item",
  fields: [
    { name: "id", type: "long" },
    { name: "name", type: "string" },
    { name: "price", type: { type: "bytes", logicalType: "decimal", precision: 10, scale: 2 } },
    { name: "tags", type: { type: "array", items: "string" } },
    { name: "at", type: { type: "long", logicalType: "timestamp-millis" } },
  ],
};

export const SCHEMA_ID = 7;
export const TOPIC = "items";

const text = new TextEncoder();
const values = avroType(PRODUCT);

export function item(id: number): OutgoingRecord {
  const value = { id, name: `item ${id}`, price: `${id}.50`, tags: ["a", `${id}`], at: 1_700_000_000_000 + id };
  return {
    key: text.encode(`${id}`),
    value: values.encodeFramed(SCHEMA_ID, value),
    headers: [],
    timestampMs: 1_700_000_000_000,
  };
}

export type Options = Omit<DeliveryOptions, "name" | "from"> & {
  readonly name?: string;
  readonly secrets?: Secrets;
  readonly topicCheckMs?: number;
};

const NO_SECRETS: Secrets = { find: () => null, get: () => "" };

/** What one process has over a cluster: deliveries whose files go below `dataDir`. */
export function processOver(
  brokers: readonly string[],
  { dataDir, partitions }: { readonly dataDir: string; readonly partitions: number },
) {
  const parts = new AsyncDisposableStack();
  const options = { clientId: "test", ssl: false, sasl: null };
  const newCluster = (clientId: string) => new Cluster(brokers, { ...options, clientId });
  const cluster = parts.use(newCluster("test"));
  const admin = new KafkaAdmin(brokers, options, "test-admin");
  const log = createCommittedLog(cluster, { clock: systemClock });
  const ended = new AbortController();
  parts.defer(() => ended.abort());
  const publisher = (transactionalId: string) =>
    createTransactionalPublisher(cluster, { transactionalId, clock: systemClock, signal: ended.signal });
  const schemas = new Map<number, AvroSchema>([[SCHEMA_ID, PRODUCT]]);
  const registry: RegistryClient = {
    register: () => Promise.resolve(SCHEMA_ID),
    schemaById: (id) => Promise.resolve(schemas.get(id) ?? null),
    latest: () => Promise.resolve(null),
  };
  const said: string[] = [];
  return {
    admin,
    newCluster,
    log,
    registry,
    schemas,
    said,
    publisher,
    ended: ended.signal,
    async delivery({ secrets = NO_SECRETS, topicCheckMs, ...options }: Options): Promise<Delivery> {
      const definition = delivery({
        name: "items_out",
        from: topic(TOPIC, { schema: PRODUCT, eventTime: "at", partitions }),
        ...options,
      } as DeliveryOptions);
      return createDelivery(await planDelivery(definition, new Map()), {
        clock: systemClock,
        newCluster,
        admin,
        registry,
        log,
        publisher,
        topicCheckMs,
        say: (level, message) => void said.push(`${level} ${message}`),
        context: {
          secrets,
          databaseUrl: "",
          dataDir,
          fetch,
        },
      });
    },
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

/** A broker, the topic, and a process; `[Symbol.asyncDispose]` ends all. */
export async function world(partitions: number, brokerOptions: Partial<BrokerOptions> = {}) {
  const parts = new AsyncDisposableStack();
  const folder = parts.use(temporaryFolder());
  const files = parts.use(temporaryFolder());
  const broker = parts.use(await brokerIn(folder.path, brokerOptions));
  const own = parts.use(processOver([broker.address], { dataDir: files.path, partitions }));
  const writer = own.publisher("writer");
  const signal = own.ended;
  await own.admin.ensureTopics([{ topic: TOPIC, partitions }]);
  return {
    ...own,
    brokers: [broker.address],
    dataDir: files.path,
    /** Writes records in one transaction, round the partitions. */
    async write(records: readonly OutgoingRecord[]): Promise<void> {
      await writer.claim({ signal });
      const byPartition = Map.groupBy(records, (_, i) => i % partitions);
      await writer.commit(
        Array.from(byPartition, ([partition, records]) => ({ topic: TOPIC, partition, records })),
        { signal },
      );
    },
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

/** Waits until `is`, and says what there was instead when it does not come. */
export async function eventually(is: () => boolean | Promise<boolean>, about: () => unknown = () => ""): Promise<void> {
  for (const end = performance.now() + 120_000; performance.now() < end;) {
    if (await is()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`It did not come to this in 2 minutes: ${JSON.stringify(about())}`);
}
