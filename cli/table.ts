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

export interface TableOptions {
  /** Characters in a line, to which the last column is cut; `terminalWidth()` where it goes to a terminal. */
  readonly width?: number;
  /** Columns that hold numbers: their digits stand below each other. */
  readonly numbers?: readonly number[];
}

/** Rows under a head in capitals, in columns as wide as they need. */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  { width = Infinity, numbers = [] }: TableOptions = {},
): string {
  const cells = [head.map((name) => name.toUpperCase()), ...rows.map((row) => row.map(printable))];
  const widths = head.map((_, column) => Math.max(...cells.map((row) => [...row[column]].length)));
  const last = head.length - 1;
  const before = widths.slice(0, last).reduce((sum, one) => sum + one + GAP.length, 0);
  const left = Math.max(10, Math.max(width, WIDTH_MIN) - before);
  const cell = (text: string, column: number) => {
    const room = " ".repeat(widths[column] - [...text].length);
    if (numbers.includes(column)) return room + text;
    return column === last ? cut(text, left) : text + room;
  };
  return cells.map((row) => row.map(cell).join(GAP).trimEnd()).join("\n");
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
