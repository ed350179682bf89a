import assert from "node:assert/strict";
import fc from "fast-check";
import { UnavailableError } from "../../pipeline/errors.ts";
import { Cluster } from "../../pipeline/log/cluster.ts";
import { IN_FLIGHT_MAX } from "../../pipeline/log/connection.ts";
import { openConnection } from "../../pipeline/log/open_connection.ts";
import { WireReader, WireWriter } from "../../pipeline/log/wire.ts";
import { RawClient } from "../broker/kafka/support.ts";
import { batchOf, concat, plain } from "./batches.ts";
import { brokerBehindProxy, makeTopic } from "./broker_behind_proxy.ts";
import { FakeBroker } from "./fake_broker.ts";

const OPTIONS = { clientId: "test", ssl: false, sasl: null };

function answerTo(correlationId: number, body: Uint8Array): Uint8Array {
  return new WireWriter().int32(4 + body.length).int32(correlationId).raw(body).bytes().slice();
}

Deno.test("answers are matched to requests whatever pieces they arrive in", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat(100_000), { minLength: 1, maxLength: 30 }),
      fc.array(fc.integer({ min: 1, max: 50_000 }), { minLength: 1, maxLength: 10 }),
      async (sizes, pieces) => {
        await using broker = new FakeBroker(async (requests, send) => {
          const answers: Uint8Array[] = [];
          for (let i = 0; i < sizes.length; i++) {
            const request = await requests();
            answers.push(answerTo(request!.correlationId, new Uint8Array(sizes[i]).fill(i)));
          }
          const all = concat(answers);
          for (let at = 0, i = 0; at < all.length; i++) await send(all.subarray(at, at += pieces[i % pieces.length]));
        });
        const connection = await openConnection(broker.hostname, broker.port, OPTIONS);
        const asked = sizes.map(() => connection.request(3, 5, () => {}));
        for (const [i, answer] of asked.entries()) {
          const frame = (await answer)!;
          assert.equal(frame.end - frame.start, sizes[i]);
          assert.ok(frame.data.subarray(frame.start, frame.end).every((byte) => byte === i));
          frame.release();
          frame.release();
        }
        connection.close();
      },
    ),
    { numRuns: 40 },
  );
});

Deno.test("a buffer that is not given back is never written to", async () => {
  await using broker = new FakeBroker(async (requests, send) => {
    for (let i = 0;; i++) {
      const request = await requests();
      if (!request) return;
      await send(answerTo(request.correlationId, new Uint8Array(30_000).fill(i)));
    }
  });
  const connection = await openConnection(broker.hostname, broker.port, OPTIONS);
  const kept = (await connection.request(3, 5, () => {}))!;
  for (let i = 1; i < 20; i++) (await connection.request(3, 5, () => {}))!.release();
  assert.ok(kept.data.subarray(kept.start, kept.end).every((byte) => byte === 0));
  connection.close();
});

Deno.test("requests beyond the bound wait and go out in the order they were made", async () => {
  const order: number[] = [];
  let most = 0;
  await using broker = new FakeBroker(async (requests, send) => {
    const waiting: number[] = [];
    for (;;) {
      const request = await requests(waiting.length > 0 ? 30 : undefined);
      if (request === null) return;
      if (request === undefined) {
        most = Math.max(most, waiting.length);
        for (const id of waiting.splice(0)) await send(answerTo(id, new Uint8Array(0)));
        continue;
      }
      order.push(request.body.int32());
      waiting.push(request.correlationId);
    }
  });
  const connection = await openConnection(broker.hostname, broker.port, OPTIONS);
  const count = 3 * IN_FLIGHT_MAX + 5;
  const asked = Array.from({ length: count }, (_, i) => connection.request(3, 5, (writer) => writer.int32(i)));
  for (const answer of asked) (await answer)!.release();
  assert.deepEqual(order, Array.from({ length: count }, (_, i) => i));
  assert.equal(most, IN_FLIGHT_MAX);
  const rest = Array.from({ length: count }, () => connection.request(3, 5, () => {}));
  connection.close();
  for (const answer of rest) await assert.rejects(answer, UnavailableError);
});

