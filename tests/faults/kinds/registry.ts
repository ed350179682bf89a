import { Buffer } from "node:buffer";
import { sleep } from "../../e2e/harness.ts";
import type { Kind } from "../kind.ts";
import { encoded, framed, good, startOfRun, transaction, TRANSACTION_TEXT } from "../records.ts";
import { register } from "../world.ts";

/** What the registry does instead of answering: every one is an outage, in which nothing may be buried. */
const WRONGS: readonly { readonly name: string; readonly answer: () => Response | Promise<Response> }[] = [
  { name: "500", answer: () => new Response("oops", { status: 500 }) },
  { name: "503 with JSON", answer: () => Response.json({ error_code: 50301, message: "later" }, { status: 503 }) },
  { name: "a page", answer: () => new Response("<html>Log in</html>", { headers: { "content-type": "text/html" } }) },
  { name: "a page that is not there", answer: () => new Response("<html>404</html>", { status: 404 }) },
  { name: "half an answer", answer: () => new Response('{"schema":"{\\"type\\":') },
  { name: "nothing", answer: () => new Response(null) },
  { name: "another answer", answer: () => Response.json({ status: "ok" }) },
  { name: "null", answer: () => Response.json(null) },
  { name: "a schema that is none", answer: () => Response.json({ schema: 5 }) },
  { name: "slow", answer: () => sleep(1_500).then(() => new Response("slow", { status: 500 })) },
  { name: "never", answer: () => new Promise(() => {}) },
];

/** While the registry misbehaves, records come whose schema is not known yet. */
export const registry: Kind = {
  name: "registry",
  what: "the registry down, slow and wrong while new schemas come",
  counts: { full: 140, short: 6 },
  async run(run) {
    let target = "";
    let wrong: (() => Response | Promise<Response>) | null = null;
    const ended = new AbortController();
    const serve = (port: number) =>
      Deno.serve({ hostname: "127.0.0.1", port, signal: ended.signal, onListen: () => {} }, async (request) => {
        if (wrong) return await wrong();
        const { pathname, search } = new URL(request.url);
        return await fetch(`${target}${pathname}${search}`, {
          method: request.method,
          headers: request.headers,
          body: request.body === null ? null : await request.bytes(),
        });
      });
    const server = serve(0);
    const switches: { readonly from: number; readonly id: number }[] = [];
    try {
      await using world = await run.world({
        broker: "apart",
        postgres: "apart",
        through: ({ registryUrl }) => {
          target = registryUrl;
          return { registryUrl: `http://127.0.0.1:${server.addr.port}` };
        },
        recipe: ({ schemaId }) => {
          const startMs = startOfRun();
          return (n) => {
            const of = transaction(run.seed, n, startMs);
            const later = switches.findLast(({ from }) => n >= from);
            const made = good(n, of, schemaId);
            return later
              ? { ...made, value: framed(later.id, Buffer.concat([encoded(of), Buffer.from([2, 120])])) }
              : made;
          };
        },
      });
      const first = Math.floor(run.random() * WRONGS.length);
      while (run.injected < run.count) {
        const { answer, name } = WRONGS[(first + run.injected) % WRONGS.length];
        wrong = answer;
        run.inject();
        const id = await nextSchema(target, run.injected);
        await world.load.pause();
        switches.push({ from: world.load.next, id });
        world.load.resume();
        await sleep(name === "never" ? 3_000 : run.between(400, 1_200));
        const { buckets } = await world.tailrace!.status(world.pipeline);
        if (buckets.dead > 0) {
          run.findings.note("wrong", "behaviour", `records were buried when the registry said: ${name}`);
        }
        wrong = null;
        await run.recovers(world);
      }
      await run.finish(world);
    } finally {
      ended.abort();
      await server.finished;
    }
  },
};

/** Registers transactions with one more field, which nobody has met. */
async function nextSchema(registryUrl: string, number: number): Promise<number> {
  const schema = JSON.parse(TRANSACTION_TEXT);
  schema.fields.push({ name: `extra_${number}`, type: "string", default: "" });
  return await register(registryUrl, `faults-extra-${number}`, JSON.stringify(schema));
}
