import assert from "node:assert/strict";
import { ConflictError, UnavailableError } from "../../pipeline/errors.ts";
import type { RedriveReport } from "../../pipeline/letters/redrive_request.ts";
import { SelectionError } from "../../pipeline/letters/selection.ts";
import { VirtualClock } from "../../pipeline/testing/virtual_clock.ts";
import { WHOLE_BATCH } from "../../pipeline/sinks/set_aside_headers.ts";
import { bytes, Desk, MINUTE, type Sale, sale, START, text } from "./desk.ts";

const ALL = { filter: {} };
const counts = ({ redriven, skipped, refused }: RedriveReport) => [redriven, skipped, refused];
const place = (offset: number, kind: "late" | "dead" = "late") => ({ kind, topic: "in", partition: 0, offset });

/** What is in topic `in` since the record at `from`, with headers as text. */
function written(desk: Desk, from: number) {
  return desk.log.records("in").filter(({ partition, offset }) => partition === 0 && offset >= from).map((record) => ({
    ...record,
    headers: record.headers.map(([name, value]) => [name, text(value)]),
  }));
}

Deno.test("a redriven record is the original, with its first offset, the attempt and whose letter it was", async () => {
  const desk = new Desk();
  const headers = [["trace", bytes("1")], ["trace", null]] as const;
  await desk.setAside({ key: bytes("key"), value: sale({ pieces: 9 }), headers, timestampMs: START - 5 });
  const report = await desk.redrive();
  assert.deepEqual(counts(report), [1, 0, 0]);
  assert.equal(report.next, null);
  const [{ outcome, reason, target, forecast }] = report.items;
  assert.deepEqual({ outcome, reason, target, forecast }, {
    outcome: "redriven",
    reason: null,
    target: { topic: "in", partition: 0, attempt: 1 },
    forecast: { fate: "aggregated", windowStartMs: START, windowEndMs: START + MINUTE },
  });
  assert.deepEqual(written(desk, 1), [{
    partition: 0,
    offset: 1,
    timestampMs: START - 5,
    key: bytes("key"),
    value: sale({ pieces: 9 }),
    headers: [
      ["trace", "1"],
      ["trace", null],
      ["tailrace.redrive.offset", "0"],
      ["tailrace.redrive.attempt", "1"],
      ["tailrace.redrive.pipeline", "p"],
    ],
  }]);
});

Deno.test("the record and its line in the journal are one transaction", async () => {
  const desk = new Desk();
  await desk.setAside();
  await desk.redrive();
  const [parts] = desk.log.commits.slice(-1);
  assert.deepEqual(parts.map(({ topic, records }) => [topic, records.length]), [["in", 1], ["in.redriven", 1]]);
  const [line] = desk.log.records("in.redriven");
  assert.equal(text(line.key), "p/0/0");
  const { at, ...told } = JSON.parse(text(line.value)!);
  assert.deepEqual(told, { attempt: 1, kind: "late", letter: { partition: 0, offset: 0 }, edited: false });
  assert.ok(Math.abs(Date.parse(at) - Date.now()) < 60_000);
});

Deno.test("a dry run tells all and writes nothing", async () => {
  const desk = new Desk();
  await desk.setAside();
  await desk.setAside({ why: "dead", value: bytes("?") });
  const before = desk.log.commits.length;
  const report = await desk.redrive({ dryRun: true });
  assert.deepEqual(counts(report), [1, 0, 1]);
  assert.deepEqual(report.items.map(({ outcome, reason }) => [outcome, reason]), [
    ["refused", "it would be a dead letter again: the value does not start with a schema id (0x00 and four bytes)"],
    ["redriven", null],
  ]);
  assert.equal(desk.log.commits.length, before);
  assert.deepEqual(desk.log.records("in.redriven"), []);
});

Deno.test("what was redriven is left out the second time, by another process too, and is listed as such", async () => {
  const desk = new Desk();
  await desk.setAside();
  await desk.setAside();
  await desk.redrive({ selection: { letters: [place(0)] } });
  assert.deepEqual((await desk.list({ order: "oldest" })).letters.map(({ redriven }) => redriven), [true, false]);
  assert.equal((await desk.list({ redriven: true })).letters.length, 1);
  const report = await desk.redrive({}, desk.another());
  assert.deepEqual(counts(report), [1, 1, 0]);
  assert.equal(report.items[0].reason, "it was redriven already, attempt 1");
  assert.deepEqual(counts(await desk.redrive()), [0, 2, 0]);
  assert.equal(written(desk, 2).length, 2);
});

