import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import assert from "node:assert/strict";
import { judgedTables, rewoundDoubt } from "../../pipeline/audit/judged.ts";
import { LettersAside } from "../../pipeline/audit/letters_aside.ts";
import type { Rewound } from "../../pipeline/checkpoint/checkpoint.ts";
import type { CommittedLog } from "../../pipeline/log/transactions.ts";
import type { Settled } from "../../pipeline/runtime/settled.ts";
import { createSetAsideSink } from "../../pipeline/sinks/set_aside.ts";
import type { SetAsideRecord } from "../../pipeline/sinks/sink.ts";
import { PLANS } from "../letters/desk.ts";
import { MemoryLog } from "../sinks/memory_log.ts";

const [P, Q] = PLANS;
const signal = new AbortController().signal;

async function withConnection(work: (connection: DuckDBConnection) => Promise<void>): Promise<void> {
  const instance = await DuckDBInstance.create(":memory:", { threads: "1" });
  const connection = await instance.connect();
  try {
    await work(connection);
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

async function setAside(
  log: MemoryLog,
  pipeline: string,
  records: readonly (readonly [number, number])[],
  why: "late" | "dead",
) {
  const sink = createSetAsideSink({ publisher: log.publisher(`x.${pipeline}`), log, pipeline, topic: "in" });
  await sink.resume(null, { signal });
  const record = { topic: "in", timestampMs: 0, key: null, value: null, headers: [], reason: "", schemaId: null };
  const all = records.map(([partition, offset]): SetAsideRecord => ({
    ...record,
    partition,
    offset,
    why,
    windowStartMs: 0,
  }));
  await sink.write(all, { epoch: 1, signal });
}

async function rows(connection: DuckDBConnection, table: string): Promise<string[]> {
  const reader = await connection.runAndReadAll(`SELECT part || '/' || place FROM ${table} ORDER BY part, place`);
  return reader.getRows().map(([text]) => String(text));
}

Deno.test("a pipeline's own letters are known by where they lay, and new ones as they come", async () => {
  await withConnection(async (connection) => {
    const log = new MemoryLog({ partitions: 2 });
    await setAside(log, P.name, [[0, 7], [1, 3]], "late");
    await setAside(log, Q.name, [[0, 8]], "late");
    const letters = new LettersAside(P, log);
    await letters.readOn(connection, signal);
    assert.deepEqual(await rows(connection, letters.table), ["0/7", "1/3"]);
    await setAside(log, P.name, [[0, 9]], "dead");
    await letters.readOn(connection, signal);
    assert.deepEqual(await rows(connection, letters.table), ["0/7", "0/9", "1/3"]);
    assert.equal(letters.doubt, null);
  });
});

Deno.test("more letters than are known make doubtful what is computed", async () => {
  await withConnection(async (connection) => {
    const log = new MemoryLog({ partitions: 1 });
    await setAside(log, P.name, [[0, 1], [0, 2], [0, 3]], "late");
    const letters = new LettersAside(P, log, { max: 2 });
    await letters.readOn(connection, signal);
    assert.equal((await rows(connection, letters.table)).length, 2);
    assert.match(letters.doubt!, /more than 2 records were set aside/);
  });
});

Deno.test("letters that were deleted make doubtful what is computed, whether before or after they were read", async () => {
  const deleted = (first: () => number, end: () => number): CommittedLog => ({
    offsets: (_, position) => Promise.resolve(new Map([[0, position === "earliest" ? first() : end()]])),
    read: () => Promise.resolve(new Map([[0, end()]])),
  });
  await withConnection(async (connection) => {
    const before = new LettersAside(P, deleted(() => 5, () => 5));
    await before.readOn(connection, signal);
    assert.match(before.doubt!, /were deleted/);
    await connection.run(`DROP TABLE ${before.table}`);
    let [first, end] = [0, 10];
    const after = new LettersAside(P, deleted(() => first, () => end));
    await after.readOn(connection, signal);
    first = 8;
    await after.readOn(connection, signal);
    assert.equal(after.doubt, null);
    // Made anew: it ends before where it had been read to.
    [first, end] = [0, 2];
    await after.readOn(connection, signal);
    assert.match(after.doubt!, /were deleted/);
  });
});

function settled(rewound: Rewound | null, position = 100): Settled {
  const buckets = { consumed: 0, aggregated: 0, filtered: 0, late: 0, dead: 0, duplicate: 0 };
  const partition = { partition: 0, start: 0, position, maxEventTimeMs: null, raisedToMs: null, buckets };
  const redriven = [{ source: 4, offset: 50, windowStartMs: 0 }];
  return {
    generation: 1,
    floorMs: null,
    topicId: null,
    epoch: 1,
    savedAtMs: 0,
    watermarkMs: 0,
    partitions: [{ ...partition, redriven, rewound }],
  };
}

Deno.test("after a rewind only those letters hold whose records were set aside again", async () => {
  await withConnection(async (connection) => {
    await connection.run(
      "CREATE TEMP TABLE letters AS SELECT * FROM (VALUES (0, 4), (0, 10), (0, 11), (0, 12), (0, 60)) l(part, place)",
    );
    const before = await judgedTables(connection, settled(null), "letters");
    assert.deepEqual(await rows(connection, before.aside), ["0/4", "0/10", "0/11", "0/12", "0/60"]);
    assert.deepEqual(await rows(connection, before.counted), ["0/50"]);
    assert.deepEqual(before.read, [{ partition: 0, from: 0, until: 100 }]);
    const rewound = { from: 10, to: 60, aside: [[11, 12]] as const, isFull: false };
    const after = await judgedTables(connection, settled(rewound), "letters");
    assert.deepEqual(await rows(connection, after.aside), ["0/4", "0/11", "0/60"]);
    assert.equal(rewoundDoubt(settled(rewound)), null);
    assert.match(rewoundDoubt(settled({ ...rewound, isFull: true }))!, /more records were set aside/);
  });
});
