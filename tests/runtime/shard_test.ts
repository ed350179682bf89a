import assert from "node:assert/strict";
import fc from "fast-check";
import { MalformedRecordError } from "../../pipeline/errors.ts";
import { CorruptBatchError } from "../../pipeline/log/record_batch.ts";
import type { AvroSchema, Plan } from "../../pipeline/plan/plan.ts";
import {
  PANE_KEY_BYTES_MAX,
  PANES_MAX,
  SET_ASIDE_BYTES_MAX,
  Shard,
  type ShardFlush,
} from "../../pipeline/runtime/shard.ts";
import type { PartitionStart } from "../../pipeline/runtime/shard_task.ts";
import type { TestRecord } from "../log/batches.ts";
import { encode, eventPlan, PartitionLog, recordOf, SCHEMAS } from "./logs.ts";
import { VirtualClock } from "../../pipeline/testing/virtual_clock.ts";

const registry = (id: number): Promise<AvroSchema | null> =>
  id === 4
    ? Promise.reject(new MalformedRecordError("the schema is JSON, not Avro"))
    : Promise.resolve(SCHEMAS[id] ?? null);

function start(partition: number, position = 0): PartitionStart {
  return { partition, position, maxEventTimeMs: -Infinity, raisedToMs: -Infinity };
}

function shardOf(
  plan: Plan,
  options: { clock?: VirtualClock; schemaById?: typeof registry; onFull?: () => void } = {},
) {
  return new Shard({ plan, partitions: [start(0), start(1)] }, {
    clock: options.clock ?? new VirtualClock(),
    schemaById: options.schemaById ?? registry,
    onFull: options.onFull ?? (() => {}),
  });
}

const plain = await eventPlan();
const positive = await eventPlan({ where: "v >= 0" });

function of(flush: ShardFlush, partition = 0) {
  return flush.partitions.find((progress) => progress.partition === partition)!;
}

type Fate = "aggregated" | "filtered" | "late" | "dead";

const at = fc.integer({ min: 0, max: 12_000 });
const text = new TextEncoder();

/** A record, and what becomes of it; null where that hangs on the watermark. */
const anyRecord: fc.Arbitrary<{ value: Uint8Array | null; at: number | null; fate: Fate | null; reason?: RegExp }> = fc
  .oneof(
    {
      weight: 12,
      arbitrary: fc.record({ k: fc.constantFrom("a", "b", "c"), v: fc.nat(9), at, id: fc.constantFrom(1, 2) }).map((
        { id, ...event },
      ) => ({ value: encode(event, id), at: event.at, fate: null })),
    },
    fc.record({ at, id: fc.constantFrom(1, 2) }).map(({ at, id }) => ({
      value: encode({ k: "a", v: -1, at }, id),
      at,
      fate: "filtered" as const,
    })),
    fc.constant({ value: null, at: null, fate: "filtered" as const }),
    fc.constantFrom("", "\x01abcdefg", "\0\0\0").map((value) => ({
      value: text.encode(value),
      at: null,
      fate: "dead" as const,
      reason: /does not start with a schema id/,
    })),
    fc.constantFrom(
      [9, /schema id 9 is not in the registry/] as const,
      [3, /v/] as const,
      [4, /JSON, not Avro/] as const,
    ).map(([id, reason]) => ({
      value: Uint8Array.of(0, 0, 0, 0, id, 2, 97),
      at: null,
      fate: "dead" as const,
      reason,
    })),
    fc.constant({ value: encode({ k: "abcdef", v: 1, at: 1 }).slice(0, 9), at: null, fate: "dead" as const }),
    fc.constant({
      value: encode({ k: "a", v: 1, at: null }),
      at: null,
      fate: "dead" as const,
      reason: /event time is null, out of range/,
    }),
  );