Deno.test("a letter that is there twice is redriven once", async () => {
  const desk = new Desk();
  await desk.setAside({ offset: 0, partition: 0 });
  desk.log.append("in", 0, { key: null, value: null, headers: [], timestampMs: 0 });
  const [letter] = desk.log.records("in.late");
  desk.log.append("in.late", 0, letter);
  assert.deepEqual(counts(await desk.redrive()), [1, 1, 0]);
});

Deno.test("two pipelines' letters of one record are two, each for its own pipeline", async () => {
  const desk = new Desk();
  await desk.setAside();
  await desk.setAside({ offset: 0 }, "q");
  assert.deepEqual(counts(await desk.redrive({ selection: { filter: { pipeline: "q" } } })), [1, 0, 0]);
  assert.deepEqual(counts(await desk.redrive()), [1, 1, 0]);
  assert.deepEqual(written(desk, 1).map(({ headers }) => headers.at(-1)), [
    ["tailrace.redrive.pipeline", "q"],
    ["tailrace.redrive.pipeline", "p"],
  ]);
});

Deno.test("a record that comes back keeps its first offset, and goes round three times at most, forced or not", async () => {
  const desk = new Desk();
  await desk.setAside();
  for (const attempt of [1, 2, 3]) {
    const report = await desk.redrive({ selection: { filter: { attempt: attempt - 1 } } });
    assert.deepEqual(counts(report), [1, 0, 0]);
    const { headers, offset } = desk.log.records("in").at(-1)!;
    const own = headers.filter(([name]) => name.startsWith("tailrace.redrive."));
    assert.deepEqual(own.map(([, value]) => text(value)), ["0", String(attempt), "p"]);
    await desk.setAside({ headers, offset });
  }
  for (const force of [false, true]) {
    const report = await desk.redrive({ selection: { filter: { attempt: 3 } }, force });
    assert.deepEqual(counts(report), [0, 0, 1]);
    assert.equal(report.items[0].reason, "it was redriven 3 times, and came back; 3 are the most");
  }
  const { letters } = await desk.list({ order: "oldest" });
  assert.deepEqual(letters.map(({ attempt, originalOffset, redriven }) => [attempt, originalOffset, redriven]), [
    [0, 0, true],
    [1, 0, true],
    [2, 0, true],
    [3, 0, false],
  ]);
});

Deno.test("force redrives once more what was redriven, as the next attempt", async () => {
  const desk = new Desk();
  await desk.setAside();
  await desk.redrive();
  for (const expected of [[1, 0, 0], [1, 0, 0], [0, 0, 1]]) {
    assert.deepEqual(counts(await desk.redrive({ force: true })), expected);
  }
  assert.deepEqual(
    written(desk, 1).map(({ headers }) => headers[1]),
    ["1", "2", "3"].map((attempt) => ["tailrace.redrive.attempt", attempt]),
  );
});

Deno.test("a letter that comes back meanwhile is not redriven in the same go, nor by what goes on from it", async () => {
  const desk = new Desk();
  for (let i = 0; i < 3; i++) await desk.setAside();
  const first = await desk.redrive({ cap: 2 });
  assert.deepEqual(counts(first), [2, 0, 0]);
  await desk.setAside({ headers: desk.log.records("in").at(-1)!.headers, offset: 4 });
  const second = await desk.redrive({ cursor: first.next! });
  assert.deepEqual(counts(second), [1, 0, 0]);
  assert.equal(second.next, null);
});

Deno.test("the cap is a cap on what is written, and `next` goes on until all are done", async () => {
  const desk = new Desk({ partitions: 3 });
  desk.many(1_250);
  const seen = new Set<string>();
  let cursor: string | undefined;
  const sizes: number[] = [];
  do {
    const report = await desk.redrive({ cap: 500, rate: 1e6, cursor });
    sizes.push(report.redriven);
    for (const { letter } of report.items) seen.add(`${letter.partition}/${letter.offset}`);
    cursor = report.next ?? undefined;
  } while (cursor);
  assert.deepEqual(sizes, [500, 500, 250]);
  assert.equal(seen.size, 1_250);
  assert.equal(desk.log.records("in").length, 2_500);
});

Deno.test("records leave at the rate that was asked for", async () => {
  const clock = new VirtualClock();
  const desk = new Desk({ partitions: 1, clock });
  desk.many(60);
  const began = clock.monotonic();
  let done = false;
  const redriving = desk.redrive({ rate: 20 }).finally(() => done = true);
  const sizes: number[] = [];
  desk.log.onCommit = () => sizes.push(clock.monotonic() - began);
  while (!done) await clock.pass(50);
  assert.equal((await redriving).redriven, 60);
  assert.equal(sizes.length, 12, "five at a time");
  assert.deepEqual(sizes, Array.from({ length: 12 }, (_, i) => 250 * i));
});

