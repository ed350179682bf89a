import { systemClock } from "../../pipeline/clock.ts";
import { createSecrets } from "../../pipeline/secrets.ts";
import { httpPoll } from "../../pipeline/sources/http/definition.ts";
import { openHttp } from "../../pipeline/sources/http/kind.ts";
import { type Measured, Meter } from "../measure.ts";

const PAGES = 100;
const PAGE_RECORDS = 1_000;

const SCHEMA = {
  type: "record",
  name: "User",
  fields: [
    { name: "user_id", type: "string" },
    { name: "name", type: "string" },
    { name: "country", type: ["null", "string"], default: null },
    { name: "updated_at", type: { type: "long", logicalType: "timestamp-millis" } },
  ],
} as const;

/** One round over an API on this machine: pages of 1,000 users by Link header, JSON to Avro, repeats looked for. */
export async function httpPollCase(): Promise<Measured> {
  const began = Date.parse("2026-01-01T00:00:00Z");
  // Made before: the server shares the thread with the source.
  const pages = Array.from({ length: PAGES }, (_, page) =>
    new TextEncoder().encode(JSON.stringify(
      Array.from({ length: PAGE_RECORDS }, (_, item) => {
        const id = page * PAGE_RECORDS + item;
        return {
          id: `user-${id}`,
          name: `User ${id}`,
          country: "DE",
          updated_at: new Date(began + id * 1000).toISOString(),
        };
      }),
    )));
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const page = Number(new URL(request.url).searchParams.get("page") ?? 0);
    const headers = page + 1 < PAGES ? { link: `</users?page=${page + 1}>; rel="next"` } : undefined;
    return new Response(pages[page], { headers });
  });
  const from = httpPoll({
    url: `http://127.0.0.1:${server.addr.port}/users`,
    map: { user_id: "id", name: "name", country: "country", updated_at: "updated_at" },
    paging: { by: "link" },
    since: { path: "updated_at", as: "time", to: { query: "since" } },
    allowPrivate: true,
  });
  const to = { kind: "topic", topic: "users", schema: SCHEMA, key: "user_id", eventTime: "updated_at" } as const;
  const meter = new Meter();
  let records = 0;
  let batches = 0;
  {
    await using source = openHttp(from, {
      plan: { name: "bench", from, to, into: null, limitPerSecond: null, partitions: null },
      secrets: createSecrets({ env: () => undefined, onFound: () => {} }),
      schemaId: 1,
      clock: systemClock,
      log: () => {},
    });
    const { signal } = new AbortController();
    for await (const batch of source.read(null, { signal, clock: systemClock, isBounded: true, onWaiting: () => {} })) {
      records += batch.records.length;
      batches++;
    }
  }
  const measured = meter.stop("http-poll", records);
  await server.shutdown();
  if (records !== PAGES * PAGE_RECORDS) {
    throw new Error(`${PAGES * PAGE_RECORDS} users are there, ${records} were read`);
  }
  return { ...measured, pages: PAGES, batches };
}
