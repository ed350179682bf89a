import { webhook } from "../../pipeline/mod.ts";
import type { Measured } from "../measure.ts";
import { ensureTopic, load, type Servers } from "../servers.ts";
import { measureDelivery } from "./delivered.ts";

const RECORDS = 200_000;
const BATCH = 500;

/** A full topic to a server on this machine that counts what it gets: each partition in order, four at the same time. */
export async function webhookCase(servers: Servers): Promise<Measured> {
  const from = `bench.webhook.${Date.now()}`;
  await ensureTopic(servers, from);
  await load(servers, from, RECORDS);
  const offsets = new Map<number, Set<number>>();
  let requests = 0;
  const receiver = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const { partition, records } = await request.json() as { partition: number; records: { offset: number }[] };
    requests++;
    const seen = offsets.get(partition) ?? new Set();
    offsets.set(partition, seen);
    for (const { offset } of records) seen.add(offset);
    return new Response(null, { status: 204 });
  });
  try {
    const measured = await measureDelivery(servers, {
      name: "webhook",
      from,
      to: webhook({ url: `http://127.0.0.1:${receiver.addr.port}/`, batch: BATCH, allowPrivate: true }),
      records: RECORDS,
      consumers: 2,
    });
    const found = [...offsets.values()].reduce((sum, { size }) => sum + size, 0);
    if (found !== RECORDS) throw new Error(`${found} records came instead of ${RECORDS}`);
    return { ...measured, requests, requests_per_s: Math.round(requests / measured.seconds) };
  } finally {
    await receiver.shutdown();
  }
}
