/**
 * Text as PostgreSQL can store it. PostgreSQL's text cannot hold U+0000, Avro's string can; one such string must not stop
 * a pipeline, nor may two keys become one. So U+0000 is written as its picture, and the picture is escaped:
 *
 *     U+0000 -> ␀ (U+2400)      ␀ -> ␐␀      ␐ (U+2410) -> ␐␐
 *
 * @module
 */
const UNSTORABLE = /[\0\u2400\u2410]/;
const UNSTORABLE_ALL = /[\0\u2400\u2410]/g;

/** The text to store; the same text unless it has U+0000 or one of the two signs that stand for it. */
export function storableText(text: string): string {
  if (!UNSTORABLE.test(text)) return text;
  return text.replace(UNSTORABLE_ALL, (character) => character === "\0" ? "\u2400" : `\u2410${character}`);
}

/** JSON as PostgreSQL's jsonb can store it: as `storableText`, and U+0000 written as an escape becomes its picture, too. */
export function storableJson(text: string): string {
  const storable = storableText(text);
  // A backslash before another is no escape of what follows the two.
  return storable.includes("\\u0000")
    ? storable.replace(/\\(\\|u0000)/g, (escape) => escape === "\\\\" ? escape : "\\u2400")
    : storable;
}
