import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import fc from "fast-check";
import { systemClock } from "../../../pipeline/clock.ts";
import { FrameReader, OPCODES, writeFrame } from "../../../pipeline/net/web_socket_frames.ts";
import type { AvroSchema } from "../../../pipeline/plan/plan.ts";
import { createSecrets, secret } from "../../../pipeline/secrets.ts";
import {
  eventStream,
  type EventStreamOptions,
  type EventStreamSpec,
  webSocket,
  type WebSocketOptions,
  type WebSocketSpec,
} from "../../../pipeline/sources/feed/definition.ts";
import { EventParser } from "../../../pipeline/sources/feed/event_parser.ts";
import { eventStreamKind, openFeed, webSocketKind } from "../../../pipeline/sources/feed/kind.ts";
import type { Source } from "../../../pipeline/sources/source.ts";
import { planOf, Written } from "../http/support.ts";

const SCHEMA = {
  type: "record",
  name: "Price",
  fields: [{ name: "id", type: "int" }, { name: "price", type: "double" }],
} as AvroSchema;

type Spec = EventStreamSpec | WebSocketSpec;
const plan = (spec: Spec) => planOf(spec as never, SCHEMA, "id");

function open(spec: Spec): Source {
  const kind = (spec.kind === "webSocket" ? webSocketKind : eventStreamKind) as typeof eventStreamKind;
  assert.deepEqual(kind.check(spec as never, plan(spec)), []);
  const env: Record<string, string> = { TAILRACE_SECRET_TOKEN: "hush" };
  const secrets = createSecrets({ env: (name) => env[name], folder: "/nonexistent", onFound: () => {} });
  return openFeed(spec, { plan: plan(spec), secrets, schemaId: 1, clock: systemClock });
}

/** Reads until so many records, rejected and skipped ones have come; then it is killed. */
async function readUntil(spec: Spec, into: Written, count: number, waiting: (string | null)[] = []): Promise<void> {
  // A batch may have brought more than was waited for.
  if (into.records.length + into.rejected.length + into.skipped >= count) return;
  const ending = new AbortController();
  const timer = setTimeout(() => ending.abort(new Error("too late")), 60_000);
  try {
    await using source = open(spec);
    const batches = source.read(into.position, {
      signal: ending.signal,
      clock: { ...systemClock, sleep: (ms, signal) => systemClock.sleep(Math.min(ms, 30), signal) },
      isBounded: false,
      onWaiting: (reason) => waiting.push(reason),
    });
    for await (const batch of batches) {
      into.commit(batch);
      if (into.records.length + into.rejected.length + into.skipped >= count) break;
    }
  } finally {
    clearTimeout(timer);
    ending.abort();
  }
}

/** Gives events behind the last one, a few a connection, as a server does that keeps them. */
function eventServer(
  events: number,
  perConnection: number,
): { url: string; asked: (string | null)[]; close: () => Promise<void> } {
  const asked: (string | null)[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const last = request.headers.get("last-event-id");
    asked.push(last);
    const from = last === null ? 0 : Number(last) + 1;
    let text = "retry: 20\n: hello\n\n";
    for (let id = from; id < Math.min(from + perConnection, events); id++) {
      text += `id: ${id}\nevent: ${id % 5 === 4 ? "ping" : "price"}\ndata: {"id": ${id},\ndata: "price": 0.5}\n\n`;
    }
    return new Response(text, { headers: { "content-type": "text/event-stream; charset=utf-8" } });
  });
  return { url: `http://127.0.0.1:${server.addr.port}/prices`, asked, close: () => server.shutdown() };
}

const sse = (options: EventStreamOptions) => eventStream({ allowPrivate: true, ...options });
const ws = (options: WebSocketOptions) => webSocket({ allowPrivate: true, ...options });

Deno.test("events come once and in order over connections that break, and on from the last one after a kill", async () => {
  const server = eventServer(40, 7);
  const written = new Written(SCHEMA);
  for (const count of [3, 12, 13, 32]) await readUntil(sse({ url: server.url, events: ["price"] }), written, count);
  await server.close();
  const expected = Array.from({ length: 40 }, (_, id) => id).filter((id) => id % 5 !== 4);
  assert.deepEqual(written.records.map(({ id }) => id), expected);
  assert.equal(server.asked[0], null);
});

