import assert from "node:assert/strict";
import { DuckDBInstance } from "@duckdb/node-api";
import fc from "fast-check";
import type { Aggregate, StateArray, Sum } from "../../pipeline/aggregates/aggregate.ts";
import { createAggregates } from "../../pipeline/aggregates/mod.ts";
import { decodeCheckpoint, encodeCheckpoint } from "../../pipeline/checkpoint/checkpoint.ts";
import { columnKind, type FieldType } from "../../pipeline/columns.ts";
import { decimalText } from "../../pipeline/decimal.ts";
import type { Accumulator, Plan } from "../../pipeline/plan/plan.ts";
import { columnOf, type Value } from "./columns.ts";

const SLOTS = 3;

/** A value, the slot it belongs to, and the part of the log it came in. */
interface Entry {
  readonly value: Value;
  readonly slot: number;
  readonly part: number;
}

function make(kind: Accumulator["kind"], type: FieldType): Aggregate {
  const [aggregate] = createAggregates(
    { fields: [{ path: "v", type }], accumulators: [{ kind, field: 0 }] } as unknown as Plan,
  );
  aggregate!.grow(SLOTS);
  return aggregate!;
}

function fold(kind: Accumulator["kind"], type: FieldType, entries: readonly Entry[]): Aggregate {
  const aggregate = make(kind, type);
  const column = columnOf(type, entries.map(({ value }) => value));
  aggregate.add(column, {
    rows: Int32Array.from(entries.keys()),
    slots: Int32Array.from(entries, ({ slot }) => slot),
    length: entries.length,
  });
  return aggregate;
}

/** State as it comes back from a checkpoint. */
function saved(states: StateArray[]): readonly StateArray[] {
  const bytes = encodeCheckpoint({
    fingerprint: "f",
    generation: 0,
    floorMs: null,
    finalBeforeMs: null,
    topicId: null,
    epoch: 1,
    savedAtMs: 2,
    sinks: { results: null, setAside: null },
    partitions: [],
    panes: [{
      length: SLOTS,
      keys: new Uint8Array(1),
      keyEnds: new Int32Array(SLOTS),
      hashes: new Int32Array(SLOTS),
      windows: new Float64Array(SLOTS),
      counts: new Float64Array(SLOTS),
      unpublished: new Int32Array(0),
      states: [states],
    }],
  });
  return decodeCheckpoint(bytes).panes[0].states[0];
}

/** The results of all slots when the parts are folded apart, saved, and merged in the order given. */
function merged(kind: Accumulator["kind"], type: FieldType, given: { entries: readonly Entry[]; order: number[] }) {
  const aggregate = make(kind, type);
  for (const part of given.order) {
    const state = saved(fold(kind, type, given.entries.filter((entry) => entry.part === part)).state(SLOTS));
    for (let slot = 0; slot < SLOTS; slot++) aggregate.merge(slot, state, slot);
  }
  return aggregate;
}

const INT: FieldType = { type: "int", nullable: true };
const LONG: FieldType = { type: "long", nullable: true };
const DOUBLE: FieldType = { type: "double", nullable: true };
const NARROW: FieldType = { type: "decimal", precision: 18, scale: 4, nullable: true };
const WIDE: FieldType = { type: "decimal", precision: 38, scale: 10, nullable: true };
const STAMP: FieldType = { type: "timestamp-micros", nullable: true };

const edges = (bits: bigint) =>
  [-(2n ** bits), 2n ** bits - 1n, 0n, 1n, -1n, 2n ** 31n, -(2n ** 32n), 2n ** 50n, -(2n ** 50n)]
    .filter((value) => value >= -(2n ** bits) && value < 2n ** bits);
const whole = (bits: bigint) =>
  fc.oneof(
    fc.bigInt({ min: -(2n ** bits), max: 2n ** bits - 1n }),
    fc.constantFrom(...edges(bits)),
    fc.bigInt(-100n, 100n),
  );
const digits = (count: number) =>
  fc.oneof(fc.bigInt(1n - 10n ** BigInt(count), 10n ** BigInt(count) - 1n), fc.constantFrom(10n ** BigInt(count) - 1n));

