/**
 * Whether a pipeline's PostgreSQL table is what its topic says, row by row. The other opinion shares nothing with the engine but
 * the definition: kafkajs reads the records, avsc decodes them, DuckDB aggregates them by the plan's SQL.
 *
 * @module
 */
import { DuckDBInstance } from "@duckdb/node-api";
import avsc from "avsc";
import assert from "node:assert/strict";
import { duckdbSql } from "../../pipeline/plan/duckdb_sql.ts";
import { loadStreams } from "../../pipeline/plan/load.ts";
import { type Plan, resultColumns } from "../../pipeline/plan/plan.ts";
import { postgresClient } from "../../pipeline/postgres_client.ts";
import { sleep, type Tailrace, temporaryFolder } from "./harness.ts";
import { endsOf, headerText, readTopic, type TopicRecord } from "./topic_reader.ts";

const DIFFERENCES_SHOWN = 5;

/** One row as text by its key and window. */
type Rows = Map<string, string>;

export async function planOf(pipeline: string): Promise<Plan> {
  const [{ plan }] = await loadStreams(new URL("../../streams", import.meta.url).pathname, { only: [pipeline] });
  return plan;
}

/** Waits until the pipeline has read what its topic holds now. */
export async function readToEnd(tailrace: Tailrace, plan: Plan, withinMs = 180_000): Promise<void> {
  const ends = await endsOf(tailrace.brokers, plan.topic);
  await tailrace.until(`${plan.name} has read ${plan.topic} to its end`, async () => {
    const { partitions } = await tailrace.status(plan.name);
    const positions = new Map(partitions.map(({ partition, position }) => [partition, position]));
    return [...ends].every(([partition, end]) => (positions.get(partition) ?? -1) >= end);
  }, withinMs);
}

/** How many records the topic holds, and how many were set aside. */
export interface Comparison {
  readonly records: number;
  readonly late: number;
  readonly dead: number;
}

/**
 * Asserts that the tables of pipelines over one topic hold exactly what its records give, early rows of open windows included, less
 * the records that each set aside. Nothing may be written to the topic meanwhile.
 */
export async function assertTablesAreExact(tailrace: Tailrace, pipelines: readonly string[]): Promise<Comparison> {
  const plans = await Promise.all(pipelines.map(planOf));
  const [{ topic }] = plans;
  for (const plan of plans) await readToEnd(tailrace, plan);
  const [all, late, dead] = await Promise.all(
    [topic, `${topic}.late`, `${topic}.dead`].map((topic) => readTopic(tailrace.brokers, topic)),
  );
  await using folder = temporaryFolder();
  for (const plan of plans) {
    const aside = setAsideBy(plan, [...late, ...dead]);
    const records = all.filter(({ partition, offset }) => !aside.has(`${partition}/${offset}`));
    const relation = await transactionsRelation(tailrace, records, `${folder.path}/${plan.name}.csv`);
    await assertTableHolds(tailrace, plan, await recomputed(plan, relation));
  }
  return { records: all.length, late: late.length, dead: dead.length };
}

/** Asserts that the pipeline's table has these rows and no others, as soon as the last early updates are written. */
export async function assertTableHolds(
  tailrace: Tailrace,
  plan: Plan,
  expected: Rows,
  withinMs = 180_000,
): Promise<void> {
  const end = performance.now() + withinMs;
  for (;;) {
    const actual = await tableRows(tailrace.databaseUrl, plan);
    const differences = compare(expected, actual);
    if (differences.length === 0) return;
    if (performance.now() > end) {
      const shown = differences.slice(0, DIFFERENCES_SHOWN).join("\n");
      assert.fail(
        `${plan.name}: ${differences.length} of ${expected.size} rows differ (${actual.size} are there):\n${shown}`,
      );
    }
    await sleep(500);
  }
}

function compare(expected: Rows, actual: Rows): string[] {
  const differences: string[] = [];
  for (const [key, row] of expected) {
    if (actual.get(key) !== row) differences.push(`${key}: ${actual.get(key) ?? "absent"}, not ${row}`);
  }
  for (const [key, row] of actual) if (!expected.has(key)) differences.push(`${key}: ${row}, which nothing gives`);
  return differences;
}

/** Offsets of the records that this pipeline set aside. */
function setAsideBy(plan: Plan, records: readonly TopicRecord[]): Set<string> {
  return new Set(
    records.filter((record) => headerText(record, "__connect.errors.connector.name") === plan.name)
      .map((record) =>
        `${headerText(record, "__connect.errors.partition")}/${headerText(record, "__connect.errors.offset")}`
      ),
  );
}

