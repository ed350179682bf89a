import assert from "node:assert/strict";
import fc from "fast-check";
import { type Column, Columns, type FieldType } from "../../pipeline/columns.ts";
import { ConfigError } from "../../pipeline/errors.ts";
import { Deduplicator } from "../../pipeline/operators/deduplicate.ts";
import { KeyWords } from "../../pipeline/operators/key_words.ts";
import type { Plan } from "../../pipeline/plan/plan.ts";
import { PartitionWatermark } from "../../pipeline/windows/watermark.ts";
import { tumblingStart } from "../../pipeline/windows/tumbling.ts";
import { columnOf, type Value } from "../aggregates/columns.ts";
import { planOver } from "./plans.ts";

interface Event {
  readonly key: Value;
  readonly at: number;
}

const TIME: FieldType = { type: "timestamp-millis", nullable: false };

function planOf(key: FieldType, withinMs: number, options: Partial<Plan> = {}): Plan {
  return planOver([TIME, key], { keys: [1], dedupe: { field: 1, withinMs }, ...options });
}

function chunkOf(plan: Plan, events: readonly Event[]): { columns: Columns; times: Float64Array; rows: Int32Array } {
  const columns = new Columns([], Math.max(1, events.length));
  (columns as { columns: readonly Column[] }).columns = [
    columnOf(TIME, events.map(({ at }) => BigInt(at))),
    columnOf(plan.fields[1].type, events.map(({ key }) => key)),
  ];
  columns.length = events.length;
  return { columns, times: Float64Array.from(events, ({ at }) => at), rows: Int32Array.from(events.keys()) };
}

function candidates(plan: Plan, events: readonly Event[]): Parameters<Deduplicator["keep"]> {
  const { columns, rows, times } = chunkOf(plan, events);
  return [columns, { rows, length: events.length, times }];
}

/** Which events are kept, given all at once. */
function kept(plan: Plan, events: readonly Event[]): number[] {
  const { columns, rows, times } = chunkOf(plan, events);
  const count = new Deduplicator(plan, events.length).keep(columns, { rows, length: events.length, times });
  return [...rows.subarray(0, count)];
}

const text = (nullable = false): FieldType => ({ type: "string", nullable });
const at = (key: Value, ms: number): Event => ({ key, at: ms });

Deno.test("a key counts once within the time, whichever way round its records come, the bound included", () => {
  const plan = planOf(text(), 100);
  assert.deepEqual(kept(plan, [at("a", 1000), at("b", 1000), at("a", 1100), at("b", 900)]), [0, 1]);
  assert.deepEqual(kept(plan, [at("a", 1000), at("b", 1000), at("a", 1101), at("b", 899)]), [0, 1, 2, 3]);
  assert.deepEqual(kept(plan, [at("a", -50), at("a", 50), at("b", 50), at("b", -50)]), [0, 2], "across 1970");
});

Deno.test("a repeat counts as seen: a chain of repeats goes on as long as each is near one before it", () => {
  assert.deepEqual(kept(planOf(text(), 100), [at("a", 0), at("a", 80), at("a", 160), at("a", 261)]), [0, 3]);
});

Deno.test("null is no key: records without one are never duplicates", () => {
  assert.deepEqual(kept(planOf(text(true), 100), [at(null, 5), at(null, 5), at("", 5), at("", 5)]), [0, 1, 2]);
});

Deno.test("two spellings of one UUID are the same key, texts that differ in case are two", () => {
  const id = "0b9d7e52-4d5f-4b2e-9f10-6a7c1c0a8f3e";
  const uuid: FieldType = { type: "uuid", nullable: false };
  assert.deepEqual(kept(planOf(uuid, 100), [at(id, 5), at(id.toUpperCase(), 6), at(id.replace("e", "f"), 7)]), [0, 2]);
  assert.deepEqual(kept(planOf(text(), 100), [at("a", 5), at("A", 6)]), [0, 1]);
});

Deno.test("what is left out follows what is kept, both in log order", () => {
  const plan = planOf(text(), 100);
  const events = [at("a", 0), at("a", 1), at("b", 2), at("a", 3), at("c", 4)];
  const { columns, rows, times } = chunkOf(plan, events);
  assert.equal(new Deduplicator(plan, 8).keep(columns, { rows, length: 5, times }), 3);
  assert.deepEqual([...rows], [0, 2, 4, 1, 3]);
});

