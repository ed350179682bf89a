/**
 * Sources, deliveries and pipelines of all kinds in one process: each by itself.
 *
 * @module
 */
import assert from "node:assert/strict";
import { readPostmaster } from "../../broker/postgres_postmaster.ts";
import { postgresClient } from "../../pipeline/postgres_client.ts";
import type { ConnectorStatus } from "../../pipeline/runtime/connector_status.ts";
import { ProfileApi } from "../servers/profile_api.ts";
import { FREE_PORTS, sleep, Tailrace, temporaryFolder } from "./harness.ts";
import { endsOf } from "./topic_reader.ts";

/** What is made up in a second. */
const SPEED = { made_up_user_events: 200, made_up_sensor_readings: 60, transactions: 300 };
const LOOK_MS = 4_000;
/** So much of a few seconds' records must be there after as long; or, where the machine is busy with other tests, after this. */
const CATCH_UP_MS = 240_000;

Deno.test("all streams run in one process, and pausing or slowing one changes that one alone", async (t) => {
  await using folder = temporaryFolder();
  await using tailrace = await Tailrace.start(["dev", "--data", `${folder.path}/data`, "--rate", "300", ...FREE_PORTS]);

  await t.step("each runs, or rests and says what to set", async () => {
    await tailrace.until("all run or rest", async () => {
      const all = [...await connectors(tailrace), ...await pipelines(tailrace)];
      return all.every(({ state }) => state === "running" || state === "stopped");
    });
    const resting = (await connectors(tailrace)).filter(({ state }) => state === "stopped");
    assert.ok(resting.length > 0 && resting.length < (await connectors(tailrace)).length);
    for (const { name, reason } of resting) {
      assert.match(reason ?? "", /is not set.*TAILRACE_\w+|TAILRACE_\w+.*is not set/, name);
    }
    await tailrace.until("all pipelines run", async () => {
      return (await pipelines(tailrace)).every(({ state }) => state === "running");
    });
  });

  await t.step("user_events is read from 120 partitions, all of which have records", async () => {
    assert.equal((await tailrace.status("user_events")).partitions.length, 120);
    await tailrace.until("all partitions have records", async () => {
      return [...(await endsOf(tailrace.brokers, "user_events")).values()].every((end) => end > 0);
    });
  });

  await t.step("a paused source writes nothing, and all others go on", async () => {
    await put(tailrace, "POST", "/v1/connectors/made_up_user_events/stop");
    const { written } = await amounts(tailrace);
    await goOn(tailrace, ["made_up_sensor_readings"], ["account_minute"]);
    assert.equal((await amounts(tailrace)).written.get("made_up_user_events"), written.get("made_up_user_events"));
    await put(tailrace, "POST", "/v1/connectors/made_up_user_events/start");
    await goOn(tailrace, ["made_up_user_events"], ["user_events"]);
  });

  await t.step("a limit of a source slows that source alone, and is gone when it is taken away", async () => {
    await put(tailrace, "PUT", "/v1/connectors/made_up_user_events/limit", { perSecond: 10 });
    await isSlowed(tailrace, async () => (await amounts(tailrace)).written.get("made_up_user_events")!);
    const began = performance.now();
    const before = await amounts(tailrace);
    await goOn(tailrace, ["made_up_sensor_readings"], ["account_minute"]);
    await sleep(LOOK_MS);
    const after = await amounts(tailrace);
    const came = after.written.get("made_up_user_events")! - before.written.get("made_up_user_events")!;
    // A batch goes as a whole, and is waited for after it.
    const most = 10 * (performance.now() - began) / 1000 + SPEED.made_up_user_events;
    assert.ok(came <= most, `${came} records, at most ${most}`);
    const limits = (await connectors(tailrace)).filter(({ limitPerSecond }) => limitPerSecond !== null);
    assert.deepEqual(limits.map(({ name, limitPerSecond }) => [name, limitPerSecond]), [["made_up_user_events", 10]]);
    await put(tailrace, "PUT", "/v1/connectors/made_up_user_events/limit", { perSecond: null });
    await goOn(tailrace, ["made_up_user_events"], ["user_events"]);
  });

  await t.step("a limit of a pipeline slows that pipeline alone", async () => {
    await put(tailrace, "PUT", "/v1/pipelines/user_events/limit", { perSecond: 10 });
    const consumed = async () => (await amounts(tailrace)).consumed.get("user_events")!;
    await isSlowed(tailrace, consumed);
    const [before, began] = [await consumed(), performance.now()];
    await goOn(tailrace, ["made_up_user_events", "made_up_sensor_readings"], ["account_minute", "sensor_averages"]);
    const came = await consumed() - before;
    const most = 10 * (performance.now() - began) / 1000 + SPEED.made_up_user_events;
    assert.ok(came <= most, `${came} records, at most ${most}`);
    const limits = (await pipelines(tailrace)).filter(({ limitPerSecond }) => limitPerSecond !== null);
    assert.deepEqual(limits.map(({ name, limitPerSecond }) => [name, limitPerSecond]), [["user_events", 10]]);
    await put(tailrace, "PUT", "/v1/pipelines/user_events/limit", { perSecond: null });
    await goOn(tailrace, [], ["user_events"]);
  });
});