Deno.test("events are the same however their bytes are cut, and as the standard has them", () => {
  const text =
    "\ufeffdata: a\r\n\r\nid: 1\rdata\rdata:  é\r\rid\nevent: x\ndata: {}\nfoo: bar\nretry: 12\n\nevent: none\n\ndata: cut off";
  const expected = [
    { name: "message", data: "a", id: null, isCut: false },
    { name: "message", data: "\n é", id: "1", isCut: false },
    { name: "x", data: "{}", id: "", isCut: false },
  ];
  const bytes = new TextEncoder().encode(text);
  fc.assert(fc.property(fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), (cuts) => {
    const parser = new EventParser({ id: null, bytesMax: 100 });
    const events = [];
    for (let at = 0, i = 0; at < bytes.length; i++) {
      const end = at + cuts[i % cuts.length];
      events.push(...parser.take(bytes.subarray(at, end)));
      at = end;
    }
    assert.deepEqual(events, expected);
    assert.equal(parser.retryMs, 12);
  }));
});

Deno.test("of an event that is too long the beginning and the id are known, however its bytes are cut", () => {
  const long = "x".repeat(9_000);
  const text =
    `id: 1\ndata: fits\n\ndata: ${long}\nid: 2\n\nid: 3\r\ndata: ${"y".repeat(60)}\r\ndata: ${"z".repeat(60)}` +
    `\r\ndata: more\r\n\r\n: ${long}\nid: ${"9".repeat(200)}\ndata: ok\n\n${
      "data\n".repeat(500)
    }\n${long}: 1\ndata: last\n\n`;
  const expected = [
    { name: "message", data: "fits", id: "1", isCut: false },
    { name: "message", data: "x".repeat(100), id: "2", isCut: true },
    { name: "message", data: `${"y".repeat(60)}\n${"z".repeat(39)}`, id: "3", isCut: true },
    { name: "message", data: "ok", id: "9".repeat(200), isCut: false },
    { name: "message", data: "\n".repeat(101), id: "9".repeat(200), isCut: true },
    { name: "message", data: "last", id: "9".repeat(200), isCut: false },
  ];
  const bytes = new TextEncoder().encode(text);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 9_000 }), { minLength: 1, maxLength: 20 }), (cuts) => {
      const parser = new EventParser({ id: null, bytesMax: 100 });
      const events = [];
      for (let at = 0, i = 0; at < bytes.length; i++) {
        const end = at + cuts[i % cuts.length];
        events.push(...parser.take(bytes.subarray(at, end)));
        at = end;
      }
      assert.deepEqual(events, expected);
    }),
    { numRuns: 60 },
  );
});

Deno.test("an event that is too long is set aside with its id, and not met again", async () => {
  const asked: (string | null)[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const last = request.headers.get("last-event-id");
    asked.push(last);
    let text = "retry: 20\n\n";
    for (let id = last === null ? 0 : Number(last) + 1; id < 6; id++) {
      const pad = id % 3 === 1 ? "x".repeat(70_000) : "";
      text += `data: {"id": ${id}, "price": 0.5, "pad": "${pad}"}\nid: ${id}\n\n`;
      // The connection ends with it, so that the next one begins behind it.
      if (pad !== "") break;
    }
    return new Response(text, { headers: { "content-type": "text/event-stream" } });
  });
  const written = new Written(SCHEMA);
  const spec = sse({ url: `http://127.0.0.1:${server.addr.port}/`, messageBytesMax: 10_000 });
  for (const count of [2, 6]) await readUntil(spec, written, count);
  await server.shutdown();
  assert.deepEqual(asked.slice(0, 3), [null, "1", "4"]);
  assert.deepEqual(written.records.map(({ id }) => id), [0, 2, 3, 5]);
  assert.deepEqual(written.rejected.map(({ where, reason }) => [where, reason]), [
    ["message 1", "the event is longer than messageBytesMax, 10000 bytes"],
    ["message 4", "the event is longer than messageBytesMax, 10000 bytes"],
  ]);
  assert.ok(written.rejected.every(({ raw }) => raw.startsWith('{"id": ') && raw.length === 10_000));
});

