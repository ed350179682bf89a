import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { ConfigError } from "../../../pipeline/errors.ts";
import type { AvroSchema } from "../../../pipeline/plan/plan.ts";
import { secret } from "../../../pipeline/secrets.ts";
import { type HttpPollOptions, type HttpPollSpec } from "../../../pipeline/sources/http/definition.ts";
import { httpPollKind } from "../../../pipeline/sources/http/kind.ts";
import { type Fault, ProfileApi } from "../../servers/profile_api.ts";
import { EagerClock, MAP, open, type OpenOptions, planOf, run, Written } from "./support.ts";

/** One bounded run over a server of three users that has these faults first. */
async function poll(
  faults: readonly Fault[],
  options: Partial<HttpPollOptions> = {},
  opening: Partial<OpenOptions> = {},
): Promise<{ written: Written; clock: EagerClock; waiting: (string | null)[]; asked: string[] }> {
  await using api = new ProfileApi();
  for (let id = 0; id < 3; id++) api.put(id, 1_700_000_000_000 + id);
  api.faults.push(...faults);
  const clock = new EagerClock();
  const written = new Written(opening.schema);
  const waiting: (string | null)[] = [];
  const source = open({ url: api.url(), records: "users", map: MAP, ...options }, { clock, ...opening });
  await run(source, written, { clock, waiting });
  return { written, clock, waiting, asked: api.asked };
}

const answer = (status: number, headers: Record<string, string> = {}): Fault => () =>
  new Response(status === 304 ? null : "", { status, headers });
const body = (text: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}): Fault => () =>
  new Response(text, { headers });
const slept = (clock: EagerClock) => clock.slept.reduce((sum, ms) => sum + ms, 0);

Deno.test("an API that is away, overloaded or broken is waited for, however long it takes", async () => {
  const faults = [429, 500, 502, 503, 504, 408].map((status) => answer(status));
  const { written, waiting, clock } = await poll([...faults, ...faults, ...faults]);
  assert.equal(written.ids.length, 3);
  assert.match(waiting[0]!, /GET http:\/\/127\.0\.0\.1:\d+\/users answers 429/);
  assert.equal(waiting.at(-1), null);
  assert.ok(slept(clock) > 300_000, "pauses grow");
});

Deno.test("Retry-After is honoured in seconds and as a date, and not beyond an hour", async () => {
  for (
    const [header, least, most] of [
      ["120", 120_000, 121_000],
      ["Sat, 21 Nov 2026 12:05:00 GMT", 300_000, 301_000],
      ["Saturday, 21-Nov-26 12:05:00 GMT", 300_000, 301_000],
      ["Fri, 20 Nov 2026 12:00:00 GMT", 0, 1_000],
      ["999999999", 3_600_000, 3_601_000],
      ["soon", 0, 1_000],
      ["-5", 0, 1_000],
    ] as const
  ) {
    const { written, clock } = await poll([answer(503, { "retry-after": header })]);
    assert.equal(written.ids.length, 3);
    assert.ok(slept(clock) >= least && slept(clock) <= most, `${header}: ${slept(clock)} ms`);
  }
});

Deno.test("a limit that is used up is waited for before the next request, not after it failed", async () => {
  const page = (next: boolean, headers: Record<string, string>): Fault => (request) => {
    const user = {
      id: String(next),
      name: "x",
      contact: {},
      country: null,
      tier: "free",
      updated_at: "2026-01-01T00:00:00Z",
    };
    const link = next ? { link: `<${new URL(request.url).pathname}?page=2>; rel="next"` } : {};
    return Response.json({ users: [user] }, { headers: { ...headers, ...link } as Record<string, string> });
  };
  for (
    const reset of ["45", String(Date.parse("2026-11-21T12:00:45Z") / 1000)]
  ) {
    const used = { "x-ratelimit-remaining": "0", "x-ratelimit-reset": reset };
    const { clock, written } = await poll([page(true, used), page(false, {})], { paging: { by: "link" } });
    assert.deepEqual([written.ids.length, slept(clock)], [2, 45_000]);
  }
  const forbidden = answer(403, { "x-ratelimit-remaining": "0", "x-ratelimit-reset": "60" });
  const { clock, written } = await poll([forbidden]);
  assert.deepEqual([written.ids.length, slept(clock)], [3, 60_000]);
});

