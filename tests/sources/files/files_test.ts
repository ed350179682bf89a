import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { DuckDBInstance } from "@duckdb/node-api";
import { systemClock } from "../../../pipeline/clock.ts";
import { ConfigError } from "../../../pipeline/errors.ts";
import type { SourcePosition } from "../../../pipeline/sources/source.ts";
import { files, type FilesOptions } from "../../../pipeline/sources/files/definition.ts";
import { FilesSource } from "../../../pipeline/sources/files/files_source.ts";
import { DEPTH_MAX, findFiles } from "../../../pipeline/sources/files/find_files.ts";
import { filesKind, filesOptions } from "../../../pipeline/sources/files/kind.ts";
import { contextOf, type Opening, readAll, readBatches, type Reading } from "../read_source.ts";

const optional = (type: unknown) => ["null", type];
const SCHEMA = {
  type: "record",
  name: "Order",
  fields: [
    { name: "id", type: "long" },
    { name: "note", type: optional("string") },
    { name: "price", type: { type: "bytes", logicalType: "decimal", precision: 20, scale: 2 } },
    { name: "at", type: optional({ type: "long", logicalType: "timestamp-millis" }) },
  ],
};

/** A folder of files, removed at the end; what is a text is written as it is. */
async function folder(given: Record<string, string | Uint8Array> = {}) {
  const path = await Deno.makeTempDir({ prefix: "tailrace-files-" });
  const write = async (name: string, content: string | Uint8Array) => {
    if (name.includes("/")) await Deno.mkdir(`${path}/${name.slice(0, name.lastIndexOf("/"))}`, { recursive: true });
    await (typeof content === "string"
      ? Deno.writeTextFile(`${path}/${name}`, content)
      : Deno.writeFile(`${path}/${name}`, content));
  };
  for (const [name, content] of Object.entries(given)) await write(name, content);
  return { path, write, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

const ROOT = new URL("../../../", import.meta.url);

type Options = Partial<FilesOptions & Opening & Reading>;

function specOf(path: string, options: Options) {
  const { format, watch, stableFor = "0ms", changed, delimiter, quote, header, columns, every } = options;
  const given = { format, watch, stableFor, changed, delimiter, quote, header, columns, every };
  return files({ path, ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) });
}

function read(path: string, options: Options = {}) {
  return readAll(filesKind, specOf(path, options), { schema: SCHEMA, key: "id", ...options });
}

const ids = (values: readonly Record<string, unknown>[]) => values.map(({ id }) => Number(id));

Deno.test("CSV is read as RFC 4180 has it, typed by the schema, and what is wrong is rejected with its line", async () => {
  await using dir = await folder({
    "orders.csv": "\uFEFFid,note,price,at,unknown\r\n" +
      '1,"two\r\nlines, ""quoted""",12.50,2026-01-31T10:00:00Z,x\r\n' +
      "2,,0012345678901234.5,2026-01-31 10:00:00.123456,x\r\n" +
      '3,"",1,,\r\n' +
      "\r\n" +
      "4,many,1,,,,\r\n" +
      "5,not a price,free,,\r\n" +
      '6,5" pipe,1,1769853600000,\r\n' +
      '7,"closed" too early,1,,\r\n' +
      "8,last,1,2026-01-31,",
  });
  const logged: string[] = [];
  const { values, rejected, position } = await read(`${dir.path}/*.csv`, { logged });
  assert.deepEqual(values, [
    { id: 1, note: 'two\r\nlines, "quoted"', price: "12.50", at: "2026-01-31T10:00:00.000Z" },
    { id: 2, note: null, price: "12345678901234.50", at: "2026-01-31T10:00:00.123Z" },
    { id: 3, note: "", price: "1.00", at: null },
    { id: 6, note: '5" pipe', price: "1.00", at: "2026-01-31T10:00:00.000Z" },
    { id: 8, note: "last", price: "1.00", at: "2026-01-31T00:00:00.000Z" },
  ]);
  assert.deepEqual(rejected.map(({ where, reason, raw }) => [where, reason, new TextDecoder().decode(raw)]), [
    [`${dir.path}/orders.csv:7`, "has 7 fields, and 5 columns are named", "4,many,1,,,,"],
    [`${dir.path}/orders.csv:8`, 'price is "free", not a decimal such as "12.50"', "5,not a price,free,,"],
    [`${dir.path}/orders.csv:10`, "has text after the quotes of field 2", '7,"closed" too early,1,,'],
  ]);
  assert.match(logged.join(), /info: .*: no field takes unknown/);
  assert.deepEqual((await read(`${dir.path}/*.csv`, { position })).values, [], "a file is read once");
});

Deno.test("a quote that nobody closes costs its line, not the file, and so does a line without an end", async () => {
  const long = "x".repeat(1_500_000);
  await using dir = await folder({
    "open.csv": 'id,note,price,at\n1,"never closed,1,\n2,fine,1,\n',
    "wide.csv": `id,note,price,at\n1,${long},1,\n2,fine,1,\n`,
    "wide_open.csv": `id,note,price,at\n1,"open,1,\n${`2,${"y".repeat(100)},1,\n`.repeat(12_000)}`,
  });
  const open = await read(`${dir.path}/open.csv`);
  assert.deepEqual(ids(open.values), [2]);
  assert.deepEqual(open.rejected.map(({ reason, where }) => [reason, where.split(":")[1]]), [
    ["opens a quote that is not closed", "2"],
  ]);
  const wide = await read(`${dir.path}/wide.csv`);
  assert.deepEqual(ids(wide.values), [2]);
  assert.match(wide.rejected[0].reason, /is longer than 1048576 bytes/);
  assert.equal(wide.rejected[0].raw.length, 65_536);
  const both = await read(`${dir.path}/wide_open.csv`);
  assert.deepEqual([both.values.length, both.rejected.length], [12_000, 1]);
});

Deno.test("NDJSON keeps the digits of its numbers, leaves unknown fields out, and tells lines that are none", async () => {
  await using dir = await folder({
    "a.ndjson": '{"id": 9007199254740993, "price": 123456789012345678.91, "note": "\\u00e9", "more": {"x": 1}}\n' +
      '{"id": 2, "price": "1.50", "at": "2026-01-31 10:00:00"}\n\n' +
      '{"id": 3, "price": 1\n[1, 2]\n{"id": "x", "price": 1}\n{"price": 1}\n{"id": 4, "price": 2.5}',
  });
  const { values, rejected } = await read(`${dir.path}/a.ndjson`);
  assert.deepEqual(values, [
    { id: "9007199254740993", note: "é", price: "123456789012345678.91", at: null },
    { id: 2, note: null, price: "1.50", at: "2026-01-31T10:00:00.000Z" },
    { id: 4, note: null, price: "2.50", at: null },
  ]);
  assert.deepEqual(rejected.map(({ where, reason }) => [where.split(":")[1], reason.slice(0, 24)]), [
    ["4", "is not JSON: Expected ',"],
    ["5", "is not a JSON object"],
    ["6", 'id is "x", not a long'],
    ["7", "id is missing"],
  ]);
});

Deno.test("Parquet is read exactly, from the row where it was", async () => {
  await using dir = await folder();
  const instance = await DuckDBInstance.create(":memory:");
  const connection = await instance.connect();
  await connection.run(`COPY (SELECT i AS id, CASE WHEN i % 3 = 0 THEN NULL ELSE 'n' || i END AS note,
    CAST(i AS DECIMAL(18, 2)) / 4 AS price, TIMESTAMP '2026-01-31 10:00:00' + INTERVAL (i) SECOND AS at, 1 AS other
    FROM range(1, 10001) t(i)) TO '${dir.path}/rows.parquet' (FORMAT parquet, ROW_GROUP_SIZE 3000)`);
  connection.closeSync();
  instance.closeSync();
  const { values, rejected } = await read(`${dir.path}/*.parquet`);
  assert.deepEqual(rejected, []);
  assert.deepEqual(ids(values), Array.from({ length: 10_000 }, (_, i) => i + 1));
  assert.deepEqual(values[5], { id: 6, note: null, price: "1.50", at: "2026-01-31T10:00:06.000Z" });
  let position: SourcePosition | null = null;
  for await (const batch of readBatches(filesKind, specOf(`${dir.path}/*.parquet`, {}), { schema: SCHEMA })) {
    position = batch.position;
    break;
  }
  const rest = await read(`${dir.path}/*.parquet`, { position });
  assert.ok(rest.values.length < 10_000 && rest.values.length > 0);
  assert.equal(ids(rest.values).at(-1), 10_000);
  assert.equal(ids(rest.values)[0], 10_001 - rest.values.length);
});

/** Files of several kinds, whose ids are 1 to `rows` each, a different thousand for each file. */
async function manyFiles() {
  const line = (id: number) => `${id},"note\n${id}",1.50,\n`;
  const csv = (from: number, rows: number) =>
    "id,note,price,at\n" + Array.from({ length: rows }, (_, i) => line(from + i)).join("");
  const json = (from: number, rows: number) =>
    Array.from({ length: rows }, (_, i) => `{"id":${from + i},"price":"1.50"}\n`).join("");
  return await folder({
    "a/1.csv": csv(1, 3_000),
    "a/2.csv.gz": gzipSync(csv(10_001, 3_000)),
    "b/3.ndjson": json(20_001, 3_500),
    "b/4.jsonl.gz": gzipSync(json(30_001, 2_500)),
    "b/c/5.tsv": "price\tid\tnote\tat\n1\t40001\t\t\n2\tx\t\t\n3\t40003\t\t\n",
    "b/c/6.csv": "id,note,price,at\n",
    "b/c/7.csv": "",
    ...Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`small/${i}.csv`, csv(50_001 + 10 * i, 10)])),
  });
}

