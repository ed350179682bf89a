import assert from "node:assert/strict";
import { UnavailableError } from "../../pipeline/errors.ts";
import type { LetterQuery } from "../../pipeline/letters/letters.ts";
import { SelectionError } from "../../pipeline/letters/selection.ts";
import { WHOLE_BATCH } from "../../pipeline/sinks/set_aside_headers.ts";
import { bytes, Desk, MINUTE, sale, signal, START, text } from "./desk.ts";

Deno.test("a letter tells where its record was, whose it is, why, its schema, its window and how its key begins", async () => {
  const desk = new Desk();
  desk.log.append("in", 1, { key: null, value: null, headers: [], timestampMs: 0 });
  await desk.setAside({ partition: 1, headers: [["trace", bytes("1")]], reason: "window [..) had closed" });
  const { letters, next } = await desk.list();
  assert.equal(next, null);
  assert.deepEqual(letters, [{
    kind: "late",
    topic: "in",
    partition: 1,
    offset: 0,
    pipeline: "p",
    source: { topic: "in", partition: 1, offset: 1 },
    originalOffset: 1,
    timestampMs: START,
    cause: "window [..) had closed",
    schemaId: 1,
    attempt: 0,
    windowStartMs: START,
    isBatch: false,
    key: { bytes: 1, start: "k" },
    valueBytes: sale().length,
    redriven: false,
  }]);
});

Deno.test("every filter picks what it says", async () => {
  const desk = new Desk();
  await desk.setAside({ partition: 0 });
  await desk.setAside({ partition: 1, why: "dead", reason: "String length 900", timestampMs: START + 1 });
  await desk.setAside({ partition: 0, why: "dead", schemaId: 7, timestampMs: START + 2 }, "q");
  await desk.setAside({
    partition: 0,
    why: "dead",
    timestampMs: START + 3,
    headers: [["tailrace.redrive.offset", bytes("0")], ["tailrace.redrive.attempt", bytes("2")]],
  });
  const cases: [Partial<LetterQuery>, number[]][] = [
    [{}, [3, 2, 1, 0]],
    [{ order: "oldest" }, [0, 1, 2, 3]],
    [{ kind: "late" }, [0]],
    [{ kind: "dead" }, [3, 2, 1]],
    [{ pipeline: "q" }, [2]],
    [{ partition: 1 }, [1]],
    [{ partition: 0, offsetFrom: 1, offsetTo: 2 }, [2]],
    [{ from: START + 1, to: START + 3 }, [2, 1]],
    [{ cause: "string LENGTH" }, [1]],
    [{ schemaId: 7 }, [2]],
    [{ attempt: 2 }, [3]],
    [{ redriven: true }, []],
    [{ topic: "in", redriven: false, limit: 1 }, [3]],
  ];
  for (const [query, expected] of cases) {
    const { letters } = await desk.list(query);
    assert.deepEqual(letters.map(({ timestampMs }) => timestampMs - START), expected, JSON.stringify(query));
  }
  await assert.rejects(
    desk.list({ topic: "other" }),
    new SelectionError({ where: "topic", problem: 'no pipeline reads "other"; there are: in' }),
  );
});

for (const order of ["newest", "oldest"] as const) {
  Deno.test(`pages, ${order} first, show every letter once whatever their size, also while letters come`, async () => {
    const desk = new Desk({ partitions: 3 });
    desk.many(1_500);
    const whole = (await desk.list({ order, limit: 1_000 })).letters;
    assert.equal(whole.length, 1_000);
    for (const limit of [7, 400]) {
      const seen: number[] = [];
      let cursor: string | undefined;
      do {
        const page = await desk.list({ order, limit, cursor });
        assert.ok(page.letters.length <= limit);
        seen.push(...page.letters.map(({ timestampMs }) => timestampMs - START));
        cursor = page.next ?? undefined;
        if (seen.length === limit && order === "newest") desk.many(3, (i) => ({ timestampMs: START + 1_000_000 + i }));
      } while (cursor !== undefined);
      const found = seen.filter((at) => at < 1_000_000);
      assert.equal(found.length, 1_500);
      const expected = Array.from({ length: 1_500 }, (_, i) => order === "oldest" ? i : 1_499 - i);
      assert.deepEqual(found, expected);
    }
  });
}

Deno.test("a page of a long topic reads about a page of it", async () => {
  const desk = new Desk({ partitions: 4 });
  desk.many(50_000);
  for (const order of ["newest", "oldest"] as const) {
    desk.log.recordsRead = 0;
    const { letters } = await desk.list({ order, limit: 50 });
    assert.equal(letters.length, 50);
    assert.ok(desk.log.recordsRead <= 4 * 300, `${desk.log.recordsRead} read`);
  }
});

Deno.test("a search that finds little ends after so many letters, and goes on from there", async () => {
  const desk = new Desk({ partitions: 2 });
  desk.many(120_000, (i) => ({ reason: i === 3 ? "needle" : "hay" }));
  const first = await desk.list({ cause: "needle" });
  assert.deepEqual(first.letters, []);
  assert.ok(desk.log.recordsRead < 70_000, `${desk.log.recordsRead} read`);
  const found = [];
  let cursor = first.next;
  for (let pages = 1; cursor !== null; pages++) {
    assert.ok(pages < 5);
    const page = await desk.list({ cause: "needle", cursor });
    found.push(...page.letters);
    cursor = page.next;
  }
  assert.deepEqual(found.map(({ cause }) => cause), ["needle"]);
});

