/**
 * What every sink must do, run against every implementation.
 *
 * A sink that keeps each write (a topic, a file of lines) passes too: its `read` folds what is there as its readers must,
 * taking for each key and window the row with the highest (revision, final). Its `readAll` gives what is there unfolded.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { FieldType } from "../../pipeline/columns.ts";
import { ConflictError, UnavailableError } from "../../pipeline/errors.ts";
import type { ResultColumn } from "../../pipeline/plan/plan.ts";
import type { ResultRows, ResultValue, Sink, SinkPosition } from "../../pipeline/sinks/sink.ts";

/** Until then a write of the outage cases must have gone through: only what never does takes so long. */
const THROUGH_WITHIN_MS = 60_000;

/** A sink and a way to see what it made durable that does not go through the sink. */
export interface Subject extends AsyncDisposable {
  readonly sink: Sink;
  /** The rows a reader finds now, in any order; each in the order of `columns`. */
  read(): Promise<ResultValue[][]>;
  /** Where rows stay when newer ones come: all of them. */
  readAll?(): Promise<ResultValue[][]>;
  /** A sink over the same destination, as a process that is started later has it; the subject disposes it. */
  reopen(): Promise<Sink>;
  /** Lets the next write happen and its answer be lost. Needed unless the suite is told that this cannot be. */
  readonly loseAnswer?: () => void;
  /** Needed unless the suite is told that the other side cannot go away. */
  readonly outage?: Outage;
}

/** Takes the other side away and brings it back. */
export interface Outage {
  begin(): Promise<void>;
  end(): Promise<void>;
  /** Breaks connections in use, without taking the other side away. */
  interrupt(): Promise<void>;
}

export interface ContractOptions {
  /** A client library's own timers outlive an outage for some seconds, closed or not: nothing is said of them. */
  readonly leavesTimers?: boolean;
  /** Why nothing can take the other side away; the cases about it are then left out, and this is printed. */
  readonly noOutage?: string;
  /** Why an older owner can write still, and why no answer can get lost: as above. */
  readonly noFence?: string;
  readonly noLostAnswer?: string;
  /** Early rows are dropped, so every row of the suite is a final one. */
  readonly finalOnly?: true;
}

/** Makes an empty destination and a sink over it. */
export type MakeSubject = (columns: readonly ResultColumn[]) => Promise<Subject>;

/** One row of {@linkcode COLUMNS} with what a case cares about. */
interface Row {
  readonly account?: string | null;
  readonly shard?: number | null;
  readonly start?: number;
  readonly total?: string | null;
  readonly revision?: number;
  readonly final?: boolean;
}

const START = Date.UTC(2026, 0, 1);
const MINUTE = 60_000;

function column(role: ResultColumn["role"], name: string, type: FieldType): ResultColumn {
  return { name, role, type };
}

const FIXED = {
  windowStart: column("window_start", "window_start", { type: "timestamp-millis", nullable: false }),
  windowEnd: column("window_end", "window_end", { type: "timestamp-millis", nullable: false }),
  revision: column("revision", "revision", { type: "long", nullable: false }),
  final: column("final", "final", { type: "boolean", nullable: false }),
};

/** Two keys, the first nullable, and a decimal. */
export const COLUMNS: readonly ResultColumn[] = [
  column("key", "account", { type: "string", nullable: true }),
  column("key", "shard", { type: "int", nullable: true }),
  FIXED.windowStart,
  FIXED.windowEnd,
  column("value", "total", { type: "decimal", precision: 38, scale: 2, nullable: true }),
  FIXED.revision,
  FIXED.final,
];

/** Rows in the shape that sinks take. */
export function resultRows(columns: readonly ResultColumn[], rows: readonly (readonly ResultValue[])[]): ResultRows {
  return { columns, length: rows.length, values: columns.map((_, index) => rows.map((row) => row[index])) };
}

function makeRow(fields: Row): ResultValue[] {
  const { account = "a-1", shard = 1, start = START, total = "12.50", revision = 1, final = false } = fields;
  return [account, shard, start, start + MINUTE, total, revision, final];
}

/** The same rows in the same order have the same text. */
function sorted(rows: readonly (readonly ResultValue[])[]): string[] {
  return rows.map((values) =>
    JSON.stringify(values.map((value) => {
      if (typeof value === "bigint") return `bigint ${value}`;
      if (value instanceof Uint8Array) return `bytes ${Array.from(value)}`;
      if (typeof value === "number" && !Number.isFinite(value)) return `number ${value}`;
      return value;
    }))
  ).sort();
}

