/**
 * How long an API wants to be left alone, by what its answers say of its limits.
 *
 * | header                                    | value                                                            |
 * |-------------------------------------------|------------------------------------------------------------------|
 * | X-RateLimit-Remaining, RateLimit-Remaining | how many more requests; of interest when 0                      |
 * | X-RateLimit-Reset, RateLimit-Reset        | seconds until there are more, or since 1970 where it is that large |
 *
 * @module
 */
import { bounded } from "../../net/retry_after.ts";

/** A number of seconds above this is a date: in 2001. */
const DATE_SECONDS = 1_000_000_000;

/** Milliseconds to wait before the next request by what is left of a limit; null where there is some, or nothing is said. */
export function limitResetMs(headers: Headers, nowMs: number): number | null {
  for (const prefix of ["x-ratelimit", "ratelimit"]) {
    if (headers.get(`${prefix}-remaining`)?.trim() !== "0") continue;
    const reset = headers.get(`${prefix}-reset`)?.trim() ?? "";
    if (!/^\d{1,13}(\.\d+)?$/.test(reset)) continue;
    const seconds = Number(reset);
    return bounded(seconds > DATE_SECONDS ? seconds * 1000 - nowMs : seconds * 1000);
  }
  return null;
}