Deno.test("a redrive that takes long ends by itself and tells where to go on", async () => {
  const clock = new VirtualClock();
  const desk = new Desk({ partitions: 1, clock });
  desk.many(60);
  let done = false;
  const redriving = desk.redrive({ rate: 1 }).finally(() => done = true);
  while (!done) await clock.pass(500);
  const report = await redriving;
  assert.equal(report.redriven, 26, "one at once and one every second after");
  assert.ok(report.next);
});

Deno.test("a new value in JSON is encoded with the letter's schema, or the newest where it names none", async () => {
  const desk = new Desk();
  await desk.setAside({ why: "dead", value: bytes("?"), schemaId: null });
  const value = { shop: "b", pieces: 2, at: "2026-11-20T21:07:00Z" };
  const edit = (schema: "letter" | "newest" | number, json: unknown = value) =>
    desk.redrive({ selection: { letters: [place(0, "dead")] }, edit: { kind: "json", value: json, schema } });
  const reasonOf = async (schema: "letter" | "newest" | number, json?: unknown) =>
    (await edit(schema, json)).items[0].reason;
  assert.match((await reasonOf("letter"))!, /names no schema/);
  assert.match((await reasonOf(44))!, /schema id 44 is not in the registry/);
  assert.match((await reasonOf("newest", { ...value, pieces: "many" }))!, /does not fit schema 1: pieces/);
  assert.equal(await reasonOf("newest"), null);
  const [record] = written(desk, 1);
  assert.deepEqual(record.value, sale({ shop: "b", pieces: 2, at: "2026-11-20T21:07:00Z" }));
  assert.deepEqual(record.key, bytes("k"));
  assert.equal(JSON.parse(text(desk.log.records("in.redriven")[0].value)!).edited, true);
});

Deno.test("new bytes are written as they are when they decode", async () => {
  const desk = new Desk();
  await desk.setAside({ why: "dead", value: bytes("?") });
  const edit = (value: Uint8Array) =>
    desk.redrive({ selection: { letters: [place(0, "dead")] }, edit: { kind: "bytes", bytes: value } });
  assert.deepEqual(counts(await edit(bytes("worse"))), [0, 0, 1]);
  assert.deepEqual(counts(await edit(sale({ shop: "c" }))), [1, 0, 0]);
  assert.deepEqual(written(desk, 1).map(({ value }) => value), [sale({ shop: "c" })]);
});

Deno.test("an edit is for one letter", async () => {
  const desk = new Desk();
  const edit = { kind: "bytes", bytes: sale() } as const;
  for (const selection of [ALL, { letters: [place(0), place(1)] }, { letters: [] }]) {
    await assert.rejects(desk.redrive({ selection, edit }), SelectionError);
  }
  await assert.rejects(desk.redrive({ selection: { letters: [place(3)] } }), /late\/in\/0\/3: is not there/);
});

Deno.test("what cannot go back is refused, with the reason", async () => {
  const desk = new Desk();
  const refused: [string, Parameters<Desk["setAside"]>[0], string?][] = [
    ["it was at 0/900, but that partition ends at 0: was the topic made anew?", { offset: 900 }],
    ["no header says where in topic in it was", { topic: "in", offset: -1 }],
    ["it is a whole batch that could not be unpacked, not one record", {
      why: "dead",
      reason: `5 records: zstd. ${WHOLE_BATCH}`,
    }],
    ["no pipeline gone reads topic in here", {}, "gone"],
    ["it would be a dead letter again: schema id 9 is not in the registry", { value: sale({}, 9) }],
  ];
  for (const [reason, changes, pipeline] of refused) {
    desk.log.make("in", 1);
    desk.log.make("in.dead", 1);
    desk.log.make("in.late", 1);
    await desk.setAside(changes, pipeline);
    const { items } = await desk.redrive();
    assert.deepEqual(items.map((item) => [item.outcome, item.reason]), [["refused", reason]]);
  }
});

Deno.test("a letter that names another topic does not get there", async () => {
  const desk = new Desk();
  await desk.setAside();
  const [{ key, value, timestampMs, headers }] = desk.log.records("in.late");
  const forged = headers.map(([name, of]) =>
    name === "__connect.errors.topic" ? [name, bytes("bank")] as const : [name, of] as const
  );
  desk.log.make("in.late", 1);
  desk.log.append("in.late", 0, { key, value, timestampMs, headers: forged });
  assert.deepEqual(counts(await desk.redrive()), [0, 0, 1]);
});

