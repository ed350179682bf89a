/** A broker, a registry and the application that takes records in bulk, with helpers that look at what is in a topic. */
import assert from "node:assert/strict";
import { createApp } from "../../api/app.ts";
import { startRegistry } from "../../broker/registry/mod.ts";
import { systemClock } from "../../pipeline/clock.ts";
import { avroType } from "../../pipeline/codec/avro_values.ts";
import { FRAME_BYTES } from "../../pipeline/codec/framing.ts";
import { UnavailableError } from "../../pipeline/errors.ts";
import type { BulkLimits } from "../../pipeline/ingest/bulk.ts";
import { createBulkIngest, type RunningBulkIngest } from "../../pipeline/ingest/bulk_ingest.ts";
import { KafkaAdmin } from "../../pipeline/log/admin.ts";
import { Cluster } from "../../pipeline/log/cluster.ts";
import { createCommittedLog } from "../../pipeline/log/committed_log.ts";
import { createRegistryClient } from "../../pipeline/log/registry_client.ts";
import { createTransactionalPublisher } from "../../pipeline/log/transactional_publisher.ts";
import type { CommittedLog } from "../../pipeline/log/transactions.ts";
import type { BrokerOptions } from "../../broker/kafka/mod.ts";
import type { AvroSchema } from "../../pipeline/plan/plan.ts";
import { brokerIn, temporaryFolder } from "../broker/kafka/support.ts";
import { Proxy } from "../log/proxy.ts";
import { type Fake, fakeDeps } from "../api/fake_deps.ts";

export const NO_SECURITY = { ssl: false, sasl: null } as const;

export const SCHEMA = {
  type: "record",
  name: "Reading",
  fields: [
    { name: "id", type: "string" },
    { name: "value", type: ["null", "double"], default: null },
  ],
} as const;

/** What writes to a cluster as one process does. */
export function openBulk(
  brokers: readonly string[],
  registryUrl: string,
  limits: Partial<BulkLimits> = {},
): { readonly bulk: RunningBulkIngest; readonly cluster: Cluster } & AsyncDisposable {
  const cluster = new Cluster(brokers, { clientId: "test", ...NO_SECURITY });
  const ended = new AbortController();
  const admin = new KafkaAdmin(brokers, NO_SECURITY, "test");
  const bulk = createBulkIngest({
    cluster,
    publishers: (transactionalId) =>
      createTransactionalPublisher(cluster, { transactionalId, clock: systemClock, signal: ended.signal }),
    log: createCommittedLog(cluster, { clock: systemClock }),
    registry: createRegistryClient({ url: registryUrl }),
    ensureTopics: (topics) => admin.ensureTopics(topics),
    clock: systemClock,
    limits,
  });
  return {
    bulk,
    cluster,
    async [Symbol.asyncDispose]() {
      ended.abort(new UnavailableError("the test is over"));
      await cluster[Symbol.asyncDispose]();
    },
  };
}

/** Every committed record of a topic: its key, and its value as JSON. */
export async function readTopic(
  log: CommittedLog,
  topic: string,
  schema: AvroSchema = SCHEMA,
): Promise<{ key: string | null; value: unknown }[]> {
  const values = avroType(schema);
  const found: { key: string | null; value: unknown }[] = [];
  const take = ({ key, value }: { key: Uint8Array | null; value: Uint8Array | null }) => {
    const json = values.decodeToJson(value!.subarray(FRAME_BYTES));
    found.push({ key: key && new TextDecoder().decode(key), value: json });
  };
  const { signal } = new AbortController();
  await log.read(topic, await log.offsets(topic, "earliest"), { take, signal, isWhole: true });
  return found;
}

export interface BulkWorld extends AsyncDisposable {
  readonly brokers: readonly string[];
  /** There when the broker is advertised at another address. */
  readonly proxy: Proxy | null;
  stopBroker(): Promise<void>;
  /** With what it had, at the same address. */
  startBroker(): Promise<void>;
  readonly registryUrl: string;
  readonly bulk: RunningBulkIngest;
  readonly fake: Fake;
  readonly log: CommittedLog;
  readonly app: ReturnType<typeof createApp>;
  /** `POST /v1/topics/readings/bulk`. */
  post(body: BodyInit | null, options?: PostOptions): Promise<Answer>;
  /** Ids of all readings, in order. */
  ids(topic?: string): Promise<string[]>;
}

export interface PostOptions {
  readonly query?: string;
  readonly topic?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // deno-lint-ignore no-explicit-any -- whatever the API answers
  readonly body: any;
}

/** With the topic `readings`. */
export async function openWorld(
  limits: Partial<BulkLimits> = {},
  options: Partial<BrokerOptions> = {},
): Promise<BulkWorld> {
  const parts = new AsyncDisposableStack();
  const folder = temporaryFolder();
  parts.defer(() => folder[Symbol.dispose]());
  let broker = await brokerIn(`${folder.path}/broker`, options);
  let isUp = true;
  const stopBroker = async () => {
    if (isUp) await broker.running.close();
    isUp = false;
  };
  parts.defer(stopBroker);
  const { port } = broker.running;
  const proxy = options.advertisedHost === undefined
    ? null
    : parts.use(new Proxy({ hostname: options.advertisedHost, port }, { hostname: "127.0.0.1", port }));
  if (proxy !== null) proxy.byFrame = true;
  const registry = parts.use(
    await startRegistry({ host: "127.0.0.1", port: 0, dataDir: `${folder.path}/registry` }),
  );
  await createRegistryClient({ url: registry.url }).register("readings-value", SCHEMA as unknown as AvroSchema);
  const brokers = [proxy?.address ?? broker.address];
  await new KafkaAdmin(brokers, NO_SECURITY, "test").ensureTopics([{ topic: "readings", partitions: 3 }]);
  const { bulk, cluster } = parts.use(openBulk(brokers, registry.url, limits));
  const fake = fakeDeps({ bulk });
  const app = createApp(fake.deps);
  const log = createCommittedLog(cluster, { clock: systemClock });
  return {
    brokers,
    proxy,
    stopBroker,
    async startBroker() {
      broker = await brokerIn(`${folder.path}/broker`, { ...options, port: broker.running.port });
      isUp = true;
    },
    registryUrl: registry.url,
    bulk,
    fake,
    log,
    app,
    post: (body, { query = "", topic = "readings", headers = {} } = {}) =>
      answerOf(app.request(`/v1/topics/${topic}/bulk${query}`, {
        method: "POST",
        body,
        headers: { "content-type": "application/x-ndjson", ...headers },
      })),
    ids: async (topic = "readings") =>
      (await readTopic(log, topic)).map(({ value }) => (value as { id: string }).id).sort(),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

export async function answerOf(asked: Response | Promise<Response>): Promise<Answer> {
  const response = await asked;
  return { status: response.status, headers: response.headers, body: await response.json() };
}

/** Sends the same again when Kafka did not answer within the world's limits, as on a busy machine; it needs a key for that. */
export async function written(send: () => Promise<Answer>): Promise<void> {
  const end = performance.now() + 60_000;
  let answer = await send();
  while (answer.status === 503 && performance.now() < end) answer = await send();
  assert.equal(answer.status, 201, JSON.stringify(answer.body));
}

/** Lines of readings with ids `from` to `to - 1`. */
export function lines(from: number, to: number, prefix = "r"): string {
  return Array.from({ length: to - from }, (_, i) => `{"id":"${prefix}${from + i}","value":${i}}\n`).join("");
}

export async function gzip(text: string | Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const packed = new Blob([text]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(packed).arrayBuffer());
}
