import { createControl } from "../../cli/control.ts";
import { createApp } from "../../api/app.ts";
import { createLiveHub } from "../../api/live.ts";
import { systemClock } from "../../pipeline/clock.ts";
import type { ResultRows } from "../../pipeline/sinks/sink.ts";
import { resultColumns } from "../../pipeline/plan/plan.ts";
import { type Measured, Meter, round } from "../measure.ts";
import { racePlan } from "../plan.ts";
import { produceInThread } from "../produce_in_thread.ts";
import { runPipeline } from "../run_pipeline.ts";
import { dropTable, ensureTopic, type Servers } from "../servers.ts";
import { ALLOWED_LATENESS_MS } from "../workload.ts";

const TABLE = "bench_live";
const WINDOW_MS = 5_000;
/** Longest wait for the last records after the producer has ended. */
const CATCH_UP_MS = 30_000;

/**
 * Everything at once: transactions produced at a rate, aggregated in windows of a second, written to PostgreSQL, followed over SSE.
 * A window's latency is the time from its end, and the lateness allowed after it, to its final row at an SSE client.
 */
export async function live(
  servers: Servers,
  options: { readonly rate: number; readonly seconds: number; readonly checkpointEveryMs?: number },
): Promise<Measured> {
  const { rate, seconds, checkpointEveryMs } = options;
  const topic = `bench.live.${Date.now()}`;
  await ensureTopic(servers, topic);
  await dropTable(servers, TABLE);
  const plan = racePlan(topic, TABLE, { windowMs: WINDOW_MS });
  const listeners = new Set<(pipeline: string, rows: ResultRows) => void>();
  const { runner, stop } = await runPipeline(servers, plan, {
    onRows: (rows) => listeners.forEach((listener) => listener(plan.name, rows)),
    checkpointEveryMs,
  });
  const hub = createLiveHub({}, systemClock);
  const app = createApp({
    pipelines: [{ name: plan.name, columns: resultColumns(plan) }],
    results: { read: () => Promise.resolve({ rows: [], next: null }) },
    engine: {
      status: () => [runner.status()],
      live: { subscribe: (listener) => (listeners.add(listener), () => listeners.delete(listener)) },
      ingest: { write: () => Promise.resolve({ kind: "unknown topic" }) },
      control: createControl([]),
      metrics: () => Promise.resolve(""),
    },
    ready: () => Promise.resolve([]),
    asset: () => Promise.resolve(null),
    version: "bench",
  }, { hub });
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, app.fetch);
  const client = followFinals(`http://127.0.0.1:${server.addr.port}/v1/live`);
  const meter = new Meter();
  const memory: number[] = [];
  const sampler = setInterval(() => memory.push(meter.rssMb), 1_000);
  const began = performance.now();
  const produced = await produceInThread({
    brokers: servers.brokers,
    topic,
    schemaId: servers.schemaId,
    rate,
    seconds,
  });
  const producedIn = (performance.now() - began) / 1000;
  const until = performance.now() + CATCH_UP_MS;
  while (runner.status().buckets.consumed < produced && performance.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const measured = meter.stop("live", runner.status().buckets.consumed, (performance.now() - began) / 1000);
  clearInterval(sampler);
  const { buckets } = runner.status();
  await stop();
  // The stream ends here, at its source: shutting down waits for it, and an aborted client is noticed only at the next row.
  hub.close();
  await client.ended;
  await server.shutdown();
  if (buckets.consumed !== produced || buckets.aggregated !== produced) {
    throw new Error(
      `${produced} records were produced, ${buckets.consumed} consumed and ${buckets.aggregated} aggregated`,
    );
  }
  const latencies = Float64Array.from(client.latenciesMs).sort();
  const quarter = Math.floor(memory.length / 4);
  return {
    ...measured,
    rate: rate,
    produce_s: round(producedIn, 2),
    rss_mb_first_quarter: quarter > 0 ? Math.max(...memory.slice(0, quarter)) : 0,
    rss_mb_last_quarter: quarter > 0 ? Math.max(...memory.slice(-quarter)) : 0,
    windows: latencies.length,
    latency_ms_p50: Math.round(latencies[Math.floor(0.5 * latencies.length)] ?? NaN),
    latency_ms_p99: Math.round(latencies[Math.floor(0.99 * latencies.length)] ?? NaN),
    latency_ms_max: Math.round(latencies.at(-1) ?? NaN),
  };
}

/** An SSE client; notes for each event of final rows how long after its window's own wait it came. Ends with the stream. */
function followFinals(url: string): { readonly latenciesMs: number[]; readonly ended: Promise<void> } {
  const latenciesMs: number[] = [];
  const pattern = /"window_end":"([^"]+)"[^}]*"final":true/;
  const follow = async () => {
    const response = await fetch(url);
    let rest = "";
    for await (const text of response.body!.pipeThrough(new TextDecoderStream())) {
      const events = (rest + text).split("\n\n");
      rest = events.pop()!;
      for (const event of events) {
        const found = pattern.exec(event);
        if (found) latenciesMs.push(Date.now() - Date.parse(found[1]) - ALLOWED_LATENESS_MS);
      }
    }
  };
  return { latenciesMs, ended: follow() };
}
