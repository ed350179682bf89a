import assert from "node:assert/strict";
import type { DataFile } from "../../../../pipeline/sinks/lake/delta/table.ts";
import { groupsOf, REWRITES_MAX } from "../../../../pipeline/sinks/lake/results/merge.ts";

const MEGABYTE = 1024 ** 2;

/** A file of one minute. */
function file(minute: number, { bytes = MEGABYTE, day = "2026-01-01" } = {}): DataFile {
  const window_start = new Date(Date.UTC(2026, 0, 1) + minute * 60_000).toISOString();
  return {
    path: `part-${minute}`,
    partitionValues: { window_date: day },
    bytes,
    modifiedMs: 0,
    stats: { numRecords: 1, minValues: { window_start }, maxValues: { window_start }, nullCount: {} },
  };
}

const places = (files: readonly DataFile[]) => Array.from(files.keys());

Deno.test("few files are rewritten each by itself", () => {
  const files = Array.from({ length: REWRITES_MAX }, (_, minute) => file(minute));
  assert.deepEqual(groupsOf(places(files), files), places(files).map((place) => [place]));
  assert.deepEqual(groupsOf([], files), []);
});

Deno.test("many are rewritten with their neighbours in time, in few groups, and never two days together", () => {
  const days = ["2026-01-01", "2026-01-02"].map((day) =>
    Array.from({ length: 60 }, (_, minute) => file((minute * 37) % 60, { day }))
  );
  const files = days.flat();
  const groups = groupsOf(places(files), files);
  assert.deepEqual(groups.flat().sort((a, b) => a - b), places(files));
  assert.equal(groups.length, 2 * Math.ceil(60 / Math.ceil(60 / REWRITES_MAX)));
  for (const group of groups) {
    assert.equal(new Set(group.map((place) => files[place].partitionValues.window_date)).size, 1);
    const minutes = group.map((place) => Number(files[place].path.slice(5)));
    assert.deepEqual(minutes, minutes.map((_, i) => minutes[0] + i));
  }
});

Deno.test("large files stay by themselves, however many there are, and files without bounds are not left out", () => {
  const large = Array.from({ length: 20 }, (_, minute) => file(minute, { bytes: 40 * MEGABYTE }));
  assert.equal(groupsOf(places(large), large).length, 20);
  const unknown = Array.from({ length: 20 }, (_, minute) => ({ ...file(minute), stats: null }));
  assert.deepEqual(groupsOf(places(unknown), unknown).flat().sort((a, b) => a - b), places(unknown));
});
