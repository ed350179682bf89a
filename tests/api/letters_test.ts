import assert from "node:assert/strict";
import { createApp } from "../../api/app.ts";
import { ConfigError, ConflictError } from "../../pipeline/errors.ts";
import type { Letters } from "../../pipeline/letters/letters.ts";
import { bytes, Desk, sale, START, text } from "../letters/desk.ts";
import { fakeDeps } from "./fake_deps.ts";

const PLACE = { kind: "late", topic: "in", partition: 0, offset: 0 };

function appOver(letters: Letters) {
  const app = createApp(fakeDeps({ letters }).deps);
  return {
    async get(path: string) {
      const response = await app.request(path);
      return { status: response.status, body: await response.json() };
    },
    async redrive(body: unknown) {
      const headers = { "content-type": "application/json" };
      const response = await app.request("/v1/letters/redrive", {
        method: "POST",
        headers,
        body: JSON.stringify(body),
      });
      return { status: response.status, body: await response.json() };
    },
  };
}

Deno.test("a listed letter is told in JSON, times as ISO 8601", async () => {
  const desk = new Desk();
  await desk.setAside({ reason: "window had closed" });
  const { status, body } = await appOver(desk.letters).get("/v1/letters");
  assert.equal(status, 200);
  assert.deepEqual(body, {
    letters: [{
      ...PLACE,
      pipeline: "p",
      source: { topic: "in", partition: 0, offset: 0 },
      originalOffset: 0,
      timestamp: "2026-11-20T21:00:00.000Z",
      cause: "window had closed",
      schemaId: 1,
      attempt: 0,
      redriven: false,
      windowStart: "2026-11-20T21:00:00.000Z",
      key: { bytes: 1, start: "k" },
      valueBytes: sale().length,
    }],
    next: null,
  });
});

Deno.test("every filter of the query is passed on as what it is", async () => {
  let asked: unknown;
  const letters = { list: (query: unknown) => Promise.resolve((asked = query, { letters: [], next: null })) };
  const app = appOver(letters as unknown as Letters);
  await app.get(
    "/v1/letters?kind=dead&topic=in&pipeline=p&partition=3&offsetFrom=1&offsetTo=9&from=2026-11-20T21:00Z&to=1795208500000" +
      "&cause=length&schemaId=7&attempt=2&redriven=true&order=oldest&limit=5&cursor=abc",
  );
  assert.deepEqual(asked, {
    kind: "dead",
    topic: "in",
    pipeline: "p",
    partition: 3,
    offsetFrom: 1,
    offsetTo: 9,
    from: START,
    to: 1_795_208_500_000,
    cause: "length",
    schemaId: 7,
    attempt: 2,
    redriven: true,
    order: "oldest",
    limit: 5,
    cursor: "abc",
  });
});

Deno.test("what is wrong with a request is told with its place", async () => {
  const app = appOver(new Desk().letters);
  const cases: [string, string, RegExp][] = [
    ["/v1/letters?kind=odd", "query.kind", /late or dead/],
    ["/v1/letters?partition=-1", "query.partition", /whole number/],
    ["/v1/letters?from=yesterday", "query.from", /neither ISO 8601/],
    ["/v1/letters?redriven=1", "query.redriven", /true or false/],
    ["/v1/letters?limit=1001", "query.limit", /1 to 1000/],
    ["/v1/letters?limit=5&limit=6", "query.limit", /more than once/],
    ["/v1/letters?topic=elsewhere", "query.topic", /no pipeline reads "elsewhere"; there are: in/],
    ["/v1/letters?cursor=nonsense", "query.cursor", /is not the `next` of a page/],
    ["/v1/letters?unknown=1", "query", /unknown/i],
    ["/v1/letters/late/in/0/x", "path.offset", /whole number/],
  ];
  for (const [path, where, problem] of cases) {
    const { status, body } = await app.get(path);
    assert.equal(status, 400, path);
    assert.equal(body.errors[0].where.replace("param", "path"), where, path);
    assert.match(body.errors[0].problem, problem, path);
  }
});

Deno.test("one letter is shown with its bytes as text, hex and base64", async () => {
  const desk = new Desk();
  const headers = [["trace", bytes("é")], ["none", null], ["raw", new Uint8Array([0xff, 0])]] as const;
  await desk.setAside({ headers });
  const { status, body } = await appOver(desk.letters).get("/v1/letters/late/in/0/0");
  assert.equal(status, 200);
  const shown = (value: Uint8Array, as: string | null) => ({
    bytes: value.length,
    text: as,
    hex: value.toHex(),
    base64: value.toBase64(),
    truncated: false,
  });
  assert.deepEqual(body.keyBytes, shown(bytes("k"), "k"));
  assert.equal(body.value.base64, sale().toBase64());
  assert.deepEqual(body.headers, [
    { name: "trace", value: shown(bytes("é"), "é") },
    { name: "none", value: null },
    { name: "raw", value: shown(new Uint8Array([0xff, 0]), null) },
  ]);
  assert.deepEqual(body.decoded, { shop: "a", pieces: 1, at: "2026-11-20T21:00:05.000Z" });
  assert.deepEqual([body.fault, body.attempts], [null, 0]);
  assert.deepEqual(body.window, { start: "2026-11-20T21:00:00.000Z", end: "2026-11-20T21:01:00.000Z" });
});