Deno.test("a feed of events that is broken and killed anywhere has each event once, in order", async () => {
  const run = fc.record({
    events: fc.integer({ min: 1, max: 40 }),
    // Bytes until each connection breaks, wherever in an event that is.
    breaks: fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 8 }),
    kills: fc.array(fc.integer({ min: 1, max: 12 }), { maxLength: 4 }),
  });
  await fc.assert(
    fc.asyncProperty(run, async ({ events, breaks, kills }) => {
      let connections = 0;
      const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
        const last = request.headers.get("last-event-id");
        const from = last === null ? 0 : Number(last) + 1;
        const text = Array.from({ length: events - from }, (_, i) => {
          return `id: ${from + i}\ndata: {"id": ${from + i}, "price": 1}\n\n`;
        }).join("");
        // One event at least, or it would never end.
        const bytes = Math.max(breaks[connections++ % breaks.length], text.indexOf("\n\n") + 2);
        return new Response(`retry: 1\n\n${text.slice(0, bytes)}`, {
          headers: { "content-type": "text/event-stream" },
        });
      });
      const written = new Written(SCHEMA);
      const spec = sse({ url: `http://127.0.0.1:${server.addr.port}/` });
      let at = 0;
      for (const kill of kills) {
        at = Math.min(events, Math.max(at, written.records.length) + kill);
        await readUntil(spec, written, at);
      }
      await readUntil(spec, written, events);
      await server.shutdown();
      assert.deepEqual(written.records.map(({ id }) => id), Array.from({ length: events }, (_, id) => id));
    }),
    { numRuns: 25 },
  );
});

/** A WebSocket server that writes the bytes it is told to, and notes the frames that come. */
function rawWebSocket(
  talk: (send: (...frame: Parameters<typeof serverFrame>) => Promise<void>, connection: number) => Promise<void>,
): { url: string; came: { opcode: number; payload: string }[] } & AsyncDisposable {
  const came: { opcode: number; payload: string }[] = [];
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const conns = new Set<Deno.Conn>();
  const serve = async (conn: Deno.Conn, connection: number) => {
    conns.add(conn);
    const buffer = new Uint8Array(4_096);
    const head = new TextDecoder().decode(buffer.subarray(0, await conn.read(buffer) ?? 0));
    const [, key] = /sec-websocket-key: (\S+)/i.exec(head)!;
    const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
    const answer = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n" +
      `sec-websocket-accept: ${accept}\r\n\r\n`;
    await conn.write(new TextEncoder().encode(answer));
    const talking = talk(async (...frame) => void await conn.write(serverFrame(...frame)), connection).catch(() => {});
    for (let read = await conn.read(buffer); read !== null; read = await conn.read(buffer)) {
      // Each of a client's frames here is short, and comes whole.
      for (let at = 0; at < read;) {
        const length = buffer[at + 1] & 0x7f;
        const mask = buffer.slice(at + 2, at + 6);
        const payload = buffer.slice(at + 6, at + 6 + length).map((byte, i) => byte ^ mask[i % 4]);
        came.push({ opcode: buffer[at] & 0x0f, payload: new TextDecoder().decode(payload) });
        at += 6 + length;
      }
    }
    await talking;
  };
  const serving: Promise<void>[] = [];
  const accepting = (async () => {
    for await (const conn of listener) serving.push(serve(conn, serving.length).catch(() => {}));
  })();
  return {
    url: `ws://127.0.0.1:${(listener.addr as Deno.NetAddr).port}/`,
    came,
    async [Symbol.asyncDispose]() {
      listener.close();
      for (const conn of conns) {
        try {
          conn.close();
        } catch {
          // The other side was first.
        }
      }
      await accepting;
      await Promise.all(serving);
    },
  };
}