Deno.test("every record ends in exactly one bucket, the one it belongs to, and what is set aside is kept byte for byte", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ records: fc.array(anyRecord, { minLength: 1, maxLength: 30 }), compressed: fc.boolean() }), {
        maxLength: 6,
      }),
      fc.integer({ min: 1, max: 3 }),
      fc.boolean(),
      async (batches, atOnce, flushes) => {
        const shard = shardOf(positive);
        const log = new PartitionLog();
        for (const { records, compressed } of batches) {
          log.append(records.map(({ value }) => recordOf(value)), compressed);
        }
        const told: ShardFlush[] = [];
        while (shard.positionOf(0) < log.end) {
          await shard.take(log.fetch(0, shard.positionOf(0), atOnce));
          if (flushes) told.push(shard.flush(new Map()));
        }
        told.push(shard.flush(new Map()));
        const sum = { consumed: 0, aggregated: 0, filtered: 0, late: 0, dead: 0 };
        for (const flush of told) {
          for (const fate of ["consumed", "aggregated", "filtered", "late", "dead"] as const) {
            sum[fate] += of(flush)[fate];
          }
        }
        const expected = { consumed: 0, aggregated: 0, filtered: 0, late: 0, dead: 0 };
        const aside: [number, Fate, Uint8Array, RegExp | undefined][] = [];
        let watermark = -Infinity;
        batches.flatMap(({ records }) => records).forEach((record, offset) => {
          if (record.at !== null) watermark = Math.max(watermark, record.at - 1000);
          const end = 1000 * Math.floor(record.at! / 1000) + 1000;
          const fate = record.fate ?? (end <= watermark ? "late" : "aggregated");
          expected[fate]++;
          expected.consumed++;
          if (fate === "late" || fate === "dead") aside.push([offset, fate, record.value!, record.reason]);
        });
        assert.deepEqual(sum, expected);
        assert.equal(of(told.at(-1)!).position, log.end);
        const panes = told.reduce((total, { panes }) => total + panes.counts.reduce((a, b) => a + b, 0), 0);
        assert.equal(panes, expected.aggregated);
        const kept = told.flatMap(({ setAside }) => setAside).sort((a, b) => a.offset - b.offset);
        assert.deepEqual(
          kept.map(({ offset, why, value }) => [offset, why, value]),
          aside.map((row) => row.slice(0, 3)),
        );
        aside.forEach(([, , , reason], i) => reason && assert.match(kept[i].reason, reason));
      },
    ),
    { numRuns: 150 },
  );
});

Deno.test("key, headers, time and schema id of a record that is set aside are kept", async () => {
  const shard = shardOf(plain);
  const log = new PartitionLog();
  const record: TestRecord = {
    timestampMs: 1_234,
    key: text.encode("key"),
    value: Uint8Array.of(0, 0, 0, 0, 9, 1),
    headers: [["h", text.encode("1")], ["h", null]],
  };
  log.append([recordOf(null), record]);
  await shard.take(log.fetch(1, 0, 1));
  const { setAside, partitions } = shard.flush(new Map());
  assert.deepEqual(setAside, [{
    ...record,
    topic: "t",
    partition: 1,
    offset: 1,
    why: "dead",
    reason: "schema id 9 is not in the registry",
    schemaId: 9,
    windowStartMs: null,
  }]);
  assert.equal(partitions[1].timestampMs, 1_234);
  assert.deepEqual([partitions[1].highWatermark, partitions[0].highWatermark], [2, -1]);
});

Deno.test("while the registry is away records wait: a flush in between counts nothing twice and holds the position", async () => {
  const answer = Promise.withResolvers<void>();
  let asked = 0;
  const shard = shardOf(plain, {
    schemaById: async (id) => {
      asked++;
      if (id === 2) await answer.promise;
      return SCHEMAS[id];
    },
  });
  const log = new PartitionLog();
  const event = (k: string, id: number) => recordOf(encode({ k, v: 1, at: 500 }, id));
  log.append([event("a", 1), event("a", 1), event("b", 2), event("c", 1), event("d", 2)]);
  const taking = shard.take(log.fetch(0, 0, 1));
  await new Promise((resolve) => setTimeout(resolve, 5));
  const first = shard.flush(new Map());
  assert.deepEqual([of(first).position, of(first).aggregated, first.panes.length], [2, 2, 1]);
  assert.equal(of(first).consumed, 2, "a record that waits is not read yet");
  const second = shard.flush(new Map());
  assert.deepEqual([of(second).position, of(second).aggregated, second.panes.length], [2, 0, 0]);
  answer.resolve();
  await taking;
  const third = shard.flush(new Map());
  assert.deepEqual([of(third).position, of(third).aggregated, third.panes.length], [5, 3, 3]);
  assert.equal(asked, 2, "each schema is asked for once");
});