Deno.test("what fails says which and why, and all others go on at full speed", async (t) => {
  await using folder = temporaryFolder();
  const data = `${folder.path}/data`;
  // A file where the delivery wants its folder.
  await Deno.mkdir(`${data}/files`, { recursive: true });
  await Deno.writeTextFile(`${data}/files/products`, "in the way");
  await using nonsense = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    () => new Response("<html>Welcome!</html>"),
  );
  await using tailrace = await Tailrace.start(["dev", "--data", data, "--rate", "300", ...FREE_PORTS], {
    env: {
      TAILRACE_SECRET_PROFILE_API_URL: `http://127.0.0.1:${nonsense.addr.port}/users`,
      TAILRACE_SECRET_UPSTREAM_BROKERS: "127.0.0.1:1",
      TAILRACE_SECRET_UPSTREAM_REGISTRY: "http://127.0.0.1:1",
    },
  });
  const sql = postgresClient(tailrace.databaseUrl);
  try {
    await sql`ALTER TABLE shop.products RENAME COLUMN category TO kind`;
  } finally {
    await sql.end();
  }
  await put(tailrace, "POST", "/v1/connectors/products/stop");
  await put(tailrace, "POST", "/v1/connectors/products/start");

  const wrong: [name: string, state: string, reason: RegExp][] = [
    ["user_profiles", "waiting", /JSON/],
    // Its address is a secret.
    ["forward_edge", "waiting", /refused/i],
    ["products", "failed", /shop\.products.*category|category.*shop\.products/],
    ["products_files", "failed", /files\/products/],
  ];
  for (const [name, state, reason] of wrong) {
    await t.step(`${name} is ${state}, with the reason`, async () => {
      let last: ConnectorStatus | undefined;
      await tailrace.until(`${name} is ${state}`, async () => {
        last = (await connectors(tailrace)).find((one) => one.name === name);
        return last?.state === state && last.reason !== null;
      }, CATCH_UP_MS).catch((error) => assert.fail(`${JSON.stringify(last)} ${error.message}`));
      assert.match(last!.reason!, reason);
    });
  }

  await t.step("the others go on at full speed", async () => {
    const pipelinesOf = ["user_events", "sensor_averages", "account_minute"];
    await goOn(tailrace, ["made_up_user_events", "made_up_sensor_readings"], pipelinesOf);
    await tailrace.until("all pipelines run", async () => {
      return (await pipelines(tailrace)).every(({ state }) => state === "running");
    });
  });

  await t.step("a dead PostgreSQL is waited out by those that need it, and what failed stays as it was", async () => {
    Deno.kill((await readPostmaster(`${data}/postgres/cluster`))!.pid, "SIGKILL");
    await goOn(tailrace, ["made_up_user_events", "made_up_sensor_readings"], ["user_events", "account_minute"]);
    await tailrace.until("the pipelines run", async () => {
      return (await pipelines(tailrace)).every(({ state }) => state === "running");
    });
    const failed = (await connectors(tailrace)).filter(({ state }) => state === "failed").map(({ name }) => name);
    assert.deepEqual(failed.sort(), ["products", "products_files"]);
  });
});

