/**
 * `deno run -A tests/servers/fetch_all.ts`: fetches into the cache what the integration tests use, so that no test waits for a
 * download. What cannot be had is told, and is told again by the tests that need it.
 *
 * @module
 */
import { cassandraClassPath, whyNoCassandra } from "./cassandra.ts";
import { kafkaClassPath, whyNoKafka } from "./kafka.ts";
import { sparkJava } from "./lake_readers.ts";
import { pythonProgram, whyNoPython } from "./python.ts";
import { AIRFLOW, CONFLUENT, FAKESNOW, LAKE_PYTHON, MOTO, SCHEMATHESIS } from "./python_sets.ts";
import { fetchVersitygw, whyNoS3 } from "./s3.ts";

async function fetched(name: string, why: string | null, fetch: () => Promise<unknown>): Promise<void> {
  const failure = why ?? await fetch().then(() => null, (error: Error) => error.message);
  console.log(failure === null ? `${name}: there` : `${name}: ${failure}`);
}

await fetched("Apache Kafka", await whyNoKafka(), kafkaClassPath);
await fetched("Apache Cassandra", await whyNoCassandra(), cassandraClassPath);
await fetched("versitygw", await whyNoS3("versitygw"), fetchVersitygw);
const spark = await sparkJava();
await fetched("Spark", "why" in spark ? spark.why : null, () => Promise.resolve());
for (const set of [AIRFLOW, CONFLUENT, FAKESNOW, LAKE_PYTHON, MOTO, SCHEMATHESIS]) {
  await fetched(set.name, await whyNoPython(set), () => pythonProgram(set, "python"));
}