const INTEGERS: [FieldType, fc.Arbitrary<bigint>][] = [
  [INT, whole(31n)],
  [LONG, whole(63n)],
  [STAMP, whole(63n)],
  [NARROW, digits(18)],
  [WIDE, digits(38)],
];

function entriesOf(values: fc.Arbitrary<Value>): fc.Arbitrary<{ entries: Entry[]; order: number[] }> {
  return fc.record({
    entries: fc.array(
      fc.record({
        value: fc.option(values, { freq: 8 }),
        slot: fc.nat(SLOTS - 1),
        part: fc.nat(3),
      }),
      { maxLength: 60 },
    ),
    order: fc.shuffledSubarray([0, 1, 2, 3], { minLength: 4 }),
  });
}

/** A whole number as results show it. */
function shown(type: FieldType, value: bigint, kind: "sum" | "min" | "max"): unknown {
  if (type.type === "decimal") return decimalText(value, type.scale);
  if (kind === "sum" && type.type !== "int") return String(value);
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

for (const [type, values] of INTEGERS) {
  const name = type.type === "decimal" ? `decimal of ${type.precision} digits` : type.type;
  Deno.test(`${name}: count, sum, min and max are exact, however the records are split, saved and merged`, () => {
    fc.assert(
      fc.property(entriesOf(values), (given) => {
        for (let slot = 0; slot < SLOTS; slot++) {
          const present = given.entries.filter((entry) => entry.slot === slot && entry.value !== null)
            .map(({ value }) => value as bigint);
          const expected = present.length === 0 ? null : {
            sum: present.reduce((a, b) => a + b),
            min: present.reduce((a, b) => a < b ? a : b),
            max: present.reduce((a, b) => a > b ? a : b),
          };
          for (const kind of ["sum", "min", "max"] as const) {
            if (kind === "sum" && type === STAMP) continue;
            const result = expected && shown(type, expected[kind], kind);
            assert.equal(fold(kind, type, given.entries).result(slot), result);
            assert.equal(merged(kind, type, given).result(slot), result);
          }
          assert.equal(merged("count", type, given).result(slot), present.length);
        }
      }),
      { numRuns: 150 },
    );
  });
}

Deno.test("a sum of a million numbers at the ends of int64 is exact", () => {
  const entries = Array.from({ length: 1000 }, (_, i): Entry => ({
    value: i % 2 === 0 ? -(2n ** 63n) : 2n ** 63n - 1n,
    slot: i % 3 === 0 ? 0 : 1,
    part: 0,
  }));
  const aggregate = make("sum", LONG);
  const state = fold("sum", LONG, entries).state(SLOTS);
  for (let i = 0; i < 1000; i++) for (let slot = 0; slot < SLOTS; slot++) aggregate.merge(slot, state, slot);
  const expected = (slot: number) =>
    1000n * entries.filter((entry) => entry.slot === slot).reduce((sum, { value }) => sum + (value as bigint), 0n);
  assert.equal(aggregate.result(0), String(expected(0)));
  assert.equal(aggregate.result(1), String(expected(1)));
  assert.equal(aggregate.result(2), null);
});

/** A double as an exact fraction of 2^1074. */
function exactly(value: number): bigint {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  const bits = view.getBigUint64(0);
  const exponent = (bits >> 52n) & 0x7ffn;
  const fraction = bits & 0xfffffffffffffn;
  const magnitude = exponent === 0n ? fraction : (fraction | 1n << 52n) << (exponent - 1n);
  return bits >> 63n ? -magnitude : magnitude;
}

/** The double nearest to a fraction of 2^1074, ties to even. */
function nearest(value: bigint): number {
  const negative = value < 0n;
  let rest = negative ? -value : value;
  let shift = 0n;
  const length = BigInt(rest.toString(2).length);
  if (length > 53n) {
    shift = length - 53n;
    const half = 1n << (shift - 1n);
    const below = rest & ((1n << shift) - 1n);
    rest >>= shift;
    if (below > half || (below === half && (rest & 1n) === 1n)) rest++;
  }
  let result = Number(rest);
  for (let power = Number(shift) - 1074; power !== 0;) {
    const step = Math.max(-1000, Math.min(1000, power));
    result *= 2 ** step;
    power -= step;
  }
  return negative ? -result : result;
}

Deno.test("double: a sum is the exact one rounded once, in any order and any split, whatever the magnitudes", () => {
  const moderate = fc.double({ min: -1e300, max: 1e300, noNaN: true, noDefaultInfinity: true });
  const cancelling = fc.constantFrom(
    1e300,
    -1e300,
    1e100,
    -1e100,
    1,
    -1,
    1e-300,
    5e-324,
    0.1,
    -0.1,
    2 ** 53,
    2 ** -53,
    1e16,
    -1e16,
  );
  fc.assert(
    fc.property(entriesOf(fc.oneof(moderate, cancelling, cancelling)), (given) => {
      const reversed = [...given.entries].reverse();
      for (let slot = 0; slot < SLOTS; slot++) {
        const present = given.entries.filter((entry) => entry.slot === slot && entry.value !== null);
        const sum = present.length === 0
          ? null
          : nearest(present.reduce((sum, { value }) => sum + exactly(value as number), 0n));
        const same = (result: unknown) => assert.ok(result === sum, `${result} is not ${sum}`);
        same(fold("sum", DOUBLE, given.entries).result(slot));
        same(fold("sum", DOUBLE, reversed).result(slot));
        same(merged("sum", DOUBLE, given).result(slot));
      }
    }),
    { numRuns: 500 },
  );
});

Deno.test("double: NaN and infinities come out the same in any order", () => {
  const odd = fc.constantFrom(NaN, Infinity, -Infinity, 0, -0, 1, -1, 1e308);
  fc.assert(
    fc.property(entriesOf(odd), (given) => {
      for (const kind of ["sum", "min", "max"] as const) {
        for (let slot = 0; slot < SLOTS; slot++) {
          const values = given.entries.filter((entry) => entry.slot === slot && entry.value !== null)
            .map(({ value }) => value as number);
          // 1e308 twice would leave the range of doubles.
          if (kind === "sum" && values.filter((value) => value === 1e308).length > 1) continue;
          const one = fold(kind, DOUBLE, given.entries).result(slot);
          assert.ok(Object.is(one, merged(kind, DOUBLE, given).result(slot)), kind);
          assert.ok(Object.is(one, fold(kind, DOUBLE, [...given.entries].reverse()).result(slot)), kind);
          if (values.length === 0) assert.equal(one, null);
          else if (kind === "sum") {
            const sum = values.reduce((a, b) => a + b, 0);
            if (!Number.isFinite(sum)) assert.ok(Object.is(one, sum));
          } else {
            const numbers = values.filter((value) => value === value);
            const isNaN = kind === "max" ? numbers.length < values.length : numbers.length === 0;
            assert.ok(Object.is(one, isNaN ? NaN : (kind === "max" ? Math.max : Math.min)(...numbers) + 0));
          }
        }
      }
    }),
    { numRuns: 300 },
  );
});

Deno.test("a mean is the exact quotient rounded once", () => {
  for (
    const [type, values] of [[INT, whole(31n)], [LONG, whole(63n)], [NARROW, digits(18)], [WIDE, digits(38)]] as const
  ) {
    fc.assert(
      fc.property(fc.array(values, { minLength: 1, maxLength: 40 }), (values) => {
        const sum = values.reduce((a, b) => a + b);
        const entries = values.map((value) => ({ value, slot: 0, part: 0 }));
        const mean = (fold("sum", type, entries) as Sum).mean(0, values.length)!;
        const divisor = BigInt(values.length) * 10n ** BigInt(type.type === "decimal" ? type.scale : 0);
        // No double is nearer: |mean - exact| against the doubles on both sides, in fractions of 2^1074.
        const distance = (double: number) => {
          const difference = exactly(double) * divisor - (sum << 1074n);
          return difference < 0n ? -difference : difference;
        };
        const [below, above] = neighbours(mean);
        assert.ok(
          distance(mean) <= distance(below) && distance(mean) <= distance(above),
          `${sum} / ${divisor} is not ${mean}`,
        );
      }),
      { numRuns: 200 },
    );
  }
  assert.equal((make("sum", LONG) as Sum).mean(0, 0), null);
});

function neighbours(value: number): [number, number] {
  const view = new DataView(new ArrayBuffer(8));
  const beside = (step: bigint) => {
    if (value === 0) return Number(step) * 5e-324;
    view.setFloat64(0, value);
    view.setBigInt64(0, view.getBigInt64(0) + (value > 0 ? step : -step));
    return view.getFloat64(0);
  };
  return [beside(-1n), beside(1n)];
}

Deno.test("results agree with DuckDB's", async () => {
  const instance = await DuckDBInstance.create();
  const db = await instance.connect();
  const sqlType = (type: FieldType) =>
    type.type === "decimal"
      ? `DECIMAL(${type.precision},${type.scale})`
      : { int: "INTEGER", long: "BIGINT", double: "DOUBLE" }[type.type as "int"];
  const samples: [FieldType, Value[]][] = [
    [INT, [5n, null, -7n, 2147483647n, -2147483648n, 0n]],
    [LONG, [2n ** 62n, null, -5n, 2n ** 62n, 17n]],
    [NARROW, [123456789012345678n, -1n, null, 999999999999999999n]],
    [WIDE, [10n ** 36n + 1n, -(10n ** 20n), null, 3n]],
    [DOUBLE, [1.5, null, -2.25, Infinity, 3]],
    [DOUBLE, [1.5, NaN, -2.25, null]],
    [DOUBLE, [null, null]],
    [DOUBLE, [0.1, 0.2, 0.3]],
  ];
  for (const [type, values] of samples) {
    const literal = (value: Value) =>
      value === null
        ? "NULL"
        : type.type === "decimal"
        ? `'${decimalText(value as bigint, type.scale)}'`
        : `'${String(value)}'`;
    const rows = values.map((value) => `(CAST(${literal(value)} AS ${sqlType(type)}))`).join(", ");
    const reader = await db.runAndReadAll(
      `SELECT count(v)::VARCHAR, ${
        values.every((value) => typeof value !== "number" || Number.isFinite(value)) && type === DOUBLE ? "fsum" : "sum"
      }(v)::VARCHAR, min(v)::VARCHAR, max(v)::VARCHAR FROM (VALUES ${rows}) t(v)`,
    );
    const [row] = reader.getRows();
    const entries = values.map((value) => ({ value, slot: 0, part: 0 }));
    const ours = (["count", "sum", "min", "max"] as const).map((kind) => fold(kind, type, entries).result(0));
    const text = ours.map((value) => value === null ? null : String(value));
    if (type.type === "double") {
      assert.deepEqual(
        ours.map((value) => value === null ? null : Number(value)),
        row.map((value) => value === null ? null : duck(String(value))),
      );
    } else assert.deepEqual(text, row);
  }
  db.closeSync();
  instance.closeSync();
});

/** DuckDB's text of a double. */
function duck(text: string): number {
  return text === "inf" ? Infinity : text === "-inf" ? -Infinity : Number(text);
}

Deno.test("cleared slots are as new, and growth keeps what was there", () => {
  for (const type of [INT, LONG, NARROW, WIDE, DOUBLE]) {
    for (const kind of ["count", "sum", "min", "max"] as const) {
      const value = columnKind(type) === "f64" ? 1e300 : 7n;
      const small = columnKind(type) === "f64" ? 1e-300 : -9n;
      const entries = [value, small, value].map((value) => ({ value, slot: 1, part: 0 }));
      const aggregate = fold(kind, type, entries);
      const before = aggregate.result(1);
      aggregate.grow(100);
      assert.equal(aggregate.result(1), before);
      assert.equal(aggregate.result(99), kind === "count" ? 0 : null);
      aggregate.clear(SLOTS);
      assert.equal(aggregate.result(1), kind === "count" ? 0 : null);
      aggregate.add(columnOf(type, [small]), { rows: Int32Array.of(0), slots: Int32Array.of(1), length: 1 });
      assert.equal(aggregate.result(1), fold(kind, type, [{ value: small, slot: 1, part: 0 }]).result(1));
    }
  }
});
