import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { ConfigError, MalformedRecordError, UnavailableError } from "../../pipeline/errors.ts";
import { Guard, type GuardOptions } from "../../pipeline/net/guarded_fetch.ts";

const signal = new AbortController().signal;

/** A server on this machine, asked under names that `lookup` brings here. */
async function withServer(
  answer: (request: Request) => Response | Promise<Response>,
  work: (given: { port: number; guard: (options?: Partial<GuardOptions>) => Guard; asked: string[] }) => Promise<void>,
): Promise<void> {
  const asked: string[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    asked.push(`${request.method} ${request.headers.get("host")} ${new URL(request.url).pathname}`);
    return answer(request);
  });
  const { port } = server.addr;
  using guards = new DisposableStack();
  try {
    await work({
      port,
      asked,
      guard: (options = {}) =>
        guards.use(
          new Guard({
            hosts: [`api.example:${port}`],
            allowPrivate: true,
            lookup: () => Promise.resolve(["127.0.0.1"]),
            ...options,
          }),
        ),
    });
  } finally {
    guards.dispose();
    await server.shutdown();
  }
}

const redirect = (to: string, status = 302) => new Response(null, { status, headers: { location: to } });

Deno.test("an answer comes with status, headers and body, from the address that the name was resolved to", async () => {
  await withServer(
    (request) => Response.json({ url: request.url, at: request.headers.get("x-at") }),
    async ({ guard, port }) => {
      using response = await guard().fetch(`http://api.example:${port}/users?page=2`, {
        headers: { "x-at": "home" },
        signal,
      });
      assert.equal(response.status, 200);
      assert.equal(response.headers.get("content-type"), "application/json");
      assert.deepEqual(JSON.parse(await response.text()), {
        url: `http://api.example:${port}/users?page=2`,
        at: "home",
      });
    },
  );
});

Deno.test("addresses of this machine and its network are refused, however they are written", async () => {
  await withServer(() => new Response("secret"), async ({ port, asked }) => {
    const written = [
      "127.0.0.1",
      "127.1",
      "2130706433",
      "0x7f000001",
      "0177.0.0.1",
      "0",
      "[::1]",
      "[::ffff:127.0.0.1]",
      "[::ffff:7f00:1]",
      "[64:ff9b::7f00:1]",
      "localhost",
      "169.254.169.254",
      "[fd00:ec2::254]",
      "10.0.0.8",
    ];
    for (const host of written) {
      const url = new URL(`http://${host}:${port}/`);
      using guard = new Guard({ hosts: [`${url.hostname}:${port}`] });
      await assert.rejects(guard.fetch(url, { signal }), (error) => {
        assert.ok(error instanceof ConfigError, `${host}: ${error}`);
        assert.match(error.message, /allowPrivate: true/);
        return true;
      });
    }
    assert.deepEqual(asked, []);
  });
});

Deno.test("a name is refused when one of its addresses is private, and is not resolved a second time for the connection", async () => {
  await withServer(() => new Response("secret"), async ({ port, guard, asked }) => {
    const mixed = guard({ allowPrivate: false, lookup: () => Promise.resolve(["93.184.215.14", "127.0.0.1"]) });
    await assert.rejects(
      mixed.fetch(`http://api.example:${port}/`, { signal }),
      /is at 127\.0\.0\.1, a loopback address/,
    );
    // Answers the first question with one address, and every later one with another.
    let questions = 0;
    const rebinding = guard({ lookup: () => Promise.resolve([questions++ === 0 ? "127.0.0.1" : "127.0.0.2"]) });
    using response = await rebinding.fetch(`http://api.example:${port}/`, { signal });
    assert.equal(await response.text(), "secret");
    assert.equal(questions, 1);
    assert.equal(asked.length, 1);
  });
});

