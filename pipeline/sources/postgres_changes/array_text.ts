/**
 * PostgreSQL's text of an array as JSON:
 *
 *     {1,NULL,3}                 [1,null,3]
 *     {a,"b \"c\"",{..}}         ["a","b \"c\"",[..]]
 *     [0:1]={1,2}                [1,2]
 *
 * Source: PostgreSQL documentation, "Array Input and Output Syntax".
 *
 * @module
 */

/** What elements are: digits go as they are, so that none are lost. */
export type ElementKind = "number" | "boolean" | "json" | "string";

const NUMBER = /^-?\d+(\.\d+)?(e[+-]?\d+)?$/i;

/** Null for a text that is no array's. */
export function arrayToJson(text: string, kind: ElementKind): string | null {
  let out = "";
  let depth = 0;
  let at = text.startsWith("[") ? text.indexOf("=") + 1 : 0;
  while (at < text.length) {
    const character = text[at];
    if (character === "{" || character === "}") {
      depth += character === "{" ? 1 : -1;
      if (depth < 0) return null;
      out += character === "{" ? "[" : "]";
      at++;
    } else if (character === ",") {
      out += ",";
      at++;
    } else if (depth === 0) {
      return null;
    } else if (character === '"') {
      let value = "";
      for (at++; text[at] !== '"'; at++) {
        if (text[at] === "\\") at++;
        if (at >= text.length) return null;
        value += text[at];
      }
      at++;
      out += element(value, kind);
    } else {
      const from = at;
      while (at < text.length && text[at] !== "," && text[at] !== "}") at++;
      const value = text.slice(from, at);
      out += value === "NULL" ? "null" : element(value, kind);
    }
  }
  return depth === 0 && out !== "" ? out : null;
}

function element(value: string, kind: ElementKind): string {
  if (kind === "json") return value;
  if (kind === "boolean") return value === "t" ? "true" : "false";
  return kind === "number" && NUMBER.test(value) ? value : JSON.stringify(value);
}