Deno.test("an id that was unknown is asked for again, as it may be registered meanwhile", async () => {
  const known = new Set<number>();
  const shard = shardOf(plain, { schemaById: (id) => Promise.resolve(known.has(id) ? SCHEMAS[id] : null) });
  const log = new PartitionLog();
  log.append([recordOf(encode({ k: "a", v: 1, at: 1 }))]);
  log.append([recordOf(encode({ k: "a", v: 1, at: 1 }))]);
  await shard.take(log.fetch(0, 0, 1));
  known.add(1);
  await shard.take(log.fetch(0, 1, 1));
  const progress = of(shard.flush(new Map()));
  assert.deepEqual([progress.dead, progress.aggregated], [1, 1]);
});

Deno.test("a damaged batch takes nothing: it is fetched again from the same position", async () => {
  const shard = shardOf(plain);
  const log = new PartitionLog();
  log.append([recordOf(encode({ k: "a", v: 1, at: 1 }))]);
  log.append([recordOf(encode({ k: "b", v: 1, at: 1 }))]);
  const part = log.fetch(0, 0, 2);
  const damaged = part.frame.slice();
  damaged[damaged.length - 1] ^= 1;
  await assert.rejects(shard.take({ ...part, frame: damaged }), CorruptBatchError);
  const before = of(shard.flush(new Map()));
  await shard.take(log.fetch(0, shard.positionOf(0), 2));
  const after = of(shard.flush(new Map()));
  assert.equal(before.aggregated + after.aggregated, 2);
  assert.equal(after.position, 2);
});

Deno.test("a raised watermark holds for what comes after the flush", async () => {
  const shard = shardOf(plain);
  const log = new PartitionLog();
  log.append([recordOf(encode({ k: "a", v: 1, at: 1_500 }))]);
  log.append([recordOf(encode({ k: "a", v: 1, at: 1_999 })), recordOf(encode({ k: "a", v: 1, at: 2_000 }))]);
  await shard.take(log.fetch(0, 0, 1));
  assert.equal(of(shard.flush(new Map([[0, 2_000]]))).raisedToMs, 2_000);
  await shard.take(log.fetch(0, 1, 1));
  const { partitions: [progress], setAside } = shard.flush(new Map());
  assert.deepEqual([progress.late, progress.aggregated], [1, 1]);
  assert.equal(setAside[0].offset, 1);
});

Deno.test("a partition is quiet only as long as the broker says so: not while it is out of reach or waits its turn", async () => {
  const clock = new VirtualClock();
  const answer = Promise.withResolvers<AvroSchema>();
  const shard = shardOf(plain, { clock, schemaById: () => answer.promise });
  const log = new PartitionLog();
  const quiet = (partition: number) => of(shard.flush(new Map()), partition).quietMs;
  await clock.pass(60_000);
  assert.equal(quiet(0), 0, "nothing was heard yet");
  await shard.take(log.fetch(0, 0, 1));
  assert.equal(quiet(0), 60_000);
  await clock.pass(30_000);
  assert.equal(quiet(0), 60_000, "nothing was heard since");
  log.append([recordOf(encode({ k: "a", v: 1, at: 1 }))]);
  const waiting = [shard.take(log.fetch(0, 0, 1)), shard.take(new PartitionLog().fetch(1, 0, 1))];
  await clock.pass(90_000);
  assert.equal(quiet(1), 0, "its answer waits behind the other partition's");
  answer.resolve(SCHEMAS[1]);
  await Promise.all(waiting);
  assert.equal(quiet(0), 0);
  assert.equal(quiet(1), 180_000);
});