function assertRows(actual: readonly (readonly ResultValue[])[], expected: readonly (readonly ResultValue[])[]): void {
  assert.deepEqual(sorted(actual), sorted(expected));
}

/** Nothing is there twice: no two rows of the same key, window, revision and final. */
function assertOnce(rows: readonly (readonly ResultValue[])[]): void {
  const isValue = (index: number) => COLUMNS[index].role === "value";
  const texts = sorted(rows.map((values) => values.filter((_, index) => !isValue(index))));
  assert.deepEqual(texts, [...new Set(texts)]);
}

const live = new AbortController().signal;

/** What a process does that starts from a checkpoint. */
async function restart(subject: Subject, position: SinkPosition): Promise<Sink> {
  const sink = await subject.reopen();
  await sink.resume(position === null ? null : JSON.parse(JSON.stringify(position)), { signal: live });
  return sink;
}

function write(sink: Sink, rows: readonly (readonly ResultValue[])[], options: {
  readonly columns?: readonly ResultColumn[];
  readonly signal?: AbortSignal;
} = {}): Promise<void> {
  const { columns = COLUMNS, signal = new AbortController().signal } = options;
  return sink.write(resultRows(columns, rows), { epoch: 1, signal });
}

/** Registers one test per promise of {@linkcode Sink} for the implementation called `name`. */
export function sinkContract(name: string, make: MakeSubject, options: ContractOptions = {}): void {
  const { noOutage, noFence, noLostAnswer, finalOnly = false, leavesTimers = false } = options;
  const row = (fields: Row) => makeRow(finalOnly ? { ...fields, final: true } : fields);
  const test = (
    sentence: string,
    body: (subject: Subject) => Promise<void>,
    columns = COLUMNS,
    sanitizers: { readonly sanitizeOps?: boolean; readonly sanitizeResources?: boolean } = {},
  ) =>
    Deno.test(`${name}: ${sentence}`, sanitizers, async () => {
      await using subject = await make(columns);
      await subject.sink.resume(null, { signal: live });
      await body(subject);
    });

  test("a reader finds every row once a write has resolved", async ({ sink, read }) => {
    const rows = [row({ account: "a" }), row({ account: "b" }), row({ account: "a", start: START + MINUTE })];
    await write(sink, rows);
    assertRows(await read(), rows);
  });

  test("a write of no rows resolves and changes nothing", async ({ sink, read }) => {
    await write(sink, []);
    assertRows(await read(), []);
    await write(sink, [row({})]);
    await write(sink, []);
    assertRows(await read(), [row({})]);
  });

  test("the same rows written twice are there once", async ({ sink, read }) => {
    const rows = [row({ account: "a", final: true }), row({ account: "b" })];
    await write(sink, rows);
    await write(sink, rows);
    assertRows(await read(), rows);
  });

  test("a higher revision replaces, and only that row", async ({ sink, read }) => {
    const other = row({ account: "b", total: "7.00" });
    await write(sink, [row({ total: "1.00", revision: 1 }), other]);
    const newer = row({ total: "2.00", revision: 2 });
    await write(sink, [newer]);
    assertRows(await read(), [newer, other]);
  });

  test("a lower revision does not replace, even a final one", async ({ sink, read }) => {
    const newer = row({ total: "3.00", revision: 3 });
    await write(sink, [newer]);
    await write(sink, [row({ total: "2.00", revision: 2 })]);
    assertRows(await read(), [newer]);
    await write(sink, [row({ total: "1.00", revision: 1, final: true })]);
    assertRows(await read(), [newer]);
  });

  test("a final row of the same revision replaces an update and is not replaced by one", async ({ sink, read }) => {
    const final = row({ revision: 4, final: true });
    await write(sink, [row({ revision: 4, final: false })]);
    await write(sink, [final]);
    assertRows(await read(), [final]);
    await write(sink, [row({ revision: 4, final: false, total: "0.00" })]);
    assertRows(await read(), [final]);
  });

  test("a correction of more records replaces a final row", async ({ sink, read }) => {
    await write(sink, [row({ revision: 4, final: true })]);
    const correction = row({ revision: 5, final: true, total: "99.00" });
    await write(sink, [correction]);
    assertRows(await read(), [correction]);
  });

  test("new rows and replacements may share a write", async ({ sink, read }) => {
    await write(sink, [row({ account: "a", revision: 1 }), row({ account: "b", revision: 9 })]);
    const a = row({ account: "a", revision: 2, total: "2.00" });
    const c = row({ account: "c", revision: 1, total: "3.00" });
    await write(sink, [c, a, row({ account: "b", revision: 8, total: "0.01" })]);
    assertRows(await read(), [a, row({ account: "b", revision: 9 }), c]);
  });

  test("null is a key like any other, alone and beside other keys", async ({ sink, read }) => {
    const rows = [
      row({ account: null, shard: 1 }),
      row({ account: null, shard: null }),
      row({ account: "null", shard: 1 }),
      row({ account: "", shard: 1 }),
      row({ account: "", shard: null }),
    ];
    await write(sink, rows);
    await write(sink, rows);
    assertRows(await read(), rows);
    const newer = row({ account: null, shard: null, revision: 2, total: null });
    await write(sink, [newer]);
    assertRows(await read(), [rows[0], newer, ...rows.slice(2)]);
  });

  test("keys of any text stay apart and come back as they were", async ({ sink, read }) => {
    const keys = [
      ...["plain", " padded ", "Ünïcödé", "日本語", "👩‍👩‍👧 family", "e\u0301", "\u00e9", "\u202eright to left"],
      ...['quo"te', "apos'trophe", "back\\slash", "\\N", "{curly,comma}", "NULL", "null", "[]", '["a","b"]'],
      ...[
        "tab\tbed",
        "new\nline",
        "carriage\rreturn",
        "\u0001",
        "\u007f",
        "\ufeff",
        "\uffff",
        "%s $1 ?",
        "x".repeat(500),
      ],
    ];
    const rows = keys.map((account, index) => row({ account, revision: index + 1 }));
    await write(sink, rows);
    assertRows(await read(), rows);
  });

  test("every type comes back exactly, at its limits and as null", async ({ sink, read }) => {
    const rows = typedRows();
    await write(sink, rows, { columns: TYPED });
    assertRows(await read(), rows);
    await write(sink, rows, { columns: TYPED });
    assertRows(await read(), rows);
  }, TYPED);

  test("a pipeline without keys has one row per window", async ({ sink, read }) => {
    const first = [START, START + MINUTE, 1, finalOnly];
    const second = [START + MINUTE, START + 2 * MINUTE, 5, true];
    await write(sink, [first, second], { columns: KEYLESS });
    const newer = [START, START + MINUTE, 2, true];
    await write(sink, [newer], { columns: KEYLESS });
    assertRows(await read(), [newer, second]);
  }, KEYLESS);

  test("50,000 rows in one write are all there, and replaced by the next", async ({ sink, read }) => {
    const many = (revision: number) =>
      Array.from({ length: 50_000 }, (_, index) =>
        row({
          account: `account-${index % 10_000}`,
          start: START + Math.floor(index / 10_000) * MINUTE,
          total: `${index}.${revision}0`,
          revision,
        }));
    await write(sink, many(1));
    assertRows(await read(), many(1));
    await write(sink, many(2));
    assertRows(await read(), many(2));
  });

  test("a write with an aborted signal rejects with its reason and writes nothing", async ({ sink, read }) => {
    const reason = new Error("stopping");
    await assert.rejects(write(sink, [row({})], { signal: AbortSignal.abort(reason) }), reason);
    assertRows(await read(), []);
  });

  test("a restart from any saved position repeats nothing that a reader sees, however the rows are cut", async (subject) => {
    const { read, readAll = read } = subject;
    const expected: ResultValue[][] = [];
    let sink = subject.sink;
    for (let saved = 0; saved <= 3; saved++) {
      const start = START + saved * MINUTE;
      const updates = ["a", "b", "c"].map((account, index) => row({ account, start, revision: index + 1 }));
      const finals = updates.map((values) => row({ account: String(values[0]), start, revision: 5, final: true }));
      const writes = [updates.slice(0, 2), [...updates.slice(2), finals[0]], finals.slice(1)];
      let position = sink.position();
      for (const [index, rows] of writes.entries()) {
        await write(sink, rows);
        if (index + 1 === saved) position = sink.position();
      }
      // The crash comes here. Since what was saved, rows come again, cut otherwise: an update less, another one more.
      sink = await restart(subject, position);
      const between = row({ account: "b", start, revision: 4, total: "4.00" });
      if (saved < 3) await write(sink, [...(saved === 0 ? [updates[1]] : []), between]);
      await write(
        sink,
        saved === 3 ? [row({ account: "d", start, final: true })] : saved === 2 ? finals.slice(1) : finals,
      );
      expected.push(...finals, ...(saved === 3 ? [row({ account: "d", start, final: true })] : []));
      assertOnce(await readAll());
      assertRows(await read(), expected);
    }
  });

  test("a second crash before all has come again repeats nothing either", async (subject) => {
    const { read, readAll = read } = subject;
    const accounts = ["a", "b", "c", "d"];
    const finals = accounts.map((account) => row({ account, revision: 3, final: true }));
    const position = subject.sink.position();
    await write(subject.sink, finals.slice(0, 2));
    await write(subject.sink, finals.slice(2));
    const second = await restart(subject, position);
    await write(second, finals.slice(0, 1));
    // Saved while three of the four rows have not come again.
    const third = await restart(subject, second.position());
    await write(third, finals.slice(1, 2));
    await write(third, [row({ account: "e" })]);
    const fourth = await restart(subject, third.position());
    await write(fourth, finals.slice(2));
    assertOnce(await readAll());
    assertRows(await read(), [...finals, row({ account: "e" })]);
  });

  test("a sink that is resumed again goes on where the position says", async ({ sink, read, readAll = read }) => {
    const position = sink.position();
    await write(sink, [row({})]);
    await sink.resume(position, { signal: live });
    await write(sink, [row({}), row({ account: "b" })]);
    assertOnce(await readAll());
    assertRows(await read(), [row({}), row({ account: "b" })]);
  });

  test("a rewound computation replaces all rows, though it comes to fewer records", async (subject) => {
    const { read, readAll = read } = subject;
    const position = subject.sink.position();
    await write(subject.sink, [row({ account: "a", revision: 9, final: true }), row({ account: "b", final: true })]);
    const sink = await restart(subject, position);
    const again = ["a", "b"].map((account) => row({ account, revision: 1e12 + 1, final: true, total: "3.00" }));
    await write(sink, again);
    const third = await restart(subject, sink.position());
    await write(third, [row({ account: "c", revision: 1e12 + 1 })]);
    assertOnce(await readAll());
    assertRows(await read(), [...again, row({ account: "c", revision: 1e12 + 1 })]);
  });

  if (finalOnly) {
    test("early rows are dropped, and leave no trace", async ({ sink, read }) => {
      const final = makeRow({ account: "a", revision: 2, final: true });
      await write(sink, [makeRow({ account: "a" }), final, makeRow({ account: "b", revision: 9 })]);
      await write(sink, [makeRow({ account: "a", revision: 3 })]);
      assertRows(await read(), [final]);
    });
  }

  if (noFence !== undefined) console.log(`${name}: the cases about older owners are left out: ${noFence}`);
  else {
    test("an older owner's write is refused and leaves nothing, whatever its size", async (subject) => {
      const { sink, read } = subject;
      await write(sink, [row({})]);
      const newer = await restart(subject, sink.position());
      const many = Array.from({ length: 2_000 }, (_, index) => row({ account: `account-${index}` }));
      for (const rows of [[row({ account: "late" })], [row({ revision: 2 })], many]) {
        await assert.rejects(write(sink, rows), isConflict);
      }
      await write(newer, [row({ account: "newer" })]);
      assertRows(await read(), [row({}), row({ account: "newer" })]);
    });

    test("an older owner does not come back by resuming", async (subject) => {
      const { sink, read } = subject;
      await write(sink, [row({})]);
      const newer = await restart(subject, sink.position());
      // A sink may see it as it resumes, or as it writes.
      await sink.resume(sink.position(), { signal: live }).catch(isConflict);
      await assert.rejects(write(sink, [row({ revision: 2 })]), isConflict);
      await write(newer, [row({ revision: 3 })]);
      assertRows(await read(), [row({ revision: 3 })]);
    });
  }

  if (noLostAnswer !== undefined) console.log(`${name}: the cases about lost answers are left out: ${noLostAnswer}`);
  else {
    for (const size of [1, 2_000]) {
      test(`a write of ${size} rows that happened without an answer is repeated without effect`, async (subject) => {
        const { sink, read, readAll = read, loseAnswer } = subject;
        assert.ok(loseAnswer, "the subject loses no answers, and the suite was not told why");
        const rows = Array.from({ length: size }, (_, index) => row({ account: `account-${index}` }));
        const before = sink.position();
        loseAnswer();
        await writeUntilThrough(sink, rows);
        await write(sink, [row({ account: "next" })]);
        assertOnce(await readAll());
        const again = await restart(subject, before);
        await write(again, rows);
        assertOnce(await readAll());
        assertRows(await read(), [...rows, row({ account: "next" })]);
      });
    }

    test("a process that ends without an answer leaves nothing to be written twice", async (subject) => {
      const { sink, read, readAll = read, loseAnswer } = subject;
      const position = sink.position();
      loseAnswer!();
      await write(sink, [row({})]).catch((error) => assert.ok(error instanceof UnavailableError, String(error)));
      const next = await restart(subject, position);
      await write(next, [row({})]);
      assertOnce(await readAll());
      assertRows(await read(), [row({})]);
    });
  }

  if (noOutage !== undefined) return console.log(`${name}: the cases about outages are left out: ${noOutage}`);
  const outageTest = (sentence: string, body: (subject: Subject & { readonly outage: Outage }) => Promise<void>) =>
    test(
      sentence,
      async (subject) => {
        const { outage } = subject;
        assert.ok(outage, "the subject has no outage, and the suite was not told why");
        await body({ ...subject, outage });
      },
      COLUMNS,
      leavesTimers ? { sanitizeOps: false, sanitizeResources: false } : {},
    );

  outageTest(
    "a write broken off in the middle and repeated ends as if written once",
    async ({ sink, read, outage }) => {
      const rows = Array.from({ length: 50_000 }, (_, index) => row({ account: `account-${index}`, revision: 2 }));
      await write(sink, rows.slice(20_000, 20_100).map((values) => [...values.slice(0, 5), 3, true]));
      let stop = false;
      const breaking = (async () => {
        for (let i = 0; i < 5 && !stop; i++) {
          await new Promise((resolve) => setTimeout(resolve, 20 + 30 * i));
          await outage.interrupt();
        }
      })();
      await writeUntilThrough(sink, rows);
      stop = true;
      await breaking;
      const expected = rows.map((values, index) =>
        index >= 20_000 && index < 20_100 ? [...values.slice(0, 5), 3, true] : values
      );
      assertRows(await read(), expected);
    },
  );

  outageTest(
    "an outage ends a write as unavailable or makes it wait, and it goes through afterwards",
    async ({ sink, read, outage }) => {
      await write(sink, [row({ account: "before" })]);
      await outage.begin();
      const during = write(sink, [row({ account: "during" })]);
      const early = await firstOf(during.then(() => "written", (error) => error), 500);
      assert.notEqual(early, "written", "nothing can be durable while the other side is away");
      if (early !== "waiting") assert.ok(early instanceof UnavailableError, String(early));
      await outage.end();
      await during.catch((error) => assert.ok(error instanceof UnavailableError, String(error)));
      await writeUntilThrough(sink, [row({ account: "during" })]);
      assertRows(await read(), [row({ account: "before" }), row({ account: "during" })]);
    },
  );

  outageTest("an abort ends a write that waits for the other side", async ({ sink, outage }) => {
    await write(sink, [row({})]);
    await outage.begin();
    const reason = new Error("stopping");
    const controller = new AbortController();
    const waiting = writeUntilThrough(sink, [row({ revision: 2 })], controller.signal);
    setTimeout(() => controller.abort(reason), 200);
    const rejected = assert.rejects(waiting, reason);
    await rejected;
    await outage.end();
  });
}