Deno.test("a peer that does not speak Kafka is refused", async () => {
  const garbage: [string, (correlationId: number) => Uint8Array, RegExp][] = [
    ["http", () => new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\n\r\n"), /is it a Kafka broker/],
    ["a negative size", () => new WireWriter().int32(-5).int32(1).bytes().slice(), /is it a Kafka broker/],
    ["a tiny size", () => new WireWriter().int32(2).int32(1).bytes().slice(), /is it a Kafka broker/],
    ["another request's answer", (id) => answerTo(id + 1, new Uint8Array(4)), /was not the next one asked/],
    [
      "two answers to one request",
      (id) => concat([answerTo(id, new Uint8Array(0)), answerTo(id, new Uint8Array(0))]),
      /./,
    ],
  ];
  for (const [name, bytes, message] of garbage) {
    await using broker = new FakeBroker(async (requests, send) => {
      const request = await requests();
      if (request) await send(bytes(request.correlationId));
      await requests();
    });
    const connection = await openConnection(broker.hostname, broker.port, OPTIONS);
    if (name === "two answers to one request") {
      await connection.request(3, 5, () => {});
      while (!connection.closed) await new Promise((resolve) => setTimeout(resolve, 5));
    } else {
      await assert.rejects(connection.request(3, 5, () => {}), (error) => {
        assert.ok(error instanceof UnavailableError, name);
        assert.match(error.message, message);
        return true;
      });
    }
    assert.ok(connection.closed);
    await assert.rejects(connection.request(3, 5, () => {}), UnavailableError);
    connection.close();
  }
});

Deno.test("a broker that swallows what is asked is left after the time allowed", async () => {
  await using setup = await brokerBehindProxy();
  const cluster = setup.cluster();
  const connection = await cluster.any();
  setup.proxy.onAnswer = () => "swallow";
  const began = performance.now();
  await assert.rejects(
    connection.request(3, 5, (writer) => writer.arrayLength(1).string("t").boolean(false), { timeoutMs: 500 }),
    /did not answer in time/,
  );
  assert.ok(performance.now() - began < 20_000, "after the time allowed, not the usual 30 s");
  assert.ok(connection.closed);
  setup.proxy.onAnswer = () => "pass";
  assert.equal(await cluster.leaders("t"), null, "the cluster has opened another connection");
});

Deno.test("metadata and the ends of the log are read through a cut connection, by the next one", async () => {
  await using setup = await brokerBehindProxy({ defaultPartitions: 2 });
  await makeTopic(setup.broker, "t");
  using client = await RawClient.open(setup.broker);
  await client.produce("t", batchOf(plain("a", "b", "c")));
  const cluster = setup.cluster();
  assert.deepEqual((await cluster.leaders("t"))!.leaders, [1, 1]);
  setup.proxy.cut();
  for (let tries = 0;; tries++) {
    const latest = await cluster.offsets("t", [0, 1], "latest").catch((error) => {
      assert.ok(error instanceof UnavailableError && tries === 0);
    });
    if (latest) {
      assert.deepEqual([...latest], [[0, 3], [1, 0]]);
      break;
    }
  }
  assert.deepEqual([...await cluster.offsets("t", [0], "earliest")], [[0, 0]]);
  assert.deepEqual([...await cluster.offsets("t", [0], 1_700_000_000_001)], [[0, 1]]);
  assert.deepEqual([...await cluster.offsets("t", [0], 1_900_000_000_000)], [[0, -1]]);
  await assert.rejects(cluster.offsets("missing", [0], "latest"), /missing: the topic does not exist/);
  await assert.rejects(cluster.node(77), UnavailableError);
});

Deno.test("a cluster tries its brokers one after the other and says which cannot be reached", async () => {
  await using setup = await brokerBehindProxy();
  const closed = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const nobody = `127.0.0.1:${(closed.addr as Deno.NetAddr).port}`;
  closed.close();
  await using cluster = new Cluster([nobody, setup.proxy.address], OPTIONS);
  assert.equal(await cluster.leaders("t"), null);
  await using alone = new Cluster([nobody], OPTIONS);
  await assert.rejects(alone.leaders("t"), (error) => {
    assert.ok(error instanceof UnavailableError);
    assert.match(error.message, new RegExp(`^Kafka broker ${nobody} cannot be reached: `));
    return true;
  });
  await cluster.close();
  await assert.rejects(cluster.any(), /were closed/);
  await using none = new Cluster([], OPTIONS);
  await assert.rejects(none.any(), /KAFKA_BROKERS: no broker is named/);
});

Deno.test("a topic's id is told by brokers that have ids, and is another when the topic is made anew", async () => {
  await using setup = await brokerBehindProxy({ defaultPartitions: 2 });
  await makeTopic(setup.broker, "t");
  await makeTopic(setup.broker, "u");
  const cluster = setup.cluster();
  const [first, again, other] = [await cluster.leaders("t"), await cluster.leaders("t"), await cluster.leaders("u")];
  assert.match(first!.id!, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  assert.deepEqual(again, first);
  assert.notEqual(other!.id, first!.id);
  using client = await RawClient.open(setup.broker);
  await client.request(20, 1, (w) => w.arrayLength(1).string("t").int32(10_000));
  await makeTopic(setup.broker, "t");
  assert.notEqual((await cluster.leaders("t"))!.id, first!.id);
});

Deno.test("brokers without topic ids are asked the way they know, and the versions only once", async () => {
  const asked: number[] = [];
  await using broker = new FakeBroker(async (next, send) => {
    for (let request = await next(); request; request = await next()) {
      asked.push(request.apiKey);
      const answer = new WireWriter();
      if (request.apiKey === 18) answer.int16(0).arrayLength(1).int16(3).int16(0).int16(9);
      else {
        answer.int32(0).arrayLength(1).int32(7).string(broker.hostname).int32(broker.port).string(null).string(
          "cluster",
        ).int32(7);
        answer.arrayLength(1).int16(0).string("t").boolean(false).arrayLength(2);
        for (const partition of [1, 0]) {
          answer.int16(0).int32(partition).int32(7 - partition);
          for (let list = 0; list < 3; list++) answer.arrayLength(1).int32(7);
        }
      }
      await send(answerTo(request.correlationId, answer.bytes()));
    }
  });
  await using cluster = new Cluster([`${broker.hostname}:${broker.port}`], OPTIONS);
  assert.deepEqual(await cluster.leaders("t"), { topic: "t", id: null, leaders: [7, 6] });
  await cluster.leaders("t");
  assert.deepEqual(asked, [18, 3, 3]);
});

Deno.test("closing does not wait for a broker that lets us in and then says nothing", async () => {
  const asked = Promise.withResolvers<void>();
  await using broker = new FakeBroker(async (next) => {
    await next();
    asked.resolve();
    await next();
  });
  const sasl = { mechanism: "PLAIN", username: "u", password: "p" } as const;
  const cluster = new Cluster([`${broker.hostname}:${broker.port}`], { ...OPTIONS, sasl });
  const refused = assert.rejects(cluster.leaders("t"), /closed/);
  await asked.promise;
  const began = performance.now();
  await cluster.close();
  await refused;
  assert.ok(performance.now() - began < 20_000, "a request has 30 s");
});

Deno.test("random bytes instead of an answer's body are an error of a known kind", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 60 }), fc.constantFrom(5, 12), async (body, newest) => {
      await using broker = new FakeBroker(async (requests, send) => {
        for (;;) {
          const request = await requests();
          if (!request) return;
          const known = new Uint8Array([0, 0, 0, 0, 0, 1, 0, 3, 0, 0, 0, newest]);
          await send(answerTo(request.correlationId, request.apiKey === 18 ? known : body));
        }
      });
      await using cluster = new Cluster([`${broker.hostname}:${broker.port}`], OPTIONS);
      const found = await cluster.leaders("t").catch((error) => {
        assert.ok(["UnavailableError", "MalformedRecordError", "ConfigError"].includes(error.name), String(error));
      });
      if (found) assert.ok(found.leaders.length <= body.length);
    }),
    { numRuns: 150 },
  );
  assert.throws(() => new WireReader(new Uint8Array(3)).int32());
});