Deno.test("more keys than fit stop the pipeline with what to change, and forgetting makes room", () => {
  const plan = planOf(text(), 100, { window: { kind: "tumbling", sizeMs: 10, offsetMs: 0 } });
  const keep = (dedupe: Deduplicator, events: readonly Event[]) => dedupe.keep(...candidates(plan, events));
  const dedupe = new Deduplicator(plan, 8, { keysMax: 3 });
  assert.equal(keep(dedupe, [at("a", 0), at("b", 0), at("c", 0), at("c", 1)]), 3);
  assert.equal(dedupe.size, 3);
  dedupe.forget(111);
  assert.equal(dedupe.size, 0);
  assert.equal(keep(dedupe, [at("d", 500), at("e", 500), at("f", 500)]), 3);
  assert.throws(() => keep(dedupe, [at("g", 500)]), (error: unknown) => {
    assert.ok(error instanceof ConfigError);
    assert.match(error.message, /streams: p\.dedupe: more than 3 keys came within 100 ms .* use a shorter `within`/);
    return true;
  });
});

/** The rule itself, with unlimited memory: all that was seen of each key. */
class Naive {
  readonly #seen = new Map<string, number[]>();
  readonly #withinMs: number;

  constructor(withinMs: number) {
    this.#withinMs = withinMs;
  }

