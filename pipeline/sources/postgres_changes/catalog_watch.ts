/**
 * Notices what the log does not tell: that a table was dropped, or taken out of the publication.
 *
 * @module
 */
import { UnavailableError } from "../../errors.ts";
import { readPublication, readTables, type TableInfo } from "./catalog.ts";
import type { PgConnection } from "./connection.ts";

export interface CatalogWatchOptions {
  readonly connect: (options: { readonly signal: AbortSignal }) => Promise<PgConnection>;
  readonly publication: string;
  /** As they were when reading began. */
  readonly tables: ReadonlyMap<string, TableInfo>;
  readonly everyMs: number;
}

export class CatalogWatch implements AsyncDisposable {
  readonly #options: CatalogWatchOptions;
  readonly #stop = new AbortController();
  readonly #timer: ReturnType<typeof setInterval>;
  #look: Promise<void> | null = null;
  #change: string | null = null;

  constructor(options: CatalogWatchOptions) {
    this.#options = options;
    this.#timer = setInterval(() => {
      // A server that does not answer is noticed by whoever reads the log.
      this.#look ??= this.#lookOnce().catch(() => {}).finally(() => this.#look = null);
    }, options.everyMs);
  }

  /** @throws UnavailableError when something changed: a new start finds out what to do about it */
  check(): void {
    if (this.#change !== null) throw new UnavailableError(`${this.#change}: looking anew`);
  }

  async #lookOnce(): Promise<void> {
    const { connect, publication, tables } = this.#options;
    using connection = await connect({ signal: this.#stop.signal });
    const found = await readTables(connection, [...tables.values()], publication);
    const hasPublication = await readPublication(connection, publication) !== null;
    await connection.end();
    if (!hasPublication) this.#change ??= `publication ${publication} was dropped`;
    for (const { name, id, oid } of tables.values()) {
      // By its name: one that is called otherwise now is noticed, too.
      const now = found.find((one) => one.name === name);
      if (now?.id === id && now.isPublished) continue;
      this.#change ??= now === undefined
        ? `table ${name} was dropped, or is called otherwise`
        : now.oid !== oid
        ? `table ${name} was dropped and made again`
        : `table ${name} was taken out of publication ${publication}`;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    this.#stop.abort();
    await this.#look;
  }
}
