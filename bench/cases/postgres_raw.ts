import { postgresTable } from "../../pipeline/mod.ts";
import { postgresClient } from "../../pipeline/postgres_client.ts";
import type { Measured } from "../measure.ts";
import { ensureTopic, load, type Servers } from "../servers.ts";
import { measureDelivery } from "./delivered.ts";

const RECORDS = 1_000_000;
const TABLE = "bench_raw";

/** A full topic into a table of all its records, by COPY; counted there afterwards. */
export async function postgresRaw(servers: Servers): Promise<Measured> {
  const from = `bench.raw.${Date.now()}`;
  await ensureTopic(servers, from);
  await load(servers, from, RECORDS);
  const sql = postgresClient(servers.databaseUrl);
  try {
    await sql.unsafe(`DROP TABLE IF EXISTS ${TABLE}`);
    const measured = await measureDelivery(servers, {
      name: "postgres-raw",
      from,
      to: postgresTable(TABLE),
      records: RECORDS,
      consumers: 2,
      batchRows: 20_000,
    });
    const [{ n }] = await sql.unsafe(`SELECT count(*)::int AS n FROM ${TABLE}`);
    if (n !== RECORDS) throw new Error(`the table holds ${n} records instead of ${RECORDS}`);
    return measured;
  } finally {
    await sql.unsafe(`DROP TABLE IF EXISTS ${TABLE}`);
    await sql.end();
  }
}
