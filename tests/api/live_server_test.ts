import assert from "node:assert/strict";
import v8 from "node:v8";
import vm from "node:vm";
import { createApp } from "../../api/app.ts";
import { createLiveHub, type LiveHub } from "../../api/live.ts";
import { systemClock } from "../../pipeline/clock.ts";
import { accountRows, type Fake, fakeDeps } from "./fake_deps.ts";

const START = Date.parse("2026-11-20T21:00:00Z");

const EVENTS = 700;

/** Bytes of objects and buffers still in use: what a garbage collection leaves. */
function bytesInUse(): number {
  v8.setFlagsFromString("--expose-gc");
  vm.runInNewContext("gc")();
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}

interface Served extends AsyncDisposable {
  readonly fake: Fake;
  readonly hub: LiveHub;
  readonly port: number;
}

/** The application on a real socket. */
function serve(hub: LiveHub): Served {
  const fake = fakeDeps();
  const app = createApp(fake.deps, { hub });
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, app.fetch);
  return {
    fake,
    hub,
    port: server.addr.port,
    async [Symbol.asyncDispose]() {
      hub.close();
      await server.shutdown();
    },
  };
}

async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited 60 s for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function connect(port: number, path: string): Promise<Deno.TcpConn> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  await connection.write(new TextEncoder().encode(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`));
  return connection;
}

Deno.test("over a socket, a client that leaves is forgotten", async () => {
  await using served = serve(createLiveHub({}, systemClock));
  const connection = await connect(served.port, "/v1/live");
  await until("the client to be there", () => served.hub.stats().clients === 1);
  connection.close();
  await until("the client to be gone", () => served.hub.stats().clients === 0);
  assert.equal(served.hub.stats().dropped, 0);
});

Deno.test("over a socket, a client that never reads is cut off while one that reads gets every row, and memory stays flat", async () => {
  await using served = serve(createLiveHub({ ringRowsMax: 20_000 }, systemClock));
  using _slow = await connect(served.port, "/v1/live");
  await until("the slow client to be there", () => served.hub.stats().clients === 1);
  const response = await fetch(`http://127.0.0.1:${served.port}/v1/live`);
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  const seen = { events: 0 };
  const reading = (async () => {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += value;
      const blocks = text.split("\n\n");
      text = blocks.pop()!;
      for (const block of blocks) {
        if (!block.startsWith("id: ") || !block.includes("\ndata: ")) continue;
        seen.events++;
        assert.equal(Number(/^id: \w+-(\d+)/.exec(block)![1]), seen.events, "an event is missing or out of order");
      }
    }
  })();
  let before = 0;
  // Some 60 MB, more than half of it after the first look: far more than a socket holds, and than memory may grow by.
  for (let i = 0; i < EVENTS; i++) {
    served.hub.publish("account_minute", accountRows(START + i * 60_000, 500));
    await until("the reader to follow", () => served.hub.stats().events - seen.events < 20);
    if (i === 300) before = bytesInUse();
  }
  await until("the reader to have all", () => seen.events === EVENTS);
  assert.deepEqual({ clients: served.hub.stats().clients, dropped: served.hub.stats().dropped }, {
    clients: 1,
    dropped: 1,
  });
  const growth = bytesInUse() - before;
  assert.ok(growth < 20e6, `grew by ${growth} bytes`);
  served.hub.close();
  await reading;
});
