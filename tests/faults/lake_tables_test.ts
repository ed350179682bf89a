import assert from "node:assert/strict";
import { temporaryFolder } from "../e2e/harness.ts";
import { makeTable } from "../lake/make_table.ts";
import { PLAIN, ReadBack } from "./expected.ts";
import { Findings } from "./findings.ts";
import { ARCHIVE, compareLake } from "./lake_tables.ts";
import { good, type MadeRecord, transaction } from "./records.ts";

const SENT_MS = Date.UTC(2026, 10, 21, 12);
const WINDOW_MS = Date.UTC(2026, 10, 20, 23, 59, 50);

interface Sent extends MadeRecord {
  readonly offset: number;
  readonly timestampMs: number;
}

/** Three good ones, one that cannot be read and a tombstone. */
const SENT: readonly Sent[] = [0, 1, 2, 3, 4].map((n) => {
  const made = { ...good(n, transaction(1, n, WINDOW_MS), 7), partition: 0, offset: n, timestampMs: SENT_MS + n };
  if (n === 3) return { ...made, nature: "dead", value: Uint8Array.of(1, 2, 3), transaction: null };
  if (n === 4) return { ...made, nature: "empty", value: null, transaction: null };
  return made;
});

/** A row as the archive has it. */
function archivedSql({ n, partition, offset, timestampMs, key, transaction: of }: Sent, changes = ""): string {
  const text = (value: string | undefined) => value === undefined ? "NULL" : `'${value}'`;
  const isDead = n === 3;
  const headers = `[{key: 'n', value: '${n}'::BLOB}]`;
  return `SELECT * REPLACE (${changes || "kafka_topic AS kafka_topic"}) FROM (SELECT 'faults' AS kafka_topic,
    ${partition}::INTEGER AS kafka_partition, ${offset}::BIGINT AS kafka_offset,
    to_timestamp(${timestampMs} / 1000.0) AS kafka_timestamp, '${new TextDecoder().decode(key)}'::BLOB AS kafka_key,
    ${headers} AS kafka_headers, 7::INTEGER AS kafka_schema_id, ${isDead ? "'broken'" : "NULL"}::VARCHAR AS kafka_fault,
    ${isDead ? "'\\x01\\x02\\x03'" : "NULL"}::BLOB AS kafka_value, ${text(of?.id)}::VARCHAR AS transaction_id,
    ${text(of?.account)}::VARCHAR AS account_id, ${text(of?.status)}::VARCHAR AS status,
    ${of ? of.cents / 100 : "NULL"}::DOUBLE AS amount, to_timestamp(${of ? of.eventMs / 1000 : "NULL"}) AS event_time,
    DATE '2026-11-21' AS ingest_date)`;
}

const ROW_SQL = `SELECT 'a' AS account_id, to_timestamp(${
  WINDOW_MS / 1000
}) AS window_start, 2::BIGINT AS n, 3.5::DOUBLE AS total,
  1.75::DOUBLE AS mean, 3.0::DOUBLE AS largest, 2::BIGINT AS revision, true AS final, DATE '2026-11-20' AS window_date`;
const ROW = { n: 2, totalCents: 350, mean: 1.75, largestCents: 300, final: true };

/** What is found in tables of these rows, as lost, duplicated and wrong, and the first example. */
async function found(archived: readonly string[], results: readonly string[] = [ROW_SQL]): Promise<unknown[]> {
  await using folder = temporaryFolder();
  const make = (name: string, column: string, day: string, parts: readonly string[]) =>
    makeTable(`${folder.path}/${name}`, [{
      sql: parts.join(" UNION ALL "),
      path: `${column}=${day}/part-1.parquet`,
      partitionValues: { [column]: day },
    }], { partitionColumns: [column] });
  await make(ARCHIVE, "ingest_date", "2026-11-21", archived);
  await make("faults_plain", "window_date", "2026-11-20", results);
  using readBack = await ReadBack.open(`${folder.path}/log.csv`);
  await readBack.add(SENT);
  const rows = new Map([[`a ${WINDOW_MS}`, ROW], ["b 0", { ...ROW, final: false }]]);
  const findings = new Findings();
  await compareLake({ lake: folder.path, readBack, expected: [{ rules: PLAIN, rows }], findings });
  return [findings.lost, findings.duplicated, findings.wrong, findings.describe()[1]?.trim()];
}

const ALL = SENT.map((record) => archivedSql(record));

Deno.test("a lake that says what the log says has nothing to be found", async () => {
  assert.deepEqual(await found(ALL), [0, 0, 0, undefined]);
});

Deno.test("a record that is missing in the archive is lost, one that is there twice is duplicated", async () => {
  const [lost, , , example] = await found(ALL.slice(1));
  assert.deepEqual([lost, example], [1, "lost: record 0 at 0/0 is not in version 0"]);
  const [, duplicated, wrong] = await found([...ALL, ALL[2]]);
  assert.deepEqual([duplicated, wrong], [1, 0]);
  assert.match(String((await found([...ALL, archivedSql({ ...SENT[0], offset: 9 })]))[3]), /0\/9 is not in the topic/);
});

for (
  const [what, n, changes] of [
    ["its fields differ", 0, "amount + 0.01 AS amount"],
    ["its fields differ", 1, "NULL::VARCHAR AS account_id"],
    ["its timestamp differs", 0, "kafka_timestamp + INTERVAL 1 MILLISECOND AS kafka_timestamp"],
    ["its key differs", 0, "NULL::BLOB AS kafka_key"],
    ["its headers differ", 0, "[{key: 'n', value: '77'::BLOB}] AS kafka_headers"],
    ["it can be read, and has a fault", 2, "'odd' AS kafka_fault"],
    ["it cannot be read, and has no fault", 3, "NULL::VARCHAR AS kafka_fault"],
    ["it has a fault, and not its bytes", 3, "NULL::BLOB AS kafka_value"],
    ["it has no value, and fields", 4, "'x' AS transaction_id"],
  ] as const
) {
  Deno.test(`the archive's row of a record is wrong when ${what} (${changes})`, async () => {
    const rows = SENT.map((record) => archivedSql(record, record.n === n ? changes : ""));
    const [lost, duplicated, wrong, example] = await found(rows);
    assert.deepEqual([lost, duplicated, wrong], [0, 0, 1]);
    assert.match(String(example), new RegExp(`record ${n} .*: ${what}`));
  });
}

Deno.test("final rows are in the lake's table once each, in the partition of their day, and no others", async () => {
  const counts = async (rows: string[]) => (await found(ALL, rows)).slice(0, 3);
  assert.deepEqual(await counts([ROW_SQL, ROW_SQL]), [0, 1, 0]);
  assert.deepEqual(await counts([ROW_SQL, ROW_SQL.replace("'a'", "'b'")]), [0, 0, 1]);
  assert.deepEqual(await counts([ROW_SQL.replace("2::BIGINT AS n", "1::BIGINT AS n")]), [1, 0, 0]);
  assert.deepEqual(await counts([ROW_SQL.replace("true AS final", "false AS final")]), [0, 0, 1]);
});
