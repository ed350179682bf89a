import assert from "node:assert/strict";
import { startBrokerWorker } from "../../../broker/kafka/mod.ts";
import { brokerIn, killableBroker, RawClient, recordBatch, temporaryFolder, valuesIn } from "./support.ts";
import { TransactionClient } from "./transaction_client.ts";

Deno.test("kill -9 under load loses nothing that was acknowledged with acks=all, round after round", async () => {
  using folder = temporaryFolder();
  const acknowledged: { offset: number; value: string }[] = [];
  for (let round = 0; round < 3; round++) {
    const { process, broker } = await killableBroker(folder.path);
    const from = acknowledged.length;
    let isOver = false;
    const load = Array.from({ length: 3 }, async (_, writer) => {
      using client = await RawClient.open(broker);
      await client.createTopic("t");
      for (let n = 0;; n++) {
        const value = `${round}/${writer}/${n} ${"x".repeat(n % 2000)}`;
        const answer = await client.produce("t", recordBatch([value])).catch(() => null);
        if (answer === null) return;
        assert.equal(answer.error, 0);
        acknowledged.push({ offset: answer.offset, value });
      }
    });
    // Before the kill no writer ends by itself.
    Promise.race(load).then(() => isOver = true, () => isOver = true);
    // After progress, not after a time: a slow disk takes few records a second.
    const end = performance.now() + 60_000;
    while (!isOver && performance.now() < end && acknowledged.length < from + 20) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await new Promise((resolve) => setTimeout(resolve, 400));
    process.kill("SIGKILL");
    await process.status;
    await Promise.all(load);
  }
  assert.ok(acknowledged.length > 50, `only ${acknowledged.length} were acknowledged`);

  await using broker = await brokerIn(folder.path);
  using client = await RawClient.open(broker);
  const stored = new Map<number, string>();
  for (let offset = 0;;) {
    const { records, error } = await client.fetch("t", offset);
    assert.equal(error, 0);
    if (records.length === 0) break;
    for (const record of valuesIn(records)) stored.set(record.offset, record.value);
    offset = Math.max(...stored.keys()) + 1;
  }
  for (const { offset, value } of acknowledged) assert.equal(stored.get(offset), value);
});

Deno.test("a folder in use is refused, and free at once when its broker was killed", async () => {
  using folder = temporaryFolder();
  const { process } = await killableBroker(folder.path);
  await assert.rejects(brokerIn(folder.path), /another one uses the data folder/);
  process.kill("SIGKILL");
  await process.status;
  await using broker = await brokerIn(folder.path);
  await assert.rejects(brokerIn(folder.path), /another one uses the data folder/);
  assert.ok(broker.running.port > 0);
});

Deno.test("a broker in a worker serves, logs, stops, and says when its port is taken", async () => {
  using folder = temporaryFolder();
  using second = temporaryFolder();
  const lines: string[] = [];
  await using broker = await startBrokerWorker({
    host: "127.0.0.1",
    port: 0,
    dataDir: folder.path,
    log: (line) => lines.push(line),
  });
  using client = await RawClient.open({ running: broker } as Parameters<typeof RawClient.open>[0]);
  await client.createTopic("t");
  assert.equal((await client.produce("t", recordBatch(["x"]))).error, 0);
  assert.ok(lines.some((line) => line.includes("Created topic t")));
  await assert.rejects(
    startBrokerWorker({ host: "127.0.0.1", port: broker.port, dataDir: second.path }),
    new RegExp(`port ${broker.port} of 127.0.0.1 is in use`),
  );
});

Deno.test("a broker whose worker dies says so, and can still be closed", async () => {
  using folder = temporaryFolder();
  const options = { host: "127.0.0.1", port: 0, dataDir: folder.path };
  // A clock that is none: the first timer that asks for the time throws, outside of any request.
  const broker = await startBrokerWorker({ ...options, clock: {} } as typeof options);
  assert.match((await broker.failed).message, /The broker's worker died: .*not a function/);
  await broker.close();
  await using again = await startBrokerWorker(options);
  assert.ok(again.port > 0);
});

Deno.test("a broker that is closed under transactions has none of its files open afterwards", async () => {
  for (let round = 0; round < 15; round++) {
    using folder = temporaryFolder();
    const broker = await brokerIn(folder.path, { defaultPartitions: 4 });
    const clients = await Promise.all(Array.from({ length: 8 }, (_, i) => TransactionClient.open(broker, `id-${i}`)));
    await clients[0].client.createTopic("t");
    const commit = async (one: TransactionClient) => {
      await one.initialize();
      for (;;) {
        await one.addPartitions("t", [0, 1, 2, 3]);
        await one.produce("t", 0, ["x"]);
        await one.end(true);
      }
    };
    // Until their connections are cut.
    const over = Promise.allSettled(clients.map(commit));
    await new Promise((resolve) => setTimeout(resolve, 20 + 3 * round));
    await broker.running.close();
    await over;
    for (const client of clients) client[Symbol.dispose]();
  }
});
