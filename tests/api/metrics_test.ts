import assert from "node:assert/strict";
import { createMetrics } from "../../api/metrics.ts";
import type { PipelineStatus } from "../../pipeline/runtime/status.ts";
import { connectorStatus } from "./fake_connectors.ts";
import { pipelineStatus } from "./fake_deps.ts";

function partitions(count: number): PipelineStatus["partitions"] {
  return Array.from({ length: count }, (_, partition) => ({
    partition,
    position: 10,
    end: 15,
    lagRecords: partition === 1 ? -1 : 5,
    lagSeconds: 0,
    watermarkMs: null,
    idle: false,
  }));
}

/** Sample lines by their name and labels. */
async function scrape(metrics: { text(): Promise<string> }): Promise<Map<string, number>> {
  const lines = (await metrics.text()).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(lines.map((line) => {
    const space = line.lastIndexOf(" ");
    return [line.slice(0, space), Number(line.slice(space + 1))];
  }));
}

Deno.test("figures are read from the status at every scrape", async () => {
  const status = pipelineStatus({
    lagRecords: 12,
    lagSeconds: 1.5,
    watermarkDelaySeconds: 6.25,
    openWindows: 2,
    openPanes: 40,
    rowsWritten: 99,
    checkpointAtMs: 1000,
    buckets: { consumed: 110, aggregated: 100, filtered: 7, late: 2, dead: 1, duplicate: 0 },
    partitions: partitions(3),
  });
  let statuses = [status];
  const live = { clients: 3, dropped: 1, ringRows: 0, ringBytes: 0, events: 0 };
  const metrics = createMetrics(() => statuses, { now: () => 3500, live: () => live, version: "1.2.3" });
  for (let scrapes = 0; scrapes < 2; scrapes++) {
    const samples = await scrape(metrics);
    const expected = {
      'tailrace_up{pipeline="account_minute"}': 1,
      'tailrace_records_total{pipeline="account_minute",bucket="aggregated"}': 100,
      'tailrace_records_total{pipeline="account_minute",bucket="filtered"}': 7,
      'tailrace_records_total{pipeline="account_minute",bucket="late"}': 2,
      'tailrace_records_total{pipeline="account_minute",bucket="dead"}': 1,
      'tailrace_lag_records{pipeline="account_minute"}': 12,
      'tailrace_lag_seconds{pipeline="account_minute"}': 1.5,
      'tailrace_watermark_delay_seconds{pipeline="account_minute"}': 6.25,
      'tailrace_open_windows{pipeline="account_minute"}': 2,
      'tailrace_open_panes{pipeline="account_minute"}': 40,
      'tailrace_result_rows_total{pipeline="account_minute"}': 99,
      'tailrace_checkpoint_age_seconds{pipeline="account_minute"}': 2.5,
      'tailrace_partition_lag_records{pipeline="account_minute",partition="0"}': 5,
      'tailrace_partition_lag_records{pipeline="account_minute",partition="2"}': 5,
      tailrace_live_clients: 3,
      tailrace_live_clients_dropped_total: 1,
      'tailrace_build_info{version="1.2.3"}': 1,
    };
    for (const [name, value] of Object.entries(expected)) assert.equal(samples.get(name), value, name);
    assert.ok(
      !samples.has('tailrace_partition_lag_records{pipeline="account_minute",partition="1"}'),
      "an unknown lag",
    );
  }
  statuses = [{ ...status, state: "failed", rowsWritten: 120, lagRecords: -1, watermarkDelaySeconds: null }];
  const samples = await scrape(metrics);
  assert.equal(samples.get('tailrace_up{pipeline="account_minute"}'), 0);
  assert.equal(samples.get('tailrace_result_rows_total{pipeline="account_minute"}'), 120);
  assert.ok(!samples.has('tailrace_lag_records{pipeline="account_minute"}'));
  assert.ok(!samples.has('tailrace_watermark_delay_seconds{pipeline="account_minute"}'));
  statuses = [];
  assert.ok(
    ![...(await scrape(metrics)).keys()].some((name) => name.includes("pipeline=")),
    "figures of a pipeline that is gone",
  );
});