Deno.test("wherever reading stops, the next run goes on inside the file without a loss and without doubles", async () => {
  await using dir = await manyFiles();
  const pattern = `${dir.path}/**/*`;
  const whole = await read(pattern);
  assert.equal(whole.values.length, 3_000 + 3_000 + 3_500 + 2_500 + 2 + 300);
  assert.equal(whole.rejected.length, 1);
  const expected = ids(whole.values);
  assert.equal(new Set(expected).size, expected.length);
  // Every run is dropped after one batch, while it may have read ahead.
  const seen: number[] = [];
  let rejected = 0;
  let position: SourcePosition | null = null;
  const positions: { at: SourcePosition; before: number }[] = [];
  for (let isDone = false; !isDone;) {
    isDone = true;
    for await (const batch of readBatches(filesKind, specOf(pattern, {}), { schema: SCHEMA, position })) {
      seen.push(...ids(batch.values));
      rejected += batch.rejected.length;
      position = batch.position;
      positions.push({ at: position, before: seen.length });
      isDone = false;
      break;
    }
  }
  assert.deepEqual(seen, expected);
  assert.equal(rejected, 1);
  assert.ok(positions.length >= 6, `${positions.length} batches`);
  // From every one of these positions the whole rest is read.
  for (const { at, before } of positions) {
    const rest = await read(pattern, { position: at });
    assert.deepEqual(ids(rest.values), expected.slice(before));
  }
});

