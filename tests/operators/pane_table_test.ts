import assert from "node:assert/strict";
import fc from "fast-check";
import { hashKey, PaneTable } from "../../pipeline/operators/pane_table.ts";

const text = new TextEncoder();

/** Slots as a map would give them. */
function check(table: PaneTable, entries: readonly (readonly [key: string, window: number])[]): void {
  const model = new Map<string, number>();
  for (const [key, window] of entries) {
    const bytes = text.encode(`--${key}`);
    const name = `${window}/${key}`;
    const known = model.get(name) ?? model.size;
    model.set(name, known);
    assert.equal(table.slotOf(bytes, 2, bytes.length, hashKey(bytes, 2, bytes.length), window), known);
  }
  assert.equal(table.length, model.size);
  const read = Array.from({ length: table.length }, (_, slot) => {
    const key = new TextDecoder().decode(table.keys.subarray(table.keyStart(slot), table.keyEnds[slot]));
    return `${table.windows[slot]}/${key}`;
  });
  assert.deepEqual(read, [...model.keys()]);
}

Deno.test("slots are those of a map from window and key, and a cleared table starts again", () => {
  const entry = fc.tuple(fc.string({ maxLength: 6 }), fc.constantFrom(0, 1, 1000, -60_000, 0.5, 8e15));
  fc.assert(
    fc.property(fc.array(fc.array(entry, { maxLength: 200 }), { maxLength: 4 }), (rounds) => {
      const table = new PaneTable();
      for (const entries of rounds) {
        check(table, entries);
        table.clear();
        assert.equal(table.length, 0);
      }
    }),
  );
});

Deno.test("growth past many sizes loses nothing, and the room stays after clearing", () => {
  const table = new PaneTable();
  const entries = Array.from({ length: 40_000 }, (_, i) => [`key ${i % 30_000}`, 1000 * (i % 3)] as const);
  check(table, entries);
  const { capacity } = table;
  assert.ok(capacity >= 30_000);
  table.clear();
  check(table, entries.slice(0, 10));
  assert.equal(table.capacity, capacity);
});

Deno.test("keys that share a hash are told apart by their bytes", () => {
  const table = new PaneTable();
  const keys = Array.from({ length: 500 }, (_, i) => text.encode(`k${i}`));
  const slots = keys.map((key) => table.slotOf(key, 0, key.length, 7, 0));
  assert.deepEqual(slots, [...keys.keys()]);
  assert.deepEqual(keys.map((key) => table.slotOf(key, 0, key.length, 7, 0)), slots);
});

Deno.test("the hash looks at every byte, and at nothing outside", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 20 }), fc.nat(), (bytes, at) => {
      const padded = Uint8Array.of(1, 2, 3, ...bytes, 4, 5);
      const hash = hashKey(bytes, 0, bytes.length);
      assert.equal(hashKey(padded, 3, 3 + bytes.length), hash);
      const other = bytes.slice();
      other[at % bytes.length] ^= 1;
      assert.notEqual(hashKey(other, 0, other.length), hash);
    }),
  );
});

Deno.test("hashes of usual keys spread evenly", () => {
  const buckets = new Int32Array(256);
  for (let i = 0; i < 25_600; i++) {
    const bytes = text.encode(`acc-${String(i).padStart(5, "0")}`);
    buckets[hashKey(bytes, 0, bytes.length) & 255]++;
  }
  assert.ok(
    Math.max(...buckets) < 160 && Math.min(...buckets) > 50,
    `${Math.min(...buckets)} to ${Math.max(...buckets)}`,
  );
});
