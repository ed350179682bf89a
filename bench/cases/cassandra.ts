import type driver from "cassandra-driver";
import { type Measured, Meter, round } from "../measure.ts";
import { startJavaDriver, startSparkConnector } from "../cassandra/rival.ts";
import { listenerOf, processorSeconds } from "../processor_time.ts";
import { ORIGIN_COLUMNS } from "../../pipeline/deliveries/columns.ts";
import { ConfigError } from "../../pipeline/errors.ts";
import type { ResultColumn } from "../../pipeline/plan/plan.ts";
import { REQUESTS_MAX } from "../../pipeline/sinks/cassandra/in_flight.ts";
import { DEFAULT_KEYSPACE } from "../../pipeline/sinks/cassandra/options.ts";
import { CassandraSession } from "../../pipeline/sinks/cassandra/session.ts";
import { BATCH_ROWS_MAX, createCassandraSink } from "../../pipeline/sinks/cassandra/sink.ts";
import type { ResultRows } from "../../pipeline/sinks/sink.ts";

const ROWS = 60_000;
/** Rows of one write of ours, as a delivery has them. */
const WRITE_ROWS = 10_000;
/** Each program once, another one first each time; the first rounds are not counted, as programs get faster at first. */
const ROUNDS = 7;
const WARM_UP_ROUNDS = 2;
const TABLE = "bench_profiles";
/** The Java driver with a row in a request, as it is mostly used, and in batches as large as ours, as many at a time. */
const JAVA_SINGLE = { rowsPerRequest: 1, requests: 512 };
const JAVA_BATCHES = { rowsPerRequest: BATCH_ROWS_MAX, requests: REQUESTS_MAX };

const string = { type: "string", nullable: false } as const;
const COLUMNS: readonly ResultColumn[] = [
  { name: "user_id", type: string, role: "key" },
  { name: "name", type: string, role: "value" },
  { name: "email", type: string, role: "value" },
  { name: "country", type: string, role: "value" },
  { name: "updated_at", type: { type: "timestamp-millis", nullable: false }, role: "value" },
  ...ORIGIN_COLUMNS,
];

/** A program that writes rows, and its process. */
interface Writer {
  readonly pid: number | "self";
  /** Seconds that `rows` rows from `from` on took. */
  readonly write: (from: number) => Promise<number>;
}

/** How long one round took, and for how long the program and the node had a processor. */
interface Taken {
  readonly seconds: number;
  readonly clientSeconds: number;
  readonly nodeSeconds: number;
}

/**
 * Profiles of users into a table of Cassandra, each user another row: by the sink, by the Java driver with one row in a request and
 * with as many as ours, and by Spark's connector, in turn. All share the machine with the node, which takes most of it.
 */
export async function cassandraCase(
  { cassandra, javaDriver, sparkConnector, rows = ROWS }: {
    readonly cassandra?: string;
    readonly javaDriver?: string;
    readonly sparkConnector?: string;
    readonly rows?: number;
  },
): Promise<Measured> {
  if (cassandra === undefined) {
    throw new ConfigError({ where: "--cassandra", problem: "name a Cassandra to write to, HOST:PORT" });
  }
  const options = {
    contactPoints: [cassandra],
    datacenter: null,
    keyspace: DEFAULT_KEYSPACE,
    credentials: null,
    tls: null,
  };
  await using session = new CassandraSession({ options });
  const client = await session.client();
  await client.execute(`DROP TABLE IF EXISTS ${TABLE}`);
  await using sink = await createCassandraSink({ session, table: TABLE, columns: COLUMNS });
  const args = [cassandra, client.hosts.values()[0].datacenter, DEFAULT_KEYSPACE, TABLE];
  await using java = javaDriver === undefined ? null : await startJavaDriver(javaDriver, args);
  await using spark = sparkConnector === undefined ? null : await startSparkConnector(sparkConnector, args);

  const writers: Record<string, Writer> = { sink: { pid: "self", write: (from) => write(sink, from, rows) } };
  if (java !== null) {
    const { pid } = java;
    writers.java_driver = { pid, write: (from) => java.write({ from, count: rows, ...JAVA_SINGLE }) };
    writers.java_driver_in_batches = { pid, write: (from) => java.write({ from, count: rows, ...JAVA_BATCHES }) };
  }
  if (spark !== null) {
    writers.spark_connector = { pid: spark.pid, write: (from) => spark.write({ from, count: rows }) };
  }
  const node = listenerOf(Number(cassandra.split(":").at(-1)));
  const meter = new Meter();
  const { taken, written } = await inTurn(writers, { node, rows });
  const total = await rowsIn(client);
  await client.execute(`DROP TABLE ${TABLE}`);
  if (total !== written) throw new Error(`${total} rows are there, ${written} were written`);
  const { sink: own, ...others } = taken;
  return {
    ...meter.stop("cassandra", rows * own.length, own.reduce((sum, { seconds }) => sum + seconds, 0)),
    ...processorTimes("sink", own, rows),
    ...Object.assign({}, ...Object.entries(others).map(([name, theirs]) => comparison(name, { own, theirs, rows }))),
    ...(java === null ? { java_driver: "left out: --java-driver names the folder of its jars" } : {}),
    ...(spark === null ? { spark_connector: "left out: --spark-connector names the folder of its jars" } : {}),
  };
}