Deno.test("figures per partition stop at 200 partitions", async () => {
  const count = async (size: number) => {
    const samples = await scrape(createMetrics(() => [pipelineStatus({ partitions: partitions(size) })]));
    return [...samples.keys()].filter((name) => name.startsWith("tailrace_partition_lag_records")).length;
  };
  assert.equal(await count(200), 199);
  assert.equal(await count(201), 0);
});

Deno.test("whatever a name holds, it stays inside its label", async () => {
  const text = await createMetrics(() => [pipelineStatus({ name: 'a"} 1\n\\b' })]).text();
  assert.ok(text.includes('tailrace_up{pipeline="a\\"} 1\\n\\\\b"} 1\n'), text);
});

Deno.test("memory and CPU are those of this process", async () => {
  const samples = await scrape(createMetrics(() => []));
  const resident = samples.get("process_resident_memory_bytes")!;
  assert.ok(resident > 20e6 && resident < 4e9, String(resident));
  assert.ok(samples.get("process_cpu_seconds_total")! > 0.01);
  const started = samples.get("process_start_time_seconds")!;
  assert.ok(Math.abs(started - (Date.now() - performance.now()) / 1000) < 60, String(started));
  for (const [name, value] of samples) assert.ok(Number.isFinite(value), name);
});

Deno.test("sources and deliveries have figures of their own, read at every scrape", async () => {
  const source = connectorStatus({
    lagRecords: 4,
    limitPerSecond: 50,
    details: { walBehindBytes: 1_024, connected: false, slot: "tailrace", lsn: null },
  });
  const delivery = connectorStatus({ name: "users_out", kind: "delivery", state: "stopped", committedAtMs: null });
  let statuses = [source, delivery];
  const metrics = createMetrics(() => [], { connectors: () => statuses, now: () => 1_700_000_003_500 });
  const of = 'connector="user_profiles",kind="source"';
  for (let scrapes = 0; scrapes < 2; scrapes++) {
    const samples = await scrape(metrics);
    const expected = {
      [`tailrace_connector_read_total{${of}}`]: 10,
      [`tailrace_connector_written_total{${of}}`]: 7,
      [`tailrace_connector_rejected_total{${of}}`]: 2,
      [`tailrace_connector_skipped_total{${of}}`]: 1,
      [`tailrace_connector_state{${of},state="running"}`]: 1,
      [`tailrace_connector_state{${of},state="failed"}`]: 0,
      [`tailrace_connector_lag_records{${of}}`]: 4,
      [`tailrace_connector_limit{${of}}`]: 50,
      [`tailrace_connector_commit_age_seconds{${of}}`]: 2.5,
      'tailrace_connector_detail{connector="user_profiles",name="walBehindBytes"}': 1_024,
      'tailrace_connector_detail{connector="user_profiles",name="connected"}': 0,
      'tailrace_connector_state{connector="users_out",kind="delivery",state="stopped"}': 1,
      'tailrace_connector_state{connector="users_out",kind="delivery",state="running"}': 0,
    };
    for (const [name, value] of Object.entries(expected)) assert.equal(samples.get(name), value, name);
    const unknown = [...samples.keys()].filter((name) =>
      /slot|lsn/.test(name) || /(lag|limit|age).*users_out/.test(name)
    );
    assert.deepEqual(unknown, [], "figures of what is no number, or not known");
  }
  statuses = [{ ...source, counts: { ...source.counts, read: 11, written: 8 } }];
  const samples = await scrape(metrics);
  assert.equal(samples.get(`tailrace_connector_read_total{${of}}`), 11);
  assert.ok(![...samples.keys()].some((name) => name.includes("users_out")), "figures of a delivery that is gone");
});

Deno.test("facts of a source's own become 20 figures at most", async () => {
  const details = Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`lost topic/${i}`, i]));
  const samples = await scrape(createMetrics(() => [], { connectors: () => [connectorStatus({ details })] }));
  assert.equal([...samples.keys()].filter((name) => name.startsWith("tailrace_connector_detail")).length, 20);
});

Deno.test("every figure has a HELP line and a TYPE line", async () => {
  const text = await createMetrics(() => [pipelineStatus()], { connectors: () => [connectorStatus()] }).text();
  for (const [, name] of text.matchAll(/^(\w+)(?:\{| )/gm)) {
    assert.match(text, new RegExp(`^# HELP ${name} \\w.{10,}$`, "m"));
    assert.match(text, new RegExp(`^# TYPE ${name} (gauge|counter)$`, "m"));
  }
});
