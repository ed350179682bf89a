import assert from "node:assert/strict";
import fc from "fast-check";
import { MalformedRecordError } from "../../pipeline/errors.ts";
import { WireReader, WireWriter } from "../../pipeline/log/wire.ts";

type Case = readonly [(writer: WireWriter) => unknown, (reader: WireReader) => unknown, unknown];

const safe = fc.maxSafeInteger();
const uint32 = fc.integer({ min: 0, max: 0xffff_ffff });
const text = fc.string({ unit: "grapheme", maxLength: 40 });
const blob = fc.uint8Array({ maxLength: 40 });
const hex = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => bytes.toHex());

const anyField: fc.Arbitrary<Case> = fc.oneof(
  fc.integer({ min: -128, max: 127 }).map((v): Case => [(w) => w.int8(v), (r) => r.int8(), v]),
  fc.integer({ min: -32768, max: 32767 }).map((v): Case => [(w) => w.int16(v), (r) => r.int16(), v]),
  fc.integer({ min: 0, max: 65535 }).map((v): Case => [(w) => w.uint16(v), (r) => r.uint16(), v]),
  fc.integer().map((v): Case => [(w) => w.int32(v), (r) => r.int32(), v]),
  uint32.map((v): Case => [(w) => w.uint32(v), (r) => r.uint32(), v]),
  safe.map((v): Case => [(w) => w.int64(v), (r) => r.int64(), v]),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((v): Case => [
    (w) => w.bigint64(v),
    (r) => r.bigint64(),
    v,
  ]),
  fc.boolean().map((v): Case => [(w) => w.boolean(v), (r) => r.boolean(), v]),
  fc.double({ noNaN: true }).map((v): Case => [(w) => w.float64(v), (r) => r.float64(), v]),
  uint32.map((v): Case => [(w) => w.uvarint(v), (r) => r.uvarint(), v]),
  fc.integer().map((v): Case => [(w) => w.varint(v), (r) => r.varint(), v]),
  safe.map((v): Case => [(w) => w.varlong(v), (r) => r.varlong(), v]),
  hex.map((v): Case => [(w) => w.uuid(v), (r) => r.uuid(), v]),
  text.map((v): Case => [(w) => w.string(v), (r) => r.string(), v]),
  fc.option(text).map((v): Case => [(w) => w.string(v), (r) => r.nullableString(), v]),
  text.map((v): Case => [(w) => w.compactString(v), (r) => r.compactString(), v]),
  fc.option(text).map((v): Case => [(w) => w.compactString(v), (r) => r.compactNullableString(), v]),
  blob.map((v): Case => [(w) => w.byteField(v), (r) => r.bytes(), v]),
  blob.map((v): Case => [(w) => w.compactByteField(v), (r) => r.compactBytes(), v]),
  fc.option(blob).map((v): Case => [(w) => w.byteField(v), (r) => r.nullableBytes(), v]),
  fc.option(blob).map((v): Case => [(w) => w.compactByteField(v), (r) => r.compactNullableBytes(), v]),
);

Deno.test("whatever the writer writes the reader reads back, and every cut of it is refused", () => {
  fc.assert(fc.property(fc.array(anyField, { minLength: 1, maxLength: 12 }), (fields) => {
    const writer = new WireWriter(1);
    for (const [write] of fields) write(writer);
    const bytes = writer.bytes().slice();
    const reader = new WireReader(bytes);
    // Buffer or Uint8Array, view or copy: only the content counts.
    for (const [, read, value] of fields) assert.deepEqual(read(reader), value);
    assert.equal(reader.remaining, 0);

    for (let cut = 0; cut < bytes.length; cut++) {
      const short = new WireReader(bytes, 0, cut);
      assert.throws(() => fields.forEach(([, read]) => read(short)), MalformedRecordError);
      assert.ok(short.position <= cut);
    }
  }));
});

Deno.test("random bytes never make the reader leave its range or allocate for a count that cannot be", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), fc.array(anyField, { maxLength: 8 }), (bytes, fields) => {
    const end = Math.floor(bytes.length / 2);
    const reader = new WireReader(bytes, 0, end);
    try {
      for (const [, read] of fields) read(reader);
      assert.ok(reader.arrayLength(4) * 4 <= reader.remaining);
      reader.skipTaggedFields();
    } catch (error) {
      assert.ok(error instanceof MalformedRecordError, String(error));
    }
    assert.ok(reader.position <= end);
  }));
});

Deno.test("an array longer than the bytes left is refused", () => {
  const bytes = new WireWriter().int32(1000).raw(new Uint8Array(999)).bytes();
  assert.equal(new WireReader(new WireWriter().int32(-1).bytes()).arrayLength(), -1);
  assert.throws(() => new WireReader(bytes).arrayLength(), /1000 elements/);
  assert.throws(() =>
    new WireReader(new WireWriter().uvarint(501).raw(new Uint8Array(999)).bytes()).compactArrayLength(2)
  );
  assert.equal(new WireReader(new WireWriter().compactArrayLength(-1).bytes()).compactArrayLength(), -1);
});

Deno.test("varints of more than 32 bits and integers beyond 2^53 are refused", () => {
  const tooLong = new Uint8Array([0xff, 0xff, 0xff, 0xff, 0x1f]);
  const endless = new Uint8Array(12).fill(0xff);
  assert.throws(() => new WireReader(tooLong).uvarint(), MalformedRecordError);
  assert.throws(() => new WireReader(endless).uvarint(), MalformedRecordError);
  assert.throws(() => new WireReader(endless).varlong(), MalformedRecordError);
  assert.throws(() => new WireReader(new WireWriter().bigint64(2n ** 60n).bytes()).int64(), MalformedRecordError);
});

Deno.test("tagged fields are skipped whatever they hold", () => {
  const writer = new WireWriter().uvarint(2).uvarint(0).uvarint(3).raw(new Uint8Array(3)).uvarint(700).uvarint(0).int8(
    7,
  );
  const reader = new WireReader(writer.bytes());
  reader.skipTaggedFields();
  assert.equal(reader.int8(), 7);
});

Deno.test("a reserved length can be patched after the buffer has grown", () => {
  const writer = new WireWriter(16);
  const frame = writer.reserveInt32();
  writer.raw(new Uint8Array(1000)).patchLength(frame);
  assert.equal(new WireReader(writer.bytes()).int32(), 1000);
  assert.equal(writer.reset().int8(1).bytes().length, 1);
});
