import assert from "node:assert/strict";
import { answerOf, lines, openWorld } from "./world.ts";

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
      let answer = await send();
      for (let tries = 0; answer.status === 503 && tries < 20; tries++) answer = await send();
      proxy[way] = () => "pass";
      assert.equal(answer.status, 201, JSON.stringify(answer.body));
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
  await using world = await openWorld({ openMs: 500, writeMs: 400, requestsMax: 2 }, PROXIED);
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, world.app.fetch);
  const url = `http://127.0.0.1:${server.addr.port}/v1/topics/readings/bulk`;
  const send = (key: string) => {
    const headers = { "content-type": "application/x-ndjson", "idempotency-key": key };
    return answerOf(fetch(url, { method: "POST", body: lines(0, 20, `${key}-`), headers }));
  };
  /** On a busy machine the times above may be over before the broker's answer: then the same is sent again. */
  const written = async (key: string) => {
    let answer = await send(key);
    for (let tries = 0; answer.status === 503 && tries < 30; tries++) answer = await send(key);
    assert.equal(answer.status, 201, JSON.stringify(answer.body));
  };
  const keys = ["a", "b"];
  // Both slots are claimed, so that nothing but the write meets the slow broker.
  for (const key of keys) await written(key);
  const slow = Promise.withResolvers<void>();
  const proxy = world.proxy!;
  proxy.onAnswer = () => "hold";
  proxy.held = slow.promise;
  const again = keys.map((key) => `${key}${key}`);
  const waiting = again.map(send);
  await new Promise((resolve) => setTimeout(resolve, 100));
  const refused = await send("c");
  assert.deepEqual([refused.status, refused.headers.get("retry-after")], [429, "1"]);
  for (const { status } of await Promise.all(waiting)) assert.equal(status, 503);
  proxy.onAnswer = () => "pass";
  slow.resolve();
  for (const key of again) await written(key);
  const ids = await world.ids();
  assert.equal(ids.length, 80);
  assert.equal(new Set(ids).size, 80);
});
