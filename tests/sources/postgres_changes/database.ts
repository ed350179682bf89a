import type postgres from "postgres";
import { postgresClient } from "../../../pipeline/postgres_client.ts";
import { borrowPostgres, type TestPostgres } from "../../servers/postgres.ts";

export interface TestDatabase extends AsyncDisposable {
  readonly url: string;
  readonly sql: postgres.Sql;
  /** A slot's name of its own: a server has them all together. */
  readonly slot: string;
}

let count = 0;

/** An empty database, whose slots go with it. */
export async function testDatabase(server: TestPostgres): Promise<TestDatabase> {
  const url = await server.database();
  const sql = postgresClient(url, { max: 4 });
  return {
    url,
    sql,
    slot: `test_${Deno.pid}_${count++}`,
    async [Symbol.asyncDispose]() {
      try {
        await dropSlots(sql);
      } finally {
        await sql.end();
      }
    },
  };
}

/** Resolves when nobody reads from a slot; the server notices the end of a connection a little later. */
export async function whenFree(sql: postgres.Sql, slot: string): Promise<void> {
  const active = () => sql`SELECT 1 FROM pg_replication_slots WHERE slot_name = ${slot} AND active`;
  for (let tries = 0; (await active()).length > 0; tries++) {
    if (tries > 200) throw new Error(`slot ${slot} is still read from`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Waits for whoever reads from them. */
export async function dropSlots(sql: postgres.Sql): Promise<void> {
  for (let tries = 0;; tries++) {
    try {
      await sql`SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()`;
      return;
    } catch (error) {
      if (tries > 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** Of a table's rows, by the key as records have it: the same texts as they have. */
export async function rowsOf(sql: postgres.Sql, query: string): Promise<Map<string, unknown>> {
  const rows = await sql.unsafe(query);
  return new Map(rows.map(({ key, row }) => [key, typeof row === "string" ? JSON.parse(row) : row]));
}

export { borrowPostgres };