/** A short frame as a server writes it: without a mask. */
function serverFrame(opcode: number, payload: string, isFinal = true): Uint8Array<ArrayBuffer> {
  const bytes = new TextEncoder().encode(payload);
  return Uint8Array.from([(isFinal ? 0x80 : 0) | opcode, bytes.length, ...bytes]);
}

Deno.test("a WebSocket's messages in pieces, with pings between them, are whole, and each ping is answered", async () => {
  await using server = rawWebSocket(async (send) => {
    await send(OPCODES.text, '{"id": 1, ', false);
    await send(OPCODES.ping, "are you there?");
    await send(OPCODES.more, '"pri', false);
    await send(OPCODES.more, 'ce": 0.5}');
    await send(OPCODES.pong, "nobody asked");
    await send(OPCODES.binary, '{"id": 2, "price": 1}');
    await send(OPCODES.ping, "");
    await new Promise((resolve) => setTimeout(resolve, 100));
    await send(OPCODES.text, '{"id": 3, "price": 1}');
  });
  const written = new Written(SCHEMA);
  await readUntil(ws({ url: server.url }), written, 3);
  assert.deepEqual(written.records.map(({ id, price }) => [id, price]), [[1, 0.5], [2, 1], [3, 1]]);
  assert.deepEqual(written.rejected, []);
  const pongs = server.came.filter(({ opcode }) => opcode === OPCODES.pong).map(({ payload }) => payload);
  assert.deepEqual(pongs, ["are you there?", ""]);
});

Deno.test("a WebSocket on which nothing comes is left after its silence, and a ping from the server is no silence", async () => {
  const beganAt: number[] = [];
  await using server = rawWebSocket(async (send, connection) => {
    beganAt.push(performance.now());
    // The first says nothing more; the second has nothing to say for longer than the silence, but is there.
    if (connection === 0) return await send(OPCODES.text, '{"id": 0, "price": 1}');
    // So is any after it, which a machine that stalls makes.
    for (let i = 0; i < 15; i++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      await send(OPCODES.ping, "");
    }
    await send(OPCODES.text, '{"id": 100, "price": 1}');
  });
  const written = new Written(SCHEMA);
  const waiting: (string | null)[] = [];
  const spec = ws({ url: server.url, silence: "1s", heartbeat: { every: "10 minutes" } });
  await readUntil(spec, written, 2, waiting);
  assert.deepEqual(written.records.map(({ id }) => id), [0, 100]);
  assert.match(waiting.join(), /nothing came for 1 s/);
  assert.ok(beganAt[1] - beganAt[0] >= 990, `${beganAt[1] - beganAt[0]} ms`);
});

Deno.test("what a feed sends that is no record is kept aside, and answers that are no feed are waited out", async () => {
  const answers = [
    () => new Response("busy", { status: 503 }),
    () => Response.json({}),
    () => new Response(null, { status: 302, headers: { location: "http://169.254.169.254/" } }),
    () =>
      new Response('data: {"id": 1, "price": "dear"}\n\ndata: <xml>\n\ndata: {"id": 2, "price": 1}\n\n', {
        headers: { "content-type": "text/event-stream" },
      }),
  ];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, () => answers.shift()!());
  const written = new Written(SCHEMA);
  const waiting: (string | null)[] = [];
  await readUntil(sse({ url: `http://127.0.0.1:${server.addr.port}/` }), written, 3, waiting);
  await server.shutdown();
  assert.deepEqual(written.records.map(({ id }) => id), [2]);
  assert.match(written.rejected[0].reason, /price is "dear"/);
  assert.match(written.rejected[1].reason, /the message is no JSON/);
  assert.match(waiting.join(), /answers 503.*does not answer with text\/event-stream.*is not among the hosts/);
});

