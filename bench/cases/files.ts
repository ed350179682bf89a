import { gzipSync } from "node:zlib";
import { DuckDBInstance } from "@duckdb/node-api";
import { systemClock } from "../../pipeline/clock.ts";
import { files } from "../../pipeline/sources/files/definition.ts";
import { filesKind } from "../../pipeline/sources/files/kind.ts";
import { type Measured, Meter, round } from "../measure.ts";
import { openedAlone } from "../source_alone.ts";

const ROWS = 500_000;
const SCHEMA = {
  type: "record",
  name: "Order",
  fields: [
    { name: "id", type: "long" },
    { name: "customer", type: "string" },
    { name: "price", type: { type: "bytes", logicalType: "decimal", precision: 12, scale: 2 } },
    { name: "ordered_at", type: { type: "long", logicalType: "timestamp-millis" } },
  ],
};

/** The same rows out of CSV, gzipped CSV, NDJSON and Parquet, to Avro records with keys; nothing is written. The case's rate is CSV's. */
export async function readFiles(options: { readonly rows?: number } = {}): Promise<Measured> {
  const rows = options.rows ?? ROWS;
  const folder = await Deno.makeTempDir({ prefix: "tailrace-bench-files-" });
  try {
    await writeFiles(folder, rows);
    const details: Record<string, number> = {};
    let measured: Measured | null = null;
    for (const name of ["orders.csv", "orders.csv.gz", "orders.ndjson", "orders.parquet"]) {
      const meter = new Meter();
      const read = await readOne(`${folder}/${name}`);
      const each = meter.stop("files", read);
      if (read !== rows) throw new Error(`${read} rows were read from ${name} of ${rows}`);
      measured ??= each;
      details[`${name.slice("orders.".length).replace(".", "_")}_rows_per_s`] = each.rec_per_s;
      details.peak_mb = Math.max(details.peak_mb ?? 0, each.peak_rss_mb);
    }
    const { size } = await Deno.stat(`${folder}/orders.csv`);
    return { ...measured!, ...details, csv_mb: round(size / 1e6, 1) };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function readOne(path: string): Promise<number> {
  await using source = await openedAlone(filesKind, files({ path, stableFor: "0ms" }), { schema: SCHEMA, key: "id" });
  const { signal } = new AbortController();
  let read = 0;
  for await (
    const { records, rejected } of source.read(null, {
      signal,
      clock: systemClock,
      isBounded: true,
      onWaiting: () => {},
    })
  ) {
    if (rejected?.length) throw new Error(`${rejected[0].where}: ${rejected[0].reason}`);
    read += records.length;
  }
  return read;
}

async function writeFiles(folder: string, rows: number): Promise<void> {
  const instance = await DuckDBInstance.create(":memory:");
  const connection = await instance.connect();
  const select =
    `SELECT i AS id, 'customer-' || i % 10000 AS customer, CAST(i % 100000 AS DECIMAL(12, 2)) / 100 AS price,
    TIMESTAMP '2026-01-01 00:00:00' + INTERVAL (i) SECOND AS ordered_at FROM range(${rows}) t(i)`;
  await connection.run(`COPY (${select}) TO '${folder}/orders.csv' (HEADER)`);
  await connection.run(`COPY (${select}) TO '${folder}/orders.ndjson' (FORMAT json)`);
  await connection.run(`COPY (${select}) TO '${folder}/orders.parquet' (FORMAT parquet)`);
  connection.closeSync();
  instance.closeSync();
  await Deno.writeFile(`${folder}/orders.csv.gz`, gzipSync(await Deno.readFile(`${folder}/orders.csv`)));
}
