import assert from "node:assert/strict";
import type { Difference } from "../../pipeline/audit/compare.ts";
import { Marks, MARKS_MAX } from "../../pipeline/audit/marks.ts";
import {
  DIFFERENCES_MAX,
  DIFFERENCES_OF_WINDOW_MAX,
  type PlacedDifference,
  WindowBook,
} from "../../pipeline/audit/window_book.ts";
import type { Settled } from "../../pipeline/runtime/settled.ts";

const DIGESTS = new Map([["t", "1"]]);
const book = () => new WindowBook({ sizeMs: 10, offsetMs: 0 });

function differences(count: number, kind: Difference["kind"] = "wrong"): PlacedDifference[] {
  const at = { expected: 0, actual: 0 };
  const difference = { kind, windowStartMs: 0, key: [], columns: [], expected: null, actual: null, at };
  return Array.from({ length: count }, () => ({ place: { kind: "postgres", name: "t" }, difference }));
}

Deno.test("windows are counted by what was found of them, differences by place and kind", () => {
  const windows = book();
  windows.agree(0, DIGESTS);
  windows.agree(10, DIGESTS);
  windows.leave(20, "why", DIGESTS);
  windows.differ(30, [...differences(2), ...differences(3, "extra")], { digests: DIGESTS, foundMs: 1 });
  windows.suspicions.set(40, { signature: "", atMs: 0, positions: new Map() });
  const { notAuditable, ...figures } = windows.figures();
  assert.deepEqual(figures, {
    audited: 3,
    agreeing: 2,
    differing: 1,
    suspected: 1,
    differences: [{ kind: "postgres", name: "t", counts: { wrong: 2, missing: 0, extra: 3 } }],
  });
  assert.deepEqual([...notAuditable], [["why", 1]]);
  windows.agree(30, DIGESTS);
  assert.deepEqual(windows.figures().differences, []);
  assert.deepEqual(windows.differences(10), []);
});

Deno.test("a bounded number of differences is kept, of each window and of all; all are counted", () => {
  const windows = book();
  windows.differ(0, differences(1_000), { digests: DIGESTS, foundMs: 1 });
  assert.equal(windows.differences(10_000).length, DIFFERENCES_OF_WINDOW_MAX);
  for (let i = 1; i <= 20; i++) windows.differ(10 * i, differences(500), { digests: DIGESTS, foundMs: 1 });
  // Of each window that differs at least one.
  const most = DIFFERENCES_MAX + 20;
  assert.ok(windows.differences(10_000).length <= most, `${windows.differences(10_000).length}`);
  assert.equal(windows.figures().differences[0].counts.wrong, 11_000);
  for (let i = 0; i <= 20; i++) windows.agree(10 * i, DIGESTS);
  windows.differ(0, differences(100), { digests: DIGESTS, foundMs: 1 });
  assert.equal(windows.differences(10_000).length, 100);
});

Deno.test("beyond the bound the oldest windows are forgotten", () => {
  const windows = book();
  for (let i = 0; i < 100; i++) windows.agree(10 * i, DIGESTS);
  assert.equal(windows.trim(100), null);
  windows.agree(1_000, DIGESTS);
  assert.equal(windows.trim(100), 110);
  assert.deepEqual([windows.size, windows.get(100), windows.get(110) === undefined], [90, undefined, false]);
});

Deno.test("windows in a range are found, also those that start where no window does", () => {
  const windows = book();
  for (const start of [0, 10, 15, 20, 30]) windows.agree(start, DIGESTS);
  const between = (from: number, to: number) => windows.between(from, to).map(([start]) => start).sort((a, b) => a - b);
  assert.deepEqual(between(10, 30), [10, 15, 20]);
  assert.deepEqual(between(-10_000, 10_000), [0, 10, 15, 20, 30]);
  windows.forget(15);
  assert.deepEqual(between(10, 20), [10]);
});

function mark(epoch: number, changes: Partial<Settled> = {}): Settled {
  const buckets = { consumed: 0, aggregated: 0, filtered: 0, late: 0, dead: 0, duplicate: 0 };
  const place = { partition: 0, start: 0, position: 10 * epoch, maxEventTimeMs: null, raisedToMs: null };
  return {
    generation: 0,
    floorMs: null,
    topicId: null,
    epoch,
    savedAtMs: 1000 * epoch,
    watermarkMs: epoch,
    partitions: [{ ...place, buckets, redriven: [] }],
    ...changes,
  };
}

Deno.test("the newest commit counts whose records the archive holds, however many there were since", () => {
  const marks = new Marks();
  const newest = (position: number) => marks.newest(new Map([[0, position]]))?.epoch ?? null;
  assert.equal(newest(100), null);
  for (let epoch = 1; epoch <= 3; epoch++) marks.note(mark(epoch));
  assert.deepEqual([newest(9), newest(10), newest(29), newest(30)], [null, 1, 2, 3]);
  assert.equal(marks.before(2_500)?.epoch, 2);
  for (let epoch = 4; epoch <= 10 * MARKS_MAX; epoch++) marks.note(mark(epoch));
  const last = 10 * MARKS_MAX;
  assert.equal(newest(10 * last), last);
  // Older ones grow sparse.
  assert.ok(last - newest(10 * last - 1)! <= 2 && newest(10 * last / 2) !== null);
});

Deno.test("a rewind, another topic and a crash make earlier commits void", () => {
  for (
    const next of [mark(3, { generation: 1 }), mark(3, { topicId: "other" }), mark(1, { epoch: 3, savedAtMs: 9e9 })]
  ) {
    const marks = new Marks();
    marks.note(mark(1));
    marks.note(mark(2));
    marks.note(next);
    assert.equal(marks.newest(new Map([[0, 1_000]])), next);
    assert.equal(marks.before(2_500), next.savedAtMs < 2_500 ? next : null);
  }
});
