import assert from "node:assert/strict";
import { secret } from "../../../pipeline/secrets.ts";
import type { HttpPollOptions } from "../../../pipeline/sources/http/definition.ts";
import { type Fault, ProfileApi } from "../../servers/profile_api.ts";
import { EagerClock, MAP, open, run, Written } from "./support.ts";

const USER = { id: "1", name: "x", contact: {}, updated_at: "2026-11-01T00:00:00Z" };

interface Polled {
  readonly asked: readonly string[];
  /** Every position that was written, as text. */
  readonly kept: string;
  readonly waiting: readonly (string | null)[];
}

/** Polls an API whose first answers lead to these pages; each page is a batch, and the source is opened anew after it. */
async function poll(
  path: string,
  nexts: readonly ((url: URL) => string)[],
  { options = {}, env = {}, isPlain = false }: {
    readonly options?: Partial<HttpPollOptions>;
    readonly env?: Readonly<Record<string, string>>;
    readonly isPlain?: boolean;
  } = {},
): Promise<Polled> {
  await using api = new ProfileApi();
  const clock = new EagerClock();
  clock.lookMs = 2_000;
  const written = new Written();
  const waiting: (string | null)[] = [];
  const kept: string[] = [];
  const url = isPlain ? api.url(path) : secret("api");
  const read = (batches: number) =>
    run(
      open({ url, records: "users", map: MAP, paging: { by: "link" }, repeats: "write", ...options }, {
        clock,
        env: { TAILRACE_SECRET_API: api.url(path), ...env },
      }),
      written,
      { clock, waiting, batches },
    ).finally(() => kept.push(JSON.stringify(written.position)));
  const answers: Fault[] = [...nexts, null].map((next) => (request) => {
    const link = next?.(new URL(request.url));
    const headers = link && !options.paging ? { link: `<${link}>; rel="next"` } : undefined;
    return Response.json({ users: [USER], next: link }, { headers });
  });
  const ends: Fault[] = Array(9).fill(() => Response.json({ users: [] }));
  // A life for each page: what it is killed in is asked for again.
  for (const answer of answers) {
    api.faults.splice(0, Infinity, answer, () => new Response("", { status: 503 }), ...ends);
    await read(1);
  }
  return { asked: api.asked, kept: kept.join("\n"), waiting };
}

const page = (number: number) => (url: URL) => {
  url.searchParams.set("page", String(number));
  return url.href;
};

for (const paging of [undefined, { by: "url", path: "next" }] as const) {
  Deno.test(`a key in a secret URL is in no position, and in every request: by ${paging?.by ?? "link"}`, async () => {
    const options = paging ? { paging } : {};
    const { asked, kept } = await poll("/users?apikey=TOPSECRET&limit=1", [page(2), page(3)], { options });
    assert.ok(!kept.includes("TOPSECRET"), kept);
    assert.match(kept, /page=2.*\n.*page=3/);
    const distinct = [...new Set(asked)].slice(0, 3);
    assert.deepEqual(distinct, ["", "&page=2", "&page=3"].map((more) => `/users?apikey=TOPSECRET&limit=1${more}`));
  });
}

Deno.test("what a link says otherwise than the secret URL stays as the link has it", async () => {
  for (
    const [path, next] of [
      ["/users?apikey=TOP%20SECRET&page=1", "/users?page=12&apikey=TOP+SECRET"],
      ["/users?apikey=TOPSECRET&start=0", "/users?cursor=abc"],
      ["/users?apikey=TOPSECRET", "/users?token=TOPSECRET&page=2"],
      ["/hook/TOPSECRET/users", "/hook/TOPSECRET/users?page=2"],
      ["/hook/TOPSECRET/users", "/hook/TOPSECRET/users/2"],
      ["/hook/TOPSECRET/users", "/hook/TOPSECRET/more?page=2"],
      ["/?TOPSECRET", "/?TOPSECRET&page=2"],
      ["/?1&a=TOPSECRET", "/?1&a=TOPSECRET&page=1234"],
    ]
  ) {
    const { asked, kept } = await poll(path, [(url) => new URL(next, url).href]);
    assert.ok(!/TOP.{0,3}SECRET/.test(kept), kept);
    assert.ok(asked.includes(next), `${path} and ${next}: ${asked}`);
  }
});

Deno.test("a parameter of a URL that is none, whose value is a secret's, is in no position either", async () => {
  const options = { headers: { "X-Key": secret("key") }, query: { k: "TOPSECRET" } };
  const env = { TAILRACE_SECRET_KEY: "TOPSECRET" };
  const { asked, kept } = await poll("/users", [page(2)], { options, env, isPlain: true });
  assert.ok(!kept.includes("TOPSECRET") && kept.includes("/users?"), kept);
  assert.ok(asked.includes("/users?k=TOPSECRET&page=2"));
});

Deno.test("a page that holds a secret, however it is written, is not kept: the reason names the secret and does not say it", async () => {
  const env = { TAILRACE_SECRET_TOKEN: "TOP/SECRET" };
  const auth = { bearer: secret("token") };
  const cursor = { by: "cursor", path: "next", to: { query: "after" } } as const;
  for (
    const [next, more] of [
      ["/users?t=TOP/SECRET", {}],
      ["/users?t=TOP%2fSECRET&bad=%E0%A4", {}],
      ["/users?t=TOP%252FSECRET", {}],
      ["12:TOP/SECRET", { paging: cursor }],
    ] as const
  ) {
    const again = Array(3).fill(() => next);
    const { kept, waiting } = await poll("/users", again, { options: { auth, ...more }, env, isPlain: true });
    assert.ok(!/TOP.{0,5}SECRET/.test(kept), kept);
    const reasons = waiting.filter((reason) => reason?.includes("secret"));
    assert.match(reasons[0] ?? "", /the next page holds the text of secret token/);
    assert.ok(!JSON.stringify(waiting).includes("SECRET"));
  }
});

Deno.test("a position of before that holds a key is written without it, and goes on where it was", async () => {
  await using api = new ProfileApi();
  const clock = new EagerClock();
  const written = new Written();
  const env = { TAILRACE_SECRET_API: api.url("/users?apikey=TOPSECRET") };
  const options: HttpPollOptions = { url: secret("api"), records: "users", map: MAP, paging: { by: "link" } };
  const link = (url: URL) => ({ headers: { link: `<${page(2)(url)}>; rel="next"` } });
  // More than a batch holds: the position is written within the page, too.
  const users = Array.from({ length: 2_500 }, (_, id) => ({ ...USER, id: String(id) }));
  api.faults.push(
    (request) => Response.json({ users: [USER] }, link(new URL(request.url))),
    () => Response.json({ users }),
  );
  clock.lookMs = 2_000;
  await run(open(options, { clock, env }), written, { clock, batches: 1 });
  written.position = { ...written.position!, page: api.url("/users?apikey=TOPSECRET&page=2") };
  api.faults.splice(0, Infinity, () => Response.json({ users }));
  const count = api.asked.length;
  await run(open(options, { clock, env }), written, { clock, batches: 1 });
  assert.equal(api.asked[count], "/users?apikey=TOPSECRET&page=2");
  assert.ok(!JSON.stringify(written.position).includes("TOPSECRET"));
});