Deno.test("only hosts that are named are asked, at the port that is named", async () => {
  await withServer(() => new Response(), async ({ port, guard, asked }) => {
    const one = guard();
    for (
      const [url, problem] of [
        [`http://other.example:${port}/`, /other\.example:\d+ is not among the hosts/],
        [`http://api.example/`, /api\.example is not among the hosts/],
        [`http://api.example:${port}@other.example/`, /has a user or password/],
        [`http://user:pass@api.example:${port}/`, /has a user or password/],
        [`file:///etc/passwd`, /is neither http: nor https:/],
        [`ftp://api.example:${port}/`, /is neither http: nor https:/],
      ] as const
    ) await assert.rejects(one.fetch(url, { signal }), problem);
    assert.deepEqual(asked, []);
  });
});

Deno.test("redirects are followed among the hosts that are named, and a foreign one gets no headers", async () => {
  let other = "";
  await withServer((request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/old") return redirect("/new", 308);
    if (pathname === "/away") return redirect(`http://${other}/new`, 307);
    return Response.json([request.headers.get("authorization"), request.headers.get("accept")]);
  }, async ({ port, guard }) => {
    other = `second.example:${port}`;
    const both = guard({ hosts: [`api.example:${port}`, other] });
    const headers = { authorization: "Bearer x", accept: "application/json" };
    for (
      const [path, seen] of [["old", ["Bearer x", "application/json"]], ["away", [null, "application/json"]]] as const
    ) {
      using response = await both.fetch(`http://api.example:${port}/${path}`, { headers, signal });
      assert.deepEqual(JSON.parse(await response.text()), seen);
    }
  });
});

Deno.test("redirects to other hosts, to addresses of this machine, in circles, and of what changes something are not followed", async () => {
  let port = 0;
  await withServer((request) => {
    switch (new URL(request.url).pathname) {
      case "/away":
        return redirect("http://other.example/");
      case "/home":
        return redirect(`http://127.0.0.1:${port}/secret`);
      case "/decimal":
        return redirect(`http://2130706433:${port}/secret`);
      case "/user":
        return redirect(`http://a:b@api.example:${port}/secret`);
      case "/file":
        return redirect("file:///etc/passwd");
      case "/broken":
        return redirect("http://[");
      case "/circle":
        return redirect("/circle");
      case "/post":
        return redirect("/secret", 303);
      default:
        return new Response("secret");
    }
  }, async ({ port: at, guard, asked }) => {
    port = at;
    const one = guard();
    for (
      const [path, problem] of [
        ["away", /redirects to http:\/\/other\.example\/: .*add it to hosts/],
        ["home", /127\.0\.0\.1:\d+ is not among the hosts/],
        ["decimal", /127\.0\.0\.1:\d+ is not among the hosts/],
        ["user", /has a user or password/],
        ["file", /neither http: nor https:/],
        ["broken", /redirects to what is no URL/],
        ["circle", /redirects more than 5 times/],
      ] as const
    ) {
      await assert.rejects(one.fetch(`http://api.example:${port}/${path}`, { signal }), (error) => {
        assert.ok(error instanceof UnavailableError, String(error));
        assert.match(error.message, problem);
        return true;
      });
    }
    await assert.rejects(
      one.fetch(`http://api.example:${port}/post`, { method: "POST", body: "x", signal }),
      /a POST is not sent to another place/,
    );
    assert.ok(!asked.some((line) => line.endsWith("/secret")), String(asked));
  });
});

Deno.test("what is told of a URL leaves out its query", async () => {
  await withServer(() => new Response(), async ({ guard }) => {
    await assert.rejects(guard().fetch("http://other.example/users?token=hush", { signal }), (error) => {
      assert.ok(!(error as Error).message.includes("hush"));
      return true;
    });
  });
});