Deno.test("answers that make no sense are asked for again, slowly, and end a bounded run with what is wrong", async () => {
  const deep = `{"users": ${"[".repeat(200_000)}${"]".repeat(200_000)}}`;
  const wrong: readonly (readonly [Fault, RegExp])[] = [
    [body("<html>maintenance</html>"), /is no JSON/],
    [body(""), /is no JSON/],
    [body(`{"users": [{"id": 1`), /is no JSON/],
    [body(`{"user": []}`), /users, where the records are, is missing/],
    [body(`{"users": "none"}`), /neither an array nor an object/],
    [body("[]"), /users, where the records are, is missing/],
    [body(`{"users": [${"1".repeat(2_000)}], "x": "${"x".repeat(3_000_000)}"}`), /longer than 1000000 bytes/],
    [
      body(new Uint8Array(gzipSync(new Uint8Array(20_000_000))), { "content-encoding": "gzip" }),
      /longer than 1000000 bytes/,
    ],
    [body("no gzip", { "content-encoding": "gzip" }), /not the gzip/],
    [answer(404), /answers 404/],
    [answer(401), /answers 401: is what auth names right/],
    [answer(304), /answers 304/],
  ];
  for (const [fault, reason] of wrong) {
    const { written, waiting } = await poll([fault, fault], { bytesMax: 1_000_000 });
    assert.equal(written.ids.length, 3);
    assert.match(waiting[0]!, reason);
    await assert.rejects(poll([fault, fault, fault], { bytesMax: 1_000_000 }), (error) => {
      assert.ok(error instanceof ConfigError, String(error));
      assert.match(error.message, reason);
      return true;
    });
  }
  const { written } = await poll([body(deep)], { bytesMax: 1_000_000 });
  assert.match(written.rejected[0].reason, /nested|not an object|is/);
});

Deno.test("records that do not fit the schema are kept aside with the reason, once, and the others are written", async () => {
  const fine = {
    id: "1",
    name: "x",
    contact: { email: null },
    country: null,
    tier: "plus",
    updated_at: "2026-01-01T00:00:00Z",
  };
  const users = [
    fine,
    { ...fine, id: 5 },
    { ...fine, updated_at: "yesterday" },
    "text",
    null,
    [[]],
    { ...fine, id: undefined },
    JSON.parse(`{"__proto__": {"id": "9"}, "constructor": 1}`),
    { ...fine, name: "x".repeat(1_000_000) },
  ];
  const { written } = await poll([body(JSON.stringify({ users }))]);
  assert.deepEqual(written.ids, ["1"]);
  assert.equal(written.rejected.length, users.length - 1);
  assert.match(written.rejected[0].reason, /user_id is 5, not a string/);
  assert.equal(written.rejected[0].where, "GET page 1 item 2");
  assert.equal(JSON.parse(written.rejected[0].raw).id, 5);
  assert.match(written.rejected[1].reason, /updated_at is "yesterday"/);
  assert.match(written.rejected.at(-1)!.reason, /bytes, more than 900000/);
});

Deno.test("without a map the schema's fields are taken by name, deep inside too, and whole numbers beyond 2^53 stay exact", async () => {
  const schema: AvroSchema = {
    type: "record",
    name: "Order",
    fields: [
      { name: "id", type: "long" },
      {
        name: "tags",
        type: { type: "array", items: { type: "record", name: "Tag", fields: [{ name: "t", type: "string" }] } },
      },
      {
        name: "to",
        type: ["null", { type: "record", name: "To", fields: [{ name: "zip", type: "string" }] }],
        default: null,
      },
    ],
  } as AvroSchema;
  const text =
    `[{"id": 9007199254740993, "extra": 1, "tags": [{"t": "a", "u": 2}], "to": {"zip": "1", "x": []}}, {"id": 2, "tags": []}]`;
  const { written } = await poll([body(text)], { records: "", map: undefined }, { schema, key: "id" });
  assert.deepEqual(written.rejected, []);
  assert.deepEqual(written.records, [
    { id: "9007199254740993", tags: [{ t: "a" }], to: { zip: "1" } },
    { id: 2, tags: [], to: null },
  ]);
});

