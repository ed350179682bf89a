/** What happens, told to whoever runs this: in words on a terminal, as JSON lines to a file or a collector. */
export interface Logger {
  info(message: string, fields?: Record<string, unknown>): void;
  warn(message: string, fields?: Record<string, unknown>): void;
  error(message: string, fields?: Record<string, unknown>): void;
}

const COLOR = { info: "", warn: "\x1b[33m", error: "\x1b[31m" };

/** Writes to standard error, so that standard output holds answers only. */
export function createLogger(
  isTerminal = Deno.stderr.isTerminal(),
  write: (line: string) => void = writeToStderr,
): Logger {
  const log = (level: keyof typeof COLOR) => (message: string, fields: Record<string, unknown> = {}) => {
    if (!isTerminal) return write(JSON.stringify({ time: new Date().toISOString(), level, message, ...fields }));
    const extra = Object.entries(fields).map(([name, value]) => ` ${name}=${value}`).join("");
    const [on, off] = Deno.noColor || COLOR[level] === "" ? ["", ""] : [COLOR[level], "\x1b[0m"];
    write(`${new Date().toTimeString().slice(0, 8)} ${on}${message}${extra}${off}`);
  };
  return { info: log("info"), warn: log("warn"), error: log("error") };
}

const encoder = new TextEncoder();

function writeToStderr(line: string): void {
  Deno.stderr.writeSync(encoder.encode(line + "\n"));
}