/** It is a conflict, and says who is the owner or what is owned. */
function isConflict(error: Error): boolean {
  assert.ok(error instanceof ConflictError, String(error));
  assert.match(error.message, /another|owner/i);
  return true;
}

/** What the promise gives within `ms`, or "waiting". */
async function firstOf(promise: Promise<unknown>, ms: number): Promise<unknown> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const waiting = new Promise((resolve) => timer = setTimeout(resolve, ms, "waiting"));
  try {
    return await Promise.race([promise, waiting]);
  } finally {
    clearTimeout(timer);
  }
}

/** Repeats a write as the runtime does: on UnavailableError only. */
async function writeUntilThrough(
  sink: Sink,
  rows: readonly (readonly ResultValue[])[],
  signal: AbortSignal = new AbortController().signal,
): Promise<void> {
  for (const end = performance.now() + THROUGH_WITHIN_MS;;) {
    try {
      return await write(sink, rows, { signal });
    } catch (error) {
      if (!(error instanceof UnavailableError) || performance.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

const KEYLESS: readonly ResultColumn[] = [FIXED.windowStart, FIXED.windowEnd, FIXED.revision, FIXED.final];

const nullable = true as const;

/** A key, and a value of every type. */
const TYPED: readonly ResultColumn[] = [
  column("key", "id", { type: "int", nullable: false }),
  FIXED.windowStart,
  FIXED.windowEnd,
  column("value", "a_boolean", { type: "boolean", nullable }),
  column("value", "an_int", { type: "int", nullable }),
  column("value", "a_long", { type: "long", nullable }),
  column("value", "a_float", { type: "float", nullable }),
  column("value", "a_double", { type: "double", nullable }),
  column("value", "a_string", { type: "string", nullable }),
  column("value", "an_enum", { type: "enum", symbols: ["RED", "green"], nullable }),
  column("value", "a_uuid", { type: "uuid", nullable }),
  column("value", "some_bytes", { type: "bytes", nullable }),
  column("value", "a_date", { type: "date", nullable }),
  column("value", "time_millis", { type: "time-millis", nullable }),
  column("value", "time_micros", { type: "time-micros", nullable }),
  column("value", "timestamp_millis", { type: "timestamp-millis", nullable }),
  column("value", "timestamp_micros", { type: "timestamp-micros", nullable }),
  column("value", "narrow_decimal", { type: "decimal", precision: 9, scale: 4, nullable }),
  column("value", "wide_decimal", { type: "decimal", precision: 38, scale: 10, nullable }),
  column("value", "whole_decimal", { type: "decimal", precision: 38, scale: 0, nullable }),
  FIXED.revision,
  FIXED.final,
];

function typedRows(): ResultValue[][] {
  const year1 = Date.UTC(2000, 0, 1) - 730_119 * 86_400_000;
  const year9999 = Date.UTC(9999, 11, 31, 23, 59, 59, 999);
  const smallestFloat = 2 ** -126;
  const largestFloat = (2 - 2 ** -23) * 2 ** 127;
  const values: ResultValue[][] = [
    [
      ...[false, 0, 0, 0, 0, "", "RED", "00000000-0000-0000-0000-000000000000", new Uint8Array(0), 0, 0, 0, 0, 0],
      ...["0.0000", "0.0000000000", "0"],
    ],
    [
      ...[true, 2147483647, 9223372036854775807n, largestFloat, Number.MAX_VALUE, "日本語 👩‍👩‍👧", "green"],
      ...["ffffffff-ffff-ffff-ffff-ffffffffffff", new Uint8Array([0, 255, 92, 34, 10]), 2_932_896, 86_399_999],
      ...[86_399_999_999, year9999, BigInt(year9999) * 1000n + 999n, "99999.9999"],
      ...["9999999999999999999999999999.9999999999", "99999999999999999999999999999999999999"],
    ],
    [
      ...[false, -2147483648, -9223372036854775808n, -largestFloat, -Number.MAX_VALUE, "NULL", "RED"],
      ...["123e4567-e89b-12d3-a456-426614174000", new Uint8Array([128]), -719_162, 1, 1, year1, BigInt(year1) * 1000n],
      ...["-99999.9999", "-9999999999999999999999999999.9999999999", "-99999999999999999999999999999999999999"],
    ],
    [
      ...[true, -1, 9007199254740991, smallestFloat, 5e-324, "\\", "green", "123e4567-e89b-12d3-a456-426614174000"],
      ...[new Uint8Array([1, 2, 3]), -1, 43_200_000, 43_200_000_001, -1, -1, "0.0001", "0.0000000001", "1"],
    ],
    [
      ...[
        null,
        10000,
        -9007199254740991,
        NaN,
        NaN,
        "\n",
        null,
        null,
        null,
        20_454,
        null,
        null,
        START,
        START * 1000 + 1,
      ],
      ...["-0.0001", "-0.0000000001", "10000000000000000000000000000000000000"],
    ],
    [
      ...[null, -10000, 9007199254740993n, Infinity, Infinity, "\t", null, null, null, null, null, null, null, null],
      ...["10000.0000", "12345678901234567890.1234567890", "-10000"],
    ],
    [
      ...[null, 100, -9007199254740993n, -Infinity, -Infinity, '"', null, null, null, null, null, null, null, null],
      ...["9999.9999", "10000.0001000000", "100010000"],
    ],
    Array.from({ length: 17 }, () => null),
  ];
  return values.map((row, index) => [index, START, START + MINUTE, ...row, 1, true]);
}
