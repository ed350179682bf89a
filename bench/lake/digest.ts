import { openLakeAt } from "../../pipeline/sinks/lake/lake_address.ts";
import { SCHEMA } from "../workload.ts";
import { lakeIn } from "./run_archive.ts";

/**
 * What tells apart tables of different transactions: how many there are, and a sum over the hashes of all, in whatever order.
 *
 * @param files Parquet files, or patterns of them
 * @param folder for DuckDB's own
 */
export async function digest(files: readonly string[], folder: string): Promise<string> {
  await using lake = openLakeAt(lakeIn(folder));
  const columns = SCHEMA.fields.map(({ name, type }) => typeof type === "string" ? name : `epoch_us(${name})`);
  const names = files.map((file) => `'${file}'`).join(", ");
  return await lake.database.use(async (connection) => {
    const from = `read_parquet([${names}], hive_partitioning = false)`;
    const sql = `SELECT count(*), sum(hash(${columns.join(", ")})) FROM ${from}`;
    const [[count, sum]] = (await connection.runAndReadAll(sql)).getRows();
    return `${count} rows, hash ${sum}`;
  });
}
