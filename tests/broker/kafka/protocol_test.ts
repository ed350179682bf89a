import assert from "node:assert/strict";
import { startBrokerWorker } from "../../../broker/kafka/mod.ts";
import { WireWriter } from "../../../pipeline/log/wire.ts";
import { brokerIn, RawClient, recordBatch, temporaryFolder, valuesIn } from "./support.ts";

const corrupt = 2;
const messageTooLarge = 10;

Deno.test("what is produced is fetched as it came, with offsets", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path);
  using client = await RawClient.open(broker);
  await client.createTopic("t");
  assert.deepEqual(await client.produce("t", recordBatch(["a", "b"])), { error: 0, offset: 0 });
  assert.deepEqual(await client.produce("t", recordBatch(["c"])), { error: 0, offset: 2 });
  const { records, end, start } = await client.fetch("t", 0);
  assert.deepEqual([start, end], [0, 3]);
  assert.deepEqual(valuesIn(records), [
    { offset: 0, value: "a" },
    { offset: 1, value: "b" },
    { offset: 2, value: "c" },
  ]);
  // From within a batch the whole batch comes; the client skips what it has.
  assert.deepEqual(valuesIn((await client.fetch("t", 1)).records).length, 3);
  assert.equal((await client.fetch("t", 4)).error, 1);
});

Deno.test("acks=0 gets no answer and is stored all the same", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path);
  using client = await RawClient.open(broker);
  await client.createTopic("t");
  await client.send(0, 7, (w) => {
    w.string(null).int16(0).int32(1000).arrayLength(1).string("t").arrayLength(1).int32(0).byteField(
      recordBatch(["x"]),
    );
  });
  assert.deepEqual(valuesIn((await client.fetch("t", 0, { waitMs: 2000 })).records), [{ offset: 0, value: "x" }]);
});

Deno.test("every flipped bit of a batch is refused and nothing of it is stored", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path);
  using client = await RawClient.open(broker);
  await client.createTopic("t");
  // Base offset, leader epoch and magic are not under the checksum; the first two are the broker's to set.
  for (let at = 17; at < 80; at++) {
    const batch = recordBatch(["some", "values"]);
    batch[at] ^= 1 << (at % 8);
    assert.equal((await client.produce("t", batch)).error, corrupt, `byte ${at}`);
  }
  assert.equal((await client.fetch("t", 0)).end, 0);
  assert.ok(broker.lines.some((line) => line.includes("CRC-32C")));
});

Deno.test("batches cut short, of another format, or without records are refused", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path);
  using client = await RawClient.open(broker);
  await client.createTopic("t");
  const whole = recordBatch(["some", "values"]);
  for (const length of [1, 60, 61, whole.length - 1]) {
    assert.equal((await client.produce("t", whole.slice(0, length))).error, corrupt, `${length} bytes`);
  }
  const oldFormat = recordBatch(["x"]);
  oldFormat[16] = 1;
  assert.equal((await client.produce("t", oldFormat)).error, 43);
  assert.equal((await client.produce("t", new Uint8Array(0))).error, 87);
  for (const half of [{ producerId: 1, baseSequence: 0 }, { producerId: 1, producerEpoch: 0 }]) {
    assert.equal((await client.produce("t", recordBatch(["x"], half))).error, 87);
  }
  assert.equal((await client.fetch("t", 0)).end, 0);
});

Deno.test("a batch over the limit is refused and the connection goes on", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path, { batchBytesMax: 200 });
  using client = await RawClient.open(broker);
  await client.createTopic("t");
  assert.equal((await client.produce("t", recordBatch(["x".repeat(200)]))).error, messageTooLarge);
  assert.equal((await client.produce("t", recordBatch(["x"]))).error, 0);
});

Deno.test("a frame over the limit closes that connection, with the reason in the log, and no other", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path, { frameBytesMax: 10_000 });
  using other = await RawClient.open(broker);
  await other.createTopic("t");
  using client = await RawClient.open(broker);
  await client.write(new WireWriter().int32(10_001).bytes());
  assert.equal(await client.receive(), null);
  assert.ok(broker.lines.some((line) => /Closed.*10001 bytes.*10000/.test(line)), broker.lines.join("\n"));
  assert.equal((await other.produce("t", recordBatch(["x"]))).error, 0);
});

