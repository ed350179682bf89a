import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { systemClock } from "../../../pipeline/clock.ts";
import type { DeliveryContext } from "../../../pipeline/deliveries/delivery_spec.ts";
import { ConfigError, UnavailableError } from "../../../pipeline/errors.ts";
import { createSecrets, secret } from "../../../pipeline/secrets.ts";
import { withRetry } from "../../../pipeline/sinks/retry.ts";
import { RejectedRowsError, type ResultRows, type Sink } from "../../../pipeline/sinks/sink.ts";
import { webhook, type WebhookOptions } from "../../../pipeline/sinks/webhook/definition.ts";
import { webhookKind } from "../../../pipeline/sinks/webhook/kind.ts";
import { KEYED_PRODUCT_COLUMNS, PRODUCT, PRODUCT_COLUMNS, productRows, span, START_MS } from "../delivered_rows.ts";
import { Receiver } from "./receiver.ts";

const PLAN = {
  name: "shop",
  topic: "products",
  schema: PRODUCT,
  key: [],
  columns: PRODUCT_COLUMNS,
  to: [],
  consumers: 1,
  batch: { rows: 1000, everyMs: 1000 },
  limitPerSecond: null,
  partitions: null,
} satisfies DeliveryContext["plan"];

async function open(
  options: WebhookOptions,
  secrets: Record<string, string> = {},
  plan: DeliveryContext["plan"] = PLAN,
): Promise<Sink> {
  const spec = webhook({ allowPrivate: true, ...options });
  assert.deepEqual(webhookKind.check(spec, plan), []);
  return await webhookKind.open(spec, {
    plan,
    consumer: 0,
    secrets: createSecrets({ env: (name) => secrets[name], onFound: () => {} }),
    clock: systemClock,
    log: () => {},
    databaseUrl: "",
    dataDir: "",
    fetch,
  });
}

const write = (sink: Sink, rows: ResultRows, signal = new AbortController().signal) =>
  sink.write(rows, { epoch: 1, signal });

function refusedBy(error: unknown): (readonly [number, string])[] {
  assert.ok(error instanceof RejectedRowsError, String(error));
  return error.rows.map(({ row, reason }) => [row, reason]);
}

Deno.test("records are posted in order, some at a time, with a key that says which they are", async () => {
  await using receiver = new Receiver();
  await using sink = await open({ url: receiver.url, batch: 4 });
  await write(sink, productRows([...span(10, 17), 20, 21, 22], { partition: 3 }));
  assert.deepEqual(receiver.taken.map(({ key }) => key), ["products/3/10-13", "products/3/14-20", "products/3/21-22"]);
  assert.deepEqual(receiver.offsets(), [...span(10, 17), 20, 21, 22]);
  assert.equal(receiver.taken[0].headers.get("content-type"), "application/json");
  assert.equal(receiver.taken[0].headers.get("x-tailrace-delivery"), "shop");
  assert.equal(receiver.taken[0].headers.has("x-tailrace-signature"), false);
  assert.deepEqual(receiver.taken[0].body, {
    topic: "products",
    partition: 3,
    records: span(10, 14).map((offset) => ({
      offset,
      timestamp: new Date(START_MS + offset).toISOString(),
      value: {
        id: offset,
        name: `product ${offset}`,
        price: `${offset}.50`,
        tags: ["a", `${offset % 3}`],
        changed: offset % 2 === 0 ? null : new Date(START_MS + offset).toISOString().replace("Z", "000Z"),
      },
    })),
  });
});

Deno.test("a record without a value is posted as one, with its key", async () => {
  await using receiver = new Receiver();
  await using sink = await open({ url: receiver.url }, {}, { ...PLAN, key: ["id"], columns: KEYED_PRODUCT_COLUMNS });
  await write(sink, productRows([7, 8], { columns: KEYED_PRODUCT_COLUMNS, gone: [8] }));
  const [{ body: { records: [there, gone] } }] = receiver.taken;
  assert.equal((there.value as { id: number }).id, 7);
  assert.deepEqual(gone, { offset: 8, timestamp: new Date(START_MS + 8).toISOString(), key: { id: 8 }, value: null });
});

Deno.test("what no number holds exactly comes as text", async () => {
  await using receiver = new Receiver();
  await using sink = await open({ url: receiver.url });
  await write(sink, productRows([0], { more: () => ({ id: 2n ** 60n, name: 'quo"te\u2028 \ud83d\ude00' }) }));
  const { id, name } = receiver.taken[0].body.records[0].value as unknown as { id: string; name: string };
  assert.deepEqual([id, name], ["1152921504606846976", 'quo"te\u2028 \ud83d\ude00']);
});

