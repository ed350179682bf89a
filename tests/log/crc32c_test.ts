import { deepStrictEqual, strictEqual, throws } from "node:assert/strict";
import { crc32c } from "../../pipeline/log/crc32c.ts";

/** The definition, a bit at a time. */
function bitwise(bytes: Uint8Array): number {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

Deno.test("the check value of the CRC catalogue and the vectors of RFC 3720 come out", () => {
  strictEqual(crc32c(new TextEncoder().encode("123456789")), 0xe3069283);
  strictEqual(crc32c(new Uint8Array(32)), 0x8a9136aa);
  strictEqual(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43);
  strictEqual(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e);
});

Deno.test("every length and alignment agrees with the bit by bit definition", () => {
  const bytes = Uint8Array.from({ length: 100 }, (_, i) => Math.imul(i + 1, 2654435761) >>> 24);
  for (let start = 0; start < 20; start++) {
    for (let end = start; end <= bytes.length; end++) {
      strictEqual(crc32c(bytes, start, end), bitwise(bytes.subarray(start, end)));
    }
  }
});

Deno.test("a range outside the bytes is refused", () => {
  for (const [start, end] of [[-1, 3], [0, 5], [3, 2]]) throws(() => crc32c(new Uint8Array(4), start, end), RangeError);
  deepStrictEqual(crc32c(new Uint8Array(4), 4, 4), 0);
});