Deno.test("a file that changes after it was read is told, and read again only where that is wanted", async () => {
  await using dir = await folder({ "a.csv": "id,price\n1,1\n" });
  const pattern = `${dir.path}/*.csv`;
  const { position } = await read(pattern);
  await dir.write("a.csv", "id,price\n1,1\n2,2\n");
  const logged: string[] = [];
  const told = await read(pattern, { position, logged });
  assert.deepEqual(told.values, []);
  assert.match(logged.join(), /warn: .*a\.csv changed after it was read; it is not read again/);
  const again: string[] = [];
  await read(pattern, { position: told.position, logged: again });
  assert.deepEqual(again, [], "once");
  assert.deepEqual(ids((await read(pattern, { position, changed: "again" })).values), [1, 2]);
});

Deno.test("a file that changes or vanishes while it is read leaves word of what is not in the topic", async () => {
  const text = "id,price\n" + Array.from({ length: 5_000 }, (_, i) => `${i + 1},1\n`).join("");
  const stopped = async (dir: { path: string }) => {
    for await (const batch of readBatches(filesKind, specOf(`${dir.path}/*`, {}), { schema: SCHEMA })) {
      return batch.position;
    }
    throw new Error("nothing was read");
  };
  await using changing = await folder({ "a.csv": text });
  const inside = await stopped(changing);
  await changing.write("a.csv", text + "6000,1\n");
  const after = await read(`${changing.path}/*`, { position: inside });
  assert.deepEqual(after.values, []);
  assert.match(
    after.rejected[0].reason,
    /^changed while it was read: what came after line \d+ of it is not in the topic/,
  );
  assert.equal(ids((await read(`${changing.path}/*`, { position: inside, changed: "again" })).values).length, 5_001);

  await using vanishing = await folder({ "a.csv": text, "b.csv": "id,price\n9000,1\n" });
  const before = await stopped(vanishing);
  await Deno.remove(`${vanishing.path}/a.csv`);
  const gone = await read(`${vanishing.path}/*`, { position: before });
  assert.match(gone.rejected[0].reason, /^vanished while it was read/);
  assert.deepEqual(ids(gone.values), [9000], "the others are read");
});

