import assert from "node:assert/strict";
import { HeldColumns } from "../../../../pipeline/sinks/lake/columns/held_columns.ts";
import { BLOCK_TEXT_BYTES_MAX, HeldRows } from "../../../../pipeline/sinks/lake/columns/held_rows.ts";
import { TextSource } from "../../../../pipeline/sinks/lake/columns/text_words.ts";
import { temporaryLake } from "../delta/lake_fixture.ts";
import { batchesOf, batchOf, type Value } from "./column_batches.ts";

const FIELDS = [
  { name: "n", type: { type: "long", nullable: true } },
  { name: "text", type: { type: "string", nullable: true } },
] as const;

/** Texts of which there are so many. */
function rowsOf(from: number, to: number, { distinct }: { distinct: number }): Value[][] {
  return Array.from({ length: to - from }, (_, i) => {
    const n = from + i;
    return [BigInt(n), n % 5 === 0 ? null : `a text that is longer than 12 bytes ${n % distinct}`];
  });
}

Deno.test("a scan has the rows that there were when it was made, whatever becomes of them and of their codes", async () => {
  await using made = await temporaryLake();
  const { database } = made.lake;
  const held = new HeldColumns(FIELDS);
  const add = (rows: readonly Value[][]) => {
    for (const batch of batchesOf(FIELDS, rows, [700])) held.add(batch);
  };
  const [few, more, many] = [
    rowsOf(0, 3_000, { distinct: 7 }),
    // Codes of one byte become codes of two.
    rowsOf(3_000, 5_000, { distinct: 2_000 }),
    // Too many for codes: those from before are given up.
    rowsOf(5_000, 30_000, { distinct: 25_000 }),
  ];
  await database.use(async (connection) => {
    const scans = [];
    for (const rows of [few, more, many]) {
      add(rows);
      scans.push(database.scan(held.held));
    }
    const ask = async (sql: string) => (await connection.runAndReadAll(sql)).getRows();
    const rows = [...few, ...more, ...many];
    for (const [i, count] of [3_000, 5_000, 30_000].entries()) {
      const found = await ask(`SELECT n, text::VARCHAR FROM ${scans[i].sql} ORDER BY n`);
      assert.equal(found.length, count);
      assert.deepEqual(found, rows.slice(0, count));
    }
    assert.deepEqual(scans.map(({ coded }) => coded.map(({ name }) => name)), [["text"], ["text"], []]);
    assert.equal(scans[0].coded[0].most, "a text that is longer than 12 bytes 6");
    for (const scan of scans) scan[Symbol.dispose]();
    await assert.rejects(ask(`FROM ${scans[0].sql}`), /no rows are held/);
  });
});

Deno.test("a block in which a column has no value is null in it, between blocks that have codes", async () => {
  await using made = await temporaryLake();
  const { database } = made.lake;
  const held = new HeldColumns(FIELDS);
  const rows = Array.from({ length: 6_144 }, (_, n): Value[] => {
    const isMiddle = n >= 2048 && n < 4096;
    return isMiddle ? [null, null] : [BigInt(n), `text ${n % 300}`];
  });
  for (const batch of batchesOf(FIELDS, rows)) held.add(batch);
  await database.use(async (connection) => {
    using scan = database.scan(held.held);
    const sql = `SELECT count(*), count(n), sum(n), count(text), count(DISTINCT text) FROM ${scan.sql}`;
    const [found] = (await connection.runAndReadAll(sql)).getRows();
    const sum = rows.reduce((sum, [n]) => sum + BigInt(n as bigint ?? 0n), 0n);
    assert.deepEqual(found.map(BigInt as (value: unknown) => bigint), [6_144n, 4_096n, sum, 4_096n, 300n]);
  });
});

Deno.test("a block of long texts ends before it has all the rows that it could", async () => {
  await using made = await temporaryLake();
  const { database } = made.lake;
  const held = new HeldColumns([{ name: "bytes", type: { type: "bytes", nullable: false } }]);
  const rows = Array.from({ length: 64 }, (_, n): Value[] => [new Uint8Array(1024 * 1024).fill(n)]);
  for (const batch of batchesOf([{ name: "bytes", type: { type: "bytes", nullable: false } }], rows, [1])) {
    held.add(batch);
  }
  await database.use(async (connection) => {
    using scan = database.scan(held.held);
    assert.equal(Math.max(...held.held.blockRows), BLOCK_TEXT_BYTES_MAX / 1024 / 1024 + 1);
    const sql = `SELECT count(*), count(DISTINCT bytes), min(octet_length(bytes)) FROM ${scan.sql}`;
    assert.deepEqual((await connection.runAndReadAll(sql)).getRows(), [[64n, 64n, 1024n * 1024n]]);
  });
});