Deno.test("a large letter is cut, and says so", async () => {
  const desk = new Desk();
  const headers = Array.from({ length: 300 }, (_, i) => [`h${i}`, bytes("x".repeat(10_000))] as const);
  await desk.setAside({ value: bytes("é".repeat(2 ** 20)), headers });
  const { body } = await appOver(desk.letters).get("/v1/letters/late/in/0/0");
  assert.equal(body.value.bytes, 2 ** 21);
  assert.equal(body.value.truncated, true);
  assert.equal(body.value.text.length, 2 ** 19);
  assert.equal(body.headersTotal, 300);
  assert.equal(body.headers.length, 200);
  assert.deepEqual([body.headers[0].value.bytes, body.headers[0].value.text.length], [10_000, 4096]);
});

Deno.test("redriving by a filter: a dry run first, then for real, then nothing is left", async () => {
  const desk = new Desk();
  await desk.setAside();
  await desk.setAside({ why: "dead", value: bytes("?"), schemaId: null });
  const app = appOver(desk.letters);
  const selection = { filter: { pipeline: "p" } };
  const dry = await app.redrive({ selection, dryRun: true });
  assert.equal(dry.status, 200);
  assert.deepEqual([dry.body.redriven, dry.body.refused, dry.body.next], [1, 1, null]);
  const late = dry.body.items.find(({ letter }: { letter: { kind: string } }) => letter.kind === "late");
  assert.deepEqual(late.target, { topic: "in", partition: 0, attempt: 1 });
  assert.deepEqual(late.forecast, {
    fate: "aggregated",
    reason: null,
    window: { start: "2026-11-20T21:00:00.000Z", end: "2026-11-20T21:01:00.000Z" },
  });
  assert.equal(desk.log.records("in.redriven").length, 0);
  const real = await app.redrive({ selection });
  assert.deepEqual([real.body.dryRun, real.body.redriven], [false, 1]);
  assert.equal(desk.log.records("in.redriven").length, 1);
  assert.equal((await app.redrive({ selection })).body.skipped, 1);
});

Deno.test("an edit in JSON or base64 is what is written", async () => {
  const desk = new Desk();
  await desk.setAside({ why: "dead", value: bytes("?"), schemaId: null });
  await desk.setAside({ why: "dead", value: bytes("?"), schemaId: null });
  const app = appOver(desk.letters);
  const selection = (offset: number) => ({ letters: [{ ...PLACE, kind: "dead", offset }] });
  const second = desk.log.records("in.dead").at(-1)!.offset;
  const value = { shop: "new", pieces: 4, at: "2026-11-20T21:00:05.000Z" };
  assert.equal((await app.redrive({ selection: selection(0), edit: { value, schema: "newest" } })).body.redriven, 1);
  assert.equal(
    (await app.redrive({ selection: selection(second), edit: { base64: sale({ shop: "b" }).toBase64() } })).body
      .redriven,
    1,
  );
  const written = desk.log.records("in").slice(2);
  assert.deepEqual(written.map(({ value }) => value), [sale({ shop: "new", pieces: 4 }), sale({ shop: "b" })]);
  assert.deepEqual(written.map(({ headers }) => text(headers.at(-1)![1])), ["p", "p"]);
});

Deno.test("a body that is no redrive is told, field by field", async () => {
  const app = appOver(new Desk().letters);
  const cases: [unknown, RegExp][] = [
    [{}, /body\.selection/],
    [{ selection: { filter: { kind: "odd" } } }, /body\.selection\.filter\.kind.*late or dead/],
    [{ selection: { letters: [] } }, /body\.selection\.letters/],
    [{ selection: { filter: {} }, cap: 10_001 }, /body\.cap/],
    [{ selection: { filter: {} }, rate: 0 }, /body\.rate/],
    [{ selection: { filter: {} }, edit: { base64: "AA==" } }, /body\.edit is for one letter/],
    [{ selection: { letters: [PLACE] }, edit: { base64: "?" } }, /body\.edit\.base64/],
    [{ selection: { letters: [PLACE] }, edit: { base64: "AA==", value: 1 } }, /body\.edit is either/],
    [{ selection: { letters: [PLACE] } }, /body\.letter late\/in\/0\/0 is not there/],
    [{ selection: { filter: { topic: "bank" } } }, /body\.topic no pipeline reads "bank"/],
  ];
  for (const [body, told] of cases) {
    const answer = await app.redrive(body);
    assert.equal(answer.status, 400, JSON.stringify(body));
    const errors = answer.body.errors.map(({ where, problem }: Record<string, string>) => `${where} ${problem}`);
    assert.match(errors.join("; "), told, JSON.stringify(body));
  }
});

Deno.test("what whoever runs this has to mend is told, and is no fault of the request", async () => {
  const fault = new ConfigError({ where: "SCHEMA_REGISTRY_URL", problem: "check user and password" });
  const { status, body } = await appOver({ ...new Desk().letters, list: () => Promise.reject(fault) }).get(
    "/v1/letters",
  );
  assert.deepEqual([status, body.detail], [503, "SCHEMA_REGISTRY_URL: check user and password"]);
});

Deno.test("a redrive that another took over is a conflict", async () => {
  const redrive = () => Promise.reject(new ConflictError("tailrace-redrive.in was taken over"));
  const { status, body } = await appOver({ ...new Desk().letters, redrive }).redrive({ selection: { filter: {} } });
  assert.deepEqual([status, body.type, body.detail], [
    409,
    "/docs#redrive-conflict",
    "tailrace-redrive.in was taken over",
  ]);
});
