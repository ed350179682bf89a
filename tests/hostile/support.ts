/**
 * What the tests with hostile input share: a seed that a failure prints, and texts that parsers stumble over.
 *
 * @module
 */
import fc from "fast-check";

/** Printed by fast-check with every failure; `TAILRACE_SEED=n deno test -A tests/hostile` runs the same inputs again. */
export const SEED = Number(Deno.env.get("TAILRACE_SEED") ?? Math.floor(Math.random() * 2 ** 31));

/** Options of a property: `numRuns` inputs from the seed. */
export function runs(numRuns: number): { readonly seed: number; readonly numRuns: number } {
  return { seed: SEED, numRuns };
}

const NASTY = [
  "",
  "0",
  "-1",
  "9223372036854775808",
  "1e999",
  "NaN",
  "null",
  "true",
  "__proto__",
  "constructor",
  "toString",
  "../../etc/passwd",
  "%2e%2e%2f",
  "%00",
  "%",
  "%zz",
  "\0",
  "\r\nx: y",
  "'; DROP TABLE r; --",
  "<script>alert(1)</script>",
  "${1+1}",
  "\u202e\ufeff\ud800",
  "é".repeat(300),
  "[".repeat(2000),
  "{".repeat(2000),
];

/** Texts of every sort, those that break parsers among them. */
export const nasty: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(...NASTY),
  fc.string({ unit: "binary", maxLength: 60 }),
  fc.string({ maxLength: 30 }),
);

/** JSON values of any shape; names and texts are {@linkcode nasty}. */
export const nastyJson: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    nasty,
    fc.double(),
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie("value"), { maxLength: 4 }),
    fc.array(fc.tuple(nasty, tie("value")), { maxLength: 4 }).map((entries) => Object.fromEntries(entries)),
  ),
})).value;

/** Bytes changed in a few ways at a few places: flipped, set to an extreme, cut off, doubled, put elsewhere. */
export function mutations(bytes: Uint8Array): fc.Arbitrary<Uint8Array<ArrayBuffer>> {
  const place = fc.nat(Math.max(0, bytes.length - 1));
  const change = fc.tuple(fc.constantFrom("flip", "set", "cut", "double", "drop"), place, fc.nat(255));
  return fc.array(change, { minLength: 1, maxLength: 4 }).map((changes) => {
    let result = Uint8Array.from(bytes);
    for (const [kind, at, value] of changes) {
      if (at >= result.length) continue;
      if (kind === "flip") result[at] ^= 1 << (value % 8);
      else if (kind === "set") result[at] = [0, 0x7f, 0x80, 0xff, value][value % 5];
      else if (kind === "cut") result = result.slice(0, at);
      else if (kind === "drop") result = Uint8Array.of(...result.subarray(0, at), ...result.subarray(at + 1));
      else result = Uint8Array.of(...result.subarray(0, at), ...result.subarray(Math.max(0, at - 8)));
    }
    return result;
  });
}
