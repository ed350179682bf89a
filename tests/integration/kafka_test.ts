/**
 * `tailrace run` against servers that are not its own: Apache Kafka 4.1, a registry and a PostgreSQL named by the environment.
 *
 * @module
 */
import assert from "node:assert/strict";
import { startRegistry } from "../../broker/registry/mod.ts";
import { systemClock } from "../../pipeline/clock.ts";
import { UnavailableError } from "../../pipeline/errors.ts";
import { Cluster } from "../../pipeline/log/cluster.ts";
import { createRegistryClient } from "../../pipeline/log/registry_client.ts";
import { generate } from "../../pipeline/sources/generator.ts";
import { assertResultsTopicAgrees, assertTablesAreExact, planOf } from "../e2e/exactness.ts";
import { sleep, Tailrace, temporaryFolder } from "../e2e/harness.ts";
import { assertFlightsAreExact, assertFlightsBecomeFinal, FLIGHTS, replayFlights } from "../e2e/replay_checks.ts";
import { kafkaAt } from "../e2e/topic_reader.ts";
import { startKafka, whyNoKafka } from "../servers/kafka.ts";
import { borrowPostgres } from "../servers/postgres.ts";

const why = await whyNoKafka();
const RATE = 1_500;
const HISTORY_MS = 100_000;

Deno.test({
  name: "run against Apache Kafka, a registry and PostgreSQL of others is exact, whatever is stopped or killed",
  ignore: why !== null,
  fn: async (t) => {
    await using folder = temporaryFolder();
    await using kafka = await startKafka();
    await using server = await borrowPostgres();
    await using registry = await startRegistry({ host: "127.0.0.1", port: 0, dataDir: `${folder.path}/registry` });
    const databaseUrl = await server.database();
    const brokers = kafka.brokers.join(",");
    const start = () =>
      Tailrace.start(["run", "--data", `${folder.path}/data`, "--port", "0", "--checkpoint-every", "1"], {
        env: { KAFKA_BROKERS: brokers, SCHEMA_REGISTRY_URL: registry.url, DATABASE_URL: databaseUrl },
        databaseUrl,
      });
    await createTopics(brokers, ["transactions", "flights"]);
    const plan = await planOf("account_minute");

    /** Feeds transactions while `work` runs. */
    const underLoad = async (historyMs: number, work: () => Promise<void>) => {
      const stop = new AbortController();
      await using cluster = new Cluster(kafka.brokers, {
        clientId: "tests",
        ssl: false,
        sasl: null,
      });
      const schemaId = await createRegistryClient({ url: registry.url })
        .register("transactions-value", plan.schema);
      const { signal } = stop;
      const options = { topic: "transactions", schemaId, rate: RATE, seed: Date.now(), clock: systemClock, signal };
      const feeding = (async () => {
        for (let past = historyMs; !signal.aborted; past = 0) {
          // A Kafka that is away for longer than a producer waits; what is in the topic is what counts.
          await generate(cluster, { ...options, historyMs: past }).catch((error) => {
            if (!signal.aborted && !(error instanceof UnavailableError)) throw error;
          });
        }
      })();
      try {
        await Promise.race([work(), feeding]);
      } finally {
        stop.abort();
        await feeding;
      }
    };
    const isReading = (tailrace: Tailrace, what: string) =>
      tailrace.until(`it reads and writes ${what}`, async () => {
        const { rates, state } = await tailrace.status(plan.name);
        return state === "running" && rates.inPerSecond > 0 && rates.outPerSecond > 0;
      });

    await t.step("Ctrl-C and kill -9 of Tailrace under load lose and double nothing", async () => {
      await underLoad(HISTORY_MS, async () => {
        {
          await using tailrace = await start();
          await isReading(tailrace, "at first");
          assert.equal((await tailrace.stop()).code, 0);
        }
        for (const run of [1, 2]) {
          await using tailrace = await start();
          await isReading(tailrace, `in run ${run}`);
          await sleep(1_500);
          await tailrace.kill();
        }
      });
      await using tailrace = await start();
      await assertBothAreExact(tailrace, HISTORY_MS / 1000 * RATE);
    });

    await t.step("kill -9 of Kafka under load is waited out, and the result is exact", async () => {
      await using tailrace = await start();
      await underLoad(0, async () => {
        await isReading(tailrace, "before");
        await kafka.kill();
        await tailrace.until("it waits for Kafka", async () => {
          return (await tailrace.status(plan.name)).state === "waiting";
        });
        await sleep(2_000);
        await kafka.restart();
        await isReading(tailrace, "after");
      });
      await assertBothAreExact(tailrace, HISTORY_MS / 1000 * RATE);
    });

    await t.step(
      "three million flights through replay equal DuckDB's aggregation of the file, row by row",
      async () => {
        await using tailrace = await start();
        const { rows } = await replayFlights(tailrace, FLIGHTS);
        assert.equal(rows, 3_000_000);
        await assertFlightsAreExact(tailrace, FLIGHTS);
        await assertFlightsBecomeFinal(tailrace, FLIGHTS);
      },
    );
  },
});

async function assertBothAreExact(tailrace: Tailrace, recordsMin: number): Promise<void> {
  const { records, dead } = await assertTablesAreExact(tailrace, ["account_minute", "category_declines"]);
  assert.ok(records > recordsMin, `${records} records`);
  assert.equal(dead, 0);
  await assertResultsTopicAgrees(tailrace);
}

async function createTopics(brokers: string, topics: readonly string[]): Promise<void> {
  const admin = kafkaAt(brokers).admin();
  await admin.connect();
  try {
    await admin.createTopics({ waitForLeaders: true, topics: topics.map((topic) => ({ topic, numPartitions: 4 })) });
  } finally {
    await admin.disconnect();
  }
}
