import assert from "node:assert/strict";
import fc from "fast-check";
import { WireWriter } from "../../pipeline/log/wire.ts";
import { brokerIn, RawClient, recordBatch, temporaryFolder, valuesIn } from "../broker/kafka/support.ts";
import { mutations, runs } from "./support.ts";

const BATCH = recordBatch(["x"]);

/** Bodies as clients send them, of every request that the broker knows; the rest is what the mutations make of them. */
const BODIES: readonly (readonly [key: number, version: number, body: (w: WireWriter) => unknown])[] = [
  [
    0,
    7,
    (w) => w.string(null).int16(-1).int32(100).arrayLength(1).string("t").arrayLength(1).int32(0).byteField(BATCH),
  ],
  [1, 11, (w) => {
    w.int32(-1).int32(0).int32(1).int32(1000).int8(0).int32(0).int32(-1).arrayLength(1).string("t").arrayLength(1);
    w.int32(0).int32(-1).int64(0).int64(-1).int32(1000).arrayLength(0).string("");
  }],
  [2, 5, (w) => w.int32(-1).int8(0).arrayLength(1).string("t").arrayLength(1).int32(0).int32(-1).int64(-1)],
  [3, 4, (w) => w.arrayLength(1).string("t").boolean(true)],
  [
    8,
    7,
    (w) =>
      w.string("g").int32(-1).string("").string(null).arrayLength(1).string("t").arrayLength(1).int32(0).int64(1).int32(
        -1,
      ).string(null),
  ],
  [9, 5, (w) => w.string("g").arrayLength(1).string("t").arrayLength(1).int32(0)],
  [10, 2, (w) => w.string("g").int8(0)],
  [
    11,
    5,
    (w) =>
      w.string("g").int32(10_000).int32(10_000).string("").string(null).string("consumer").arrayLength(1).string(
        "range",
      ).byteField(new Uint8Array(4)),
  ],
  [12, 3, (w) => w.string("g").int32(1).string("m").string(null)],
  [13, 2, (w) => w.string("g").string("m")],
  [14, 3, (w) => w.string("g").int32(1).string("m").string(null).arrayLength(0)],
  [15, 4, (w) => w.arrayLength(1).string("g").boolean(false)],
  [16, 2, () => {}],
  [18, 2, () => {}],
  [
    19,
    4,
    (w) => w.arrayLength(1).string("u").int32(2).int16(1).arrayLength(0).arrayLength(0).int32(1000).boolean(false),
  ],
  [20, 3, (w) => w.arrayLength(1).string("gone").int32(1000)],
  [22, 1, (w) => w.string(null).int32(60_000)],
  [24, 1, (w) => w.string("tx").int64(1).int16(0).arrayLength(1).string("t").arrayLength(1).int32(0)],
  [25, 1, (w) => w.string("tx").int64(1).int16(0).string("g")],
  [26, 1, (w) => w.string("tx").int64(1).int16(0).boolean(true)],
  [28, 2, (w) => w.string("tx").string("g").int64(1).int16(0).arrayLength(0)],
  [32, 2, (w) => w.arrayLength(1).int8(2).string("t").arrayLength(-1).boolean(false)],
  [37, 1, (w) => w.arrayLength(1).string("u").int32(3).arrayLength(-1).int32(100).boolean(true)],
];

function frame([key, version, body]: (typeof BODIES)[number]): Uint8Array {
  const writer = new WireWriter().int16(key).int16(version).int32(1).string("hostile");
  body(writer);
  return writer.bytes().slice();
}

function framed(content: Uint8Array): Uint8Array {
  return new WireWriter().int32(content.length).raw(content).bytes().slice();
}

const requests = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...BODIES).chain((body) => mutations(frame(body)).map(framed)) },
  // Every version of every request, known or not, with a body of another one or none.
  {
    weight: 3,
    arbitrary: fc.tuple(fc.nat(80), fc.integer({ min: -1, max: 20 }), fc.uint8Array({ maxLength: 60 })).map(
      ([key, version, rest]) =>
        framed(new WireWriter().int16(key).int16(version).int32(1).string("hostile").raw(rest).bytes()),
    ),
  },
  { weight: 1, arbitrary: fc.uint8Array({ minLength: 1, maxLength: 100 }) },
);

Deno.test("frames of anything end at worst their own connection; a client beside them reads and writes on", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path, { partitionsMax: 200, groupInitialDelayMs: 0, stallMs: 500 });
  using steady = await RawClient.open(broker);
  await steady.createTopic("steady");
  let died: Error | null = null;
  broker.running.failed.then((error) => died = error);
  let written = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(requests, { minLength: 1, maxLength: 8 }), async (frames) => {
      {
        using hostile = await RawClient.open(broker);
        for (const bytes of frames) await hostile.write(bytes).catch(() => {});
      }
      const value = `value ${written}`;
      const { error, offset } = await steady.produce("steady", recordBatch([value]));
      assert.deepEqual([error, offset], [0, written++]);
      assert.deepEqual(valuesIn((await steady.fetch("steady", offset)).records), [{ offset, value }]);
      assert.equal(died, null);
    }),
    runs(250),
  );
  // What it does not expect it tells; none of these is expected.
  assert.deepEqual(broker.lines.filter((line) => /TypeError|RangeError|is not a function|undefined/.test(line)), []);
});

Deno.test("the requests that are changed are understood as they are", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path, { groupInitialDelayMs: 0 });
  for (const [key, version, body] of BODIES) {
    using client = await RawClient.open(broker);
    await client.createTopic("t");
    const answer = await client.request(key, version, body);
    assert.ok(answer.remaining > 0, `request ${key}`);
  }
  assert.deepEqual(broker.lines.filter((line) => /malformed|closed|does not/i.test(line)), []);
});
