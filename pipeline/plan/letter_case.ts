/**
 * `lower` and `upper` as DuckDB 1.5 has them: one code point to one code point, by Unicode 15's simple mappings. JavaScript's own
 * conversions map some characters to several, and know a newer Unicode: those characters are listed here.
 *
 * @module
 */

/** Characters whose lower case is not JavaScript's: U+0130 to a plain i; newer than Unicode 15 to themselves. */
const LOWER = new Map<number, number>([
  [0x130, 0x69],
  ...themselves(0x1c89, 0xa7cb, 0xa7cc, 0xa7da, 0xa7dc),
  ...themselves(...range(0x10d50, 0x10d65)),
]);

/** Characters whose upper case is not JavaScript's: sharp s, Greek with iota below (one character each), and the newer ones. */
const UPPER = new Map<number, number>([
  [0xdf, 0x1e9e],
  ...[0x1f80, 0x1f90, 0x1fa0].flatMap((first) => range(first, first + 7).map((code) => [code, code + 8] as const)),
  [0x1fb3, 0x1fbc],
  [0x1fc3, 0x1fcc],
  [0x1ff3, 0x1ffc],
  ...themselves(0x19b, 0x264, 0x1c8a, 0xa7cd, 0xa7db),
  ...themselves(...range(0x10d70, 0x10d85)),
]);

export function lower(text: string): string {
  return isAscii(text) ? text.toLowerCase() : convert(text, LOWER, (character) => character.toLowerCase());
}

export function upper(text: string): string {
  return isAscii(text) ? text.toUpperCase() : convert(text, UPPER, (character) => character.toUpperCase());
}

function convert(text: string, special: Map<number, number>, usual: (character: string) => string): string {
  let result = "";
  for (const character of text) {
    const listed = special.get(character.codePointAt(0)!);
    if (listed !== undefined) {
      result += String.fromCodePoint(listed);
      continue;
    }
    const mapped = usual(character);
    result += mapped.length > (mapped.codePointAt(0)! > 0xffff ? 2 : 1) ? character : mapped;
  }
  return result;
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) return false;
  return true;
}

function themselves(...codes: number[]): (readonly [number, number])[] {
  return codes.map((code) => [code, code] as const);
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}