Deno.test("a file is not taken while it grows, and is once it rests", async () => {
  const stableMs = 1_000;
  /** @returns whether it came to what it is about: on a machine that stalls the file rests meanwhile, and is rightly taken */
  const grow = async () => {
    await using dir = await folder({ "grows.csv": "id,price\n1,1\n" });
    const ending = new AbortController();
    const values: number[] = [];
    let last = performance.now();
    const reading = (async () => {
      const spec = specOf(`${dir.path}/*.csv`, { stableFor: `${stableMs}ms`, every: "50ms" });
      for await (
        const batch of readBatches(filesKind, spec, { schema: SCHEMA, isBounded: false, signal: ending.signal })
      ) {
        values.push(...ids(batch.values));
      }
    })();
    try {
      for (let i = 2; i <= 12; i++) {
        await new Promise((resolve) => setTimeout(resolve, 120));
        const before = performance.now();
        await Deno.writeTextFile(`${dir.path}/grows.csv`, `${i},1\n`, { append: true });
        if (performance.now() - last >= stableMs - 100) return false;
        last = before;
        assert.deepEqual(values, []);
      }
      for (let i = 0; i < 1_200 && values.length === 0; i++) await new Promise((resolve) => setTimeout(resolve, 50));
      const grown = Array.from({ length: 12 }, (_, i) => i + 1);
      assert.deepEqual(values, grown);
      await dir.write("next.part", "id,price\n13,1\n");
      await dir.write(".hidden.csv", "id,price\n14,1\n");
      await new Promise((resolve) => setTimeout(resolve, stableMs + 200));
      assert.deepEqual(values, grown);
      await Deno.rename(`${dir.path}/next.part`, `${dir.path}/next.csv`);
      for (let i = 0; i < 1_200 && values.length === 12; i++) await new Promise((resolve) => setTimeout(resolve, 50));
      assert.deepEqual(values, [...grown, 13]);
      return true;
    } finally {
      ending.abort();
      await reading;
    }
  };
  let tries = 1;
  while (!await grow()) assert.ok(tries++ < 20, "the machine stalls all the time");
});

Deno.test("what is wrong with a file as a whole is one rejection with the reason, and the next file is read", async () => {
  const cut = gzipSync("id,price\n" + Array.from({ length: 90_000 }, (_, i) => `${i + 1},${i % 977}\n`).join(""));
  await using dir = await folder({
    "1_cut.csv.gz": cut.subarray(0, cut.length / 2),
    "2_none.csv.gz": "id,price\n1,1\n",
    "3_other.csv": "id;price\n1;1\n",
    "4_wide.csv": new Uint8Array([0xff, 0xfe, 0x69, 0, 0x64, 0]),
    "5_bytes.csv": new Uint8Array([
      ...new TextEncoder().encode("id,note,price\n1,"),
      0xe9,
      ...new TextEncoder().encode(",1\n2,x,1\n"),
    ]),
    "6_twice.csv": "id,price,id\n1,1,1\n",
    "7_not.parquet": "nothing of the kind",
    "8.xlsx": "spreadsheet",
    "9.csv": "id,price\n99,1\n",
    "members.csv.gz": new Uint8Array([...gzipSync("id,price\n101,1\n"), ...gzipSync("102,1\n")]),
  });
  const logged: string[] = [];
  const { values, rejected } = await read(`${dir.path}/*`, { logged });
  const reasons = Object.fromEntries(rejected.map(({ where, reason }) => [where.slice(dir.path.length + 1), reason]));
  const of = (name: string) => Object.entries(reasons).find(([where]) => where.startsWith(name))?.[1] ?? "";
  assert.match(of("1_cut"), /^the file ends in the middle of its gzip: it was not written to the end/);
  assert.match(of("2_none"), /^the file is no gzip, or is damaged/);
  assert.match(
    of("3_other"),
    /^the file has no column id, price; it has id;price, divided by ","; is another delimiter meant\?/,
  );
  assert.match(of("4_wide"), /^the file is UTF-16/);
  assert.equal(of("5_bytes"), "is not UTF-8");
  assert.match(of("6_twice"), /^the file names the column id twice/);
  assert.match(of("7_not"), /^the file cannot be read: .*[Pp]arquet/);
  assert.match(logged.join(), /8\.xlsx is of no known format, and is left alone/);
  const good = ids(values);
  assert.deepEqual(good.slice(-4), [2, 99, 101, 102]);
  const before = good.slice(0, -4);
  assert.ok(before.length > 1_000 && before.length < 90_000, "what came before the cut is there");
  assert.deepEqual(before, before.map((_, i) => i + 1));
});