Deno.test("a WebSocket is subscribed to, answers pings, connects anew, and leaves out what comes again", async () => {
  const got: string[] = [];
  let connections = 0;
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    got.push(String(request.headers.get("authorization")));
    const { socket, response } = Deno.upgradeWebSocket(request, { idleTimeout: 0 });
    const from = connections++ * 8;
    socket.onmessage = ({ data }) => {
      got.push(data);
      if (!data.includes("prices")) return;
      socket.send(`{"type": "subscribed"}`);
      // The last two of the connection before come again.
      for (let id = Math.max(from - 2, 0); id < from + 8; id++) {
        socket.send(JSON.stringify({ data: [{ id, price: 1 }] }));
      }
      socket.send(
        new TextEncoder().encode(JSON.stringify({ data: { id: 1000 + from, price: 2, pad: "x".repeat(70_000) } })),
      );
      setTimeout(() => socket.close(), 50);
    };
    return response;
  });
  const spec = ws({
    url: `ws://127.0.0.1:${server.addr.port}/`,
    auth: { bearer: secret("token") },
    records: "data?",
    id: "id",
    subscribe: [{ channel: "prices" }],
    heartbeat: { every: "100ms", message: "still here" },
  });
  const written = new Written(SCHEMA);
  await readUntil(spec, written, 27);
  await server.shutdown();
  assert.deepEqual(
    written.records.map(({ id }) => Number(id)).filter((id) => id < 16),
    Array.from({ length: 16 }, (_, id) => id),
  );
  assert.deepEqual(written.rejected, []);
  assert.ok(written.skipped >= 2);
  assert.deepEqual(got.slice(0, 2), ["Bearer hush", `{"channel":"prices"}`]);
});

Deno.test("frames are read however their bytes are cut, and those that break the protocol are refused", () => {
  const frame = (payload: Uint8Array) => {
    // As a server writes it: without a mask.
    const masked = writeFrame(OPCODES.binary, payload);
    const head = masked.length - payload.length;
    return Uint8Array.from([masked[0], masked[1] & 0x7f, ...masked.subarray(2, head - 4), ...payload]);
  };
  for (const length of [0, 1, 125, 126, 65_535, 65_536]) {
    const payload = Uint8Array.from({ length }, (_, at) => at & 0xff);
    const bytes = frame(payload);
    const reader = new FrameReader({ bytesMax: 100_000 });
    const middle = Math.min(3, bytes.length);
    const frames = [...reader.take(bytes.subarray(0, middle)), ...reader.take(bytes.subarray(middle))];
    assert.deepEqual(frames, [{ isFinal: true, opcode: 2, payload }]);
  }
  const refuse = (bytes: number[], problem: RegExp) =>
    assert.throws(() => [...new FrameReader({ bytesMax: 1_000 }).take(Uint8Array.from(bytes))], problem);
  refuse([0x82, 127, 0, 0, 0xff, 0, 0, 0, 0, 0], /longer than 1000 bytes/);
  refuse([0x82, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], /longer than 1000 bytes/);
  refuse([0x82, 0x81, 1, 2, 3, 4, 5], /masks its frames/);
  refuse([0xc2, 1, 5], /extension/);
});

Deno.test("a feed at an address of this machine is refused unless that is allowed", async () => {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, () => new Response());
  const { port } = server.addr;
  for (
    const spec of [
      ws({ url: `ws://127.0.0.1:${port}/`, allowPrivate: false }),
      sse({ url: `http://2130706433:${port}/`, allowPrivate: false }),
    ]
  ) await assert.rejects(readUntil(spec, new Written(SCHEMA), 1), /127\.0\.0\.1 is a loopback address/);
  await server.shutdown();
});

Deno.test("all that is wrong with a feed's definition is told at once", () => {
  const spec = ws({
    url: "https://a.example/",
    headers: { "a b": "x" },
    auth: { bearer: "x" as never },
    records: "[",
    id: "]",
    map: { nope: "x" },
    silence: "1ms",
    heartbeat: { every: "x" as never },
    subscribe: "x" as never,
    messageBytesMax: 0,
  });
  assert.deepEqual(webSocketKind.check(spec, plan(spec)).map(({ where }) => where), [
    "from.url",
    "from.headers",
    "from.auth.bearer",
    "from.records",
    "from.id",
    "from.map.nope",
    "from.silence",
    "from.heartbeat.every",
    "from.subscribe",
    "from.messageBytesMax",
  ]);
});
