const WIDTH_MIN = 60;
const GAP = "  ";

/** What others wrote, fit for a terminal: control characters, which could move its cursor or change its title, show as `\x1b`. */
export function printable(text: string): string {
  return text.replaceAll(
    // deno-lint-ignore no-control-regex -- those are what is looked for
    /[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g,
    (character) => {
      const code = character.charCodeAt(0);
      return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16)}`;
    },
  );
}

/**
 * Rows under a head, in columns as wide as they need. On a terminal of `width` characters the last column is cut to what is left.
 */
export function table(head: readonly string[], rows: readonly (readonly string[])[], width = Infinity): string {
  const cells = [head, ...rows.map((row) => row.map(printable))];
  const widths = head.map((_, column) => Math.max(...cells.map((row) => [...row[column]].length)));
  const last = head.length - 1;
  const before = widths.slice(0, last).reduce((sum, one) => sum + one + GAP.length, 0);
  const left = Math.max(10, Math.max(width, WIDTH_MIN) - before);
  return cells.map((row) =>
    row.map((text, column) => column === last ? cut(text, left) : text + " ".repeat(widths[column] - [...text].length))
      .join(GAP).trimEnd()
  ).join("\n");
}

/** Characters in a line of the terminal that standard output is; Infinity when it is none. */
export function terminalWidth(): number {
  if (!Deno.stdout.isTerminal()) return Infinity;
  try {
    return Deno.consoleSize().columns;
  } catch {
    return 100;
  }
}

function cut(text: string, width: number): string {
  const characters = [...text];
  return characters.length <= width ? text : `${characters.slice(0, width - 1).join("")}…`;
}
