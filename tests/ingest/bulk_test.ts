import assert from "node:assert/strict";
import { createMetrics } from "../../api/metrics.ts";
import { answerOf, gzip, lines, openBulk, openWorld, readTopic } from "./world.ts";

Deno.test("lines of values, or of {key?, value}, are records, packed or not, with keys where a field is named", async () => {
  await using world = await openWorld();
  assert.deepEqual(
    await world.post('{"id":"a"}\n\n  \r\n{"id":"b","value":2}').then(({ status, body }) => [status, body]),
    [
      201,
      { topic: "readings", records: 2 },
    ],
  );
  const packed = await world.post(await gzip('{"id":"c","value":1.5}\n'), {
    query: "?key=id",
    headers: { "content-encoding": "gzip" },
  });
  assert.equal(packed.status, 201);
  const records = await world.post(
    '{"key":"k","value":{"id":"d"}}\n{"value":{"id":"e"}}\n{"key":null,"value":{"id":"f"}}',
    {
      query: "?lines=record",
    },
  );
  assert.equal(records.status, 201);
  const found = await readTopic(world.log, "readings");
  assert.deepEqual(found.sort((a, b) => JSON.stringify(a.value) < JSON.stringify(b.value) ? -1 : 1), [
    { key: null, value: { id: "a", value: null } },
    { key: null, value: { id: "b", value: 2 } },
    { key: "c", value: { id: "c", value: 1.5 } },
    { key: "k", value: { id: "d", value: null } },
    { key: null, value: { id: "e", value: null } },
    { key: null, value: { id: "f", value: null } },
  ]);
  assert.deepEqual(world.fake.logged, []);
});

Deno.test("every line that does not fit is named, up to a hundred, and nothing is written", async () => {
  await using world = await openWorld();
  const bad = [
    '{"id":"ok"}',
    "{",
    '{"id":1}',
    '{"id":"x","more":1}',
    "\xff",
    `{"id":"${"x".repeat(2 ** 20)}"}`,
    '{"id":"also ok"}',
    '{"id":"x","__proto__":1}',
  ].join("\n");
  const bytes = Uint8Array.from(bad, (character) => character.charCodeAt(0));
  const { status, body } = await world.post(bytes);
  assert.equal(status, 422);
  assert.equal(body.detail, "6 records do not fit; nothing was written");
  assert.deepEqual(
    body.errors.map(({ where }: { where: string }) => where),
    [2, 3, 4, 5, 6, 8].map((n) => `line ${n}`),
  );
  assert.match(body.errors[0].problem, /^is not JSON: /);
  assert.match(body.errors[1].problem, /^id is 1, not a string/);
  assert.match(body.errors[2].problem, /^more is no field of Reading/);
  assert.equal(body.errors[3].problem, "is not UTF-8");
  assert.match(body.errors[4].problem, /^is longer than 1048576 bytes/);
  assert.match(body.errors[5].problem, /^__proto__ is no field/);
  const many = await world.post("{}\n".repeat(1_000));
  assert.equal(many.body.errors.length, 100);
  assert.equal(many.body.detail, "1000 records do not fit, of which the first 100 are told; nothing was written");
  assert.deepEqual(await world.ids(), []);
  assert.equal(world.bulk.figures().heldBytes, 0);
});

Deno.test("a repeat under a key is answered the same and writes nothing, in another process too", async () => {
  await using world = await openWorld();
  const headers = { "idempotency-key": "order-1" };
  const first = await world.post(lines(0, 10), { headers });
  assert.deepEqual([first.status, first.headers.get("idempotent-replayed")], [201, null]);
  const again = await world.post(lines(0, 10), { headers });
  assert.deepEqual([again.status, again.body, again.headers.get("idempotent-replayed")], [201, first.body, "true"]);
  const packed = await world.post(await gzip(lines(0, 10)), { headers: { ...headers, "content-encoding": "gzip" } });
  assert.equal(packed.headers.get("idempotent-replayed"), "true", "the same records, packed this time");
  const other = await world.post(lines(0, 11), { headers });
  assert.equal(other.status, 422);
  assert.equal(other.body.type, "/docs#idempotency-key-reused");
  const keyed = await world.post(lines(0, 10), { headers, query: "?key=id" });
  assert.equal(keyed.status, 422, "the same body for other records is another request");
  await using second = openBulk(world.brokers, world.registryUrl);
  const request = (from: number, key: string) => ({
    topic: "readings",
    format: "ndjson" as const,
    lines: "value" as const,
    key: null,
    idempotencyKey: key,
    isGzip: false,
    declaredBytes: null,
    body: new Blob([lines(from, from + 10)]).stream(),
  });
  assert.deepEqual(await second.bulk.write(request(0, "order-1")), { kind: "written", records: 10, isRepeat: true });
  // The second process has the id of the slot now; the first takes it back, and sees what was written meanwhile.
  for (let round = 1; round < 4; round++) {
    assert.deepEqual(await world.bulk.write(request(10 * round, `round-${round}`)), {
      kind: "written",
      records: 10,
      isRepeat: false,
    });
    assert.deepEqual(await second.bulk.write(request(10 * round, `round-${round}`)), {
      kind: "written",
      records: 10,
      isRepeat: true,
    });
  }
  const ids = await world.ids();
  assert.equal(ids.length, 40);
  assert.equal(new Set(ids).size, 40);
});

