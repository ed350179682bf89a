import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { join } from "node:path";
import { postgresClient } from "../../pipeline/postgres_client.ts";
import { assertTablesAreExact } from "../e2e/exactness.ts";
import { FREE_PORTS, Tailrace, temporaryFolder } from "../e2e/harness.ts";
import { headerText, readTopic } from "../e2e/topic_reader.ts";
import { layOut, PROJECT } from "../faults/project.ts";
import { startCassandra, whyNoCassandra } from "../servers/cassandra.ts";
import { withCassandra } from "../sinks/cassandra_subject.ts";

const KEYSPACE = "whole";
/** Definitions as they come with Tailrace: a pipeline's results on a topic, and a delivery of that topic to Cassandra. */
const SHIPPED = ["made_up_sensor_readings.ts", "sensor_averages.ts", "sensor_averages_cassandra.ts"];
/** A busy machine opens the tables late. */
const RUNS_WITHIN_MS = 180_000;
const COMES_WITHIN_MS = 180_000;

const why = await whyNoCassandra();
if (why !== null) console.log(`Tailrace is not run against Apache Cassandra: ${why}`);

Deno.test({
  name:
    "what pipelines and deliveries keep in Cassandra is exact after kill -9 of Tailrace, twice, and of Cassandra under load",
  ignore: why !== null,
  async fn() {
    const cassandra = await startCassandra({ syncsWrites: true });
    await using servers = new AsyncDisposableStack();
    servers.use(cassandra);
    await using folder = temporaryFolder();
    const main = await layOut(join(folder.path, "project"), { streams: await streamsIn(folder.path) });
    const args = ["dev", "--data", join(folder.path, "data"), ...FREE_PORTS, "--checkpoint-every", "1"];
    const start = (rate: number) =>
      Tailrace.start([...args, "--rate", String(rate)], {
        env: { TAILRACE_CASSANDRA: cassandra.address, TAILRACE_CASSANDRA_KEYSPACE: KEYSPACE },
        command: (args) => [Deno.execPath(), "run", "-q", "-A", main, ...args],
      });

    let delivered = 0;
    const isWriting = async (tailrace: Tailrace) => {
      await tailrace.until("rows go to Cassandra by both", async () => {
        const rows = await rowsIn(cassandra.address, "sensor_averages", ["kafka_offset"]).catch(() => []);
        const newest = rows.reduce((most, [offset]) => Math.max(most, Number(offset)), 0);
        const { state, rates } = await tailrace.status("account_minute");
        const isFurther = newest > delivered && state === "running" && rates.outPerSecond > 0;
        if (isFurther) delivered = newest;
        return isFurther;
      }, RUNS_WITHIN_MS);
    };
    for (let run = 0; run < 2; run++) {
      await using tailrace = await start(500);
      await isWriting(tailrace);
      await tailrace.kill();
    }
    await using tailrace = await start(500);
    await isWriting(tailrace);
    await cassandra.kill();
    await tailrace.until("the pipeline waits for Cassandra", async () => {
      const { state, reason } = await tailrace.status("account_minute");
      return state === "waiting" && /Cassandra/.test(reason ?? "");
    }, RUNS_WITHIN_MS);
    await cassandra.restart();
    await isWriting(tailrace);
    assert.doesNotMatch(tailrace.child.stderr, /MaxListenersExceeded/);
    assert.equal((await tailrace.stop()).code, 0);

    await using last = await start(0);
    await stopSource(last, "made_up_sensor_readings");
    await assertTablesAreExact(last, ["account_minute"]);
    await assertSameAsPostgres(last, cassandra.address);
    await assertSameAsTopic(last, cassandra.address);
  },
});