/** Page by page: a node gives up counting a large table at once. */
async function rowsIn(client: driver.Client): Promise<number> {
  let rows = 0;
  let pageState: string | undefined;
  do {
    const options = { prepare: true, fetchSize: 5_000, ...(pageState === undefined ? {} : { pageState }) };
    const page = await client.execute(`SELECT user_id FROM ${TABLE}`, [], options);
    rows += page.rowLength;
    pageState = page.pageState ?? undefined;
  } while (pageState !== undefined);
  return rows;
}

async function inTurn(
  writers: Readonly<Record<string, Writer>>,
  { node, rows }: { readonly node: number | null; readonly rows: number },
): Promise<{ readonly taken: Record<string, Taken[]>; readonly written: number }> {
  const names = Object.keys(writers);
  const taken: Record<string, Taken[]> = Object.fromEntries(names.map((name) => [name, []]));
  const secondsOf = (pid: number | "self" | null) => pid === null ? NaN : processorSeconds(pid) ?? NaN;
  let from = 0;
  for (let round = 0; round < ROUNDS; round++) {
    for (let turn = 0; turn < names.length; turn++) {
      const name = names[(round + turn) % names.length];
      const { pid, write } = writers[name];
      const before = { client: secondsOf(pid), node: secondsOf(node) };
      const seconds = await write(from);
      from += rows;
      if (round < WARM_UP_ROUNDS) continue;
      taken[name].push({
        seconds,
        clientSeconds: secondsOf(pid) - before.client,
        nodeSeconds: secondsOf(node) - before.node,
      });
    }
  }
  return { taken, written: from };
}

/** Of a round each: how often ours goes into theirs. */
function comparison(
  name: string,
  { own, theirs, rows }: { readonly own: readonly Taken[]; readonly theirs: readonly Taken[]; readonly rows: number },
) {
  const ratios = theirs.map(({ seconds }, round) => seconds / own[round].seconds);
  return {
    [`${name}_per_s`]: Math.round(rows / median(theirs.map(({ seconds }) => seconds))),
    [`times_${name}`]: round(median(ratios), 2),
    [`times_${name}_by_round`]: ratios.map((ratio) => ratio.toFixed(2)).join(" "),
    ...processorTimes(name, theirs, rows),
  };
}

/** For each row, of the program and of the node. Nothing where it cannot be told. */
function processorTimes(name: string, taken: readonly Taken[], rows: number): Record<string, number> {
  const micros = (seconds: readonly number[]) => round(median(seconds) / rows * 1e6, 1);
  const times = {
    [`${name}_client_us_per_row`]: micros(taken.map(({ clientSeconds }) => clientSeconds)),
    [`${name}_node_us_per_row`]: micros(taken.map(({ nodeSeconds }) => nodeSeconds)),
  };
  return Object.fromEntries(Object.entries(times).filter(([, time]) => Number.isFinite(time)));
}

async function write(
  sink: Awaited<ReturnType<typeof createCassandraSink>>,
  from: number,
  rows: number,
): Promise<number> {
  const writes: ResultRows[] = [];
  for (let at = from; at < from + rows; at += WRITE_ROWS) {
    writes.push(profiles(at, Math.min(WRITE_ROWS, from + rows - at)));
  }
  const began = performance.now();
  for (const one of writes) await sink.write(one, { epoch: 1, signal: new AbortController().signal });
  return (performance.now() - began) / 1000;
}

function profiles(from: number, count: number): ResultRows {
  const offsets = Array.from({ length: count }, (_, i) => from + i);
  const times = offsets.map((i) => 1_700_000_000_000 + i);
  return {
    columns: COLUMNS,
    length: count,
    values: [
      offsets.map((i) => `user-${i}`),
      offsets.map((i) => `Name of ${i}`),
      offsets.map((i) => `user${i}@example.com`),
      offsets.map(() => "DE"),
      times,
      offsets.map(() => 0),
      offsets,
      times,
    ],
    origin: { topic: "user_profiles", partition: 0, from, to: from + count, offsets },
  };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}