Deno.test("of many requests under one key at once one is written, and the others are told to ask again", async () => {
  await using world = await openWorld();
  const headers = { "idempotency-key": "k" };
  const answers = await Promise.all(Array.from({ length: 20 }, () => world.post(lines(0, 100), { headers })));
  assert.deepEqual(answers.map(({ status }) => status).sort(), [201, ...Array(19).fill(409)]);
  const told = answers.find(({ status }) => status === 409)!;
  assert.equal(told.body.type, "/docs#idempotency-key-busy");
  assert.equal(told.headers.get("retry-after"), "1");
  assert.equal((await world.post(lines(0, 100), { headers })).headers.get("idempotent-replayed"), "true");
  assert.equal((await world.ids()).length, 100);
});

Deno.test("processes that get the same keys at the same moment write each request once", async () => {
  await using world = await openWorld();
  await using second = openBulk(world.brokers, world.registryUrl);
  const send = async (bulk: typeof world.bulk, key: number) => {
    for (;;) {
      const answer = await bulk.write({
        topic: "readings",
        format: "ndjson",
        lines: "value",
        key: null,
        idempotencyKey: `key-${key}`,
        isGzip: false,
        declaredBytes: null,
        body: new Blob([lines(0, 20, `${key}-`)]).stream(),
      }).catch((error) => {
        assert.equal(error.name, "UnavailableError");
        return null;
      });
      if (answer?.kind === "written") return answer.isRepeat;
      assert.ok(answer === null || answer.kind === "key busy", answer?.kind);
    }
  };
  const repeats = await Promise.all(
    Array.from({ length: 12 }, (_, key) => Promise.all([send(world.bulk, key), send(second.bulk, key)])),
  );
  for (const pair of repeats) assert.deepEqual(pair.sort(), [false, true]);
  const ids = await world.ids();
  assert.equal(ids.length, 240);
  assert.equal(new Set(ids).size, 240);
});

Deno.test("requests without a key are written as often as they are sent", async () => {
  await using world = await openWorld();
  const answers = await Promise.all(Array.from({ length: 10 }, () => world.post(lines(0, 5))));
  assert.deepEqual(answers.map(({ status }) => status), Array(10).fill(201));
  assert.equal((await world.ids()).length, 50);
});

Deno.test("a slow client, and one that goes away, hold a request's place for a bounded time and write nothing", async () => {
  await using world = await openWorld({ bodyMs: 150, requestsMax: 1 });
  let stopped = false;
  const endless = () =>
    new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(new TextEncoder().encode(lines(0, 3))),
      cancel: () => void (stopped = true),
    });
  const slow = world.post(endless());
  const refused = await world.post(lines(0, 1));
  assert.deepEqual([refused.status, refused.headers.get("retry-after")], [429, "1"]);
  assert.equal((await slow).status, 408);
  assert.ok(stopped, "the rest of the body is not waited for");
  const gone = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.error(new Error("connection reset")),
  });
  assert.equal((await world.post(gone)).status, 400);
  assert.equal((await world.post(lines(0, 1))).status, 201);
  assert.deepEqual(await world.ids(), ["r0"]);
});

Deno.test("the bounds are reached: bytes, records, what all hold together", async () => {
  await using world = await openWorld({ bodyBytesMax: 100_000, recordsMax: 1_000, heldBytesMax: 200_000 });
  const large = "x".repeat(100_001);
  assert.equal((await world.post(large, { headers: { "content-length": "100001" } })).status, 413);
  const undeclared = new Blob([large]).stream();
  assert.equal((await world.post(undeclared)).status, 413);
  const bomb = await gzip(new Uint8Array(50_000_000));
  assert.ok(bomb.length < 100_000);
  const unpacked = await world.post(bomb, { headers: { "content-encoding": "gzip" } });
  assert.deepEqual([unpacked.status, unpacked.body.detail], [
    413,
    "at most 100000 bytes, unpacked; nothing was written",
  ]);
  assert.deepEqual(
    await world.post("{}\n".repeat(1_001)).then(({ status, body }) => [status, body.detail]),
    [413, "at most 1000 records; nothing was written"],
  );
  const full = await world.post('{"id":""}\n'.repeat(800));
  assert.deepEqual([full.status, full.headers.get("retry-after")], [429, "2"]);
  assert.equal(full.body.type, "/docs#too-many-records");
  assert.equal(world.bulk.figures().heldBytes, 0, "and given back");
  assert.equal((await world.post('{"id":""}\n'.repeat(500))).status, 201);
  assert.equal((await world.ids()).length, 500);
});