Deno.test("a folder that is not there yet, or may not be read, is waited for with the reason", async () => {
  await using dir = await folder();
  const ending = new AbortController();
  const waits: (string | null)[] = [];
  const values: number[] = [];
  const spec = specOf(`${dir.path}/later/*.csv`, { every: "50ms" });
  const reading = (async () => {
    const options = { schema: SCHEMA, isBounded: false, signal: ending.signal, waits };
    for await (const batch of readBatches(filesKind, spec, options)) values.push(...ids(batch.values));
  })();
  for (let i = 0; i < 3_000 && waits.length === 0; i++) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(waits[0], `there is no folder ${dir.path}/later`);
  await dir.write("later/a.csv", "id,price\n1,1\n");
  for (let i = 0; i < 3_000 && values.length === 0; i++) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(values, [1]);
  assert.equal(waits.at(-1), null);
  ending.abort();
  await reading;
  await assert.rejects(read(`${dir.path}/nowhere/*.csv`), /from\.path: there is no folder .*nowhere/);
  await assert.rejects(read(`${dir.path}/nothing.csv`), /from\.path: there is no file .*nothing\.csv/);
});

Deno.test("a folder outside what the process may read is a fault that says so", async () => {
  await using dir = await folder({
    "look.ts": `import { findFiles } from "${new URL(
      "../../../pipeline/sources/files/find_files.ts",
      import.meta.url,
    )}";
      await findFiles("/etc/*.conf").catch((error) => console.log(error.name, error.message));
      console.log(JSON.stringify(await findFiles(Deno.args[0])));`,
    "link.csv": "",
  });
  await Deno.remove(`${dir.path}/link.csv`);
  await Deno.symlink("/etc/passwd", `${dir.path}/link.csv`);
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-lock", "--no-prompt", `--allow-read=${dir.path}`, `${dir.path}/look.ts`, `${dir.path}/*.csv`],
  }).output();
  const [refused, found] = new TextDecoder().decode(stdout).split("\n");
  assert.match(refused, /^ConfigError \/etc: Tailrace is not allowed to read here/);
  assert.equal(found, "[]", "a link that leads out of what may be read is left alone");
});

/** A program that reads files as a source, in a process of its own: `given` comes before it on the command line. */
async function child(
  path: string,
  { given = [], flags = [], position = null, look = "" }: {
    readonly given?: readonly string[];
    readonly flags?: readonly string[];
    readonly position?: SourcePosition | null;
    readonly look?: string;
  },
): Promise<
  { readonly rows: number; readonly position: SourcePosition; readonly failure: string | null; readonly peakMb: number }
> {
  const script = `
    import { systemClock } from "${ROOT}pipeline/clock.ts";
    import { filesKind } from "${ROOT}pipeline/sources/files/kind.ts";
    import { contextOf } from "${ROOT}tests/sources/read_source.ts";
    const spec = ${JSON.stringify(specOf(path, {}))};
    const options = { schema: ${JSON.stringify(SCHEMA)}, key: "id" };
    const source = await filesKind.open(spec, contextOf(spec, options));
    let [rows, position, failure, peak] = [0, ${JSON.stringify(position)}, null, 0];
    const { signal } = new AbortController();
    const onWaiting = (reason) => { ${look} };
    try {
      for await (const batch of source.read(position, { signal, clock: systemClock, isBounded: true, onWaiting })) {
        rows += batch.records.length;
        position = batch.position;
        peak = Math.max(peak, Deno.memoryUsage().rss);
      }
    } catch (error) {
      failure = error.name + ": " + error.message;
    }
    console.log(JSON.stringify({ rows, position, failure, peakMb: peak / 1e6 }));`;
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(file, script);
    const [program, ...args] = [
      ...given,
      ...[Deno.execPath(), "run", "-A", "--no-check", "--config", `${ROOT.pathname}deno.json`, ...flags, file],
    ];
    const { stdout, stderr } = await new Deno.Command(program, { args }).output();
    const text = new TextDecoder();
    const line = text.decode(stdout).trim().split("\n").at(-1)!;
    assert.ok(line.startsWith("{"), text.decode(stderr).slice(-1_000));
    return JSON.parse(line);
  } finally {
    await Deno.remove(file);
  }
}