Deno.test("garbage, HTTP and TLS each close their connection with a reason", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path);
  const seed = Number(Deno.env.get("SEED") ?? Math.floor(Math.random() * 2 ** 31));
  let state = seed;
  const random = () => (state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff) >>> 16;
  for (let round = 0; round < 200; round++) {
    using client = await RawClient.open(broker);
    // A good length, a known request and then anything: the handlers must cope with it.
    const body = Uint8Array.from({ length: 8 + random() % 200 }, () => random());
    const frame = new WireWriter().int32(body.length + 4).int16(random() % 62).int16(random() % 12).raw(body);
    await client.write(frame.bytes());
    await client.write(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"));
    let answers = 0;
    while (await client.receive() !== null) assert.ok(++answers <= 2, `SEED=${seed}`);
  }
  assert.ok(broker.lines.some((line) => line.includes("as in HTTP")), `SEED=${seed}`);
  assert.ok(
    !broker.lines.some((line) => line.includes("fault of the broker")),
    `SEED=${seed}\n${broker.lines.join("\n")}`,
  );

  using tls = await RawClient.open(broker);
  await tls.write(new Uint8Array([22, 3, 1, 2, 0, 1, 0, 1]));
  assert.equal(await tls.receive(), null);
  assert.ok(broker.lines.some((line) => line.includes("TLS")));
});

Deno.test("a version of ApiVersions that is not known is answered in version 0 with the list", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path);
  using client = await RawClient.open(broker);
  const answer = await client.request(18, 99, (w) => w.int8(0));
  assert.equal(answer.int16(), 35);
  const keys = Array.from({ length: answer.arrayLength(6) }, () => [answer.int16(), answer.int16(), answer.int16()]);
  assert.deepEqual(keys.find(([key]) => key === 18), [18, 0, 4]);
  assert.equal(answer.remaining, 0);
  const again = await client.request(18, 0, () => {});
  assert.equal(again.int16(), 0);
});

Deno.test("a request that is not known is answered UNSUPPORTED_VERSION and ends the connection", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path);
  using client = await RawClient.open(broker);
  const answer = await client.request(3, 99, () => {});
  assert.equal(answer.int16(), 35);
  assert.equal(await client.receive(), null);
  assert.ok(broker.lines.some((line) => line.includes('Metadata v99 of client "raw" is not supported')));
});

Deno.test("requests sent without waiting are answered in their order, even when an earlier one takes longer", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path);
  using client = await RawClient.open(broker);
  await client.createTopic("t");
  const order: number[] = [];
  for (let round = 0; round < 20; round++) {
    order.push(
      await client.send(1, 11, (w) => {
        w.int32(-1).int32(20).int32(1000).int32(1000).int8(0).int32(0).int32(-1).arrayLength(1).string("t");
        w.arrayLength(1).int32(0).int32(-1).int64(0).int64(-1).int32(1000).arrayLength(0).string("");
      }),
    );
    order.push(await client.send(18, 0, () => {}));
  }
  for (const correlation of order) assert.equal((await client.receive())!.int32(), correlation);
});

Deno.test("a client that sends far ahead gets an answer to each request", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path);
  using client = await RawClient.open(broker);
  await client.createTopic("t");
  const batch = recordBatch(["x"]);
  const count = 3000;
  const sending = (async () => {
    for (let i = 0; i < count; i++) {
      await client.send(0, 7, (w) => {
        w.string(null).int16(i % 100 === 0 ? -1 : 1).int32(1000).arrayLength(1).string("t").arrayLength(1).int32(0);
        w.byteField(batch);
      });
    }
  })();
  // The first request was that for the topic.
  for (let i = 0; i < count; i++) assert.equal((await client.receive())!.int32(), i + 2);
  await sending;
  assert.equal((await client.fetch("t", count - 1)).end, count);
});

