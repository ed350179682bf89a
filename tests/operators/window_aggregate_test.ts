import assert from "node:assert/strict";
import fc from "fast-check";
import { type Column, Columns, type FieldType } from "../../pipeline/columns.ts";
import { decimalText } from "../../pipeline/decimal.ts";
import { GROUP_KEY_BYTES_MAX, GroupKeyWriter } from "../../pipeline/operators/group_key.ts";
import { AHEAD_MS_MAX, WindowAggregate } from "../../pipeline/operators/window_aggregate.ts";
import { WindowState } from "../../pipeline/runtime/window_state.ts";
import type { ResultRows } from "../../pipeline/sinks/sink.ts";
import { PartitionWatermark } from "../../pipeline/windows/watermark.ts";
import { columnOf, type Value } from "../aggregates/columns.ts";
import { planOver } from "./plans.ts";

/** Columns of the values given, row by row. */
function chunkOf(types: readonly FieldType[], rows: readonly (readonly Value[])[]): Columns {
  const chunk = new Columns([], Math.max(1, rows.length));
  (chunk as { columns: readonly Column[] }).columns = types.map((type, i) => columnOf(type, rows.map((row) => row[i])));
  chunk.length = rows.length;
  return chunk;
}

interface KeyKind {
  readonly type: FieldType;
  readonly values: fc.Arbitrary<Value>;
  readonly show: (value: Value) => unknown;
}

const symbols = ["A", "B", "C"];
const small = fc.bigInt(-3n, 3n);
const KEYS: KeyKind[] = [
  {
    type: { type: "string", nullable: false },
    values: fc.constantFrom("", "a", "b", "ab", "é", "\uFEFFa", "x".repeat(300)),
    show: String,
  },
  { type: { type: "string", nullable: true }, values: fc.constantFrom("", "a", "\0"), show: String },
  { type: { type: "int", nullable: true }, values: small, show: Number },
  { type: { type: "boolean", nullable: false }, values: fc.constantFrom(0n, 1n), show: (value) => value === 1n },
  {
    type: { type: "enum", symbols, nullable: true },
    values: fc.bigInt(0n, 2n),
    show: (value) => symbols[Number(value)],
  },
  { type: { type: "date", nullable: false }, values: small, show: Number },
  {
    type: { type: "long", nullable: true },
    values: fc.oneof(small, fc.constantFrom(2n ** 62n, -(2n ** 63n), 2n ** 32n)),
    show: (value) => Number.isSafeInteger(Number(value)) ? Number(value) : value,
  },
  {
    type: { type: "decimal", precision: 9, scale: 2, nullable: false },
    values: small,
    show: (value) => decimalText(value as bigint, 2),
  },
  {
    type: { type: "decimal", precision: 30, scale: 3, nullable: true },
    values: fc.oneof(small, fc.constantFrom(10n ** 29n, -(10n ** 29n))),
    show: (value) => decimalText(value as bigint, 3),
  },
];

interface TimeKind {
  readonly type: FieldType;
  readonly values: fc.Arbitrary<Value>;
  readonly ms: (value: bigint) => number;
}

const floorDivide = (value: bigint, by: bigint) => value >= 0n ? value / by : -((-value + by - 1n) / by);
const TIMES: TimeKind[] = [
  { type: { type: "timestamp-millis", nullable: true }, values: fc.bigInt(-9_000n, 9_000n), ms: Number },
  { type: { type: "long", nullable: false }, values: fc.bigInt(-9_000n, 9_000n), ms: Number },
  {
    type: { type: "timestamp-micros", nullable: false },
    values: fc.bigInt(-9_000_000n, 9_000_000n),
    ms: (value) => Number(floorDivide(value, 1000n)),
  },
  { type: { type: "date", nullable: true }, values: fc.bigInt(-3n, 3n), ms: (value) => 86_400_000 * Number(value) },
];

/** Records without a timestamp of their own. */
const timestamps = new Float64Array(40).fill(-1);

const BEYOND = fc.constantFrom(2n ** 62n, -(2n ** 62n));
const SUMMED: FieldType = { type: "long", nullable: true };

const anyCase = fc.record({
  keys: fc.array(fc.constantFrom(...KEYS), { maxLength: 3 }),
  time: fc.constantFrom(...TIMES),
  sizeMs: fc.constantFrom(1, 7, 1000, 86_400_000),
  offsetMs: fc.constantFrom(0, 3),
  latenessMs: fc.constantFrom(0, 500, 100_000),
  raisedToMs: fc.option(fc.integer({ min: -9000, max: 9000 })),
}).chain((shape) =>
  fc.record({
    shape: fc.constant(shape),
    chunks: fc.array(
      fc.record({
        flush: fc.boolean(),
        rows: fc.array(
          fc.record({
            chosen: fc.boolean(),
            time: fc.oneof(
              {
                weight: 30,
                arbitrary: shape.time.type.nullable ? fc.option(shape.time.values, { freq: 20 }) : shape.time.values,
              },
              { weight: 1, arbitrary: shape.time.type.type === "date" ? shape.time.values : BEYOND },
            ),
            keys: fc.tuple(
              ...shape.keys.map(({ type, values }) => type.nullable ? fc.option(values, { freq: 4 }) : values),
            ),
            value: fc.option(fc.bigInt(-100n, 100n)),
          }),
          { maxLength: 40 },
        ),
      }),
      { maxLength: 5 },
    ),
  })
);

