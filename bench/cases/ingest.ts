import { createApp } from "../../api/app.ts";
import { systemClock } from "../../pipeline/clock.ts";
import { avroType } from "../../pipeline/codec/avro_values.ts";
import { ByteWriter } from "../../pipeline/codec/byte_writer.ts";
import { UnavailableError } from "../../pipeline/errors.ts";
import { createBulkIngest } from "../../pipeline/ingest/bulk_ingest.ts";
import { KafkaAdmin } from "../../pipeline/log/admin.ts";
import { Cluster } from "../../pipeline/log/cluster.ts";
import { createCommittedLog } from "../../pipeline/log/committed_log.ts";
import { createRegistryClient } from "../../pipeline/log/registry_client.ts";
import { createTransactionalPublisher } from "../../pipeline/log/transactional_publisher.ts";
import type { AvroSchema } from "../../pipeline/plan/plan.ts";
import { type Measured, Meter } from "../measure.ts";
import { ensureTopic, NO_SECURITY, type Servers } from "../servers.ts";
import { ACCOUNTS, SCHEMA, START_MS } from "../workload.ts";

/** Of one request. */
const RECORDS = 50_000;
const REQUESTS = 12;
const CLIENTS = 3;
const BLOCK_RECORDS = 1_000;

type Transaction = Readonly<Record<string, string | number>>;

function transaction(n: number): Transaction {
  return {
    transaction_id: n,
    account_id: `acc-${String((n * 7_919) % ACCOUNTS).padStart(5, "0")}`,
    merchant: `merchant-${n % 500}`,
    category: "grocery",
    amount: (n % 100_000) / 100,
    currency: "EUR",
    event_time: START_MS + n,
  };
}

/** Whole requests over loopback, each under a key and in a transaction of its own; server and clients share the thread. */
export async function ingestCase(servers: Servers): Promise<Measured> {
  const topic = `bench.ingest.${Date.now()}`;
  await ensureTopic(servers, topic);
  const registry = createRegistryClient({ url: servers.registryUrl });
  await registry.register(`${topic}-value`, SCHEMA as unknown as AvroSchema);
  const ended = new AbortController();
  await using cluster = new Cluster(servers.brokers, { clientId: "tailrace-bench", ...NO_SECURITY });
  const log = createCommittedLog(cluster, { clock: systemClock });
  const admin = new KafkaAdmin(servers.brokers, NO_SECURITY, "tailrace-bench");
  const bulk = createBulkIngest({
    cluster,
    publishers: (transactionalId) =>
      createTransactionalPublisher(cluster, { transactionalId, clock: systemClock, signal: ended.signal }),
    log,
    registry,
    ensureTopics: (topics) => admin.ensureTopics(topics),
    clock: systemClock,
  });
  const app = createApp({
    pipelines: [],
    results: { read: () => Promise.reject(new Error("there are none")) },
    bulk,
    ready: () => Promise.resolve([]),
    asset: () => Promise.resolve(null),
    version: "bench",
  });
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, app.fetch);
  const url = `http://127.0.0.1:${server.addr.port}/v1/topics/${topic}/bulk`;
  const records = Array.from({ length: RECORDS }, (_, n) => transaction(n));
  const send = async (body: Uint8Array<ArrayBuffer>, type: string, query = "") => {
    const meter = new Meter();
    let left = REQUESTS;
    const client = async () => {
      while (left-- > 0) {
        const headers = { "content-type": type, "idempotency-key": crypto.randomUUID() };
        const response = await fetch(url + query, { method: "POST", body, headers });
        const answer = await response.json();
        if (response.status !== 201 || answer.records !== RECORDS) throw new Error(JSON.stringify(answer));
      }
    };
    await Promise.all(Array.from({ length: CLIENTS }, client));
    return meter.stop("ingest", REQUESTS * RECORDS);
  };
  try {
    const lines = new TextEncoder().encode(records.map((record) => JSON.stringify(record)).join("\n"));
    const container = avroContainer(records);
    // The first of each is the slots' claim, and the compiler's.
    await send(lines, "application/x-ndjson", "?key=account_id");
    const ndjson = await send(lines, "application/x-ndjson", "?key=account_id");
    const avro = await send(container, "avro/binary");
    const keyedAvro = await send(container, "avro/binary", "?key=account_id");
    let there = 0;
    const { signal } = new AbortController();
    await log.read(topic, await log.offsets(topic, "earliest"), { take: () => void there++, signal, isWhole: true });
    if (there !== 4 * REQUESTS * RECORDS) throw new Error(`${there} records are there, of ${4 * REQUESTS * RECORDS}`);
    return {
      ...ndjson,
      avro_per_s: avro.rec_per_s,
      avro_cpu_s: avro.cpu_s,
      avro_by_key_per_s: keyedAvro.rec_per_s,
      ndjson_mb_per_s: Math.round(REQUESTS * lines.length / 1e6 / ndjson.seconds),
      records_a_request: RECORDS,
    };
  } finally {
    await server.shutdown();
    ended.abort(new UnavailableError("the case is over"));
  }
}

function avroContainer(records: readonly Transaction[]): Uint8Array<ArrayBuffer> {
  const values = avroType(SCHEMA as unknown as AvroSchema);
  const sync = new Uint8Array(16).fill(7);
  const out = new ByteWriter();
  out.raw(new TextEncoder().encode("Obj\x01"));
  out.long(1);
  out.string("avro.schema");
  out.string(JSON.stringify(SCHEMA));
  out.byte(0);
  out.raw(sync);
  for (let from = 0; from < records.length; from += BLOCK_RECORDS) {
    const block = new ByteWriter();
    const some = records.slice(from, from + BLOCK_RECORDS);
    for (const record of some) values.encode(record, block);
    out.long(some.length);
    out.bytes(block.written());
    out.raw(sync);
  }
  return out.written();
}