Deno.test("a signature over time and body proves the sender; secrets come by reference, the address too", async () => {
  await using receiver = new Receiver();
  await using sink = await open({
    url: secret("hook"),
    headers: { authorization: secret("token"), "x-shop": "one" },
    signingSecret: secret("signing"),
  }, { TAILRACE_SECRET_HOOK: receiver.url, TAILRACE_SECRET_TOKEN: "Bearer t", TAILRACE_SECRET_SIGNING: "k\u00e9y" });
  await write(sink, productRows([1], { more: () => ({ name: "J\u00fcrgen" }) }));
  const [{ headers, text }] = receiver.taken;
  const timestamp = headers.get("x-tailrace-timestamp")!;
  assert.ok(Math.abs(Number(timestamp) * 1000 - Date.now()) < 60_000);
  const expected = createHmac("sha256", "k\u00e9y").update(`${timestamp}.${text}`).digest("hex");
  assert.equal(headers.get("x-tailrace-signature"), `sha256=${expected}`);
  assert.equal(headers.get("authorization"), "Bearer t");
  assert.equal(headers.get("x-shop"), "one");
  await assert.rejects(open({ url: secret("hook") }), /TAILRACE_SECRET_HOOK/);
  await assert.rejects(open({ url: secret("hook") }, { TAILRACE_SECRET_HOOK: "hunter2" }), (error: Error) => {
    return error instanceof ConfigError && !error.message.includes("hunter2");
  });
});

Deno.test("a refused batch is halved until the records that are refused stand alone; all others are taken, in order", async () => {
  await using receiver = new Receiver();
  await using sink = await open({ url: receiver.url, batch: 64 });
  const bad = new Set([3, 4, 77, 99]);
  receiver.answer = ({ body }) =>
    body.records.some(({ offset }) => bad.has(offset)) ? new Response("bad\n  id", { status: 422 }) : null;
  const error = await write(sink, productRows(span(0, 100))).catch((error) => error);
  assert.deepEqual(refusedBy(error), [...bad].map((row) => [row, "the webhook answers 422: bad id"]));
  assert.deepEqual(receiver.offsets(), span(0, 100).filter((offset) => !bad.has(offset)));
  assert.ok(receiver.requests.length < 60, `${receiver.requests.length} requests`);
});

Deno.test("a repeat after an outage goes on behind what was taken, and tells what was refused before", async () => {
  await using receiver = new Receiver();
  await using sink = await open({ url: receiver.url, batch: 10 });
  let left = 8;
  receiver.answer = ({ body }) => {
    if (body.records.some(({ offset }) => offset === 5)) return new Response(null, { status: 400 });
    return left-- > 0 ? null : new Response(null, { status: 500 });
  };
  const rows = productRows(span(0, 100));
  await assert.rejects(write(sink, rows), UnavailableError);
  left = Infinity;
  const error = await write(sink, rows).catch((error) => error);
  assert.deepEqual(refusedBy(error), [[5, "the webhook answers 400"]]);
  assert.deepEqual(receiver.offsets(), span(0, 100).filter((offset) => offset !== 5));
  // Later it is a record like any other: somebody wants it to be sent again.
  receiver.answer = () => null;
  await write(sink, rows);
  assert.equal(receiver.offsets().length, 199);
});