function rowsOf({ values, length }: ResultRows): unknown[][] {
  return Array.from({ length }, (_, row) => values.map((column) => column[row]));
}

const text = (value: unknown) => JSON.stringify(value, (_, inner) => typeof inner === "bigint" ? `${inner}n` : inner);

Deno.test("windows, keys, lateness and counts are those of a plain map, for all types of keys and times", () => {
  fc.assert(
    fc.property(anyCase, ({ shape, chunks }) => {
      const { keys, time, sizeMs, offsetMs, latenessMs } = shape;
      const types = [time.type, ...keys.map(({ type }) => type), SUMMED];
      const plan = planOver(types, {
        keys: keys.map((_, i) => i + 1),
        window: { kind: "tumbling", sizeMs, offsetMs },
        allowedLatenessMs: latenessMs,
      });
      const operator = new WindowAggregate(plan, 40);
      const watermark = new PartitionWatermark(latenessMs);
      const state = new WindowState(plan);
      const model = new Map<string, { key: unknown[]; start: number; n: number; total: bigint | null }>();
      let most = -Infinity;
      let raised = -Infinity;
      chunks.forEach((chunk, number) => {
        if (number === 1 && shape.raisedToMs !== null) watermark.raise(raised = shape.raisedToMs);
        const columns = chunkOf(types, chunk.rows.map(({ time, keys, value }) => [time, ...keys, value] as Value[]));
        const selection = Int32Array.from(chunk.rows.keys().filter((row) => chunk.rows[row].chosen));
        const folded = operator.fold(columns, { selection, selected: selection.length, watermark, timestamps });
        const late: number[] = [];
        const untimed: number[] = [];
        let aggregated = 0;
        chunk.rows.forEach((row, i) => {
          const ms = row.time === null ? NaN : time.ms(row.time as bigint);
          const usable = ms >= Date.UTC(-4000, 0, 1) && ms <= Date.UTC(9999, 11, 31, 23, 59, 59, 999);
          if (usable) most = Math.max(most, ms);
          if (!row.chosen) return;
          if (!usable) return untimed.push(i);
          const start = Math.floor((ms - offsetMs) / sizeMs) * sizeMs + offsetMs;
          assert.ok(start <= ms && ms < start + sizeMs);
          if (start + sizeMs <= Math.max(most - latenessMs, raised)) return late.push(i);
          aggregated++;
          const key = (row.keys as Value[]).map((value, k) => value === null ? null : keys[k].show(value));
          const pane = model.get(text([key, start])) ?? { key, start, n: 0, total: null };
          pane.n++;
          if (row.value !== null) pane.total = (pane.total ?? 0n) + row.value;
          model.set(text([key, start]), pane);
        });
        assert.equal(folded.aggregated, aggregated);
        assert.deepEqual([...folded.late.subarray(0, folded.lateLength)], late);
        assert.deepEqual([...folded.unusable.subarray(0, folded.unusableLength)], untimed);
        assert.equal(watermark.currentMs, Math.max(most - latenessMs, raised), "filtered rows tell the time too");
        if (chunk.flush) {
          state.merge(operator.panes.batch());
          operator.panes.clear();
        }
      });
      state.merge(operator.panes.batch());
      const expected = [...model.values()].map(({ key, start, n, total }) =>
        text([...key, start, start + sizeMs, n, total === null ? null : String(total), n, true])
      );
      assert.equal(state.openPanes, expected.length);
      assert.deepEqual(rowsOf(state.publish(Infinity, false)).map(text).sort(), expected.sort());
      assert.equal(state.openWindows, 0);
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("a window holds its start and not its end, before 1970 too", () => {
  const types: FieldType[] = [{ type: "timestamp-millis", nullable: false }, SUMMED];
  const operator = new WindowAggregate(planOver(types, { keys: [], allowedLatenessMs: 10_000 }), 10);
  const times = [-1001n, -1000n, -1n, 0n, 999n, 1000n];
  const columns = chunkOf(types, times.map((time) => [time, null]));
  const watermark = new PartitionWatermark(10_000);
  operator.fold(columns, { selection: Int32Array.of(0, 1, 2, 3, 4, 5), selected: 6, watermark, timestamps });
  const { windows, counts } = operator.panes.batch();
  assert.deepEqual([...windows].map((start, i) => [start, counts[i]]), [[-2000, 1], [-1000, 2], [0, 2], [1000, 1]]);
});

Deno.test("equal uuids are one key however they are written", () => {
  const types: FieldType[] = [
    { type: "timestamp-millis", nullable: false },
    { type: "uuid", nullable: false },
    SUMMED,
  ];
  const operator = new WindowAggregate(planOver(types, { keys: [1] }), 10);
  const id = "0190a6e4-8C5b-7abc-9def-0123456789aB";
  const columns = chunkOf(types, [id.toUpperCase(), id.toLowerCase(), id].map((id) => [0n, id, null]));
  const watermark = new PartitionWatermark(0);
  operator.fold(columns, { selection: Int32Array.of(0, 1, 2), selected: 3, watermark, timestamps });
  assert.equal(operator.panes.length, 1);
  const state = new WindowState(planOver(types, { keys: [1] }));
  state.merge(operator.panes.batch());
  assert.equal(state.publish(Infinity, false).values[0][0], id.toLowerCase());
});

Deno.test("an event time far ahead of the record's own timestamp is not believed, and moves no watermark", () => {
  const types: FieldType[] = [{ type: "timestamp-millis", nullable: false }, SUMMED];
  const operator = new WindowAggregate(planOver(types, { keys: [] }), 10);
  const own = 1_000_000;
  const times = [own + AHEAD_MS_MAX + 1, own + AHEAD_MS_MAX - 1, own + AHEAD_MS_MAX + 1];
  const columns = chunkOf(types, times.map((time) => [BigInt(time), null]));
  columns.source.set([0, 1, 2]);
  const watermark = new PartitionWatermark(0);
  const folded = operator.fold(columns, {
    selection: Int32Array.of(0, 1, 2),
    selected: 3,
    watermark,
    timestamps: Float64Array.of(own, own, -1),
  });
  assert.deepEqual(
    [...folded.unusable.subarray(0, folded.unusableLength)],
    [0],
    "the last has no timestamp to compare with",
  );
  assert.equal(folded.aggregated, 2);
});

Deno.test("a date or time that no result can hold sets its record aside where it would get into one", () => {
  const types: FieldType[] = [
    { type: "timestamp-millis", nullable: false },
    { type: "date", nullable: true },
    { type: "timestamp-micros", nullable: true },
    { type: "timestamp-millis", nullable: false },
  ];
  const max = { kind: "max", field: 2 } as const;
  const operator = new WindowAggregate(planOver(types, { keys: [1], accumulators: [max], select: [] }), 10);
  const lastDay = BigInt(Date.UTC(9999, 11, 31) / 86_400_000);
  const rows: Value[][] = [
    [0n, 0n, 0n, 0n],
    [0n, lastDay, null, 2n ** 62n],
    [0n, null, BigInt(Date.UTC(9999, 11, 31)) * 1000n, 0n],
    [0n, lastDay + 1n, 0n, 0n],
    [0n, -(2n ** 31n), 0n, 0n],
    [0n, 0n, 2n ** 63n - 1n, 0n],
    [0n, 0n, -(2n ** 63n), 0n],
  ];
  const folded = operator.fold(chunkOf(types, rows), {
    selection: Int32Array.from(rows, (_, row) => row),
    selected: rows.length,
    watermark: new PartitionWatermark(0),
    timestamps,
  });
  assert.deepEqual([...folded.unusable.subarray(0, folded.unusableLength)], [3, 4, 5, 6]);
  assert.deepEqual([...folded.beyond!.subarray(0, rows.length)], [0, 0, 0, 1, 1, 1, 1]);
  assert.equal(folded.aggregated, 3);
});

Deno.test("a key that cannot be published sets its record aside, whether it is new or not", () => {
  const writer = new GroupKeyWriter([0], [{ type: "string", nullable: false }], 4);
  const columns = new Columns([{ type: "string", nullable: false }], 4);
  const text = new TextEncoder();
  const keys = [
    text.encode("größe"),
    Uint8Array.of(0x61, 0xff),
    new Uint8Array(GROUP_KEY_BYTES_MAX).fill(0x61),
    new Uint8Array(GROUP_KEY_BYTES_MAX + 1).fill(0x61),
  ];
  const data = new Uint8Array(keys.reduce((sum, key) => sum + key.length, 0));
  let at = 0;
  keys.forEach((key, row) => {
    data.set(key, at);
    columns.columns[0].ints[2 * row] = at;
    columns.columns[0].ints[2 * row + 1] = at += key.length;
  });
  columns.columns[0].data = data;
  columns.length = keys.length;
  assert.deepEqual(keys.map((_, row) => writer.isUsable(columns, row)), [true, false, true, false]);
});
