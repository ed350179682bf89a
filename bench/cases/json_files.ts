import { gunzipSync } from "node:zlib";
import { systemClock } from "../../pipeline/clock.ts";
import { createDelivery } from "../../pipeline/deliveries/delivery_runner.ts";
import { planDelivery } from "../../pipeline/deliveries/plan.ts";
import { KafkaAdmin } from "../../pipeline/log/admin.ts";
import { Cluster } from "../../pipeline/log/cluster.ts";
import { createCommittedLog } from "../../pipeline/log/committed_log.ts";
import { createRegistryClient } from "../../pipeline/log/registry_client.ts";
import { createTransactionalPublisher } from "../../pipeline/log/transactional_publisher.ts";
import { delivery, jsonFiles, topic } from "../../pipeline/mod.ts";
import type { AvroSchema } from "../../pipeline/plan/plan.ts";
import type { Manifest } from "../../pipeline/sinks/files/manifests.ts";
import { createDiskStore } from "../../pipeline/sinks/lake/disk_store.ts";
import { type Measured, Meter, round } from "../measure.ts";
import { ensureTopic, load, NO_SECURITY, type Servers } from "../servers.ts";
import { SCHEMA } from "../workload.ts";

const TOPIC = "bench.files";
const RECORDS = 1_000_000;
const CONSUMERS = 2;

/**
 * A full topic into JSON files, plain and compressed, from the first join of the group to the last offset committed; every line is
 * counted afterwards.
 */
export async function jsonFilesCase(servers: Servers): Promise<Measured> {
  await ensureTopic(servers, TOPIC);
  await load(servers, TOPIC, RECORDS);
  const plain = await run(servers, { gzip: false });
  const packed = await run(servers, { gzip: true });
  return {
    ...packed.measured,
    name: "json-files",
    mb: round(packed.bytes / 1e6, 1),
    files: packed.files,
    plain_rec_per_s: plain.measured.rec_per_s,
    plain_mb: round(plain.bytes / 1e6, 1),
  };
}

async function run(servers: Servers, { gzip }: { readonly gzip: boolean }) {
  const name = `bench_files_${gzip ? "gz" : "plain"}_${Date.now()}`;
  const dataDir = `${servers.folder}/${name}`;
  const cluster = (clientId: string) => new Cluster(servers.brokers, { clientId, ...NO_SECURITY });
  await using own = cluster("tailrace-bench");
  const ended = new AbortController();
  const definition = delivery({
    name,
    from: topic(TOPIC, { schema: SCHEMA as unknown as AvroSchema, eventTime: "event_time", partitions: 4 }),
    to: [jsonFiles("out", { gzip })],
    consumers: CONSUMERS,
    batchRows: 50_000,
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
    context: { secrets: { find: () => null, get: () => "" }, databaseUrl: "", dataDir, fetch },
  });
  const meter = new Meter();
  await running.run(ended.signal, { isBounded: true });
  const measured = meter.stop("json-files", RECORDS);
  ended.abort();
  const found = await counted(`${dataDir}/files/out`);
  await Deno.remove(dataDir, { recursive: true });
  if (found.lines !== RECORDS) throw new Error(`the files hold ${found.lines} records instead of ${RECORDS}`);
  return { measured, ...found };
}

async function counted(folder: string): Promise<{ lines: number; bytes: number; files: number }> {
  await using store = createDiskStore({ folder });
  const all = { lines: 0, bytes: 0, files: 0 };
  for await (const { key } of store.list("_manifest/")) {
    if (key.endsWith("/start.json")) continue;
    const { file } = JSON.parse(new TextDecoder().decode((await store.get(key))!)) as Manifest;
    const bytes = (await store.get(file))!;
    const text = file.endsWith(".gz") ? gunzipSync(bytes) : bytes;
    all.lines += text.reduce((lines, byte) => byte === 10 ? lines + 1 : lines, 0);
    all.bytes += bytes.length;
    all.files++;
  }
  return all;
}