Deno.test("what the engine would refuse is forecast with the engine's own words", async () => {
  const refused: readonly [Sale, RegExp][] = [
    [
      { at: "+012026-11-20T21:00:05.000Z" },
      /^it would be a dead letter again: the event time is null, out of range, or/,
    ],
    [{ at: "-012026-11-20T21:00:05.000Z" }, /: the event time is null, out of range, or/],
    [{ shop: "x".repeat(3_000) }, /: the group key is no UTF-8 text, or longer than/],
  ];
  for (const [changes, reason] of refused) {
    const desk = new Desk();
    await desk.setAside({ value: sale(changes) });
    const { items } = await desk.redrive({ dryRun: true });
    assert.equal(items[0].outcome, "refused");
    assert.match(items[0].reason!, reason);
  }
});

Deno.test("what would be filtered goes back, and says so", async () => {
  const desk = new Desk();
  await desk.setAside({ value: sale({ pieces: 0 }) });
  const { items } = await desk.redrive({ dryRun: true });
  assert.deepEqual(items[0].forecast, { fate: "filtered", reason: "it is not true that pieces > 0" });
  assert.equal(items[0].outcome, "redriven");
});

for (const outcome of ["written", "not written"] as const) {
  Deno.test(`a commit that nobody answered, and was ${outcome}, is decided by reading`, async () => {
    const desk = new Desk();
    await desk.setAside();
    await desk.setAside();
    desk.log.hidden.push(outcome);
    assert.deepEqual(counts(await desk.redrive()), [2, 0, 0]);
    assert.equal(written(desk, 2).length, 2);
    assert.equal(desk.log.records("in.redriven").length, 2);
  });
}

Deno.test("brokers that stay away end the redrive; asked again, nothing is there twice", async () => {
  const clock = new VirtualClock();
  const desk = new Desk({ clock });
  await desk.setAside();
  desk.log.hidden.push(...Array(6).fill("not written"));
  let done = false;
  const redriving = desk.redrive().finally(() => done = true);
  redriving.catch(() => {});
  while (!done) await clock.pass(500);
  await assert.rejects(redriving, (error) => {
    assert.ok(error instanceof UnavailableError);
    assert.match(error.message, /0 letters were redriven; of 1 more it is not known yet/);
    return true;
  });
  desk.log.hidden.push("written");
  await assertDone(desk.redrive(), clock, [1, 0, 0]);
  await assertDone(desk.redrive(), clock, [0, 1, 0]);
  assert.equal(written(desk, 1).length, 1);
});

async function assertDone(redriving: Promise<RedriveReport>, clock: VirtualClock, expected: number[]) {
  let done = false;
  redriving.finally(() => done = true);
  while (!done) await clock.pass(500);
  assert.deepEqual(counts(await redriving), expected);
}

Deno.test("of two processes the later goes on, the earlier stops, and nothing is redriven twice", async () => {
  const desk = new Desk({ partitions: 1 });
  desk.many(300);
  const other = desk.another();
  let second: Promise<RedriveReport> | undefined;
  desk.log.onCommit = () => {
    if (desk.log.commits.length === 1) second ??= desk.redrive({ rate: 1e6 }, other);
  };
  await assert.rejects(desk.redrive({ rate: 1e6 }), ConflictError);
  assert.deepEqual(counts(await second!), [100, 200, 0]);
  assert.equal(desk.log.records("in").length, 600);
});

Deno.test("a second redrive of the same topic in one process waits for nobody: it is told", async () => {
  const desk = new Desk();
  await desk.setAside();
  const first = desk.redrive();
  await assert.rejects(desk.redrive(), /A redrive of topic in is under way/);
  assert.deepEqual(counts(await first), [1, 0, 0]);
  assert.deepEqual(counts(await desk.redrive({ dryRun: true })), [0, 1, 0]);
});

Deno.test("a record that the brokers refuse holds up no other", async () => {
  const desk = new Desk({ partitions: 1 });
  for (let i = 0; i < 5; i++) await desk.setAside({ value: sale({ shop: i === 2 ? "x".repeat(500) : "a" }) });
  desk.log.valueBytesMax = 400;
  const report = await desk.redrive();
  assert.deepEqual(counts(report), [4, 0, 1]);
  const refused = report.items.find(({ outcome }) => outcome === "refused")!;
  assert.deepEqual([refused.letter.originalOffset, refused.target], [2, null]);
  assert.match(refused.reason!, /larger than the broker allows/);
  assert.deepEqual(counts(await desk.redrive()), [0, 4, 1]);
});

Deno.test("large records go in transactions of bounded bytes", async () => {
  const desk = new Desk({ partitions: 1 });
  for (let i = 0; i < 12; i++) await desk.setAside({ headers: [["note", new Uint8Array(300 * 1024)]] });
  desk.log.commits = [];
  assert.deepEqual(counts(await desk.redrive()), [12, 0, 0]);
  for (const parts of desk.log.commits) assert.ok(parts[0].records.length <= 2, `${parts[0].records.length}`);
});
