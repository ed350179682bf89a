import assert from "node:assert/strict";
import { systemClock } from "../../pipeline/clock.ts";
import { ConflictError, UnavailableError } from "../../pipeline/errors.ts";
import { positionTopic } from "../../pipeline/sources/positions.ts";
import type { ReadOptions, Source, SourceBatch, SourcePosition } from "../../pipeline/sources/source.ts";
import { runSource, type SourceTaskOptions } from "../../pipeline/sources/source_task.ts";
import type { SourceState } from "../../pipeline/sources/positions.ts";
import { MemoryLog } from "../sinks/memory_log.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (value: Uint8Array | null) => new TextDecoder().decode(value!);
const COUNT = 500;

/** Counts to `COUNT` in batches of odd sizes; every seventh number is no record, and every eleventh was met before. */
class Numbers implements Source {
  readonly confirmed: number[] = [];
  readonly #random: () => number;
  closed = false;

  constructor(random: () => number) {
    this.#random = random;
  }

  async *read(position: SourcePosition | null, { signal }: ReadOptions): AsyncGenerator<SourceBatch> {
    let next = (position?.next as number) ?? 0;
    while (next < COUNT) {
      signal.throwIfAborted();
      const end = Math.min(COUNT, next + 1 + Math.floor(this.#random() * 20));
      const all = Array.from({ length: end - next }, (_, i) => next + i);
      const plain = all.filter((n) => n % 7 !== 0 && n % 11 !== 0);
      next = end;
      yield {
        records: plain.map((n) => ({ key: bytes(`k${n % 5}`), value: bytes(`${n}`), headers: [], timestampMs: n })),
        rejected: all.filter((n) => n % 7 === 0).map((n) => ({
          raw: bytes(`${n}`),
          reason: "seven",
          where: `at ${n}`,
        })),
        skipped: all.filter((n) => n % 7 !== 0 && n % 11 === 0).length,
        position: { next },
      };
      await Promise.resolve();
    }
  }

  committed(position: SourcePosition): void {
    this.confirmed.push(position.next as number);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }
}

/** Mulberry32, so that a failure can be run again. */
function seeded(seed: number): () => number {
  return () => {
    seed = seed + 0x6d2b79f5 | 0;
    let t = Math.imul(seed ^ seed >>> 15, 1 | seed);
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t;
    return ((t ^ t >>> 14) >>> 0) / 4294967296;
  };
}

function optionsOf(log: MemoryLog, source: Source, states: SourceState[] = []): SourceTaskOptions {
  return {
    name: "numbers",
    topic: "numbers",
    rejectedTopic: "numbers.rejected",
    clock: systemClock,
    publisher: log.publisher("tailrace.source.numbers"),
    log,
    open: () => Promise.resolve(source),
    limit: () => Promise.resolve(),
    onWaiting: () => {},
    onState: (state) => void states.push(state),
  };
}

const isBounded = true;
const signal = new AbortController().signal;

Deno.test("whatever becomes of requests, and however often it starts again, each number is in its topic once and in order of its key", async () => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = seeded(seed);
    const fates = ["refuse", "lose", "late"] as const;
    const log = new MemoryLog({
      fate: () => random() < 0.08 ? fates[Math.floor(random() * fates.length)] : "pass",
    });
    const states: SourceState[] = [];
    const confirmed: number[] = [];
    let runs = 0;
    for (;; runs++) {
      assert.ok(runs < 500, `seed ${seed}: ${runs} runs were not enough`);
      const source = new Numbers(random);
      try {
        await runSource(optionsOf(log, source, states), { signal, isBounded });
        break;
      } catch (error) {
        if (!(error instanceof UnavailableError)) throw error;
        confirmed.push(...source.confirmed);
      }
    }
    log.fate = () => "pass";
    log.settle();
    // What was confirmed to the other side is committed.
    const kept = log.topic(positionTopic("numbers")).flat().map(({ value }) => JSON.parse(text(value)).position.next);
    assert.deepEqual(confirmed.filter((next) => !kept.includes(next)), [], `seed ${seed}`);
    const numbers = log.topic("numbers").map((records) => records.map(({ value }) => Number(text(value))));
    const expected = Array.from({ length: COUNT }, (_, n) => n);
    assert.deepEqual(
      numbers.flat().sort((a, b) => a - b),
      expected.filter((n) => n % 7 !== 0 && n % 11 !== 0),
      `seed ${seed}`,
    );
    for (const records of numbers) {
      for (const key of [0, 1, 2, 3, 4]) {
        const mine = records.filter((n) => n % 5 === key);
        assert.deepEqual(mine, mine.toSorted((a, b) => a - b), `seed ${seed}: the order of key ${key}`);
      }
    }
    const rejected = log.topic("numbers.rejected").flat();
    assert.deepEqual(
      rejected.map(({ value }) => Number(text(value))).sort((a, b) => a - b),
      expected.filter((n) => n % 7 === 0),
      `seed ${seed}`,
    );
    assert.deepEqual(
      Object.fromEntries(rejected[0].headers.map(([name, value]) => [name, text(value)])),
      {
        "tailrace.source": "numbers",
        "tailrace.reason": "seven",
        "tailrace.where": `at ${text(rejected[0].value)}`,
      },
    );
    const { counts, position } = states.at(-1)!;
    assert.deepEqual(position, { next: COUNT }, `seed ${seed}`);
    assert.deepEqual(counts, {
      read: COUNT,
      written: numbers.flat().length,
      rejected: rejected.length,
      skipped: expected.filter((n) => n % 7 !== 0 && n % 11 === 0).length,
    }, `seed ${seed}`);
  }
});

Deno.test("of two processes with one source the later has it, and of the earlier nothing more appears", async () => {
  const log = new MemoryLog();
  const gate = Promise.withResolvers<void>();
  const slow = new Numbers(seeded(1));
  const waiting = { ...optionsOf(log, slow), limit: () => gate.promise };
  const former = runSource(waiting, { signal, isBounded });
  former.catch(() => {}); // looked at below
  await new Promise((resolve) => setTimeout(resolve, 5));
  await runSource(optionsOf(log, new Numbers(seeded(2))), { signal, isBounded });
  gate.resolve();
  await assert.rejects(former, ConflictError);
  const numbers = log.topic("numbers").flat().map(({ value }) => Number(text(value)));
  assert.equal(numbers.length, new Set(numbers).size);
  assert.ok(slow.closed);
});

Deno.test("a stop ends the reading, closes the source and is no failure", async () => {
  const log = new MemoryLog();
  const stop = new AbortController();
  const states: SourceState[] = [];
  const source = new Numbers(seeded(3));
  const options = { ...optionsOf(log, source, states), limit: () => Promise.resolve(stop.abort()) };
  await runSource(options, { signal: stop.signal });
  assert.ok(source.closed);
});

Deno.test("a source whose position grows beyond its bound says what to do", async () => {
  const log = new MemoryLog();
  const source: Source = {
    async *read() {
      yield { records: [], position: { met: "x".repeat(600_000) } };
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  await assert.rejects(
    runSource(optionsOf(log, source), { signal, isBounded }),
    /what it has to remember takes 600\d+ bytes, more than 524288: look back over less time/,
  );
});
