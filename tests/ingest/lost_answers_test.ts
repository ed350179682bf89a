import assert from "node:assert/strict";
import { slotOf } from "../../pipeline/ingest/receipts.ts";
import { type Answer, lines, openWorld, written } from "./world.ts";

const PROXIED = { advertisedHost: "127.0.0.2" };
/** More frames than a request has. */
const FRAMES = 14;

for (const way of ["onRequest", "onAnswer"] as const) {
  Deno.test(`a connection to Kafka that is cut at any frame leaves each request there once: ${way}`, async () => {
    await using world = await openWorld({ openMs: 5_000, writeMs: 10_000 }, PROXIED);
    const proxy = world.proxy!;
    assert.equal((await world.post(lines(0, 1, "first-"))).status, 201);
    let cuts = 0;
    for (let at = 0; at < FRAMES; at++) {
      let frames = 0;
      proxy[way] = () => {
        if (frames++ !== at) return "pass";
        cuts++;
        return "cut";
      };
      const send = () =>
        world.post(lines(0, 50, `${at}-`), { headers: { "idempotency-key": `request-${at}` }, query: "?key=id" });
      await written(send);
      proxy[way] = () => "pass";
      // Without a key, too, the answer tells what became of it: 201 means once.
      assert.equal((await world.post(lines(0, 3, `plain-${at}-`))).status, 201);
    }
    assert.ok(cuts >= 4, `${cuts} cuts`);
    const ids = await world.ids();
    assert.equal(ids.length, 1 + FRAMES * 53);
    assert.equal(new Set(ids).size, ids.length);
  });
}

Deno.test("while Kafka is slow requests hold their places, further ones are told 429, and what they were is known after it", async () => {
  await using world = await openWorld({ openMs: 10_000, writeMs: 5_000, requestsMax: 2 }, PROXIED);
  const text = (key: string) => new TextEncoder().encode(lines(0, 20, `${key}-`));
  const send = (key: string, body: BodyInit = text(key)) => world.post(body, { headers: { "idempotency-key": key } });
  // Both slots are claimed, so that nothing but the write meets the slow broker.
  const [keys, again] = [["a", "c"], ["ai", "ci"]];
  assert.deepEqual(again.map(slotOf), keys.map(slotOf));
  for (const key of keys) await written(() => send(key));
  const slow = Promise.withResolvers<void>();
  using released = new DisposableStack();
  released.defer(slow.resolve);
  const proxy = world.proxy!;
  proxy.held = slow.promise;
  // A body is read when all that comes before the write is over.
  const sent = Promise.withResolvers<void>();
  const waiting: Promise<Answer>[] = [];
  for (const key of again) {
    const read = Promise.withResolvers<void>();
    const pull = async (controller: ReadableStreamDefaultController<Uint8Array>) => {
      read.resolve();
      await sent.promise;
      controller.enqueue(text(key));
      controller.close();
    };
    waiting.push(send(key, new ReadableStream({ pull }, { highWaterMark: 0 })));
    await Promise.race([read.promise, waiting.at(-1)]);
  }
  proxy.onAnswer = () => "hold";
  sent.resolve();
  const refused = await send("d");
  assert.deepEqual([refused.status, refused.headers.get("retry-after")], [429, "1"]);
  for (const { status, body } of await Promise.all(waiting)) {
    assert.equal(status, 503);
    assert.match(JSON.stringify(body), /did not acknowledge/);
  }
  proxy.onAnswer = () => "pass";
  slow.resolve();
  for (const key of again) await written(() => send(key));
  const ids = await world.ids();
  assert.equal(ids.length, 80);
  assert.equal(new Set(ids).size, 80);
});