Deno.test("figures say what requests came to, and count a repeated one's records once", async () => {
  // Short enough to wait for it once, at the end.
  await using world = await openWorld({ openMs: 3_000 });
  const metrics = createMetrics(() => [], { bulk: () => world.bulk.figures() });
  const headers = { "idempotency-key": "once" };
  for (let i = 0; i < 3; i++) await world.post(lines(0, 5), { headers });
  await world.post(lines(5, 7));
  await world.post("{");
  await world.post(lines(0, 1), { topic: "nowhere" });
  await world.stopBroker();
  await world.post(lines(7, 8), { headers: { "idempotency-key": "away" } });
  const text = await metrics.text();
  const shown = [...text.matchAll(/^tailrace_bulk_(\S+) (\d+)$/gm)].map(([, name, value]) => `${name} ${value}`);
  assert.deepEqual(shown, [
    'requests_total{outcome="written"} 2',
    'requests_total{outcome="repeated"} 2',
    'requests_total{outcome="refused"} 1',
    'requests_total{outcome="unknown_topic"} 1',
    'requests_total{outcome="failed"} 1',
    "records_total 7",
    "requests_under_way 0",
    "held_bytes 0",
  ]);
});

Deno.test("what the headers say is held to", async () => {
  await using world = await openWorld();
  const statuses = async (...asked: Parameters<typeof world.post>[]) =>
    await Promise.all(asked.map(async (args) => (await world.post(...args)).status));
  assert.deepEqual(
    await statuses(
      [lines(0, 1), { headers: { "content-type": "text/csv" } }],
      [lines(0, 1), { headers: { "content-encoding": "br" } }],
      [lines(0, 1), { headers: { "content-encoding": "gzip" } }],
      [(await gzip(lines(0, 1))).slice(0, -5), { headers: { "content-encoding": "gzip" } }],
      [lines(0, 1), { headers: { "content-type": "avro/binary" } }],
      ["", {}],
      ["\n\n", {}],
      [lines(0, 1), { headers: { "idempotency-key": "x".repeat(256) } }],
      [lines(0, 1), { headers: { "idempotency-key": "with space" } }],
      [lines(0, 1), { query: "?key=a..b" }],
      [lines(0, 1), { query: "?lines=record&key=id" }],
      [lines(0, 1), { query: "?lines=other" }],
      [lines(0, 1), { topic: "none" }],
    ),
    [415, 415, 400, 400, 400, 400, 400, 400, 400, 400, 400, 400, 404],
  );
  assert.deepEqual(await world.ids(), []);
  assert.deepEqual(world.fake.logged, []);
});

Deno.test("a record that the broker finds too large keeps the whole request out, and holds up nobody's reading", async () => {
  await using world = await openWorld({}, { batchBytesMax: 20_000 });
  const body = `${lines(0, 10)}{"id":"${"x".repeat(30_000)}"}\n`;
  const refused = await world.post(body, { headers: { "idempotency-key": "large" } });
  assert.equal(refused.status, 413);
  assert.match(refused.body.detail, /larger than the broker allows/);
  assert.deepEqual(await world.ids(), [], "nothing, and no transaction is open");
  const smaller = await world.post(lines(0, 10), { headers: { "idempotency-key": "large" } });
  assert.equal(smaller.status, 201, "a refused request leaves its key");
  assert.equal((await world.ids()).length, 10);
});

Deno.test("over HTTP a body may come in pieces, and a large one is refused at once", async () => {
  await using world = await openWorld({ bodyBytesMax: 1_000_000 });
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, world.app.fetch);
  const url = `http://127.0.0.1:${server.addr.port}/v1/topics/readings/bulk`;
  const whole = new TextEncoder().encode(lines(0, 50));
  const pieces = ReadableStream.from((function* () {
    for (let at = 0; at < whole.length; at += 7) yield whole.subarray(at, at + 7);
  })());
  const headers = { "content-type": "application/x-ndjson" };
  assert.equal((await answerOf(fetch(url, { method: "POST", body: pieces, headers }))).status, 201);
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: server.addr.port });
  const request = "POST /v1/topics/readings/bulk HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-ndjson\r\n" +
    "content-length: 900000000\r\nexpect: 100-continue\r\n\r\n";
  await conn.write(new TextEncoder().encode(request));
  const answer = new Uint8Array(1_000);
  const read = await conn.read(answer);
  conn.close();
  assert.match(new TextDecoder().decode(answer.subarray(0, read!)), /^HTTP\/1.1 413 /m);
  // A connection that is cut in the middle of its body.
  const cut = await Deno.connect({ hostname: "127.0.0.1", port: server.addr.port });
  await cut.write(
    new TextEncoder().encode(request.replace("900000000", "5000").replace("expect: 100-continue\r\n", "")),
  );
  await cut.write(whole.subarray(0, 500));
  cut.close();
  assert.equal((await answerOf(fetch(url, { method: "POST", body: lines(50, 60), headers }))).status, 201);
  assert.equal((await world.ids()).length, 60);
});
