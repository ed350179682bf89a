/**
 * Somebody who works in the shop of the examples: prices go up and down a little, so that there are changes to be read.
 *
 * @module
 */
import type postgres from "postgres";
import type { Clock } from "../clock.ts";
import { sortedError } from "../sinks/postgres_errors.ts";

/** A price moves by so much of itself at most. */
const STEP = 0.05;
/** And stays between these, in euros. */
const PRICE_MIN = 1;
const PRICE_MAX = 5_000;

export interface PriceChanges {
  /** Changes per second. */
  readonly rate: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * Changes the price of a product, now this one, now that, until the signal ends it.
 *
 * @throws UnavailableError when the database is away; call it again to go on
 */
export async function changePrices(sql: postgres.Sql, { rate, clock, signal }: PriceChanges): Promise<void> {
  while (!signal.aborted) {
    const began = clock.monotonic();
    const factor = 1 + STEP * (2 * Math.random() - 1);
    await sql`
      UPDATE shop.products
      SET price = least(greatest(round(price * ${factor}::numeric, 2), ${PRICE_MIN}), ${PRICE_MAX}), last_updated = now()
      WHERE id = (SELECT id FROM shop.products ORDER BY random() LIMIT 1)`.catch((error) => {
      throw sortedError(error, "shop.products");
    });
    await clock.sleep(Math.max(0, 1000 / rate - (clock.monotonic() - began)), signal).catch(() => {});
  }
}
