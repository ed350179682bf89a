import assert from "node:assert/strict";
import { systemClock } from "../../pipeline/clock.ts";
import { createCommittedLog } from "../../pipeline/log/committed_log.ts";
import { slotOf } from "../../pipeline/ingest/receipts.ts";
import { createTransactionalPublisher } from "../../pipeline/log/transactional_publisher.ts";
import { sendUntilAnswered } from "./client.ts";
import { killUnderRequests } from "./kill_under_requests.ts";
import { lines, openBulk, openWorld, readTopic, written } from "./world.ts";

/** kafkajs, which makes the topic of receipts, tries for a while longer than the request that wanted it. */
const GOES_ON = { sanitizeOps: false, sanitizeResources: false } as const;

Deno.test("a process killed again and again under requests that are repeated leaves each record in the topic once", async () => {
  await using world = await openWorld();
  const sent = await killUnderRequests({ ...world, topic: "readings" });
  const ids = await world.ids();
  assert.equal(ids.length, sent);
  assert.equal(new Set(ids).size, sent);
});

Deno.test("while Kafka is away requests are told so, unread, and go on when it is back", GOES_ON, async () => {
  await using world = await openWorld({ openMs: 2_000, writeMs: 2_000 });
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, world.app.fetch);
  const url = `http://127.0.0.1:${server.addr.port}/v1/topics/readings/bulk`;
  const headers = { "idempotency-key": "before" };
  await written(() => world.post(lines(0, 5), { headers }));
  await world.stopBroker();
  const repeated = await world.post(lines(0, 5), { headers });
  assert.equal(repeated.headers.get("idempotent-replayed"), "true", "what was answered is known without Kafka");
  const away = await world.post(lines(5, 10), { headers: { "idempotency-key": "during" } });
  assert.deepEqual([away.status, away.headers.get("retry-after")], [503, "2"], JSON.stringify(away.body));
  let isRead = false;
  const unread = new ReadableStream({ pull: () => void (isRead = true) }, { highWaterMark: 0 });
  assert.equal((await world.post(unread, { headers: { "idempotency-key": "during" } })).status, 503);
  assert.ok(!isRead, "a body that cannot be written is not read");
  const sending = sendUntilAnswered(() => url, { body: lines(5, 10), key: "during" });
  await world.startBroker();
  assert.equal((await sending).records, 5);
  assert.deepEqual(await world.ids(), ["r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9"]);
  assert.equal((await world.post(lines(0, 5), { headers })).headers.get("idempotent-replayed"), "true");
});

Deno.test(
  "a broker that goes away in the middle of requests and comes back has each of them once",
  GOES_ON,
  async () => {
    await using world = await openWorld({ openMs: 1_000, writeMs: 3_000 });
    await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, world.app.fetch);
    const url = `http://127.0.0.1:${server.addr.port}/v1/topics/readings/bulk`;
    const clients = Array.from({ length: 40 }, async (_, n) => {
      await new Promise((resolve) => setTimeout(resolve, 15 * n));
      return await sendUntilAnswered(() => url, { body: lines(0, 200, `${n}-`), key: `request-${n}` }).catch(
        (error) => {
          throw new Error(`${error.message}\n${world.fake.logged.join("\n")}`);
        },
      );
    });
    for (const client of clients) client.catch(() => {}); // looked at below
    for (let round = 0; round < 3; round++) {
      await new Promise((resolve) => setTimeout(resolve, 70));
      await world.stopBroker();
      await world.startBroker();
    }
    const answers = await Promise.all(clients);
    assert.ok(answers.every(({ records }) => records === 200));
    const ids = await world.ids();
    assert.equal(ids.length, 8_000);
    assert.equal(new Set(ids).size, 8_000);
  },
);

Deno.test("what a killed process left open is ended by the next one, so that readers go on", async () => {
  await using world = await openWorld({}, { batchBytesMax: 20_000 });
  await using first = openBulk(world.brokers, world.registryUrl);
  assert.equal((await world.post(lines(0, 1), { headers: { "idempotency-key": "a" } })).status, 201);
  // As a process that was killed in the middle: the transaction stays open under the slot's id.
  const stuck = createTransactionalPublisher(first.cluster, {
    transactionalId: `tailrace.ingest.${slotOf("a")}`,
    clock: systemClock,
    signal: new AbortController().signal,
  });
  const { signal } = new AbortController();
  await stuck.claim({ signal });
  const part = (partition: number, bytes: number) => {
    const records = [{ key: null, value: new Uint8Array(bytes), headers: [], timestampMs: 0 }];
    return { topic: "readings", partition, records };
  };
  await assert.rejects(stuck.commit([part(0, 1), part(1, 30_000)], { signal }), /larger than the broker allows/);
  const impatient = createCommittedLog(first.cluster, { clock: systemClock, openMsMax: 50 });
  await assert.rejects(readTopic(impatient, "readings"), /a transaction of another writer is open/);
  await first.bulk.recover(signal);
  assert.deepEqual(await world.ids(), ["r0"]);
});
