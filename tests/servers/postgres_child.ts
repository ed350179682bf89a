/** Runs the embedded PostgreSQL in the folder given, at the port given or a free one, prints its address, and ends at SIGTERM. */
import { startPostgres } from "../../broker/postgres.ts";

const ended = new Promise<void>((resolve) => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) Deno.addSignalListener(signal, resolve);
});
const server = await startPostgres({ host: "127.0.0.1", port: Number(Deno.args[1] ?? 0), dataDir: Deno.args[0] });
console.log(server.url);
await ended;
await server.close();
Deno.exit(0);
