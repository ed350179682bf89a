/**
 * Text as it lies in a column, UTF-8 bytes, tested in place: equality, order, prefix, LIKE. Bytes order UTF-8 as its code points
 * order, which is how SQL compares text here.
 *
 * @module
 */
import { RowFault } from "./exact.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Up to this many bytes of ASCII become a string without a call out of the engine, several times as fast. */
const SHORT_BYTES_MAX = 32;

/** The text in `data[start, end)`. @throws RowFault when it is not UTF-8 */
export function decodeText(data: Uint8Array, start: number, end: number): string {
  if (end - start <= SHORT_BYTES_MAX) {
    let text = "";
    let at = start;
    while (at < end && data[at] < 0x80) text += String.fromCharCode(data[at++]);
    if (at === end) return text;
  }
  try {
    return decoder.decode(data.subarray(start, end));
  } catch {
    throw new RowFault("text that is not UTF-8");
  }
}

export function equalsAt(data: Uint8Array, start: number, end: number, constant: Uint8Array): boolean {
  return end - start === constant.length && foundAt(data, start, constant);
}

export function startsWithAt(data: Uint8Array, start: number, end: number, constant: Uint8Array): boolean {
  return end - start >= constant.length && foundAt(data, start, constant);
}

export function endsWithAt(data: Uint8Array, start: number, end: number, constant: Uint8Array): boolean {
  return end - start >= constant.length && foundAt(data, end - constant.length, constant);
}

export function containsAt(data: Uint8Array, start: number, end: number, constant: Uint8Array): boolean {
  for (let at = start; at + constant.length <= end; at++) if (foundAt(data, at, constant)) return true;
  return false;
}

function foundAt(data: Uint8Array, at: number, constant: Uint8Array): boolean {
  for (let i = 0; i < constant.length; i++) if (data[at + i] !== constant[i]) return false;
  return true;
}

/** Below zero, zero, or above, as `data[start, end)` orders against `constant`. */
export function compareAt(data: Uint8Array, start: number, end: number, constant: Uint8Array): number {
  const shared = Math.min(end - start, constant.length);
  for (let i = 0; i < shared; i++) {
    const difference = data[start + i] - constant[i];
    if (difference !== 0) return difference;
  }
  return end - start - constant.length;
}

/** How two strings order by code point. JavaScript's own `<` orders by UTF-16 unit, which differs past U+D7FF. */
export function compareText(a: string, b: string): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return (x >= 0xd800 ? aboveSurrogates(x) : x) - (y >= 0xd800 ? aboveSurrogates(y) : y);
  }
  return a.length - b.length;
}

/** Surrogates stand for code points above all others, so they move past U+FFFF. */
function aboveSurrogates(unit: number): number {
  return unit >= 0xe000 ? unit - 0x800 : unit + 0x2000;
}

/** Code points of UTF-8 text: all bytes but those that continue one. */
export function charactersAt(data: Uint8Array, start: number, end: number): number {
  let count = 0;
  for (let i = start; i < end; i++) if ((data[i] & 0xc0) !== 0x80) count++;
  return count;
}

/** Code points of a string. */
export function characters(text: string): number {
  let count = text.length;
  for (let i = 0; i < text.length; i++) if ((text.charCodeAt(i) & 0xfc00) === 0xdc00) count--;
  return count;
}

/** `length` code points from the `start`th (from 1) on; all that follow when `length` is null. */
export function substring(text: string, start: number, length: number | null): string {
  return [...text].slice(start - 1, length === null ? undefined : start - 1 + length).join("");
}

/** Many constants at once: which text is one of them. */
export class TextSet {
  readonly #byHash = new Map<number, Uint8Array[]>();

  constructor(texts: readonly string[]) {
    for (const text of texts) {
      const bytes = encoder.encode(text);
      const hash = hashAt(bytes, 0, bytes.length);
      this.#byHash.set(hash, [...(this.#byHash.get(hash) ?? []), bytes]);
    }
  }

  has(data: Uint8Array, start: number, end: number): boolean {
    const candidates = this.#byHash.get(hashAt(data, start, end));
    return candidates !== undefined && candidates.some((constant) => equalsAt(data, start, end, constant));
  }
}

/** FNV-1a, 32 bits. */
function hashAt(data: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ data[i], 0x01000193);
  return hash;
}

/** In a LIKE pattern's segment: any one character; other elements are bytes. */
const ANY = -1;

/**
 * A LIKE pattern, read once. It is cut at each `%`; the first piece must start the text, the last must end it, and each one between
 * takes its first place after the one before: so a text costs at most its length times the pattern's.
 */
export class LikePattern {
  readonly #segments: readonly Int16Array[];

  constructor(pattern: string, escape: string) {
    const segments: number[][] = [[]];
    let escaped = false;
    for (const character of pattern) {
      if (!escaped && character === escape) {
        escaped = true;
        continue;
      }
      if (!escaped && character === "%") segments.push([]);
      else if (!escaped && character === "_") segments[segments.length - 1].push(ANY);
      else segments[segments.length - 1].push(...encoder.encode(character));
      escaped = false;
    }
    this.#segments = segments.map((segment) => Int16Array.from(segment));
  }

  testText(text: string): boolean {
    const bytes = encoder.encode(text);
    return this.test(bytes, 0, bytes.length);
  }

  test(data: Uint8Array, start: number, end: number): boolean {
    const segments = this.#segments;
    let at = matchAt(data, start, end, segments[0]);
    if (at < 0) return false;
    if (segments.length === 1) return at === end;
    for (let i = 1; i < segments.length - 1; i++) {
      const segment = segments[i];
      let from = at;
      at = matchAt(data, from, end, segment);
      while (at < 0 && from < end) at = matchAt(data, from = nextCharacter(data, from, end), end, segment);
      if (at < 0) return false;
    }
    const last = segments[segments.length - 1];
    const from = stepBack(data, at, end, last);
    return from >= 0 && matchAt(data, from, end, last) === end;
  }
}

/** Where the segment ends if it matches at `at`, else -1. */
function matchAt(data: Uint8Array, at: number, end: number, segment: Int16Array): number {
  for (let i = 0; i < segment.length; i++) {
    if (at >= end) return -1;
    if (segment[i] === ANY) at = nextCharacter(data, at, end);
    else if (data[at++] !== segment[i]) return -1;
  }
  return at;
}

function nextCharacter(data: Uint8Array, at: number, end: number): number {
  at++;
  while (at < end && (data[at] & 0xc0) === 0x80) at++;
  return at;
}

/** Where the segment has to start to end at `end`, not before `least`; -1 if there is no room. */
function stepBack(data: Uint8Array, least: number, end: number, segment: Int16Array): number {
  for (let i = segment.length - 1; i >= 0; i--) {
    end--;
    if (segment[i] === ANY) { while (end > least && (data[end] & 0xc0) === 0x80) end--; }
    if (end < least) return -1;
  }
  return end;
}
