import assert from "node:assert/strict";
import fc from "fast-check";
import type { ResultValue } from "../../pipeline/sinks/sink.ts";
import { Shard } from "../../pipeline/runtime/shard.ts";
import { WindowState } from "../../pipeline/runtime/window_state.ts";
import { PartitionLedger } from "../../pipeline/runtime/partition_ledger.ts";
import { MemorySink } from "../sinks/memory_sink.ts";
import { encode, eventPlan, PartitionLog, recordOf, SCHEMAS } from "./logs.ts";
import { VirtualClock } from "../../pipeline/testing/virtual_clock.ts";

const PARTITIONS = 3;
const plan = await eventPlan({ allowedLateness: "700ms" });

const event = fc.record({
  k: fc.constantFrom("a", "b", "c", "d"),
  v: fc.nat(99),
  at: fc.integer({ min: 0, max: 6_000 }),
});
const logs = fc.array(
  fc.array(fc.array(event, { minLength: 1, maxLength: 8 }), { maxLength: 8 }),
  { minLength: PARTITIONS, maxLength: PARTITIONS },
);
/** What a run does next: take some batches of a partition, or flush and publish. */
const step = fc.oneof(
  fc.record({ partition: fc.nat(PARTITIONS - 1), batches: fc.integer({ min: 1, max: 3 }) }),
  fc.constant("flush" as const),
);
const run = fc.record({ shards: fc.integer({ min: 1, max: 3 }), steps: fc.array(step, { maxLength: 60 }) });

interface Outcome {
  readonly rows: ResultValue[][];
  readonly late: string[];
}

async function play(
  partitionLogs: readonly PartitionLog[],
  { shards, steps }: { shards: number; steps: unknown[] },
): Promise<Outcome> {
  const ledgers = partitionLogs.map((_, partition) => PartitionLedger.fresh(plan, { partition, position: 0 }));
  const running = Array.from(
    { length: shards },
    (_, number) =>
      new Shard({
        plan,
        partitions: ledgers.filter(({ partition }) => partition % shards === number).map(({ start }) => start),
      }, {
        clock: new VirtualClock(),
        schemaById: (id) => Promise.resolve(SCHEMAS[id]),
        onFull: () => {},
      }),
  );
  const windows = new WindowState(plan);
  const sink = new MemorySink(windows.columns);
  const late: string[] = [];
  const flush = (watermarkMs?: number) => {
    for (const shard of running) {
      const { panes, partitions, setAside } = shard.flush(new Map());
      windows.merge(panes);
      for (const progress of partitions) ledgers[progress.partition].advance(progress);
      late.push(...setAside.map(({ partition, offset, reason }) => `${partition}/${offset}: ${reason}`));
    }
    const reached = watermarkMs ?? Math.min(...ledgers.map(({ watermarkMs }) => watermarkMs));
    const before = sink.rows().length;
    const rows = windows.publish(reached, false);
    for (let row = 0; row < rows.length; row++) sink.put(rows.values.map((values) => values[row]));
    // A row published as final is never published again: each one is new to the sink.
    assert.equal(sink.rows().length, before + rows.length);
  };
  const take = async (partition: number, batches: number) => {
    const shard = running[partition % shards];
    await shard.take(partitionLogs[partition].fetch(partition, shard.positionOf(partition), batches));
  };
  for (const step of steps as ({ partition: number; batches: number } | "flush")[]) {
    if (step === "flush") flush();
    else await take(step.partition, step.batches);
  }
  for (let partition = 0; partition < PARTITIONS; partition++) await take(partition, Infinity);
  flush(Infinity);
  return { rows: sink.rows().sort(byText), late: late.sort() };
}

function byText(a: unknown, b: unknown): number {
  return JSON.stringify(a) < JSON.stringify(b) ? -1 : 1;
}

Deno.test("the same logs give the same final rows and the same late records, in whatever order and pieces they are read", async () => {
  let late = 0;
  await fc.assert(
    fc.asyncProperty(logs, run, run, async (batches, one, other) => {
      const made = batches.map((partition) => {
        const log = new PartitionLog();
        partition.forEach((events, i) => log.append(events.map((event) => recordOf(encode(event))), i % 2 === 1));
        return log;
      });
      const first = await play(made, one);
      const second = await play(made, other);
      late += first.late.length;
      assert.deepEqual(second, first);
      const count = first.rows.reduce((sum, row) => sum + (row[3] as number), 0) + first.late.length;
      assert.equal(count, batches.flat(2).length, "every record is in one row, or late");
    }),
    { numRuns: 300 },
  );
  assert.ok(late > 0, "some records were late");
});
