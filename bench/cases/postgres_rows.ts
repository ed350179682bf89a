import type postgres from "postgres";
import { systemClock } from "../../pipeline/clock.ts";
import { postgresClient } from "../../pipeline/postgres_client.ts";
import { postgresRows } from "../../pipeline/sources/postgres_rows/definition.ts";
import { postgresRowsKind } from "../../pipeline/sources/postgres_rows/kind.ts";
import type { SourceBatch, SourcePosition } from "../../pipeline/sources/source.ts";
import { type Measured, Meter, round } from "../measure.ts";
import { openedAlone } from "../source_alone.ts";

const ROWS = 500_000;
const CHANGED = 100_000;
/** Changes waited for one by one. */
const SINGLE = 50;
const SCHEMA = {
  type: "record",
  name: "Product",
  fields: [
    { name: "id", type: "long" },
    { name: "name", type: "string" },
    { name: "price", type: { type: "bytes", logicalType: "decimal", precision: 12, scale: 2 } },
    { name: "last_updated", type: { type: "long", logicalType: "timestamp-millis" } },
  ],
};

/** A table's first reading, then many changes at once, then how soon one change comes and what a look costs; nothing is written. */
export async function readRows(databaseUrl: string, options: { readonly rows?: number } = {}): Promise<Measured> {
  const rows = options.rows ?? ROWS;
  const changed = Math.min(CHANGED, rows);
  const sql = postgresClient(databaseUrl);
  try {
    await sql.unsafe(`DROP TABLE IF EXISTS bench_products;
      CREATE TABLE bench_products (id bigint PRIMARY KEY, name text NOT NULL, price numeric(12, 2) NOT NULL, last_updated timestamptz NOT NULL);
      INSERT INTO bench_products SELECT i, 'product ' || i, i % 1000 / 100.0, now() - interval '1 day' + i * interval '1 millisecond'
        FROM generate_series(1, ${rows}) i;
      CREATE INDEX ON bench_products (last_updated, id);`);
    await sql.unsafe("VACUUM ANALYZE bench_products");
    const meter = new Meter();
    const first = await read(databaseUrl, null);
    if (first.read !== rows) throw new Error(`${first.read} rows were read of ${rows}`);
    const measured = meter.stop("postgres-rows", rows);
    await sql.unsafe(`UPDATE bench_products SET price = price + 1, last_updated = now() WHERE id <= ${changed}`);
    const began = performance.now();
    const second = await read(databaseUrl, first.position);
    const seconds = (performance.now() - began) / 1000;
    if (second.read !== changed) throw new Error(`${second.read} changes were read of ${changed}`);
    return {
      ...measured,
      changes_per_s: Math.round(changed / seconds),
      ...await single(databaseUrl, sql, second.position),
    };
  } finally {
    await sql.unsafe("DROP TABLE IF EXISTS bench_products");
    await sql.end();
  }
}

const SPEC = postgresRows({ table: "bench_products", cursor: ["last_updated", "id"], every: "50ms" });
const opened = (databaseUrl: string) => openedAlone(postgresRowsKind, SPEC, { schema: SCHEMA, key: "id", databaseUrl });

async function read(
  databaseUrl: string,
  from: SourcePosition | null,
): Promise<{ read: number; position: SourcePosition | null }> {
  await using source = await opened(databaseUrl);
  const { signal } = new AbortController();
  let read = 0;
  let position = from;
  for await (const batch of source.read(from, { signal, clock: systemClock, isBounded: true, onWaiting: () => {} })) {
    read += batch.records.length;
    position = batch.position;
  }
  return { read, position };
}

/** From the commit of one row to its batch, while it looks twenty times a second. */
async function single(databaseUrl: string, sql: postgres.Sql, from: SourcePosition | null) {
  await using source = await opened(databaseUrl);
  const ending = new AbortController();
  const options = { signal: ending.signal, clock: systemClock, isBounded: false, onWaiting: () => {} };
  const batches = source.read(from, options)[Symbol.asyncIterator]();
  const taken: number[] = [];
  let next = batches.next();
  for (let i = 1; i <= SINGLE; i++) {
    await sql`UPDATE bench_products SET last_updated = now() WHERE id = ${i}`;
    const committed = performance.now();
    for (let batch: IteratorResult<SourceBatch> | null = null; batch === null || batch.value.records.length === 0;) {
      batch = await next;
      next = batches.next();
      next.catch(() => {});
    }
    taken.push(performance.now() - committed);
  }
  ending.abort();
  taken.sort((a, b) => a - b);
  return { change_p50_ms: round(taken[SINGLE >> 1], 1), change_p98_ms: round(taken[SINGLE - 2], 1) };
}
