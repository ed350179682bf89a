/**
 * A question's text cut into tokens, without understanding it: enough to bound it before any parser sees it, and to find a place in
 * it again.
 *
 * What is text, a comment or a name is told apart as DuckDB does: `'..''..'`, `E'..\'..'`, `$tag$..$tag$`, `"..""..".`,
 * `-- ..`, and block comments, which nest.
 *
 * @module
 */
import { SqlError } from "./service.ts";

/** Characters of a question; a parser's work grows with the text, at worst with its square. */
export const SQL_CHARACTERS_MAX = 65_536;
/** Brackets within brackets, and block comments within block comments. */
export const NESTING_MAX = 100;

export interface Token {
  readonly kind: "word" | "name" | "text" | "number" | "mark";
  readonly start: number;
  /** After its last character. */
  readonly end: number;
  /** Words in lower case, the others as they stand. */
  readonly text: string;
}

const BLANK = /[\s\u00a0\u2000-\u200b\u202f\u205f\u3000\ufeff]+/y;
const LINE_COMMENT = /--[^\n\r]*/y;
const QUOTED_NAME = /"(?:[^"]|"")*"/y;
const ESCAPED_TEXT = /[eE]'(?:[^'\\]|\\[\s\S]|'')*'/y;
const QUOTED_TEXT = /(?:[xXbB])?'(?:[^']|'')*'/y;
const DOLLAR_TAG = /\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/y;
const NUMBER = /\d[\d_]*(?:\.\d*)?(?:[eE][+-]?\d+)?|0[xX][\da-fA-F_]+/y;
const WORD = /[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*/y;
const ARROW = /=>|::|->>?/y;

/**
 * Cuts a text into tokens; comments and blanks are left out.
 *
 * @throws SqlError (`syntax`) for what is too long or too deep, does not end, or has a character that no SQL has
 */
export function tokensOf(sql: string): Token[] {
  if (sql.length > SQL_CHARACTERS_MAX) {
    throw new SqlError("syntax", `it is ${sql.length} characters long; the most is ${SQL_CHARACTERS_MAX}`);
  }
  // deno-lint-ignore no-control-regex -- those are what is looked for
  const control = sql.search(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/);
  if (control >= 0) {
    const code = sql.charCodeAt(control).toString(16).padStart(2, "0");
    throw new SqlError("syntax", `it contains the control character \\x${code}`, control);
  }
  if (!sql.isWellFormed()) throw new SqlError("syntax", "it contains half of a character (a lone surrogate)");
  const tokens: Token[] = [];
  let at = 0;
  let depth = 0;
  const match = (pattern: RegExp): string | null => {
    pattern.lastIndex = at;
    return pattern.exec(sql)?.[0] ?? null;
  };
  const add = (kind: Token["kind"], text: string) => {
    tokens.push({ kind, start: at, end: at + text.length, text: kind === "word" ? text.toLowerCase() : text });
    at += text.length;
  };
  while (at < sql.length) {
    const skipped = match(BLANK) ?? match(LINE_COMMENT);
    if (skipped !== null) {
      at += skipped.length;
      continue;
    }
    if (sql.startsWith("/*", at)) {
      at = endOfComment(sql, at);
      continue;
    }
    const text = match(ESCAPED_TEXT) ?? match(QUOTED_TEXT) ?? dollarText(sql, at, match(DOLLAR_TAG));
    if (text !== null) {
      add("text", text);
      continue;
    }
    const name = match(QUOTED_NAME);
    if (name !== null) {
      add("name", name);
      continue;
    }
    const character = sql[at];
    // An escape text that does not end is not a word and a text that does.
    const isOpen = character === "'" || character === '"' || /^e'/i.test(sql.slice(at, at + 2));
    if (isOpen) {
      throw new SqlError("syntax", `a ${character === '"' ? character : "'"} is never closed`, at);
    }
    const number = match(NUMBER);
    const word = number === null ? match(WORD) : null;
    if (number !== null) add("number", number);
    else if (word !== null) add("word", word);
    else {
      if ("([{".includes(character) && ++depth > NESTING_MAX) {
        throw new SqlError("syntax", `brackets are nested more than ${NESTING_MAX} deep`, at);
      }
      if (")]}".includes(character)) depth--;
      add("mark", match(ARROW) ?? character);
    }
  }
  return tokens;
}

function endOfComment(sql: string, start: number): number {
  const edge = /\/\*|\*\//g;
  edge.lastIndex = start;
  let depth = 0;
  for (let found = edge.exec(sql); found !== null; found = edge.exec(sql)) {
    depth += found[0] === "/*" ? 1 : -1;
    if (depth > NESTING_MAX) {
      throw new SqlError("syntax", `comments are nested more than ${NESTING_MAX} deep`, found.index);
    }
    if (depth === 0) return found.index + 2;
  }
  throw new SqlError("syntax", "a comment is never closed", start);
}

function dollarText(sql: string, start: number, tag: string | null): string | null {
  if (tag === null) return null;
  const end = sql.indexOf(tag, start + tag.length);
  if (end < 0) throw new SqlError("syntax", `a text that begins with ${tag} is never closed`, start);
  return sql.slice(start, end + tag.length);
}

/**
 * One statement without the semicolons after it.
 *
 * @throws SqlError (`syntax`) when there is none, or more than one
 */
export function oneStatement(sql: string): string {
  const tokens = tokensOf(sql);
  const isEnd = ({ kind, text }: Token) => kind === "mark" && text === ";";
  const last = tokens.findLastIndex((token) => !isEnd(token));
  if (last < 0) throw new SqlError("syntax", "it is empty: ask something, `select * from ledger` perhaps");
  const another = tokens.findIndex((token, i) => i < last && isEnd(token));
  if (another >= 0) {
    throw new SqlError("syntax", "it is more than one statement: ask one SELECT at a time", tokens[another].start);
  }
  return sql.slice(0, tokens[last].end);
}