const NOT_UTF8 = Uint8Array.of(...new Array(40).fill(0x61), 0xff, ...new Array(40).fill(0x62));

/** Rows in which every so many's text is not UTF-8, in batches; and which of them were refused. */
function heldWithRefused(rows: readonly Value[][], { batch }: { batch: number }) {
  const held = new HeldRows([{ name: "n", type: "long" }, { name: "text", type: "string" }]);
  const refused: number[] = [];
  for (let from = 0; from < rows.length; from += batch) {
    const columns = batchOf(FIELDS, rows.slice(from, from + batch));
    held.makeRoom(columns.length);
    const place = { base: held.filled, length: columns.length };
    held.columns.forEach((column, i) => column.add(columns.columns[i], place, (row) => refused.push(from + row)));
    held.added(columns.length);
  }
  return { held, refused };
}

for (
  const [what, textOf] of [
    ["codes", (n: number) => `a text that is longer than 12 bytes ${n % 50}`],
    ["none", (n: number) => `a text that is longer than 12 bytes\0 ${n}`],
    [
      "codes at first",
      (n: number) => n < 3_500 ? `text ${n % 3} ${"x".repeat(n % 3 * 10)}` : `\0 ${n} ${"y".repeat(n % 40)}`,
    ],
  ] as const
) {
  Deno.test(`a text that is not UTF-8 is null, and all others are as they were, where texts have ${what}`, async () => {
    await using made = await temporaryLake();
    const { database } = made.lake;
    const isBad = (n: number) => n % 997 === 2 || n === 2_999 || n === 3_001;
    const rows = Array.from({ length: 8_192 }, (_, n): Value[] => [BigInt(n), isBad(n) ? NOT_UTF8 : textOf(n)]);
    const { held, refused } = heldWithRefused(rows, { batch: 1_000 });
    assert.deepEqual(refused, rows.keys().filter(isBad).toArray());
    await database.use(async (connection) => {
      using scan = database.scan(held);
      const found = (await connection.runAndReadAll(`SELECT n, text::VARCHAR FROM ${scan.sql} ORDER BY n`)).getRows();
      assert.deepEqual(found, rows.map(([n], i) => [n, isBad(i) ? null : textOf(i)]));
    });
  });
}

Deno.test("texts that come to be too many for codes cost no more for those from before, of which there are few", async () => {
  await using made = await temporaryLake();
  const { database } = made.lake;
  const long = "long ".repeat(2_000);
  const textOf = (n: number) => n < 100_000 ? (n % 3 === 0 ? null : long) : `text ${n}`;
  const rows = Array.from({ length: 120_000 }, (_, n): Value[] => [BigInt(n), textOf(n)]);
  const { held } = heldWithRefused(rows, { batch: 500 });
  assert.ok(held.bytes < 8 * 1024 * 1024, `${held.bytes} bytes are held`);
  await database.use(async (connection) => {
    using scan = database.scan(held);
    const sql = `SELECT count(*), count(text), count(DISTINCT text), sum(length(text)) FROM ${scan.sql}`;
    const lengths = rows.reduce((sum, [, text]) => sum + BigInt((text as string | null)?.length ?? 0), 0n);
    const there = BigInt(rows.filter(([, text]) => text !== null).length);
    const [found] = (await connection.runAndReadAll(sql)).getRows();
    assert.deepEqual(found, [120_000n, there, 20_001n, lengths]);
  });
});

Deno.test("bytes that are no text fail the query that would have them, rather than give it other rows' texts", async () => {
  await using made = await temporaryLake();
  const { database } = made.lake;
  const held = new HeldRows([{ name: "text", type: "string" }]);
  held.columns[0].texts!.set(0, new TextSource(NOT_UTF8));
  held.added(1);
  await database.use(async (connection) => {
    using scan = database.scan(held);
    await assert.rejects(connection.runAndReadAll(`FROM ${scan.sql}`), /did not take the texts/);
  });
});