/** A folder with the shipped definitions, and the pipeline account_minute with Cassandra beside PostgreSQL. */
async function streamsIn(folder: string): Promise<URL> {
  const streams = join(folder, "streams");
  await Deno.mkdir(streams);
  for (const name of SHIPPED) await Deno.copyFile(`${PROJECT}streams/${name}`, join(streams, name));
  const text = (await Deno.readTextFile(`${PROJECT}streams/account_minute.ts`))
    .replace(/^import \{/, "import { cassandra,")
    .replace(/archive: lake\(\),/, "")
    .replace(/to: \[.*\],\n/, 'to: [postgres("account_minute"), cassandra("account_minute")],\n');
  assert.match(text, /cassandra\("account_minute"\)/);
  await Deno.writeTextFile(join(streams, "account_minute.ts"), text);
  return pathToFileURL(`${streams}/`);
}

async function stopSource(tailrace: Tailrace, name: string): Promise<void> {
  await tailrace.until(`${name} is stopped`, async () => {
    const response = await fetch(`${tailrace.url}/v1/connectors/${name}/stop`, { method: "POST" });
    await response.body?.cancel();
    const { connectors } = await (await fetch(`${tailrace.url}/v1/connectors`)).json();
    return connectors.some((one: { name: string; state: string }) => one.name === name && one.state === "stopped");
  });
}

/** All rows, each column as text: times as milliseconds. */
async function rowsIn(address: string, table: string, columns: readonly string[]): Promise<string[][]> {
  return await withCassandra(address, async (client) => {
    const rows: string[][] = [];
    const options = { prepare: true, fetchSize: 5_000 };
    // Times come as Date.
    const textOf = (value: unknown) => String(value instanceof Date ? value.getTime() : value);
    await new Promise<void>((resolve, reject) => {
      client.eachRow(
        `SELECT ${columns.join(", ")} FROM ${KEYSPACE}.${table}`,
        [],
        { ...options, autoPage: true },
        (_, row) => rows.push(columns.map((name) => textOf(row.get(name)))),
        (error) => error ? reject(error) : resolve(),
      );
    });
    return rows;
  });
}

/** The pipeline's rows in Cassandra are those in PostgreSQL, to the revision; and a key's are answered over REST. */
async function assertSameAsPostgres(tailrace: Tailrace, address: string): Promise<void> {
  const sql = postgresClient(tailrace.databaseUrl);
  try {
    await tailrace.until("Cassandra has the pipeline's rows", async () => {
      const expected = await sql`
        SELECT account_id, (extract(epoch from window_start) * 1000)::bigint::text, n::text, total::text, revision::text, final::text
        FROM account_minute`.values();
      const names = ["account_id", "window_start", "n", "total", "revision", "final"];
      const found = await rowsIn(address, "account_minute", names);
      return isSame(found, expected as unknown as string[][]);
    }, COMES_WITHIN_MS);
    const [[account, n]] = await sql`SELECT account_id, sum(n)::text FROM account_minute GROUP BY 1 LIMIT 1`.values();
    const response = await fetch(`${tailrace.url}/v1/cassandra/account_minute?key=${encodeURIComponent(account)}`);
    assert.equal(response.status, 200);
    const { rows } = await response.json();
    assert.equal(rows.reduce((sum: number, row: { n: number }) => sum + Number(row.n), 0), Number(n));
  } finally {
    await sql.end();
  }
}

/** The delivery's rows are the newest records of the topic, by key and window. */
async function assertSameAsTopic(tailrace: Tailrace, address: string): Promise<void> {
  let newest = new Map<string, string[]>();
  await tailrace.until("Cassandra has the newest record of each sensor and window", async () => {
    newest = new Map();
    for (const record of await readTopic(tailrace.brokers, "sensor-averages")) {
      const sensor = new TextDecoder().decode(record.key!);
      const window = headerText(record, "window_start")!;
      newest.set(`${sensor} ${window}`, [sensor, window, String(record.partition), String(record.offset)]);
    }
    const names = ["sensor_id", "window_start", "kafka_partition", "kafka_offset"];
    return newest.size > 0 && isSame(await rowsIn(address, "sensor_averages", names), [...newest.values()]);
  }, COMES_WITHIN_MS);
  const [[sensor, window]] = newest.values();
  const key = `key=${encodeURIComponent(sensor)}&key=${new Date(Number(window)).toISOString()}`;
  const response = await fetch(`${tailrace.url}/v1/cassandra/sensor_averages?${key}`);
  assert.equal(response.status, 200, await response.clone().text());
  const { rows } = await response.json();
  assert.deepEqual(rows.map((row: { sensor_id: string }) => row.sensor_id), [sensor]);
}

function isSame(found: readonly (readonly string[])[], expected: readonly (readonly string[])[]): boolean {
  const text = (rows: readonly (readonly string[])[]) => rows.map((row) => row.join(" ")).sort().join("\n");
  return text(found) === text(expected);
}
