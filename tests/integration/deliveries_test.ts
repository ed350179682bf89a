import assert from "node:assert/strict";
import { jsonFiles } from "../../pipeline/mod.ts";
import { createDiskStore } from "../../pipeline/sinks/lake/disk_store.ts";
import { eventually, item, processOver, TOPIC } from "../deliveries/world.ts";
import { startChild } from "../servers/child.ts";
import { kafkaClassPath, startKafka, whyNoKafka } from "../servers/kafka.ts";
import { readFiles } from "../sinks/files/read_files.ts";

const PARTITIONS = 6;
const why = await whyNoKafka();
if (why !== null) console.log(`Deliveries are not tried on Apache Kafka: ${why}`);

/** What Kafka's own tool prints of the group. */
async function described(brokers: readonly string[], more: readonly string[] = []): Promise<string[][]> {
  const { stdout } = await new Deno.Command("java", {
    args: [
      ...["-Xmx128m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", await kafkaClassPath()],
      "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
      ...["--bootstrap-server", brokers.join(","), "--describe", "--group", "tailrace.items_out", ...more],
    ],
    stdin: "null",
    stderr: "null",
  }).output();
  const lines = new TextDecoder().decode(stdout).trim().split("\n");
  return lines.map((line) => line.trim().split(/\s+/)).filter(([group]) => group === "tailrace.items_out");
}

Deno.test({
  name:
    "Apache Kafka: two processes share a topic and hand partitions over, each record is in one file, and Kafka's tool shows who holds what",
  ignore: why !== null,
  async fn() {
    await using kafka = await startKafka({
      heap: "512m",
      settings: { "group.initial.rebalance.delay.ms": "0", "offsets.topic.replication.factor": "1" },
    });
    const dataDir = await Deno.makeTempDir({ prefix: "tailrace-deliveries-" });
    try {
      await using one = processOver(kafka.brokers, { dataDir, partitions: PARTITIONS });
      await using two = processOver(kafka.brokers, { dataDir, partitions: PARTITIONS });
      await one.admin.ensureTopics([{ topic: TOPIC, partitions: PARTITIONS }]);
      const writer = one.publisher("writer");
      let written = 0;
      const write = async (count: number) => {
        await writer.claim({ signal: one.ended });
        const parts = Array.from({ length: PARTITIONS }, (_, partition) => ({
          topic: TOPIC,
          partition,
          records: Array.from({ length: count }, (_, i) => item(written + partition * count + i)),
        }));
        await writer.commit(parts, { signal: one.ended });
        written += count * PARTITIONS;
      };
      const options = { to: [jsonFiles("items")], consumers: 2, batchRows: 100, batchEvery: "50ms" } as const;
      const [first, second] = [await one.delivery(options), await two.delivery(options)];
      const stops = [new AbortController(), new AbortController()];
      const held = () => [first, second].map((delivery) => delivery.status().details.partitions);
      const runs = [first.run(stops[0].signal)];
      await write(200);
      await eventually(() => held()[0] === PARTITIONS, held);
      runs.push(second.run(stops[1].signal));
      await eventually(() => held()[0] === 3 && held()[1] === 3, held);
      await write(200);
      const store = createDiskStore({ folder: `${dataDir}/files/items` });
      await eventually(async () => (await readFiles(store)).lines.length === written);
      await eventually(() => first.status().lagRecords === 0 && second.status().lagRecords === 0, held);
      const members = await described(kafka.brokers);
      assert.equal(members.length, PARTITIONS);
      const [LAG, CLIENT] = [5, 8];
      assert.deepEqual(new Set(members.map((line) => line[LAG])), new Set(["0"]));
      assert.deepEqual(
        new Set(members.map((line) => line[CLIENT])),
        new Set(["tailrace-items_out-0", "tailrace-items_out-1"]),
      );
      stops[0].abort();
      await runs[0];
      await write(50);
      await eventually(() => held()[1] === PARTITIONS, held);
      await eventually(async () => (await readFiles(store)).lines.length >= written);
      // A process that is killed, and started again: its partitions come back before the 10 s that Kafka would wait.
      const deliverer = new URL("../faults/json_files/deliverer.ts", import.meta.url).pathname;
      const start = () =>
        startChild(Deno.execPath(), [
          ...["run", "-A", deliverer, kafka.brokers[0], dataDir, String(PARTITIONS), "2"],
        ], { logFile: `${dataDir}/deliverer.log`, cwd: Deno.cwd() });
      let running = start();
      let tookMs = Infinity;
      // On a busy machine a start alone may take so long, which shows nothing: once more.
      for (let tries = 0; tries < 5 && tookMs > 8_000; tries++) {
        await eventually(() => held()[1] === 3, held);
        await running.stop("SIGKILL");
        const began = performance.now();
        running = start();
        await write(50);
        await eventually(async () => (await readFiles(store)).lines.length >= written);
        tookMs = performance.now() - began;
      }
      assert.ok(tookMs < 8_000, "it did not wait for the session's end");
      assert.equal(held()[1], 3, "the other process was not disturbed");
      await running.stop("SIGTERM");
      await eventually(() => held()[1] === PARTITIONS, held);
      stops[1].abort();
      await runs[1];
      const bounded = await two.delivery(options);
      await bounded.run(AbortSignal.timeout(60_000), { isBounded: true });
      const ids = (await readFiles(store)).lines.map(({ id }) => id as number).sort((a, b) => a - b);
      assert.deepEqual(ids, Array.from({ length: written }, (_, i) => i));
      assert.deepEqual(bounded.status().counts, { read: written, written, rejected: 0, skipped: 0 });
    } finally {
      await Deno.remove(dataDir, { recursive: true });
    }
  },
});
