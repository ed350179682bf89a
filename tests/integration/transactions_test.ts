import assert from "node:assert/strict";
import { Cluster } from "../../pipeline/log/cluster.ts";
import { ask } from "../../pipeline/log/connection.ts";
import { transactionContract, transactionTests } from "../log/transaction_contract.ts";
import { borrowKafka, startKafka, whyNoKafka } from "../servers/kafka.ts";

const why = await whyNoKafka();
if (why === null) transactionContract("Apache Kafka", borrowKafka);
else console.log(`Transactions are not tried on Apache Kafka: ${why}`);

/** Makes transactions what they were before Kafka 4.0 (KIP-890): UpdateFeatures v1, a downgrade of `transaction.version` to 0. */
async function forgetKip890(brokers: readonly string[]): Promise<void> {
  await using cluster = new Cluster(brokers, { clientId: "test", ssl: false, sasl: null });
  const code = await ask(await cluster.any(), {
    apiKey: 57,
    version: 1,
    body: (writer) => {
      writer.noTaggedFields(); // of the request's header
      writer.int32(10_000).compactArrayLength(1);
      writer.compactString("transaction.version").int16(0).int8(2).noTaggedFields();
      writer.boolean(false).noTaggedFields();
    },
  }, (reader) => {
    reader.skipTaggedFields();
    reader.int32();
    return reader.int16();
  });
  assert.equal(code, 0);
}

Deno.test({
  name: "Apache Kafka with transactions as they were before 4.0",
  ignore: why !== null,
  fn: async (t) => {
    await using kafka = await startKafka({
      settings: { "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500" },
    });
    await forgetKip890(kafka.brokers);
    const open = () => Promise.resolve({ brokers: kafka.brokers, [Symbol.asyncDispose]: () => Promise.resolve() });
    for (const { what, fn } of transactionTests(open)) await t.step(what, fn);
  },
});
