/**
 * Where a source of changes is.
 *
 *     the log  ──────────────┬──────────────┬───────────▶
 *                            │ lsn          │ partial: so many changes of the transaction after it
 *     shop.products  rows read up to a key ─┘
 *
 * What the topics hold is then exactly: of every row that was read, its state at this place of the log; of the others nothing.
 *
 * @module
 */
import type { SourcePosition } from "../source.ts";
import { formatLsn, parseLsn } from "./lsn.ts";

/**
 * Which of a table's rows were read: none; none since what was read counts no more (`again`); those up to a key, in the order
 * of the key's columns; all, which is when only its changes are read.
 */
export type RowsRead = "none" | "again" | "all" | { readonly after: readonly string[] };

export interface TableState {
  /** Changes when the table is dropped and made again, or leaves the publication meanwhile. */
  readonly id: string;
  readonly rows: RowsRead;
}

export interface ChangesPosition extends SourcePosition {
  /** The server's system identifier. */
  readonly system: string;
  readonly slot: string;
  /** The publication's number: another under the same name has not published everything between. */
  readonly publication: string;
  /** Changes of all transactions that were committed before are in the topics. */
  readonly lsn: string;
  /** Of the transaction committed at `commit`, so many changes are, too. */
  readonly partial: { readonly commit: string; readonly changes: number } | null;
  readonly tables: Readonly<Record<string, TableState>>;
}

/** A position in the making. */
export class Progress {
  readonly #fixed: Pick<ChangesPosition, "system" | "slot" | "publication">;
  readonly tables: Map<string, TableState>;
  /** Every transaction before is done. */
  lsn: number;
  partial: { readonly commit: number; readonly changes: number } | null;

  constructor({ system, slot, publication, lsn, partial, tables }: ChangesPosition) {
    this.#fixed = { system, slot, publication };
    this.lsn = parseLsn(lsn);
    this.partial = partial && { commit: parseLsn(partial.commit), changes: partial.changes };
    this.tables = new Map(Object.entries(tables));
  }

  rows(table: string): RowsRead {
    return this.tables.get(table)!.rows;
  }

  read(table: string, rows: RowsRead): void {
    this.tables.set(table, { ...this.tables.get(table)!, rows });
  }

  /** All transactions before `lsn` are done, and none after has begun. */
  reached(lsn: number): void {
    if (lsn < this.lsn) return;
    this.lsn = lsn;
    // Until it is passed itself, what is known of a transaction still counts.
    if (this.partial !== null && lsn > this.partial.commit) this.partial = null;
  }

  /** Tables whose rows are still to be read. */
  get toRead(): string[] {
    return [...this.tables].filter(([, { rows }]) => rows !== "all").map(([name]) => name);
  }

  /** Whether the topics hold anything that changes are about. */
  get hasRows(): boolean {
    return [...this.tables.values()].some(({ rows }) => rows === "all" || typeof rows === "object");
  }

  get position(): ChangesPosition {
    const { partial } = this;
    return {
      ...this.#fixed,
      lsn: formatLsn(this.lsn),
      partial: partial && { commit: formatLsn(partial.commit), changes: partial.changes },
      tables: Object.fromEntries(this.tables),
    };
  }
}
