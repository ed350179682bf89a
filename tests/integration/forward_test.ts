/**
 * Topics forwarded between the embedded broker and Apache Kafka 4.1, both ways.
 *
 * @module
 */
import assert from "node:assert/strict";
import { brokerIn, temporaryFolder } from "../broker/kafka/support.ts";
import { startKafka, whyNoKafka } from "../servers/kafka.ts";
import { bytes, eventually, Forwarding, record, Side, text } from "../sources/kafka_topics/forwarding.ts";

const why = await whyNoKafka();
const PARTITIONS = 3;
const WITHIN_MS = 90_000;

const readings = (batch: number, partition: number) =>
  Array.from({ length: 50 }, (_, i) =>
    record(`${partition}.${batch}.${i}`, {
      key: bytes(`sensor ${partition}.${i % 7}`),
      headers: [["n", bytes(`${i}`)], ["none", null]],
      timestampMs: 1_700_000_000_000 + batch * 1000 + i,
    }));

Deno.test({
  name:
    "what an edge writes comes to Apache Kafka once and in order while both, and what forwards, are killed or stopped",
  ignore: why !== null,
  fn: async () => {
    using folder = temporaryFolder();
    await using near = await brokerIn(folder.path);
    await using kafka = await startKafka();
    await using nearSide = new Side([near.address]);
    await using farSide = new Side(kafka.brokers);
    const topic = `edge-${crypto.randomUUID()}`;
    await nearSide.topic(topic, PARTITIONS);
    const forwarding = {
      name: `edge_${crypto.randomUUID().slice(0, 8)}`,
      from: nearSide.brokers,
      into: kafka.brokers,
      options: { topics: [topic], deleteForwarded: true },
    };
    let running = Forwarding.start(forwarding);
    let written = 0;
    const write = async (from: number, to: number) => {
      for (let batch = from; batch < to; batch++) {
        for (let partition = 0; partition < PARTITIONS; partition++) {
          await nearSide.write(topic, partition, readings(batch, partition));
          written += 50;
        }
      }
    };
    try {
      await write(0, 10);
      await eventually("the first are there", () => running.counts.written === written, WITHIN_MS);
      await kafka.kill();
      await write(10, 30);
      await kafka.restart();
      await write(30, 40);
      await running.stop();
      await write(40, 50);
      running = Forwarding.start(forwarding);
      await eventually("all are there", () => running.counts.written === written, WITHIN_MS);
      const there = await farSide.read(topic);
      const expected = Array.from(
        { length: PARTITIONS },
        (_, partition) => Array.from({ length: 50 }, (_, batch) => readings(batch, partition)).flat(),
      );
      assert.deepEqual(
        there.map((records) => records.map(({ offset: _o, partition: _p, ...rest }) => rest)),
        expected.map((records) => records.map((one) => ({ ...one }))),
      );
    } finally {
      await running.stop();
    }
  },
});

Deno.test({
  name:
    "topics of Apache Kafka that fit a pattern come to the embedded broker, and what was forwarded is deleted there",
  ignore: why !== null,
  fn: async () => {
    using folder = temporaryFolder();
    await using target = await brokerIn(folder.path);
    await using kafka = await startKafka();
    await using farSide = new Side(kafka.brokers);
    await using targetSide = new Side([target.address]);
    const family = `shop-${crypto.randomUUID().slice(0, 8)}`;
    for (const name of ["orders", "users"]) {
      await farSide.topic(`${family}.${name}`, 2);
      for (const partition of [0, 1]) await farSide.write(`${family}.${name}`, partition, readings(0, partition));
    }
    const { counts, lines } = await Forwarding.once({
      name: `copy_${crypto.randomUUID().slice(0, 8)}`,
      from: kafka.brokers,
      into: targetSide.brokers,
      prefix: "copy",
      options: { pattern: `${family}\\..*`, deleteForwarded: true },
    });
    assert.equal(counts.written, 200);
    for (const name of ["orders", "users"]) {
      const there = await targetSide.read(`copy.${family}.${name}`);
      assert.deepEqual(
        there.map((records) => records.map(({ value }) => text(value))),
        [0, 1].map((partition) => readings(0, partition).map(({ value }) => text(value))),
      );
      assert.deepEqual(await farSide.values(`${family}.${name}`), [[], []], lines.join("\n"));
    }
  },
});