async function isInstalled(program: string): Promise<boolean> {
  const { success } = await new Deno.Command("/bin/sh", { args: ["-c", `command -v ${program}`] }).output();
  return success;
}

Deno.test("files larger than the memory that the process may use are read to their end, records and all", async () => {
  await using dir = await folder();
  const header = new TextEncoder().encode("id,note,price,at\n");
  const rows = 250;
  const part = new TextEncoder().encode(
    `1,"note with, ${"text ".repeat(800)}",1.50,2026-01-31T10:00:00Z\n`.repeat(rows),
  );
  // 300 MB, and a quarter of that again in the gzip.
  const parts = Math.ceil(300e6 / part.length);
  {
    using plain = await Deno.open(`${dir.path}/big.csv`, { write: true, create: true });
    using packed = await Deno.open(`${dir.path}/big.csv.gz`, { write: true, create: true });
    await plain.write(header);
    await packed.write(gzipSync(header));
    // A gzip may be of many members.
    const member = gzipSync(part, { level: 1 });
    for (let i = 0; i < parts; i++) {
      await plain.write(part);
      if (i % 4 === 0) await packed.write(member);
    }
  }
  const read = await child(`${dir.path}/*.csv*`, { flags: ["--v8-flags=--max-old-space-size=64"] });
  assert.equal(read.failure, null);
  assert.equal(read.rows, rows * (parts + Math.ceil(parts / 4)));
  assert.ok(read.peakMb < 330, `${read.peakMb} MB at most, of which a process that reads nothing has 100`);
});

Deno.test("a disk that fails in the middle of a file is no end of it: reading goes on where it was", async () => {
  if (!await isInstalled("strace")) return console.log("left out: strace, which makes the disk fail, is not installed");
  await using dir = await folder();
  const rows = 60_000;
  await dir.write(
    "a.csv",
    `id,note,price,at\n${Array.from({ length: rows }, (_, i) => `${i},${"x".repeat(80)},1.50,\n`).join("")}`,
  );
  const instance = await DuckDBInstance.create(":memory:");
  const connection = await instance.connect();
  const select = `SELECT i AS id, 'n' || i AS note, 1.5::DECIMAL(20, 2) AS price FROM range(${rows}) t(i)`;
  await connection.run(`COPY (${select}) TO '${dir.path}/b.parquet' (FORMAT parquet, ROW_GROUP_SIZE 4096)`);
  connection.closeSync();
  instance.closeSync();
  // Each thread counts its own calls.
  for (const [name, call, when] of [["a.csv", "read", "3+"], ["b.parquet", "pread64", "20+"]]) {
    const path = `${dir.path}/${name}`;
    const strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", path, "-e", `trace=${call}`];
    const broken = await child(path, { given: [...strace, "-e", `inject=${call}:error=EIO:when=${when}`] });
    assert.match(broken.failure!, /^UnavailableError: .*[Ii]nput\/output error/, `${name}: ${JSON.stringify(broken)}`);
    assert.ok(
      (broken.rows > 0 || name === "b.parquet") && broken.rows < rows,
      `${name}: ${broken.rows} rows came before`,
    );
    const rest = await child(path, { position: broken.position });
    assert.deepEqual([rest.rows, rest.failure], [rows - broken.rows, null], name);
  }
});

