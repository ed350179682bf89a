import type { WindowRange } from "./expected_sql.ts";
import type { PostgresResults } from "./postgres_results.ts";
import type { WindowBook } from "./window_book.ts";

/** Rows of a table that one look takes in, the newest and a slice of the others that moves on. */
export const DIGEST_ROWS = { newest: 200_000, slice: 800_000 };

const NO_ROWS = "";

/** Finds windows whose rows are not what they were when they were compared, by their digests. */
export class TableDigests {
  readonly #tables: readonly PostgresResults[];
  readonly #book: WindowBook;
  readonly #rows: typeof DIGEST_ROWS;
  /** Where the slice of older rows goes on, by table. */
  readonly #slices = new Map<PostgresResults, number>();

  /** `rows` instead of `DIGEST_ROWS`. */
  constructor(tables: readonly PostgresResults[], book: WindowBook, rows = DIGEST_ROWS) {
    this.#tables = tables;
    this.#book = book;
    this.#rows = rows;
  }

  /** Looks at the newest rows of a range, and at a slice of the others: the starts of windows that changed. */
  async look({ fromMs, toMs }: WindowRange): Promise<Set<number>> {
    const changed = new Set<number>();
    for (const table of this.#tables) {
      const newest = Math.max(fromMs, await table.backFrom(toMs, this.#rows.newest) ?? -Infinity);
      await this.#compare(table, { fromMs: newest, toMs }, changed);
      if (newest <= fromMs) continue;
      const to = Math.min(this.#slices.get(table) ?? newest, newest);
      const from = Math.max(fromMs, await table.backFrom(to, this.#rows.slice) ?? -Infinity);
      await this.#compare(table, { fromMs: from, toMs: to }, changed);
      if (from <= fromMs) this.#slices.delete(table);
      else this.#slices.set(table, from);
    }
    return changed;
  }

  async #compare(table: PostgresResults, range: WindowRange, changed: Set<number>): Promise<void> {
    const found = new Map((await table.digests(range)).map((one) => [one.windowStartMs, one.digest]));
    for (const [start, { digests }] of this.#book.between(range.fromMs, range.toMs)) {
      if ((digests.get(table.name) ?? NO_ROWS) !== (found.get(start) ?? NO_ROWS)) changed.add(start);
      found.delete(start);
    }
    for (const start of found.keys()) changed.add(start);
  }
}
