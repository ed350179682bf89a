import { ConfigError } from "../pipeline/errors.ts";

/** A whole number from 0, given with an option; undefined where it was not given. @throws ConfigError naming the option */
export function wholeNumber(text: string | undefined, where: string): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,15}$/.test(text)) throw new ConfigError({ where, problem: `must be a whole number; "${text}" is not` });
  return Number(text);
}

/** A number above 0, given with an option; undefined where it was not given. @throws ConfigError naming the option */
export function positiveNumber(text: string | undefined, where: string): number | undefined {
  if (text === undefined) return undefined;
  if (!(Number(text) > 0)) throw new ConfigError({ where, problem: `must be a number above 0; "${text}" is not` });
  return Number(text);
}

/** Records per second, or `none` for no limit, which is null. @throws ConfigError for anything else */
export function limitOf(text: string): number | null {
  if (text === "none") return null;
  if (!(Number(text) > 0)) {
    throw new ConfigError({
      where: "limit",
      problem: `must be a number of records a second above 0, or none; "${text}" is not`,
    });
  }
  return Number(text);
}