Deno.test("a source whose secret is missing rests and says what to set, and runs after a start with it", async () => {
  await using folder = temporaryFolder();
  const args = ["dev", "user_profiles", "--data", `${folder.path}/data`, "--rate", "0", ...FREE_PORTS];
  {
    await using tailrace = await Tailrace.start(args);
    const [source, ...others] = await connectors(tailrace);
    assert.deepEqual(others, []);
    assert.equal(source.state, "stopped");
    assert.match(source.reason!, /TAILRACE_SECRET_PROFILE_API_URL/);
    assert.equal((await tailrace.stop()).code, 0);
  }
  await using api = new ProfileApi({ pageSize: 7 });
  for (let id = 0; id < 30; id++) api.put(id, Date.now() - id * 1_000);
  const env = { TAILRACE_SECRET_PROFILE_API_URL: api.url() };
  await using tailrace = await Tailrace.start(args, { env });
  const written = async () => (await connectors(tailrace))[0].counts.written;
  await tailrace.until("all users are written", async () => (await written()) === 30);
  const ends = await endsOf(tailrace.brokers, "user_profiles");
  assert.ok([...ends.values()].reduce((sum, end) => sum + end, 0) >= 30);
  const told = await (await fetch(`${tailrace.url}/v1/connectors`)).text();
  assert.ok(!told.includes(String(api.port)), "the address is a secret");
  assert.equal((await tailrace.stop()).code, 0);
});

interface PipelineSeen {
  readonly name: string;
  readonly state: string;
  readonly limitPerSecond: number | null;
  readonly buckets: { readonly consumed: number };
}

async function get<T>({ url }: Tailrace, path: string): Promise<T> {
  const response = await fetch(url + path);
  if (!response.ok) throw new Error(`GET ${path}: ${response.status} ${await response.text()}`);
  return await response.json();
}

async function put({ url }: Tailrace, method: string, path: string, body?: unknown): Promise<void> {
  const response = await fetch(url + path, {
    method,
    ...body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } },
  });
  assert.equal(response.status, 200, `${method} ${path}: ${await response.text()}`);
}

async function connectors(tailrace: Tailrace): Promise<ConnectorStatus[]> {
  return (await get<{ connectors: ConnectorStatus[] }>(tailrace, "/v1/connectors")).connectors;
}

async function pipelines(tailrace: Tailrace): Promise<PipelineSeen[]> {
  return (await get<{ pipelines: PipelineSeen[] }>(tailrace, "/v1/pipelines")).pipelines;
}

interface Amounts {
  readonly written: ReadonlyMap<string, number>;
  readonly consumed: ReadonlyMap<string, number>;
}

async function amounts(tailrace: Tailrace): Promise<Amounts> {
  const [sources, readers] = await Promise.all([connectors(tailrace), pipelines(tailrace)]);
  return {
    written: new Map(sources.map(({ name, counts }) => [name, counts.written])),
    consumed: new Map(readers.map(({ name, buckets }) => [name, buckets.consumed])),
  };
}

/** A limit of 10 records a second is told with the next turn, behind what was let in before. */
async function isSlowed(tailrace: Tailrace, count: () => Promise<number>): Promise<void> {
  await tailrace.until("it is slowed", async () => {
    const before = await count();
    await sleep(1_000);
    return await count() - before <= 10 * 3;
  });
}

/** Where a pipeline's records come from. */
const FROM: Readonly<Record<string, keyof typeof SPEED>> = {
  account_minute: "transactions",
  user_events: "made_up_user_events",
  sensor_averages: "made_up_sensor_readings",
};

/** A few seconds' records of each go through, from now on. */
async function goOn(
  tailrace: Tailrace,
  sources: readonly (keyof typeof SPEED)[],
  readers: readonly string[],
): Promise<void> {
  const before = await amounts(tailrace);
  const began = performance.now();
  const lacking = (now: Amounts) =>
    [
      ...sources.map((name) => ({
        name,
        came: now.written.get(name)! - before.written.get(name)!,
        speed: SPEED[name],
      })),
      ...readers.map((name) => ({
        name,
        came: now.consumed.get(name)! - before.consumed.get(name)!,
        speed: SPEED[FROM[name]],
      })),
    ].filter(({ came, speed }) => came < speed * LOOK_MS / 1000);
  let left = lacking(before);
  while (left.length > 0 && performance.now() - began < CATCH_UP_MS) {
    await sleep(200);
    left = lacking(await amounts(tailrace));
  }
  assert.deepEqual(left, [], `after ${CATCH_UP_MS / 1000} s; it logged: ${tailrace.child.stderr.slice(-3_000)}`);
}
