import assert from "node:assert/strict";
import { ConfigError, UnavailableError } from "../../pipeline/errors.ts";
import { Cluster } from "../../pipeline/log/cluster.ts";
import { TransactionCoordinator, TransactionRefusedError } from "../../pipeline/log/transaction_coordinator.ts";
import { createTransactionalPublisher } from "../../pipeline/log/transactional_publisher.ts";
import { systemClock } from "../../pipeline/clock.ts";
import { WireWriter } from "../../pipeline/log/wire.ts";
import { brokerIn, temporaryFolder } from "../broker/kafka/support.ts";
import { FakeBroker } from "./fake_broker.ts";
import { hurriedClock } from "./proxy.ts";

const forever = new AbortController().signal;
const OPTIONS = { clientId: "test", ssl: false, sasl: null };
const PRODUCER = { id: 7n, epoch: 3 };
const FIND = 10;
const END = 26;

/** What a scripted coordinator answers: an error's code, or nothing and the end of the connection. */
type Reply = number | "lost";

/** A broker that is its own coordinator; each request but the search for it gets the next of the replies, or the last again. */
function scripted(replies: readonly Reply[]) {
  const parts = new AsyncDisposableStack();
  const asked: number[] = [];
  let at = 0;
  const broker: FakeBroker = parts.use(
    new FakeBroker(async (next, send) => {
      for (let request = await next(); request; request = await next()) {
        asked.push(request.apiKey);
        const answer = new WireWriter().int32(0).int32(request.correlationId);
        if (request.apiKey === FIND) {
          answer.int32(0).int16(0).string(null).int32(1).string(broker.hostname).int32(broker.port);
        } else {
          const reply = replies[Math.min(at++, replies.length - 1)];
          if (reply === "lost") {
            await send(Uint8Array.of(0, 0, 0, 1, 0, 0, 0, 0));
            return;
          }
          answer.int32(0).int16(reply);
        }
        await send(answer.patchInt32(0, answer.position - 4).bytes().slice());
      }
    }),
  );
  const cluster = parts.use(new Cluster([`${broker.hostname}:${broker.port}`], OPTIONS));
  let now = 0;
  const pauses: number[] = [];
  const clock = {
    ...systemClock,
    monotonic: () => now,
    sleep: (ms: number) => {
      now += ms;
      pauses.push(ms);
      return Promise.resolve();
    },
  };
  const coordinator = new TransactionCoordinator(cluster, {
    transactionalId: "me",
    clock,
    transactionTimeoutMs: 1_000,
  });
  return { asked, pauses, coordinator, [Symbol.asyncDispose]: () => parts.disposeAsync() };
}

Deno.test("what says 'later' is asked again with growing pauses; what says 'elsewhere' makes it look again", async () => {
  // Loading, another coordinator, the transaction before not ended yet, no answer.
  await using subject = scripted([14, 16, 51, "lost", 0]);
  await subject.coordinator.end(PRODUCER, true, forever);
  assert.deepEqual(subject.asked, [FIND, END, FIND, END, FIND, END, END, FIND, END]);
  assert.deepEqual(subject.pauses, [20, 40, 80, 160]);
});

Deno.test("a coordinator that says 'later' for ever is given up after half a minute", async () => {
  await using subject = scripted([51]);
  await assert.rejects(subject.coordinator.end(PRODUCER, true, forever), (error: Error) => {
    assert.ok(error instanceof UnavailableError);
    assert.match(error.message, /to commit a transaction for the transactional id me: the transaction before is still/);
    return true;
  });
  const waited = subject.pauses.reduce((sum, ms) => sum + ms, 0);
  assert.ok(waited > 28_000 && waited <= 30_000, `${waited} ms`);
  assert.ok(subject.pauses.length < 60);
});

Deno.test("a refusal tells whether an earlier try may have been carried out", async () => {
  for (const [replies, isRepeat] of [[[51, 90], false], [["lost", 90], true]] as const) {
    await using subject = scripted(replies);
    await assert.rejects(subject.coordinator.end(PRODUCER, false, forever), (error: Error) => {
      assert.ok(error instanceof TransactionRefusedError);
      assert.deepEqual([error.code, error.isRepeat], [90, isRepeat]);
      return true;
    });
  }
});

Deno.test("a user who may not use the transactional id is told which one", async () => {
  await using subject = scripted([53]);
  await assert.rejects(subject.coordinator.end(PRODUCER, true, forever), (error: Error) => {
    assert.ok(error instanceof ConfigError);
    assert.match(error.message, /transactional id me: this user may not use the transactional id/);
    return true;
  });
  assert.deepEqual(subject.pauses, []);
});

Deno.test("waiting for a coordinator ends when the signal says so", async () => {
  await using subject = scripted([51]);
  const stop = new AbortController();
  const ended = subject.coordinator.end(PRODUCER, true, stop.signal);
  stop.abort(new Error("enough"));
  await assert.rejects(ended, /enough/);
});

Deno.test("a publisher tells what it cannot do: a time-out too long, a topic that is missing, a commit before the claim", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path);
  await using cluster = new Cluster([broker.address], OPTIONS);
  const options = { transactionalId: "me", clock: hurriedClock, signal: forever };
  const eternal = createTransactionalPublisher(cluster, { ...options, transactionTimeoutMs: 10 * 24 * 3600 * 1000 });
  await assert.rejects(eternal.claim({ signal: forever }), (error: Error) => {
    assert.ok(error instanceof ConfigError);
    assert.match(error.message, /transaction\.max\.timeout\.ms/);
    return true;
  });
  const publisher = createTransactionalPublisher(cluster, options);
  await assert.rejects(publisher.commit([], { signal: forever }), /before the transactional id is claimed/);
  await publisher.claim({ signal: forever });
  await assert.rejects(publisher.partitionCount("missing"), UnavailableError);
  const began = performance.now();
  const record = { key: null, value: null, headers: [], timestampMs: 0 };
  const nowhere = [{ topic: "missing", partition: 0, records: [record] }];
  await assert.rejects(publisher.commit(nowhere, { signal: forever }), (error: Error) => {
    assert.ok(error instanceof UnavailableError);
    assert.match(error.message, /a transaction that writes to missing .*: the topic or partition does not exist/);
    return true;
  });
  assert.ok(performance.now() - began < 20_000, "not tried until a write's 25 s are over");
  await publisher.claim({ signal: forever });
  const gone = AbortSignal.abort(new Error("enough"));
  await assert.rejects(publisher.commit([], { signal: gone }), /enough/);
  await assert.rejects(publisher.claim({ signal: gone }), /enough/);
});