  isKept({ key, at }: Event): boolean {
    if (key === null) return true;
    const times = this.#seen.get(String(key)) ?? [];
    this.#seen.set(String(key), [...times, at]);
    return !times.some((time) => Math.abs(time - at) <= this.#withinMs);
  }
}

Deno.test("what was forgotten altogether can be seen again, and is forgotten again", () => {
  const plan = planOf(text(), 100);
  const dedupe = new Deduplicator(plan, 8);
  for (let round = 0; round < 3; round++) {
    assert.equal(dedupe.keep(...candidates(plan, [at("a", 50), at("a", 60)])), 1);
    assert.equal(dedupe.size, 1);
    dedupe.forget(Infinity);
    assert.equal(dedupe.size, 0);
  }
});

Deno.test("two keys of one hash are two keys", () => {
  const long: FieldType = { type: "long", nullable: false };
  const values = Array.from({ length: 300_000 }, (_, i) => BigInt(i) * 0x9e3779b97f4an);
  const words = new KeyWords(long, values.length);
  words.write(columnOf(long, values), Int32Array.from(values.keys()), values.length);
  const byHash = new Map<number, number>();
  const pairs: [number, number][] = [];
  for (const [i, hash] of words.hashes.entries()) {
    const other = byHash.get(hash);
    if (other !== undefined) pairs.push([other, i]);
    byHash.set(hash, i);
  }
  assert.ok(pairs.length > 0);
  const plan = planOf(long, 100);
  for (const [a, b] of pairs) {
    assert.deepEqual(kept(plan, [at(values[a], 0), at(values[b], 0), at(values[a], 1), at(values[b], 1)]), [0, 1]);
  }
});

Deno.test("a hundred thousand keys in and out of order, and memory that stays the same while event time goes on", () => {
  const uuid: FieldType = { type: "uuid", nullable: false };
  const plan = planOf(uuid, 1_000, { allowedLatenessMs: 500 });
  const dedupe = new Deduplicator(plan, 2_048);
  const naive = new Naive(1_000);
  let x = 1;
  const next = (below: number) => (x = (x * 48_271) % 2_147_483_647) % below;
  const idOf = (n: number) => `0b9d7e52-4d5f-4b2e-9f10-${n.toString(16).padStart(12, "0")}`;
  const bytes: number[] = [];
  for (let chunk = 0; chunk < 50; chunk++) {
    const events = Array.from({ length: 2_000 }, (_, i) => {
      const n = 2_000 * chunk + i;
      return at(idOf(next(10) === 0 ? Math.max(0, n - next(9_000)) : n), Math.floor(n / 4) - next(500));
    });
    const { columns, rows, times } = chunkOf(plan, events);
    const count = dedupe.keep(columns, { rows, length: events.length, times });
    assert.deepEqual([...rows.subarray(0, count)], [...events.keys()].filter((row) => naive.isKept(events[row])));
    bytes.push(dedupe.bytes);
    assert.ok(dedupe.size < 20_000, `${dedupe.size} keys are held`);
  }
  assert.equal(bytes.at(-1), bytes[25], "no table is made anew once there are enough");
});

Deno.test("records far apart in time leave nothing behind, told of a watermark or not", () => {
  const plan = planOf(text(), 1, { window: { kind: "tumbling", sizeMs: 10, offsetMs: 0 } });
  const dedupe = new Deduplicator(plan, 2_048);
  const events = Array.from({ length: 2_000 }, (_, n) => at(`${n}`, 100_000 * n));
  assert.equal(dedupe.keep(...candidates(plan, events)), 2_000);
  assert.ok(dedupe.size <= 2, `${dedupe.size} keys are held`);
  assert.ok(dedupe.bytes < 10_000, `${dedupe.bytes} bytes are held`);
});

const KEYS: readonly { readonly type: FieldType; readonly values: fc.Arbitrary<Value> }[] = [
  { type: text(), values: fc.constantFrom("", "a", "b", "ab", "ab\0", "\0", "x".repeat(70)) },
  { type: text(true), values: fc.constantFrom("", "a", "abcd", "abcde", null) },
  { type: { type: "long", nullable: true }, values: fc.constantFrom(0n, 1n, -1n, 2n ** 62n, 2n ** 32n, null) },
  { type: { type: "int", nullable: false }, values: fc.bigInt(-2n, 2n) },
  { type: { type: "boolean", nullable: true }, values: fc.constantFrom(0n, 1n, null) },
  {
    type: { type: "decimal", precision: 30, scale: 2, nullable: false },
    values: fc.constantFrom(0n, 10n ** 25n, -(10n ** 25n), 1n),
  },
  {
    type: { type: "uuid", nullable: false },
    values: fc.constantFrom("0b9d7e52-4d5f-4b2e-9f10-6a7c1c0a8f3e", "0b9d7e52-4d5f-4b2e-9f10-6a7c1c0a8f3f"),
  },
];

Deno.test("whatever is forgotten or read again, the answers are those of unlimited memory, for every record in time", () => {
  const cases = fc.record({
    key: fc.constantFrom(...KEYS),
    withinMs: fc.constantFrom(1, 3, 10, 50, 1000),
    sizeMs: fc.constantFrom(1, 10, 70),
    latenessMs: fc.constantFrom(0, 5, 60),
  }).chain((shape) =>
    fc.record({
      shape: fc.constant(shape),
      chunks: fc.array(
        fc.record({
          raise: fc.option(fc.integer({ min: -20, max: 200 }), { freq: 3 }),
          forget: fc.boolean(),
          restart: fc.boolean(),
          events: fc.array(
            fc.record({
              key: shape.key.values,
              step: fc.integer({ min: -20, max: 26 }),
              from: fc.constantFrom("last", "last", "far", "edge"),
            }),
            { maxLength: 20 },
          ),
        }),
        { maxLength: 12 },
      ),
    })
  );
  let duplicates = 0;
  let forgotten = 0;
  let skipped = 0;
  fc.assert(
    fc.property(cases, ({ shape: { key, withinMs, sizeMs, latenessMs }, chunks }) => {
      const plan = planOf(key.type, withinMs, {
        allowedLatenessMs: latenessMs,
        window: { kind: "tumbling", sizeMs, offsetMs: 0 },
      });
      let dedupe = new Deduplicator(plan, 64);
      const log: { readonly maxBefore: number; readonly inTime: readonly Event[] }[] = [];
      const naive = new Naive(withinMs);
      const watermark = new PartitionWatermark(latenessMs);
      let now = -50;
      for (const { raise, forget, restart, events } of chunks) {
        if (restart) {
          const known = watermark.currentMs - sizeMs - withinMs;
          const from = Math.max(0, log.findLastIndex(({ maxBefore }) => maxBefore <= known));
          skipped += from;
          dedupe = new Deduplicator(plan, 64);
          for (const { inTime } of log.slice(from)) dedupe.keep(...candidates(plan, inTime));
        }
        const maxBefore = watermark.maxEventTimeMs;
        const made: Event[] = [];
        const inOrder: number[] = [];
        for (const { key, step, from } of events) {
          // The start of the first window still open is where forgetting too much would show.
          const edge = tumblingStart(watermark.currentMs, sizeMs, 0);
          const isEdge = from === "edge" && Number.isFinite(edge);
          const time = isEdge ? edge : now += from === "far" ? 5 * step : step;
          if (time > watermark.maxEventTimeMs) watermark.maxEventTimeMs = time;
          if (tumblingStart(time, sizeMs, 0) + sizeMs > watermark.currentMs) inOrder.push(made.length);
          made.push(at(key, time));
        }
        const { columns, rows, times } = chunkOf(plan, made);
        const { length } = inOrder;
        rows.set(inOrder);
        const inTime = [...rows.subarray(0, length)];
        log.push({ maxBefore, inTime: inTime.map((row) => made[row]) });
        const expected = inTime.filter((row) => naive.isKept(made[row]));
        const count = dedupe.keep(columns, { rows, length, times });
        assert.deepEqual([...rows.subarray(0, count)], expected);
        assert.deepEqual([...rows.subarray(count, length)], inTime.filter((row) => !expected.includes(row)));
        duplicates += length - count;
        if (raise !== null && Number.isFinite(watermark.currentMs)) watermark.raise(watermark.currentMs + raise);
        if (forget) {
          const { size } = dedupe;
          dedupe.forget(watermark.currentMs);
          forgotten += size - dedupe.size;
        }
      }
    }),
    { numRuns: 2_000, seed: 4 },
  );
  const reached = [duplicates, forgotten, skipped];
  assert.ok(reached.every((times) => times > 1_000), `${reached} duplicates, keys forgotten, chunks not read again`);
});
