import type { DuckDBConnection } from "@duckdb/node-api";
import { type LetterKind, letterTopic, readLetter } from "../letters/letter.ts";
import type { CommittedLog } from "../log/transactions.ts";
import type { Plan } from "../plan/plan.ts";

/** Letters of a pipeline that are known; one takes some twelve bytes. */
export const LETTERS_MAX = 5_000_000;
/** Letters of one statement. */
const ROWS_AT_A_TIME = 5_000;

const KINDS: readonly LetterKind[] = ["late", "dead"];

/**
 * Knows which records a pipeline set aside: where they lay, in a table of a connection of DuckDB's (`part INTEGER, place BIGINT`).
 * Reads the topics of letters on from where it was.
 */
export class LettersAside {
  readonly table = "tailrace_letters";
  readonly #plan: Plan;
  readonly #log: CommittedLog;
  readonly #max: number;
  readonly #positions = new Map<LetterKind, Map<number, number>>();
  #isMade = false;
  #known = 0;
  #areGone = false;

  /** `max` instead of `LETTERS_MAX`. */
  constructor(plan: Plan, log: CommittedLog, { max = LETTERS_MAX }: { readonly max?: number } = {}) {
    this.#plan = plan;
    this.#log = log;
    this.#max = max;
  }

  /** Why records may have been set aside that are not known; null when all are. */
  get doubt(): string | null {
    if (this.#known >= this.#max) return `more than ${this.#max} records were set aside, more than an audit knows`;
    return this.#areGone ? "letters were deleted, so it is not known any more which records were set aside" : null;
  }

  /**
   * Takes up all letters that are committed now.
   *
   * @throws UnavailableError when the brokers are away
   */
  async readOn(connection: DuckDBConnection, signal: AbortSignal): Promise<void> {
    if (!this.#isMade) {
      await connection.run(`CREATE TEMP TABLE ${this.table} (part INTEGER, place BIGINT)`);
      this.#isMade = true;
    }
    for (const kind of KINDS) await this.#readOn(kind, { connection, signal });
  }

  async #readOn(
    kind: LetterKind,
    { connection, signal }: { readonly connection: DuckDBConnection; readonly signal: AbortSignal },
  ): Promise<void> {
    const place = { kind, topic: this.#plan.topic };
    const name = letterTopic(place);
    const [first, end] = await Promise.all([this.#log.offsets(name, "earliest"), this.#log.offsets(name, "latest")]);
    const positions = this.#positions.get(kind) ?? new Map<number, number>();
    if ([...positions].some(([partition, position]) => position > (end.get(partition) ?? 0))) this.#areGone = true;
    if ([...first].some(([partition, offset]) => offset > (positions.get(partition) ?? 0))) this.#areGone = true;
    const behind = new Map(
      [...end].filter(([partition, to]) => to > (positions.get(partition) ?? 0))
        .map(([partition]) => [partition, Math.max(first.get(partition) ?? 0, positions.get(partition) ?? 0)]),
    );
    if (behind.size === 0) return;
    const found: [number, number][] = [];
    const stopped = await this.#log.read(name, behind, {
      signal,
      take: (record) => {
        const { letter } = readLetter(place, record);
        const { source } = letter;
        if (letter.pipeline !== this.#plan.name || source === null || source.topic !== this.#plan.topic) return;
        if (this.#known + found.length >= this.#max) return false;
        found.push([source.partition, source.offset]);
      },
    });
    for (let from = 0; from < found.length; from += ROWS_AT_A_TIME) {
      const rows = found.slice(from, from + ROWS_AT_A_TIME).map((row) => `(${row})`);
      await connection.run(`INSERT INTO ${this.table} VALUES ${rows.join(", ")}`);
    }
    this.#known += found.length;
    this.#positions.set(kind, new Map([...positions, ...stopped]));
  }
}