/** What the plan gives over a DuckDB relation. */
export async function recomputed(plan: Plan, relation: string): Promise<Rows> {
  const instance = await DuckDBInstance.create(":memory:");
  const connection = await instance.connect();
  try {
    const columns = shownColumns(plan).map(({ name, type, role }) => {
      if (role !== "key" && role !== "value") return `CAST(epoch_ms("${name}") AS VARCHAR) AS "${name}"`;
      return type.type === "double" ? `"${name}"` : `CAST("${name}" AS VARCHAR) AS "${name}"`;
    });
    const reader = await connection.runAndReadAll(`SELECT ${columns.join(", ")} FROM (${duckdbSql(plan, relation)})`);
    return asRows(plan, reader.getRows());
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

async function tableRows(url: string, plan: Plan): Promise<Rows> {
  const sql = postgresClient(url);
  const table = plan.sinks.find((sink) => sink.kind === "postgres")!.table;
  try {
    const columns = shownColumns(plan).map(({ name, type, role }) => {
      if (role !== "key" && role !== "value") return `(extract(epoch from "${name}") * 1000)::bigint::text`;
      return type.type === "double" ? `"${name}"` : `"${name}"::text`;
    });
    const rows = await sql.unsafe(`SELECT ${columns.join(", ")} FROM ${table}`).values();
    return asRows(plan, rows);
  } finally {
    await sql.end();
  }
}

/**
 * Asserts that the last record of each key and window in the results topic of account_minute comes to say what its table says, with
 * headers that agree. They are written side by side: one may have rows a moment before the other.
 */
export async function assertResultsTopicAgrees(tailrace: Tailrace): Promise<void> {
  let problem: unknown = null;
  await tailrace.until("the topic agrees", async () => {
    problem = await compareResultsTopic(tailrace).then(() => null, (error) => error);
    return problem === null;
  }).catch((error) => {
    throw problem ?? error;
  });
}

async function compareResultsTopic(tailrace: Tailrace): Promise<void> {
  const sql = postgresClient(tailrace.databaseUrl);
  const expected: Rows = new Map();
  try {
    const rows = await sql`
      SELECT account_id, (extract(epoch from window_start) * 1000)::bigint::text AS at, n, total::text AS total, revision::text AS revision, final
      FROM account_minute`;
    for (const { account_id, at, n, total, revision, final } of rows) {
      expected.set(`${account_id} ${at}`, [n, total, revision, final].join(" "));
    }
  } finally {
    await sql.end();
  }
  const last: Rows = new Map();
  const types = new Map<number, avsc.Type>();
  for (const record of await readTopic(tailrace.brokers, "account-minute")) {
    const row = await decoded(tailrace, record, types);
    const { account_id, window_start, n, total, revision, final } = row;
    last.set(`${account_id} ${window_start}`, [n, cents(total), revision, final].join(" "));
    assert.deepEqual(
      ["window_start", "revision", "final"].map((name) => headerText(record, name)),
      [window_start, revision, final].map(String),
    );
  }
  const differences = compare(expected, last);
  assert.equal(differences.length, 0, differences.slice(0, DIFFERENCES_SHOWN).join("\n"));
}

/** Keys, window and values: what both sides know. */
function shownColumns(plan: Plan) {
  return resultColumns(plan).filter(({ role }) => role !== "revision" && role !== "final");
}

function asRows(plan: Plan, values: readonly (readonly unknown[])[]): Rows {
  const rows: Rows = new Map();
  for (const row of values) {
    const key = row.slice(0, plan.groupBy.length + 1).join(" ");
    assert.ok(!rows.has(key), `${key} is there twice`);
    rows.set(key, row.slice(plan.groupBy.length + 1).map(String).join(" "));
  }
  return rows;
}

/** Writes the records to a CSV file, decoded by avsc, and returns how DuckDB reads it. */
async function transactionsRelation(
  tailrace: Tailrace,
  records: readonly TopicRecord[],
  path: string,
): Promise<string> {
  const types = new Map<number, avsc.Type>();
  const lines: string[] = [];
  for (const record of records) {
    const row = await decoded(tailrace, record, types);
    lines.push(
      `${row.account_id},${row.category},${row.status},${cents(row.amount)},${row.currency},${row.event_time}`,
    );
  }
  await Deno.writeTextFile(path, lines.join("\n"));
  const columns = "account_id: 'VARCHAR', category: 'VARCHAR', status: 'VARCHAR', amount: 'DECIMAL(12,2)', " +
    "currency: 'VARCHAR', event_time: 'BIGINT'";
  return `(SELECT * REPLACE (make_timestamp_ms(event_time) AS event_time)
    FROM read_csv('${path}', header = false, auto_detect = false, delim = ',', columns = {${columns}}))`;
}

/** The value of a record in Confluent's framing. */
async function decoded(tailrace: Tailrace, { value }: TopicRecord, types: Map<number, avsc.Type>) {
  const id = new DataView(value!.buffer, value!.byteOffset).getInt32(1);
  let type = types.get(id);
  if (!type) {
    const response = await fetch(`${tailrace.registryUrl}/schemas/ids/${id}`);
    types.set(id, type = avsc.Type.forSchema(JSON.parse((await response.json()).schema)));
  }
  return type.fromBuffer(value!.subarray(5) as never);
}

/** A decimal of scale 2 from its big-endian two's complement. */
function cents(bytes: Uint8Array): string {
  let unscaled = 0n;
  for (const byte of bytes) unscaled = (unscaled << 8n) | BigInt(byte);
  unscaled = BigInt.asIntN(8 * bytes.length, unscaled);
  const digits = String(unscaled < 0n ? -unscaled : unscaled).padStart(3, "0");
  return `${unscaled < 0n ? "-" : ""}${digits.slice(0, -2)}.${digits.slice(-2)}`;
}
