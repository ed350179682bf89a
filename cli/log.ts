import { redact, redactAll } from "../api/security/redact.ts";

/** What happens, told to whoever runs this: in words on a terminal, as JSON lines to a file or a collector. */
export interface Logger {
  info(message: string, fields?: Record<string, unknown>): void;
  warn(message: string, fields?: Record<string, unknown>): void;
  error(message: string, fields?: Record<string, unknown>): void;
}

const COLOR = { info: "", warn: "\x1b[33m", error: "\x1b[31m" };

/** Writes to standard error, so that standard output holds answers only. No secret gets there: see {@linkcode redact}. */
export function createLogger(
  isTerminal = Deno.stderr.isTerminal(),
  write: (line: string) => void = writeToStderr,
): Logger {
  const log = (level: keyof typeof COLOR) => (message: string, fields: Record<string, unknown> = {}) => {
    // Before it becomes JSON, where a secret may be written otherwise.
    const told = redactAll({ message, ...fields }) as Record<string, unknown>;
    if (!isTerminal) return write(JSON.stringify({ time: new Date().toISOString(), level, ...told }));
    const { message: words, ...rest } = told;
    const extra = redact(Object.entries(rest).map(([name, value]) => ` ${name}=${value}`).join(""));
    const [on, off] = Deno.noColor || COLOR[level] === "" ? ["", ""] : [COLOR[level], "\x1b[0m"];
    write(`${new Date().toTimeString().slice(0, 8)} ${on}${words}${extra}${off}`);
  };
  return { info: log("info"), warn: log("warn"), error: log("error") };
}

/** Kinds of lines that are told apart. */
const KINDS_MAX = 200;

const encoder = new TextEncoder();

function writeToStderr(line: string): void {
  Deno.stderr.writeSync(encoder.encode(line + "\n"));
}

/**
 * Passes on one of several lines alike (but for their numbers) in so many milliseconds, and says how many were left out: what
 * fails once fails thousands of times a minute.
 */
export function collapsed(write: (line: string) => void, everyMs = 5_000): (line: string) => void {
  const seen = new Map<string, { at: number; left: number }>();
  return (line) => {
    const kind = line.replace(/\d+/g, "#").slice(0, 60);
    const now = performance.now();
    const before = seen.get(kind);
    if (before && now - before.at < everyMs) {
      before.left++;
      return;
    }
    write(before && before.left > 0 ? `${line} (and ${before.left} like it before)` : line);
    if (seen.size >= KINDS_MAX) seen.delete(seen.keys().next().value!);
    seen.set(kind, { at: now, left: 0 });
  };
}
