import type { MADE_UP } from "./kinds_of_data.ts";

export interface MadeUpOptions {
  /** Records per second. */
  readonly perSecond: number;
}

/** As it was written, not checked yet. */
export interface MadeUpSpec extends MadeUpOptions {
  readonly kind: "madeUp";
  readonly data: string;
}

/** Made-up records of a kind, as they happen: for `dev`, where a stream without a real source would be silent. Rests elsewhere. */
export function madeUp(data: keyof typeof MADE_UP, options: MadeUpOptions): MadeUpSpec {
  return { kind: "madeUp", data, ...options };
}
