import assert from "node:assert/strict";
import { ConfigError } from "../../pipeline/errors.ts";
import { AttemptTable } from "../../pipeline/letters/attempt_table.ts";
import { Journal, journalRecord } from "../../pipeline/letters/journal.ts";
import type { Letter } from "../../pipeline/letters/letter.ts";
import { bytes, signal } from "./desk.ts";
import { MemoryLog } from "./memory_log.ts";

const LETTER: Letter = {
  kind: "late",
  topic: "in",
  partition: 1,
  offset: 4,
  pipeline: "p",
  source: { topic: "in", partition: 3, offset: 900 },
  originalOffset: 17,
  timestampMs: 0,
  cause: "",
  schemaId: 1,
  attempt: 0,
  windowStartMs: null,
  isBatch: false,
  key: null,
  valueBytes: 1,
};

function line(attempt: number, changes: Partial<Letter> = {}) {
  return journalRecord({ letter: { ...LETTER, ...changes }, attempt, atMs: 0, edited: false });
}

Deno.test("a table of attempts holds what a map holds, whatever the offsets are", () => {
  const table = new AttemptTable();
  const map = new Map<number, number>();
  for (let i = 0; i < 20_000; i++) {
    // In a row, far apart, and beyond 32 bits.
    const offset = i % 3 === 0 ? i : i % 3 === 1 ? i * 1_000_003 : 2 ** 40 + i * 2 ** 32;
    const attempt = 1 + i % 3;
    table.raise(offset, attempt);
    map.set(offset, Math.max(attempt, map.get(offset) ?? 0));
  }
  assert.equal(table.length, map.size);
  for (const [offset, attempt] of map) assert.equal(table.get(offset), attempt);
  for (let i = 0; i < 1_000; i++) assert.equal(table.get(3 * i + 1), map.get(3 * i + 1) ?? 0);
});

Deno.test("the journal knows the most attempts of an original, per pipeline and partition", async () => {
  const log = new MemoryLog();
  log.make("in.redriven", 1);
  const journal = new Journal(log, "in");
  log.append("in.redriven", 0, line(2), line(1), line(1, { pipeline: "q/x" }));
  await journal.refresh(signal);
  assert.equal(journal.attemptsOf(LETTER), 2);
  assert.equal(journal.attemptsOf({ ...LETTER, pipeline: "q/x" }), 1);
  assert.equal(journal.attemptsOf({ ...LETTER, pipeline: "q" }), 0);
  assert.equal(journal.attemptsOf({ ...LETTER, originalOffset: 18 }), 0);
  assert.equal(journal.attemptsOf({ ...LETTER, source: null }), 0);
  assert.equal(journal.wasRedriven({ ...LETTER, attempt: 1 }), true);
  assert.equal(journal.wasRedriven({ ...LETTER, attempt: 2 }), false);
});

Deno.test("only what is new is read, and a topic that was made anew from its start", async () => {
  const log = new MemoryLog();
  log.make("in.redriven", 1);
  const journal = new Journal(log, "in");
  log.append("in.redriven", 0, line(1), line(1));
  await Promise.all([journal.refresh(signal), journal.refresh(signal)]);
  assert.equal(log.recordsRead, 2);
  log.append("in.redriven", 0, line(2));
  await journal.refresh(signal);
  assert.equal(log.recordsRead, 3);
  assert.equal(journal.attemptsOf(LETTER), 2);
  log.make("in.redriven", 1);
  log.append("in.redriven", 0, line(1, { originalOffset: 5 }));
  await journal.refresh(signal);
  assert.equal(journal.attemptsOf(LETTER), 0);
  assert.equal(journal.attemptsOf({ ...LETTER, originalOffset: 5 }), 1);
});

Deno.test("records of others in the journal change nothing", async () => {
  const log = new MemoryLog();
  log.make("in.redriven", 1);
  const of = (key: string | null, value: string | null) => ({
    key: key === null ? null : bytes(key),
    value: value === null ? null : bytes(value),
    headers: [],
    timestampMs: 0,
  });
  log.append("in.redriven", 0, of(null, "{}"), of("p/3/17", "?"), of("p/3/17", "null"), of("p/3/17", '{"attempt":-1}'));
  log.append("in.redriven", 0, of("p/3", '{"attempt":1}'), of("p/3/17", null), of("p/3/x", '{"attempt":1}'));
  const journal = new Journal(log, "in");
  await journal.refresh(signal);
  assert.equal(journal.attemptsOf(LETTER), 0);
});

Deno.test("more redriven letters than are remembered are told, with what to do", async () => {
  const log = new MemoryLog();
  log.make("in.redriven", 1);
  for (let offset = 0; offset < 4; offset++) log.append("in.redriven", 0, line(1, { originalOffset: offset }));
  await new Journal(log, "in", { entriesMax: 4 }).refresh(signal);
  await assert.rejects(new Journal(log, "in", { entriesMax: 3 }).refresh(signal), (error) => {
    assert.ok(error instanceof ConfigError);
    assert.match(error.message, /topic in\.redriven: tells of more than 3 redriven letters; delete/);
    return true;
  });
});