Deno.test("clients that produce without a pause do not keep another one waiting", async () => {
  using folder = temporaryFolder();
  await using broker = await startBrokerWorker({ host: "127.0.0.1", port: 0, dataDir: folder.path, retentionBytes: 0 });
  const at = { running: broker } as Parameters<typeof RawClient.open>[0];
  using quiet = await RawClient.open(at);
  await quiet.createTopic("t");
  const batch = recordBatch([crypto.randomUUID().repeat(12_000)]);
  let running = true;
  let answered = 0;
  const loud = Array.from({ length: 3 }, async () => {
    using client = await RawClient.open(at);
    const send = () =>
      client.send(0, 7, (w) => {
        w.string(null).int16(1).int32(1000).arrayLength(1).string("t").arrayLength(1).int32(0).byteField(batch);
      });
    const sending = (async () => {
      while (running) await send();
      // The broker answers in order: once this is answered everything before it is.
      return await client.send(18, 0, () => {});
    })();
    let last = Infinity;
    sending.then((correlation) => last = correlation);
    for (let correlation = 0; correlation < last; answered++) correlation = (await client.receive())!.int32();
  });
  // How many answers others got meanwhile: no matter of how fast the machine is.
  const waits: number[] = [];
  for (let i = 0; i < 40; i++) {
    const before = answered;
    await quiet.fetch("t", 0, { bytesMax: 1 });
    waits.push(answered - before);
  }
  running = false;
  await Promise.all(loud);
  const median = waits.sort((a, b) => a - b)[20];
  assert.ok(median < 60, `others got ${median} answers meanwhile, in the middle, of ${answered} in all`);
});

Deno.test("a long poll waits for its bytes, wakes when they come, and gives up when the time is over", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path);
  using reader = await RawClient.open(broker);
  using writer = await RawClient.open(broker);
  await writer.createTopic("t");

  let woken = false;
  const waiting = reader.fetch("t", 0, { waitMs: 10_000, bytesMin: 100 }).finally(() => woken = true);
  const batch = recordBatch(["x"]);
  assert.ok(batch.length < 100 && batch.length > 50);
  await writer.produce("t", batch);
  assert.equal(woken, false);
  await writer.produce("t", batch);
  assert.equal(valuesIn((await waiting).records).length, 2);

  const before = performance.now();
  assert.equal((await reader.fetch("t", 2, { waitMs: 50 })).records.length, 0);
  assert.ok(performance.now() - before >= 45);
});

Deno.test("a fetch stays within its bytes, but always brings one batch", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path);
  using client = await RawClient.open(broker);
  await client.createTopic("t");
  const batch = recordBatch(["x".repeat(500)]);
  for (let i = 0; i < 10; i++) await client.produce("t", batch);
  assert.equal((await client.fetch("t", 0, { bytesMax: batch.length * 3 + 10 })).records.length, batch.length * 3);
  assert.equal((await client.fetch("t", 5, { bytesMax: 1 })).records.length, batch.length);
  assert.equal(valuesIn((await client.fetch("t", 5, { bytesMax: 1 })).records)[0].offset, 5);
});

Deno.test("connections over the limit are refused, with the limit in the log", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path, { connectionsMax: 2 });
  using first = await RawClient.open(broker);
  using second = await RawClient.open(broker);
  await first.createTopic("t");
  await second.createTopic("t");
  using third = await RawClient.open(broker);
  assert.equal(await third.receive(), null);
  assert.ok(broker.lines.some((line) => /Refused.*2 already/.test(line)));
});

Deno.test("a request begun and not finished is given up after a while", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path, { stallMs: 100 });
  using client = await RawClient.open(broker);
  await client.write(new WireWriter().int32(100).int16(18).bytes());
  assert.equal(await client.receive(), null);
  assert.ok(broker.lines.some((line) => line.includes("not finished")));
});

Deno.test("a request far larger than a connection's own buffer arrives whole", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path);
  using client = await RawClient.open(broker);
  await client.createTopic("t");
  const large = recordBatch(["x".repeat(3_000_000)]);
  const small = recordBatch(["y"]);
  assert.equal((await client.produce("t", large)).offset, 0);
  for (let i = 0; i < 300; i++) assert.equal((await client.produce("t", small, 1)).offset, 1 + i);
  assert.equal((await client.fetch("t", 0, { bytesMax: 1000 })).records.length, large.length);
});