Deno.test("transactions' marks and topics without letters are no end of the reading", async () => {
  const desk = new Desk({ partitions: 1 });
  assert.deepEqual(await desk.list(), { letters: [], next: null });
  for (let i = 0; i < 5; i++) desk.log.mark("in.dead", 0);
  assert.deepEqual(await desk.list(), { letters: [], next: null });
  await desk.setAside();
  for (let i = 0; i < 300; i++) desk.log.mark("in.late", 0);
  for (const order of ["newest", "oldest"] as const) assert.equal((await desk.list({ order })).letters.length, 1);
});

Deno.test("a cursor of somebody's own making is told, whatever is in it", async () => {
  const desk = new Desk();
  const json = (value: unknown) => btoa(JSON.stringify(value)).replaceAll("=", "");
  for (
    const cursor of ["x", "%%%", json(1), json({ a: [] }), json({ a: { "in.dead": { "0": -1 } } }), json({ a: 7 })]
  ) {
    await assert.rejects(desk.list({ cursor }), SelectionError, cursor);
  }
  const { letters, next } = await desk.list({ cursor: json({ a: { elsewhere: { "0": 5 } } }) });
  assert.deepEqual([letters, next], [[], null]);
});

Deno.test("records of others in the topics are shown as they are", async () => {
  const desk = new Desk();
  desk.log.append("in.dead", 0, { key: null, value: null, headers: [["x", null]], timestampMs: 5 }, {
    key: bytes("x".repeat(5_000)),
    value: bytes("?"),
    headers: [["__connect.errors.topic", bytes("in")], ["__connect.errors.offset", bytes("-1")]],
    timestampMs: 6,
  });
  const { letters } = await desk.list({ order: "oldest" });
  assert.deepEqual(letters.map(({ source, pipeline, cause }) => [source, pipeline, cause]), [
    [null, null, ""],
    [null, null, ""],
  ]);
  assert.deepEqual(letters[1].key, { bytes: 5_000, start: "x".repeat(80) });
});

Deno.test("a letter is shown with its bytes, its own headers and its value as JSON", async () => {
  const desk = new Desk();
  const headers = [["trace", bytes("1")], ["empty", null], ["trace", bytes("2")]] as const;
  await desk.setAside({ headers, value: sale({ shop: "b", pieces: 3 }), windowStartMs: START });
  const place = { kind: "late", topic: "in", partition: 0, offset: 0 } as const;
  const shown = await desk.letters.show(place, { signal });
  assert.ok(shown);
  assert.equal(text(shown.key), "k");
  assert.deepEqual(shown.value, sale({ shop: "b", pieces: 3 }));
  assert.deepEqual(shown.headers, headers);
  assert.deepEqual(shown.decoded, {
    json: { shop: "b", pieces: 3, at: "2026-11-20T21:00:05.000Z" },
    fault: null,
  });
  assert.deepEqual(shown.window, { startMs: START, endMs: START + MINUTE });
  assert.equal(shown.attempts, 0);
  for (const other of [{ offset: 7 }, { partition: 9 }, { topic: "other" }, { kind: "dead" as const }]) {
    assert.equal(await desk.letters.show({ ...place, ...other }, { signal }), null);
  }
});

Deno.test("what decodes up to the fault is shown, and why no more does", async () => {
  const desk = new Desk();
  const show = async (changes: Parameters<Desk["setAside"]>[0]) => {
    await desk.setAside({ why: "dead", ...changes });
    const offset = desk.log.records("in.dead").at(-1)!.offset;
    return (await desk.letters.show({ kind: "dead", topic: "in", partition: 0, offset }, { signal }))!.decoded;
  };
  const good = sale({ shop: "b", pieces: 3 });
  const cut = await show({ value: good.subarray(0, 8) });
  assert.deepEqual(cut.json, { shop: "b", pieces: 3 });
  assert.match(cut.fault!, /^at: .*ends/);
  assert.deepEqual(await show({ value: new Uint8Array([...good, 9]) }), {
    json: { shop: "b", pieces: 3, at: "2026-11-20T21:00:05.000Z" },
    fault: "1 bytes follow the record",
  });
  assert.deepEqual(await show({ value: sale({}, 44) }), { json: null, fault: "schema id 44 is not in the registry" });
  assert.match((await show({ value: bytes("hello") })).fault!, /does not start with a schema id/);
  assert.match((await show({ value: null })).fault!, /no value/);
  assert.match(
    (await show({ reason: `3 records: zstd. ${WHOLE_BATCH}` })).fault!,
    /batch/,
  );
});

Deno.test("brokers that are away are told, and nothing is remembered of it", async () => {
  const desk = new Desk();
  await desk.setAside();
  desk.log.isAway = true;
  await assert.rejects(desk.list(), UnavailableError);
  desk.log.isAway = false;
  assert.equal((await desk.list()).letters.length, 1);
});