Deno.test("gzip is unpacked, and a small body that is large when unpacked ends at the bound", async () => {
  const bomb = gzipSync(new Uint8Array(64 * 1024 * 1024));
  const packed = (body: Uint8Array<ArrayBuffer>, encoding = "gzip") =>
    new Response(body, { headers: { "content-encoding": encoding } });
  await withServer((request) => {
    switch (new URL(request.url).pathname) {
      case "/fine":
        return packed(new Uint8Array(gzipSync("hello")));
      case "/bomb":
        return packed(new Uint8Array(bomb));
      case "/lie":
        return packed(new TextEncoder().encode("this is no gzip"));
      case "/cut":
        return packed(new Uint8Array(gzipSync("x".repeat(5000)).subarray(0, 20)));
      default:
        return packed(new Uint8Array(8), "br");
    }
  }, async ({ port, guard }) => {
    const one = guard();
    const read = async (path: string) => {
      using response = await one.fetch(`http://api.example:${port}${path}`, { bytesMax: 1_000_000, signal });
      return await response.text();
    };
    assert.equal(await read("/fine"), "hello");
    const before = Deno.memoryUsage().rss;
    await assert.rejects(read("/bomb"), (error) => {
      assert.ok(error instanceof MalformedRecordError);
      assert.match(error.message, /longer than 1000000 bytes/);
      return true;
    });
    assert.ok(Deno.memoryUsage().rss - before < 40e6);
    await assert.rejects(read("/lie"), MalformedRecordError);
    await assert.rejects(read("/cut"), /gzip|broke off/);
    await assert.rejects(read("/br"), /packed as br, which was not asked for/);
  });
});

Deno.test("an answer that does not come, stops coming, or never ends is given up", async () => {
  const never = Promise.withResolvers<Response>();
  const drip = (everyMs: number) => {
    let timer: ReturnType<typeof setInterval> | undefined;
    return new Response(
      new ReadableStream({
        start: (controller) => {
          controller.enqueue(new Uint8Array(10));
          if (everyMs < 1e6) timer = setInterval(() => controller.enqueue(new Uint8Array(10)), everyMs);
        },
        cancel: () => clearInterval(timer),
      }),
    );
  };
  await withServer((request) => {
    const { pathname } = new URL(request.url);
    return pathname === "/never" ? never.promise : drip(pathname === "/drip" ? 20 : 1e6);
  }, async ({ port, guard }) => {
    const one = guard();
    const read = async (path: string, limits: { headersMs?: number; idleMs?: number; totalMs?: number }) => {
      using response = await one.fetch(`http://api.example:${port}${path}`, { ...limits, signal });
      await response.bytes();
    };
    await assert.rejects(read("/never", { headersMs: 100 }), /no answer within 0\.1 s/);
    await assert.rejects(read("/silent", { idleMs: 100 }), /nothing more came for 0\.1 s/);
    await assert.rejects(read("/drip", { idleMs: 500, totalMs: 200 }), /took longer than 0\.2 s/);
    const ending = new AbortController();
    setTimeout(() => ending.abort(new Error("stopped by hand")), 50);
    const aborted = (async () => {
      using response = await one.fetch(`http://api.example:${port}/silent`, { signal: ending.signal });
      await response.bytes();
    })();
    await assert.rejects(aborted, /stopped by hand/);
    never.resolve(new Response());
  });
});

Deno.test("who is not there is unavailable", async () => {
  using guard = new Guard({ hosts: ["127.0.0.1:1", "nowhere.invalid"], allowPrivate: true });
  await assert.rejects(guard.fetch("http://127.0.0.1:1/", { signal }), UnavailableError);
  await assert.rejects(guard.fetch("http://nowhere.invalid/", { signal }), UnavailableError);
});

Deno.test("answers that nobody reads, or reads in part, leave room for further ones", async () => {
  const long = new Uint8Array(1_000_000);
  await withServer((request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/none") return new Response(null, { status: 304 });
    if (pathname === "/endless") return new Response(new ReadableStream({ pull: (to) => to.enqueue(long) }));
    return new Response(pathname === "/long" ? long : "short", { status: 500 });
  }, async ({ port, guard }) => {
    const one = guard();
    for (const path of ["none", "short", "long", "endless"]) {
      for (let i = 0; i < 20; i++) {
        using response = await one.fetch(`http://api.example:${port}/${path}`, { signal });
        assert.ok(response.status > 0);
        if (path === "endless") { for await (const _ of response.body) break; }
      }
    }
  });
});
