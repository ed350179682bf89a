/**
 * The text of a file with statements of CQL, and names as CQL writes them.
 *
 * @module
 */

/** A name that is taken as it is written, whatever its letters. */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/**
 * The statements of a file, each without the semicolon after it and the comments around it: those after
 * two dashes or slashes up to the line's end, and those between slash-star and star-slash.
 * Semicolons in texts ('..', $$ .. $$) and quoted names end nothing.
 */
export function splitStatements(text: string): string[] {
  const statements: string[] = [];
  let statement = "";
  for (const [part] of text.matchAll(PART)) {
    if (part === ";") {
      statements.push(statement.trim());
      statement = "";
    } else if (/^(--|\/\/|\/\*)/.test(part)) statement += " ";
    else statement += part;
  }
  statements.push(statement.trim());
  return statements.filter((found) => found !== "");
}

/** A comment, a text, a quoted name, or a character of anything else. */
const PART = /--[^\n]*|\/\/[^\n]*|\/\*[^]*?\*\/|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$\$[^]*?\$\$|[^]/g;
