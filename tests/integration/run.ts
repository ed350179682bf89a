/**
 * `deno task test:integration`: starts one Apache Kafka and one PostgreSQL, runs the integration tests against them, and stops
 * both. Arguments go to `deno test`, e.g. `--filter NAME`. Tests that kill a server start their own.
 *
 * @module
 */
import { join } from "node:path";
import { startKafka, whyNoKafka } from "../servers/kafka.ts";
import { startTestPostgres } from "../servers/postgres.ts";

const why = await whyNoKafka();
if (why !== null) console.log(`Tests against Apache Kafka are skipped: ${why}`);

let code = 1;
{
  await using servers = new AsyncDisposableStack();
  const stop = () => servers.disposeAsync().then(() => Deno.exit(130));
  Deno.addSignalListener("SIGINT", stop);
  Deno.addSignalListener("SIGTERM", stop);
  const env: Record<string, string> = { TAILRACE_TEST_DATABASE_URL: servers.use(await startTestPostgres()).url };
  if (why === null) env.TAILRACE_TEST_BROKERS = servers.use(await startKafka()).brokers.join(",");
  const command = new Deno.Command(Deno.execPath(), {
    args: ["test", "-A", ...Deno.args, import.meta.dirname!],
    cwd: join(import.meta.dirname!, "../.."),
    env,
    stdin: "null",
  });
  code = (await command.spawn().status).code;
}
Deno.exit(code);
