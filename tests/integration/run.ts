/**
 * `deno task test:integration`: starts one Apache Kafka, one Cassandra and one PostgreSQL, runs the integration tests against them,
 * two files at a time, and stops them. Arguments go to `deno test`, e.g. `--filter NAME`; files among them are run instead of all,
 * one at a time. Tests that kill a server start their own.
 *
 * @module
 */
import { join } from "node:path";
import { startCassandra, whyNoCassandra } from "../servers/cassandra.ts";
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
  const cassandra = await whyNoCassandra() === null ? startCassandra() : null;
  // Kafka comes up meanwhile; whoever waits for it says when it does not.
  cassandra?.catch(() => {});
  const chosen = Deno.args.some((argument) => argument.endsWith("_test.ts"));
  // Most of a test's time is waiting for servers to start; more at a time would want more memory than small machines have.
  const env: Record<string, string> = {
    DENO_JOBS: chosen ? "1" : "2",
    TAILRACE_TEST_DATABASE_URL: servers.use(await startTestPostgres()).url,
  };
  if (why === null) env.TAILRACE_TEST_BROKERS = servers.use(await startKafka()).brokers.join(",");
  if (cassandra !== null) env.TAILRACE_TEST_CASSANDRA = servers.use(await cassandra).address;
  const command = new Deno.Command(Deno.execPath(), {
    args: ["test", "-A", "--parallel", ...Deno.args, ...chosen ? [] : [import.meta.dirname!]],
    cwd: join(import.meta.dirname!, "../.."),
    env,
    stdin: "null",
  });
  code = (await command.spawn().status).code;
}
Deno.exit(code);