Deno.test("links to the next page lead to no other host, no worse protocol, and not in circles", async () => {
  const linked = (link: string): Fault => () =>
    Response.json({ users: [] }, { headers: { link: `<${link}>; rel=next` } });
  for (
    const [link, reason] of [
      ["http://169.254.169.254/latest/meta-data", /169\.254\.169\.254\/latest\/meta-data: .* is not among the hosts/],
      ["http://2852039166/", /169\.254\.169\.254\/: .* is not among the hosts/],
      ["http://a:b@127.0.0.1/", /has a user or password/],
      ["file:///etc/passwd", /neither http: nor https:/],
      ["/users", /the next page is this one/],
    ] as const
  ) {
    const { waiting, asked } = await poll([linked(link)], { paging: { by: "link" } });
    assert.match(waiting[0]!, reason);
    assert.deepEqual(asked, ["/users", "/users"]);
  }
});

Deno.test("an API at an address of this machine is refused unless that is allowed, and by its name, too", async () => {
  await assert.rejects(poll([], { allowPrivate: false }), /is a loopback address: .* set allowPrivate: true/);
  const clock = new EagerClock();
  const source = open({ url: "https://api.example.com/", allowPrivate: false }, {
    clock,
    guard: { lookup: () => Promise.resolve(["169.254.169.254"]) },
  });
  await assert.rejects(
    run(source, new Written(), { clock }),
    /api\.example\.com is at 169\.254\.169\.254, a link-local/,
  );
});

Deno.test("secrets go where they belong: into headers and queries of the API's own requests, and into nothing that is kept or told", async () => {
  const env = { TAILRACE_SECRET_TOKEN: "hush-hush", TAILRACE_SECRET_USER: "ann" };
  const token = secret("token");
  const seen: string[] = [];
  const look: Fault = (request) => {
    const url = new URL(request.url);
    seen.push(`${request.headers.get("authorization") ?? request.headers.get("x-key") ?? url.searchParams.get("key")}`);
    // An API that repeats all of the query in its links.
    url.searchParams.set("page", "2");
    const link = seen.length % 2 === 1 ? { link: `<${url.href}>; rel="next"` } : undefined;
    return Response.json({ users: [] }, { headers: link });
  };
  for (
    const [auth, expected] of [
      [{ bearer: token }, "Bearer hush-hush"],
      [{ basic: { user: secret("user"), password: token } }, `Basic ${btoa("ann:hush-hush")}`],
      [{ header: "X-Key", value: token }, "hush-hush"],
      [{ query: "key", value: token }, "hush-hush"],
    ] as const
  ) {
    seen.length = 0;
    const { written, waiting } = await poll([look, answer(500), look], { auth, paging: { by: "link" } }, { env });
    assert.deepEqual(seen, [expected, expected]);
    assert.ok(!JSON.stringify([written.position, waiting]).includes("hush"));
  }
  assert.throws(
    () => open({ url: "https://a.example/", auth: { bearer: token } }, { clock: new EagerClock() }),
    /TAILRACE_SECRET_TOKEN/,
  );
});

Deno.test("a link to another host that is allowed takes no secrets there", async () => {
  await using other = new ProfileApi();
  const got: (string | null)[] = [];
  other.faults.push((request) => {
    got.push(request.headers.get("authorization"), request.headers.get("x-team"));
    return Response.json({ users: [] });
  });
  const link: Fault = () => Response.json({ users: [] }, { headers: { link: `<${other.url("/more")}>; rel="next"` } });
  const env = { TAILRACE_SECRET_TOKEN: "hush-hush" };
  await poll([link], {
    auth: { bearer: secret("token") },
    headers: { "X-Team": "blue" },
    hosts: [`127.0.0.1:${other.port}`],
    paging: { by: "link" },
  }, { env });
  assert.deepEqual(got, [null, null]);
});

