import assert from "node:assert/strict";
import { topicsOf } from "../../cli/topics.ts";
import { count, kafka, pipeline, postgres, topic, tumbling } from "../../pipeline/mod.ts";
import { planOf } from "../../pipeline/plan/compile.ts";

const schema = { type: "record", name: "R", fields: [{ name: "at", type: "long" }] };
const planWith = (options: { partitions?: number }) =>
  planOf(
    pipeline({
      name: "p",
      from: topic("in", { schema, eventTime: "at", ...options }),
      groupBy: [],
      window: tumbling("1 minute"),
      select: { n: count() },
      to: [postgres("p"), kafka("out")],
    }),
    new Map(),
  );

Deno.test("dev makes the topic read with the partitions its definition asks for, and all others with those of the settings", async () => {
  const dev = { mode: "dev", partitions: 4 } as const;
  const others = [
    { topic: "out", partitions: 4 },
    { topic: "in.dead", partitions: 4, isArchive: true },
    { topic: "in.late", partitions: 4, isArchive: true },
    { topic: "in.redriven", partitions: 1, isCompacted: true },
  ];
  assert.deepEqual(topicsOf(await planWith({ partitions: 12 }), dev), [{ topic: "in", partitions: 12 }, ...others]);
  assert.deepEqual(topicsOf(await planWith({}), dev), [{ topic: "in", partitions: 4 }, ...others]);
});

Deno.test("elsewhere the topic read is others', and the broker says how many partitions the rest has", async () => {
  const topics = topicsOf(await planWith({ partitions: 12 }), { mode: "run", partitions: 4 });
  assert.deepEqual(topics.map(({ topic, partitions }) => [topic, partitions]), [
    ["out", undefined],
    ["in.dead", undefined],
    ["in.late", undefined],
    ["in.redriven", 1],
  ]);
});
