/**
 * The little XML that S3 speaks: elements without attributes that matter, text, and lists of the same element. No document
 * types, no comments; what a server adds of those finds no element.
 *
 * @module
 */

/** What is between the tags of each element of that name, in order, as it is written. */
export function elements(xml: string, name: string): string[] {
  const found: string[] = [];
  const open = new RegExp(`<${name}(?:\\s[^>]*)?(/?)>`, "g");
  const close = `</${name}>`;
  for (let tag = open.exec(xml); tag !== null; tag = open.exec(xml)) {
    if (tag[1] === "/") {
      found.push("");
      continue;
    }
    const end = xml.indexOf(close, open.lastIndex);
    if (end < 0) break;
    found.push(xml.slice(open.lastIndex, end));
    open.lastIndex = end + close.length;
  }
  return found;
}

/** The text of the first element of that name; empty when there is none. */
export function textOf(xml: string, name: string): string {
  return unescape(elements(xml, name)[0] ?? "");
}

/** A text as an element's content. */
export function escapeXml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}

const ENTITIES: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

function unescape(text: string): string {
  return text.replace(/&(?:#x([0-9a-f]{1,6})|#(\d{1,7})|([a-z]+));/gi, (whole, hex, decimal, name) => {
    if (name !== undefined) return ENTITIES[name] ?? whole;
    const point = hex !== undefined ? parseInt(hex, 16) : Number(decimal);
    return point <= 0x10ffff ? String.fromCodePoint(point) : whole;
  });
}
