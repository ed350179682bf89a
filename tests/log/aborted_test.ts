import assert from "node:assert/strict";
import fc from "fast-check";
import type { AbortedTransaction } from "../../pipeline/log/record_batch.ts";
import { batchOf, concat, inTransaction, marker, plain, scanAll, withRecords } from "./batches.ts";
import { COMPRESSORS } from "./compressors.ts";

const text = (bytes: Uint8Array | null) => new TextDecoder().decode(bytes!);

/** One batch of a log: data in or outside of a transaction, or a transaction's end. */
interface Step {
  readonly producer: number;
  readonly kind: "data" | "plain" | "commit" | "abort";
  readonly records: number;
  readonly codec: number;
}

const anyStep: fc.Arbitrary<Step> = fc.record({
  producer: fc.integer({ min: 1, max: 3 }),
  kind: fc.constantFrom("data", "data", "plain", "commit", "abort"),
  records: fc.integer({ min: 1, max: 4 }),
  codec: fc.nat(4),
});

interface Log {
  readonly batches: { readonly bytes: Uint8Array; readonly first: number; readonly last: number }[];
  /** What a reader of committed records sees. */
  readonly committed: { readonly offset: number; readonly value: string }[];
  readonly aborted: (AbortedTransaction & { readonly end: number })[];
  readonly end: number;
}

/** The log that the steps make, each transaction ended at last. */
function logOf(steps: readonly Step[]): Log {
  const log: Log & { end: number } = { batches: [], committed: [], aborted: [], end: 0 };
  const open = new Map<number, { first: number; values: { offset: number; value: string }[] }>();
  const push = (bytes: Uint8Array, count: number) => {
    log.batches.push({ bytes, first: log.end, last: log.end + count - 1 });
    log.end += count;
  };
  const end = (producer: number, how: "commit" | "abort") => {
    const transaction = open.get(producer);
    open.delete(producer);
    if (transaction && how === "commit") log.committed.push(...transaction.values);
    if (transaction && how === "abort") {
      log.aborted.push({ producerId: BigInt(producer), firstOffset: transaction.first, end: log.end });
    }
    push(marker(BigInt(producer), how, log.end), 1);
  };
  for (const { producer, kind, records, codec } of steps) {
    if (kind === "commit" || kind === "abort") {
      end(producer, kind);
      continue;
    }
    const first = log.end;
    const values = Array.from(
      { length: records },
      (_, i) => ({ offset: first + i, value: `${producer}/${first + i}` }),
    );
    let batch: Uint8Array = batchOf(plain(...values.map(({ value }) => value)), first);
    if (codec > 0) batch = withRecords(batch, codec, COMPRESSORS[codec].compress(batch.subarray(61)));
    if (kind === "plain") {
      log.committed.push(...values);
    } else {
      inTransaction(batch, BigInt(producer));
      const transaction = open.get(producer) ?? { first, values: [] };
      transaction.values.push(...values);
      open.set(producer, transaction);
    }
    push(batch, records);
  }
  for (const producer of [...open.keys()]) end(producer, "commit");
  log.committed.sort((a, b) => a.offset - b.offset);
  return log;
}

Deno.test("of any log only committed records are read, from any offset, up to any other, whatever was fetched with it", () => {
  fc.assert(fc.property(
    fc.array(anyStep, { maxLength: 25 }),
    fc.nat(),
    fc.nat(),
    fc.nat(),
    fc.integer({ min: 1, max: 8 }),
    (steps, from, before, to, capacity) => {
      const log = logOf(steps);
      const fromOffset = from % (log.end + 1);
      const until = fromOffset + to % (log.end + 2 - fromOffset);
      // A fetch may have begun earlier than its records are wanted.
      const fetched = before % (fromOffset + 1);
      const batches = log.batches.filter(({ last }) => last >= fetched);
      const aborted = log.aborted.filter(({ end }) => end >= fetched);
      const { records, nextOffset, unreadable } = scanAll(concat(batches.map(({ bytes }) => bytes)), {
        fromOffset,
        until,
        capacity,
        aborted: aborted.toReversed(),
      });
      assert.deepEqual(unreadable, []);
      assert.deepEqual(
        records.map(({ offset, value }) => ({ offset, value: text(value) })),
        log.committed.filter(({ offset }) => offset >= fromOffset && offset < until),
      );
      assert.equal(nextOffset, Math.max(fromOffset, Math.min(until, log.end)));
    },
  ));
});

Deno.test("a position moves past what is void at the end of a frame, and past a marker", () => {
  const frame = concat([inTransaction(batchOf(plain("a", "b"), 5), 9n), marker(9n, "abort", 7)]);
  const aborted = [{ producerId: 9n, firstOffset: 5 }];
  const { records, nextOffset } = scanAll(frame, { fromOffset: 5, aborted });
  assert.deepEqual([records, nextOffset], [[], 8]);
});

Deno.test("a batch that cannot be read counts up to the wanted offset, and the rest of it afterwards", () => {
  const damaged = withRecords(batchOf(plain("a", "b", "c", "d"), 10), 1, new Uint8Array(40).fill(7));
  const first = scanAll(damaged, { fromOffset: 10, until: 12 });
  assert.deepEqual([first.unreadable[0].offset, first.unreadable[0].count, first.nextOffset], [10, 2, 12]);
  const rest = scanAll(damaged, { fromOffset: 12 });
  assert.deepEqual([rest.unreadable[0].offset, rest.unreadable[0].count, rest.nextOffset], [12, 2, 14]);
});

Deno.test("an offset that a compacted log lacks ends the reading where it would be", () => {
  const frame = concat([batchOf(plain("a"), 3), batchOf(plain("b", "c"), 9)]);
  const { records, nextOffset } = scanAll(frame, { fromOffset: 3, until: 7 });
  assert.deepEqual([records.map(({ offset }) => offset), nextOffset], [[3], 7]);
});
