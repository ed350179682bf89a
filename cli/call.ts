import type { Logger } from "./log.ts";

/** An option of a command; without a placeholder it takes no value. */
export interface Option {
  readonly flag: string;
  readonly placeholder: string;
  readonly help: string;
}

/** One call of a command, with the options it declared. */
export interface Call {
  readonly flags: Readonly<Record<string, string | undefined>>;
  readonly positionals: readonly string[];
  readonly log: Logger;
  /** Ends with Ctrl-C or SIGTERM. */
  readonly signal: AbortSignal;
}
