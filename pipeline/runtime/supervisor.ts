import type { Clock } from "../clock.ts";
import { ConfigError, ConflictError } from "../errors.ts";
import { OffsetOutOfRangeError } from "../log/fetcher.ts";
import { BrokenLedgerError } from "./partition_ledger.ts";

const BACK_OFF_MS = { first: 500, most: 10_000 };
/** A run this long counts as recovered: the next failure starts with the first pause again. */
const STEADY_MS = 30_000;

export interface SuperviseOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
}

/**
 * Runs a task until the signal ends it, starting it again with growing pauses when it fails. A failure that no retry mends
 * (configuration, a lost race, records that are gone) ends the task and leaves the others alone.
 *
 * @returns true when the task ended by the signal or by itself, false when it was given up
 */
export async function supervise(
  name: string,
  run: (signal: AbortSignal) => Promise<void>,
  options: SuperviseOptions,
): Promise<boolean> {
  const { clock, signal, log } = options;
  let pauseMs = BACK_OFF_MS.first;
  while (!signal.aborted) {
    const began = clock.monotonic();
    try {
      await run(signal);
      return true;
    } catch (error) {
      if (signal.aborted) return true;
      const { message, stack } = error as Error;
      if (isFinal(error)) {
        log("error", `${name} stopped: ${message}`);
        return false;
      }
      if (clock.monotonic() - began > STEADY_MS) pauseMs = BACK_OFF_MS.first;
      const detail = (error as Error).name === "UnavailableError" ? message : stack ?? message;
      log("warn", `${name} failed and starts again in ${pauseMs / 1000} s: ${detail}`);
      await clock.sleep(pauseMs, signal).catch(() => {});
      pauseMs = Math.min(2 * pauseMs, BACK_OFF_MS.most);
    }
  }
  return true;
}

/** Whether no retry mends it: what failed so rests until it is started by hand. */
export function isFinal(error: unknown): boolean {
  return error instanceof ConfigError || error instanceof ConflictError || error instanceof BrokenLedgerError ||
    (error as Error).name === OffsetOutOfRangeError.name;
}
