/**
 * Whether the archive of the runs' topic has each of its records once, as it is in the log.
 *
 * @module
 */
import type { DuckDBConnection } from "@duckdb/node-api";
import { type PlainTable, plainTableSql } from "../lake/plain_table.ts";
import type { Findings } from "./findings.ts";

/** Event times that the pipeline takes for none; the archive keeps them as they are. */
const BEYOND_CALENDARS_MS = Date.UTC(10_000, 0);

/** What must hold of a record's row; `l` is the log (see expected.ts), `a` the archive. */
const RULES: Readonly<Record<string, string>> = {
  "it is of another topic": `a.kafka_topic <> 'faults'`,
  "its timestamp differs": `epoch_ms(a.kafka_timestamp) IS DISTINCT FROM l.timestamp_ms`,
  "its day differs": `a.ingest_date IS DISTINCT FROM CAST(a.kafka_timestamp AS DATE)`,
  "its key differs": `l.nature <> 'bomb' AND decode(a.kafka_key) IS DISTINCT FROM l.record_key`,
  "its headers differ":
    `l.nature <> 'bomb' AND (len(a.kafka_headers) IS DISTINCT FROM 1 OR a.kafka_headers[1].key <> 'n'
    OR decode(a.kafka_headers[1].value) <> l.n::VARCHAR)`,
  "it can be read, and has a fault": `l.nature IN ('good', 'empty') AND a.kafka_fault IS NOT NULL`,
  "it has a fault, and not its bytes": `l.nature = 'dead' AND a.kafka_fault IS NOT NULL
    AND md5(a.kafka_value) IS DISTINCT FROM l.value_md5`,
  // Whose records cannot be told apart: it is kept whole, compressed.
  "it is of a batch that cannot be opened, and has not its bytes": `l.nature = 'bomb' AND a.kafka_value IS NULL`,
  "it cannot be read, and has no fault": `l.nature IN ('dead', 'bomb') AND a.kafka_fault IS NULL
    AND coalesce(epoch_ms(a.event_time) < ${BEYOND_CALENDARS_MS}, true)`,
  "its fields differ":
    `l.nature = 'good' AND (a.transaction_id, a.account_id, a.status, a.amount * 100, epoch_ms(a.event_time))
    IS DISTINCT FROM (l.id, l.account, l.status, l.cents, l.event_ms)`,
  "it has no value, and fields": `l.nature = 'empty' AND (a.transaction_id IS NOT NULL OR a.kafka_value IS NOT NULL)`,
};

/** `log` is the table of what was read back, over the same connection. */
export async function compareArchive(
  connection: DuckDBConnection,
  table: PlainTable,
  findings: Findings,
): Promise<void> {
  const all = async (sql: string) => (await connection.runAndReadAll(sql)).getRows();
  await connection.run(`CREATE OR REPLACE TEMP TABLE archived AS ${plainTableSql(table)}`);
  const lost = `SELECT "partition", "offset", n FROM log l WHERE NOT EXISTS (
    FROM archived a WHERE a.kafka_partition = l."partition" AND a.kafka_offset = l."offset")`;
  for (const [partition, offset, n] of await all(lost)) {
    findings.note("lost", "archive", `record ${n} at ${partition}/${offset} is not in version ${table.version}`);
  }
  const counted = `SELECT kafka_partition, kafka_offset, count(*) FROM archived GROUP BY ALL HAVING count(*) > 1`;
  for (const [partition, offset, count] of await all(counted)) {
    findings.note("duplicated", "archive", `${partition}/${offset} is there ${count} times`);
  }
  const invented = `SELECT kafka_partition, kafka_offset FROM archived a WHERE NOT EXISTS (
    FROM log l WHERE a.kafka_partition = l."partition" AND a.kafka_offset = l."offset")`;
  for (const [partition, offset] of await all(invented)) {
    findings.note("wrong", "archive", `${partition}/${offset} is not in the topic`);
  }
  const cases = Object.entries(RULES).map(([what, sql]) => `WHEN ${sql} THEN '${what}'`).join("\n");
  const wrong = `SELECT * FROM (
    SELECT l."partition", l."offset", l.n, l.nature, CASE ${cases} END AS what, a.kafka_fault
    FROM log l JOIN archived a ON a.kafka_partition = l."partition" AND a.kafka_offset = l."offset"
  ) WHERE what IS NOT NULL`;
  for (const [partition, offset, n, nature, what, fault] of await all(wrong)) {
    findings.note("wrong", "archive", `${partition}/${offset}, record ${n} (${nature}): ${what} (fault: ${fault})`);
  }
}
