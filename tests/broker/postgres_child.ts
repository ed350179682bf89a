/** Started by postgres_test.ts: runs the embedded PostgreSQL in the folder given, prints its address, and waits to be ended. */
import { startPostgres } from "../../broker/postgres.ts";
import { postgresClient } from "../../pipeline/postgres_client.ts";

const server = await startPostgres({ host: "127.0.0.1", port: 0, dataDir: Deno.args[0] });
const closed = new Promise<void>((resolve) => Deno.addSignalListener("SIGINT", resolve));
console.log(JSON.stringify({ url: server.url, pid: server.pid }));
await closed;
// The server must still answer here: whatever writes last at a Ctrl-C needs it.
const sql = postgresClient(server.url);
console.log(JSON.stringify(await sql`select 1 as one`));
await sql.end();
await server.close();
