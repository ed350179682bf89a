import assert from "node:assert/strict";
import type { TopicRecord } from "../e2e/topic_reader.ts";
import { Acknowledged } from "./acknowledged.ts";
import type { Row } from "./expected.ts";
import { Findings } from "./findings.ts";
import { good, transaction } from "./records.ts";
import { compareRows, TopicView } from "./results.ts";

const ROW: Row = { n: 2, totalCents: 300, mean: 1.5, largestCents: 200, final: true };

function counted(found: Findings) {
  return [found.lost, found.duplicated, found.wrong];
}

Deno.test("rows that lack records are lost, that have more are duplicated, that say something else are wrong", () => {
  const compare = (changes: Partial<Row> & { readonly revision?: number }) => {
    const findings = new Findings();
    compareRows("table", new Map([["a 0", ROW]]), new Map([["a 0", { ...ROW, revision: 2, ...changes }]]), findings);
    return counted(findings);
  };
  assert.deepEqual(compare({}), [0, 0, 0]);
  assert.deepEqual(compare({ revision: 3e12 + 2 }), [0, 0, 0], "of a later generation");
  assert.deepEqual(compare({ n: 1, revision: 1 }), [1, 0, 0]);
  assert.deepEqual(compare({ n: 3, revision: 3 }), [0, 1, 0]);
  for (const change of [{ totalCents: 301 }, { mean: 1.4 }, { largestCents: 100 }, { final: false }, { revision: 1 }]) {
    assert.deepEqual(compare(change), [0, 0, 1], JSON.stringify(change));
  }
  const findings = new Findings();
  compareRows("table", new Map([["a 0", ROW]]), new Map([["b 0", { ...ROW, revision: 2 }]]), findings);
  assert.deepEqual(counted(findings), [1, 0, 1], "one is absent, one nothing gives");
});

Deno.test("a reader must not see one revision twice, nor an older one after a newer one", () => {
  const take = (...revisions: readonly (readonly [revision: number, final: boolean])[]) => {
    const findings = new Findings();
    const view = new TopicView("topic", findings);
    revisions.forEach(([revision, final], offset) => view.take(resultRecord({ offset, revision, final })));
    return counted(findings);
  };
  assert.deepEqual(take([1, false], [2, false], [2, true], [1e12 + 1, false]), [0, 0, 0]);
  assert.deepEqual(take([1, false], [1, false]), [0, 1, 0]);
  assert.deepEqual(take([2, true], [2, true]), [0, 1, 0]);
  assert.deepEqual(take([2, false], [1, false]), [0, 0, 1]);
  assert.deepEqual(take([2, true], [2, false]), [0, 0, 1]);
});

Deno.test("what was acknowledged and is not found is missing, and what stands in its place is another", async () => {
  const path = await Deno.makeTempFile();
  try {
    using acknowledged = new Acknowledged(path);
    const records = [1, 2, 3].map((n) => ({ ...good(n, transaction(1, n, 0), 7), partition: 0 }));
    await acknowledged.note("t", 10, records);
    assert.equal(acknowledged.found(0, 10, 1), "as acknowledged");
    assert.equal(acknowledged.found(0, 11, 99), "another");
    assert.equal(acknowledged.found(0, 13, 4), "not acknowledged");
    assert.deepEqual(acknowledged.missing().map(({ offset }) => offset), [11, 12]);
    const lines = (await Deno.readTextFile(path)).trim().split("\n").map((line) => JSON.parse(line));
    assert.deepEqual(lines.map(({ topic, partition, offset, n }) => [topic, partition, offset, n]), [
      ["t", 0, 10, 1],
      ["t", 0, 11, 2],
      ["t", 0, 12, 3],
    ]);
  } finally {
    await Deno.remove(path);
  }
});

function resultRecord(
  { offset, revision, final }: { offset: number; revision: number; final: boolean },
): TopicRecord {
  const headers = { window_start: "0", revision: String(revision), final: String(final) };
  return { partition: 0, offset, timestampMs: 0, key: new TextEncoder().encode("a"), value: null, headers };
}