Deno.test("a file that may not be read is waited for with the reason, also in its middle, and others are read", async () => {
  if (!await isInstalled("setpriv")) {
    return console.log("left out: setpriv, which takes root's rights, is not installed");
  }
  // Root may read everything unless it gives that up; the rights come back as soon as they are missed.
  const caps = "-dac_override,-dac_read_search";
  const given = Deno.uid() === 0 ? ["setpriv", "--bounding-set", caps, "--inh-caps", caps] : [];
  await using dir = await folder({ "a.csv": "id,price\n1,1\n2,1\n3,1\n", "b.csv": "id,price\n4,1\n" });
  const look = `if (reason) { console.error(reason); Deno.chmodSync("${dir.path}/a.csv", 0o644); }
    if (reason && !reason.includes("a.csv may not be read by the user")) throw new Error(reason);`;
  await Deno.chmod(`${dir.path}/a.csv`, 0o000);
  const all = await child(`${dir.path}/*.csv`, { given, look });
  assert.deepEqual([all.rows, all.failure], [4, null]);
  const half = JSON.parse(JSON.stringify(all.position));
  const { size, mtime } = await Deno.stat(`${dir.path}/a.csv`);
  half.done = [];
  half.current = { name: `${dir.path}/a.csv`, size, mtimeMs: mtime!.getTime(), offset: 13, line: 3 };
  await Deno.chmod(`${dir.path}/a.csv`, 0o000);
  const rest = await child(`${dir.path}/*.csv`, { given, look, position: half });
  assert.deepEqual([rest.rows, rest.failure], [3, null], "two of the one that was begun, one of the other");
  // A folder that may be listed, and no more.
  await Deno.chmod(dir.path, 0o644);
  const searched = await child(`${dir.path}/*.csv`, { given });
  await Deno.chmod(dir.path, 0o755);
  assert.match(searched.failure!, /^ConfigError: from\.path: .*may not be looked at: .*chmod \+x/);
});

Deno.test("more files than can be looked at, or remembered, stop the source with what to move", async () => {
  const file = "id,price\n1,1\n";
  await using dir = await folder(Object.fromEntries(Array.from({ length: 6 }, (_, i) => [`in/${i}.csv`, file])));
  const path = `${dir.path}/in/*.csv`;
  const spec = specOf(path, {});
  const options = filesOptions(spec, contextOf(spec, { schema: SCHEMA }));
  const reading = { signal: new AbortController().signal, clock: systemClock, isBounded: true, onWaiting: () => {} };
  const readFrom = async (from: SourcePosition | null, bounds: { foundMax?: number; doneMax?: number }) => {
    let position = from;
    let rows = 0;
    for await (const batch of new FilesSource({ ...options, ...bounds }).read(from, reading)) {
      position = JSON.parse(JSON.stringify(batch.position));
      rows += batch.records.length;
    }
    return { position, rows };
  };
  await assert.rejects(readFrom(null, { foundMax: 5 }), /ConfigError: .*in: more than 5 files match: move those/);
  const { position, rows } = await readFrom(null, { foundMax: 6, doneMax: 6 });
  assert.equal(rows, 6);
  await dir.write("in/6.csv", file);
  await assert.rejects(
    readFrom(position, { doneMax: 6 }),
    /ConfigError: from\.path: 6 files that were read are still there.*move/,
  );
  for (let i = 0; i < 3; i++) await Deno.remove(`${dir.path}/in/${i}.csv`);
  assert.equal((await readFrom(position, { doneMax: 6 })).rows, 1, "those that are gone make room");
  const deep = Array.from({ length: DEPTH_MAX + 2 }, (_, i) => `d${i}`);
  await dir.write(`${deep.slice(0, DEPTH_MAX).join("/")}/seen.csv`, file);
  await dir.write(`${deep.join("/")}/too_deep.csv`, file);
  const found = (await findFiles(`${dir.path}/d0/**/*.csv`)).map(({ name }) => name.split("/").at(-1));
  assert.deepEqual(found, ["seen.csv"]);
});

Deno.test("a definition's faults are all told", () => {
  const spec = { path: "../x.csv", format: "xml", delimiter: ";;", header: false, every: "soon", colour: 1 };
  const context = contextOf({ kind: "files" }, { schema: SCHEMA });
  const faults = filesKind.check({ kind: "files", ...spec } as never, context.plan);
  assert.deepEqual(faults.map(({ where }) => where).sort(), [
    "from.colour",
    "from.delimiter",
    "from.every",
    "from.format",
    "from.header",
    "from.path",
  ]);
  assert.deepEqual(filesKind.check(files({ path: "incoming/*.csv" }), context.plan), []);
  assert.throws(() => {
    throw new ConfigError(faults);
  }, /colour: is no option; there are path, format/);
});