async function fillsUp(records: readonly TestRecord[], bound: (flush: ShardFlush) => boolean): Promise<void> {
  let full = 0;
  const shard = shardOf(plain, { onFull: () => full++ });
  const log = new PartitionLog();
  for (let at = 0; at < records.length; at += 5_000) log.append(records.slice(at, at + 5_000));
  let taken = false;
  const taking = shard.take(log.fetch(0, 0, Infinity)).then(() => taken = true);
  while (full === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(taken, false);
  const flush = shard.flush(new Map());
  assert.ok(bound(flush));
  assert.ok(of(flush).position < log.end);
  while (!taken) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    shard.flush(new Map());
  }
  await taking;
  assert.equal(shard.positionOf(0), log.end);
}

Deno.test("reading waits for a flush at the bound of panes", async () => {
  const records = Array.from({ length: PANES_MAX + 5_000 }, (_, i) => recordOf(encode({ k: `${i}`, v: 1, at: 1 })));
  await fillsUp(records, ({ panes }) => panes.length >= PANES_MAX && panes.length < PANES_MAX + 5_000);
});

Deno.test("reading waits for a flush at the bound of bytes set aside", async () => {
  const records = Array.from({ length: 5_000 }, () => recordOf(new Uint8Array(3_000).fill(1)));
  await fillsUp(records, ({ setAside }) => {
    const bytes = setAside.reduce((sum, { value }) => sum + value!.length, 0);
    return bytes > SET_ASIDE_BYTES_MAX / 2 && bytes < 2 * SET_ASIDE_BYTES_MAX;
  });
});

Deno.test("reading waits for a flush at the bound of bytes of keys", async () => {
  const k = "k".repeat(1_000);
  const records = Array.from({ length: 70_000 }, (_, i) => recordOf(encode({ k: `${i}${k}`, v: 1, at: 1 })));
  await fillsUp(
    records,
    ({ panes }) => panes.keys.length >= PANE_KEY_BYTES_MAX && panes.keys.length < 2 * PANE_KEY_BYTES_MAX,
  );
});

Deno.test("a shard that waits for a flush can be closed", async () => {
  const shard = shardOf(plain);
  const log = new PartitionLog();
  for (let i = 0; i < 5; i++) log.append(Array.from({ length: 2_500 }, () => recordOf(new Uint8Array(3_000).fill(1))));
  const taking = shard.take(log.fetch(0, 0, Infinity));
  await new Promise((resolve) => setTimeout(resolve, 50));
  shard.close();
  await taking;
  await shard.take(log.fetch(0, 0, 1));
  assert.ok(shard.positionOf(0) < log.end);
});

Deno.test("a limit slows reading down to so many records a second, and is lifted while records wait by it", async () => {
  const clock = new VirtualClock();
  const log = new PartitionLog();
  const CHUNK = 2_048;
  log.append(Array.from({ length: 5 * CHUNK }, (_, i) => recordOf(encode({ k: "a", v: 1, at: i }), 0)));
  const shard = shardOf(plain, { clock });
  shard.limit(1_000);
  let isRead = false;
  const reading = shard.take(log.fetch(0, 0, 1)).then(() => isRead = true);
  const positions: number[] = [];
  for (let second = 0; second < 4; second++) {
    await clock.pass(second === 0 ? 0 : 1_100);
    positions.push(of(shard.flush(new Map())).position);
  }
  // What is taken first is owed: the next chunk waits for 2.048 s.
  assert.deepEqual(positions, [CHUNK, CHUNK, 2 * CHUNK, 2 * CHUNK]);
  assert.equal(isRead, false);
  shard.limit(null);
  await reading;
  assert.equal(of(shard.flush(new Map())).position, 5 * CHUNK);
});

Deno.test("a shard that waits by its limit is closed at once", async () => {
  const clock = new VirtualClock();
  const log = new PartitionLog();
  log.append(Array.from({ length: 10_000 }, (_, i) => recordOf(encode({ k: "a", v: 1, at: i }), 0)));
  const shard = shardOf(plain, { clock });
  shard.limit(1);
  const reading = shard.take(log.fetch(0, 0, 1));
  await clock.settle();
  shard.close();
  await reading;
});