Deno.test("tokens of OAuth are fetched, renewed before their end and once when they are refused", async () => {
  let given = 0;
  const grants: string[] = [];
  const tokens = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    grants.push(`${request.headers.get("authorization")} ${await request.text()}`);
    return Response.json({ access_token: `token-${++given}`, token_type: "bearer", expires_in: 600 });
  });
  await using api = new ProfileApi({ pageSize: 1 });
  for (let id = 0; id < 3; id++) api.put(id, 1_700_000_000_000 + id);
  api.token = "token-1";
  const clock = new EagerClock();
  const written = new Written();
  const options: HttpPollOptions = {
    url: api.url(),
    records: "users",
    map: MAP,
    paging: { by: "link" },
    auth: {
      oauth2: {
        tokenUrl: `http://127.0.0.1:${tokens.addr.port}/token`,
        clientId: "tail race",
        clientSecret: secret("client"),
        scope: "users",
      },
    },
  };
  const env = { TAILRACE_SECRET_CLIENT: "p:w" };
  api.faults.push(
    () => null,
    () => {
      api.token = "token-2";
      return null;
    },
    () => null,
    () => {
      clock.ms += 590_000;
      api.token = "token-2";
      return null;
    },
  );
  await run(open(options, { clock, env }), written, { clock });
  assert.deepEqual(written.ids, ["0", "1", "2"]);
  assert.deepEqual(grants, Array(2).fill(`Basic ${btoa("tail+race:p%3Aw")} grant_type=client_credentials&scope=users`));
  api.token = "never";
  await assert.rejects(run(open(options, { clock, env }), new Written(), { clock }), /answers 401/);
  await tokens.shutdown();
});

Deno.test("all that is wrong with a definition is told at once", () => {
  const spec = {
    kind: "httpPoll",
    url: "https://ann:pw@api.example.com/",
    method: "PUT",
    headers: { "x y": "1", "x-ok": "a\r\nb" },
    body: {},
    auth: { bearer: "written down" },
    records: "a..b",
    map: { nme: "x", name: "[x" },
    paging: { by: "cursor", path: "", to: { body: "x" }, first: 1 },
    since: { path: "u", as: "date", to: {}, overlap: 5, start: "x", overlaps: 1 },
    every: "5 parsecs",
    repeats: "write",
    hosts: ["https://other.example.com"],
    timeout: "x",
    bytesMax: 0,
    pagesMax: 1.5,
    requestsPerSecond: -1,
  } as unknown as HttpPollSpec;
  const where = httpPollKind.check(spec, planOf(spec)).map(({ where }) => where);
  assert.deepEqual(where, [
    "from.url",
    "from.method",
    "from.body",
    "from.headers",
    "from.headers.x-ok",
    "from.auth.bearer",
    "from.records",
    "from.map.nme",
    "from.map.name",
    "from.paging.first",
    "from.paging.to",
    "from.since.overlaps",
    "from.since.to",
    "from.since.as",
    "from.since.overlap",
    "from.since.start",
    "from.repeats",
    "from.every",
    "from.hosts",
    "from.timeout",
    "from.bytesMax",
    "from.pagesMax",
    "from.requestsPerSecond",
  ]);
  const plain = { kind: "httpPoll", url: "http://api.example.com/", auth: { bearer: secret("x") } } as const;
  assert.match(httpPollKind.check(plain, planOf(plain))[0].problem, /shows secrets to everyone on the way/);
  for (const cron of ["* * * *", "@daily", "61 * * * *", "0 0 31 2 *", "* * * * * *"]) {
    const spec = { kind: "httpPoll", url: "https://api.example.com/", cron } as const;
    assert.deepEqual(httpPollKind.check(spec, planOf(spec)).map(({ where }) => where), ["from.cron"], cron);
  }
});
