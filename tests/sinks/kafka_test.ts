import { type RunningBroker, startBroker } from "../../broker/kafka/mod.ts";
import { sinkContract } from "../contracts/sink_contract.ts";
import { kafkaSubject } from "./kafka_subject.ts";

const host = "127.0.0.1";
let dataDir: string;
let port = 0;
let broker: RunningBroker | null = null;

async function start(): Promise<void> {
  broker ??= await startBroker({ host, port, dataDir });
  port = broker.port;
}

async function stop(): Promise<void> {
  await broker?.close();
  broker = null;
}

Deno.test.beforeAll(async () => {
  dataDir = await Deno.makeTempDir({ prefix: "tailrace-broker-" });
  await start();
});
Deno.test.afterAll(async () => {
  await stop();
  await Deno.remove(dataDir, { recursive: true });
});

// kafkajs 2.2.4 leaves timers of its request queue behind on every connection.
sinkContract(
  "kafka sink",
  kafkaSubject(() => [`${host}:${port}`], {
    outage: { begin: stop, end: start, interrupt: () => stop().then(start) },
    afterwards: start,
  }),
  { leaky: true },
);