Deno.test("a receiver that wants to be left alone for a while is, and a broken one is asked until it is not", async () => {
  await using receiver = new Receiver();
  await using inner = await open({ url: receiver.url });
  const waits: (string | null)[] = [];
  const sink = withRetry(inner, { firstDelayMs: 5, onWaiting: (reason) => waits.push(reason) });
  const answers = [
    new Response("slow down", { status: 429, headers: { "retry-after": "1" } }),
    new Response(null, { status: 503, headers: { "retry-after": new Date(Date.now() - 3_600_000).toUTCString() } }),
    new Response(null, { status: 502 }),
    new Response(null, { status: 408 }),
  ];
  const at: number[] = [];
  receiver.answer = () => {
    at.push(performance.now());
    return answers.shift() ?? null;
  };
  await write(sink, productRows([1, 2]), AbortSignal.timeout(60_000));
  assert.ok(at[1] - at[0] >= 990, `${at[1] - at[0]} ms`);
  // None of the others is waited for as the first was, let alone for an hour; a machine may stall.
  assert.ok(at[4] - at[1] < 30_000, `${at[4] - at[1]} ms`);
  assert.match(waits[0]!, /answers 429: slow down \(it is asked again after 1 s/);
  assert.equal(waits.at(-1), null);
  assert.deepEqual(receiver.offsets(), [1, 2]);
});

Deno.test("a receiver that is down for a while gets all when it is back", async () => {
  await using receiver = new Receiver();
  await using inner = await open({ url: receiver.url, batch: 3 });
  const sink = withRetry(inner, { firstDelayMs: 10, delayMsMax: 50 });
  await receiver.stop();
  const written = write(sink, productRows(span(0, 7)));
  await systemClock.sleep(150);
  receiver.start();
  await written;
  assert.deepEqual(receiver.offsets(), span(0, 7));
});

Deno.test("a receiver that never answers is given up after its time, and taken for one that is away", async () => {
  await using receiver = new Receiver();
  await using sink = await open({ url: receiver.url, timeoutMs: 100 });
  const stuck = Promise.withResolvers<Response | null>();
  receiver.answer = () => stuck.promise;
  await assert.rejects(write(sink, productRows([1])), UnavailableError);
  const stop = new AbortController();
  const written = write(sink, productRows([1]), stop.signal);
  stop.abort(new Error("stopping"));
  await assert.rejects(written, /stopping/);
  stuck.resolve(null);
});

Deno.test("what is about the address or the sender stops the delivery instead of emptying it into the dead letters", async () => {
  await using receiver = new Receiver();
  await using sink = await open({ url: receiver.url });
  for (
    const [status, advice] of [[401, /headers/], [403, /headers/], [404, /address/], [410, /address/], [
      302,
      /redirect/,
    ]] as const
  ) {
    const headers = { location: "http://127.0.0.2:1/" };
    receiver.answer = () => new Response(null, { status, headers });
    const error = await write(sink, productRows([1])).catch((error) => error);
    assert.ok(status === 302 || error instanceof ConfigError, `${status}: ${error}`);
    assert.ok(!(error instanceof RejectedRowsError), `${status}: ${error}`);
    assert.match(error.message, status === 302 ? /redirects to/ : advice);
  }
  assert.deepEqual(receiver.taken, []);
});

Deno.test("private addresses are refused unless the definition allows them", async () => {
  await using receiver = new Receiver();
  await using sink = await open({ url: receiver.url, allowPrivate: false });
  await assert.rejects(
    write(sink, productRows([1])),
    (error: Error) => error instanceof ConfigError && /allowPrivate/.test(error.message),
  );
  assert.deepEqual(receiver.requests, []);
});

Deno.test("partitions are posted side by side up to the bound, and each of them in order", async () => {
  await using receiver = new Receiver();
  await using sink = await open({ url: receiver.url, batch: 5, concurrency: 3 });
  let [now, most] = [0, 0];
  const perPartition = new Map<number, number>();
  receiver.answer = async ({ body: { partition } }) => {
    most = Math.max(most, ++now);
    perPartition.set(partition, (perPartition.get(partition) ?? 0) + 1);
    assert.equal(perPartition.get(partition), 1);
    await systemClock.sleep(5);
    perPartition.set(partition, 0);
    now--;
    return null;
  };
  await Promise.all(
    span(0, 8).flatMap((partition) => [
      write(sink, productRows(span(0, 20), { partition })),
      write(sink, productRows(span(20, 40), { partition })),
    ]),
  );
  assert.equal(most, 3);
  for (const partition of span(0, 8)) assert.deepEqual(receiver.offsets(partition), span(0, 40));
});

Deno.test("a definition is told all that is wrong with it", () => {
  const faults = webhookKind.check(
    webhook({
      url: "ftp://x",
      headers: { "a b": "c", Authorization: "Bearer plain", "content-type": "text/xml", x: "a\r\nb" },
      batch: 0,
      concurrency: 1.5,
      timeoutMs: 1,
    }),
    PLAN,
  );
  assert.equal(faults.length, 8);
  assert.equal(webhookKind.check(webhook({ url: "https://u:p@example.com/" }), PLAN).length, 1);
  const headers = { authorization: secret("token") };
  assert.match(webhookKind.check(webhook({ url: "http://example.com/", headers }), PLAN)[0].problem, /shows secrets/);
  assert.equal(
    webhookKind.describe(webhook({ url: "https://example.com/hook?token=1" })),
    "webhook https://example.com/hook",
  );
});
