/**
 * The log's changes as pgoutput tells them, read in place.
 *
 *     CopyData 'w': start of the change int64 | end of the log int64 | time int64 | message
 *     CopyData 'k': end of the log int64 | time int64 | asks for an answer byte
 *
 *     B begin      commit lsn int64 | commit time int64 | transaction int32
 *     C commit     flags byte | lsn int64 | end lsn int64 | time int64
 *     R relation   oid int32 | schema text0 | name text0 | identity byte | columns int16 *
 *                  (isKey byte | name text0 | type int32 | modifier int32)
 *     I insert     oid int32 | 'N' row
 *     U update     oid int32 | ['K' or 'O' row] | 'N' row
 *     D delete     oid int32 | 'K' or 'O' row
 *     T truncate   relations int32 | flags byte | oid int32 *
 *
 *     row: columns int16 * ('n' | 'u' | 't' length int32, text)
 *
 * Source: PostgreSQL documentation, "Logical Replication Message Formats".
 *
 * @module
 */
import { identifier, literal } from "../../sql_text.ts";
import { UnavailableError } from "../../errors.ts";
import { Message, message, type PgConnection } from "./connection.ts";
import { EPOCH_MS, formatLsn, int32At, lsnAt, timeAt, uint32At } from "./lsn.ts";
import { asFailure, PgError } from "./pg_error.ts";
import { type Cells, NULL, UNCHANGED } from "./relation.ts";

/** How often the server is told what is confirmed; it gives up a reader that is silent for wal_sender_timeout, a minute. */
const STATUS_EVERY_MS = 5_000;
/** A server that answers nothing for so long, though asked, is gone. */
export const SILENT_MAX_MS = 45_000;
/** How long a slot may still be held by the connection before. */
const SLOT_FREE_WITHIN_MS = 10_000;
const SLOT_LOOK_MS = 50;
const IN_USE = "55006";

export const Pg = {
  begin: 0x42,
  commit: 0x43,
  relation: 0x52,
  insert: 0x49,
  update: 0x55,
  delete: 0x44,
  truncate: 0x54,
  write: 0x77,
  keepalive: 0x6b,
  newRow: 0x4e,
  oldRow: 0x4f,
  oldKey: 0x4b,
} as const;

const NULL_VALUE = 0x6e;
const UNCHANGED_VALUE = 0x75;

/** A connection that sends the log from a slot, and is told what is safe. */
export class LogStream implements Disposable {
  readonly connection: PgConnection;
  /** The end of the log, as the server said last. */
  walEnd = 0;
  #confirmed: number;
  #readingSince: number | null = null;
  readonly #silentMaxMs: number;
  readonly #tellEveryMs: number;
  readonly #timer: ReturnType<typeof setInterval>;

  private constructor(connection: PgConnection, confirmed: number, silentMaxMs: number) {
    this.connection = connection;
    this.#confirmed = confirmed;
    this.#silentMaxMs = silentMaxMs;
    // Asked more than once before it counts as gone.
    this.#tellEveryMs = Math.min(STATUS_EVERY_MS, silentMaxMs / 4);
    this.#timer = setInterval(() => this.#tick(), this.#tellEveryMs);
  }

  /** Begins after `lsn`. @throws UnavailableError, ConfigError */
  static async start(
    connection: PgConnection,
    { slot, publication, lsn, confirmed, silentMaxMs = SILENT_MAX_MS }: {
      readonly slot: string;
      readonly publication: string;
      readonly lsn: number;
      readonly confirmed: number;
      /** Default `SILENT_MAX_MS`. */
      readonly silentMaxMs?: number;
    },
  ): Promise<LogStream> {
    const names = literal(identifier(publication));
    const command = `START_REPLICATION SLOT ${identifier(slot)} LOGICAL ${formatLsn(lsn)} ` +
      `(proto_version '1', publication_names ${names})`;
    const deadline = performance.now() + SLOT_FREE_WITHIN_MS;
    for (;;) {
      const timer = setTimeout(() => connection.close(silence(connection.where, silentMaxMs)), silentMaxMs);
      try {
        await connection.send(command);
        while (await connection.next() !== Message.copyBoth);
        return new LogStream(connection, confirmed, silentMaxMs);
      } catch (error) {
        if (!(error instanceof PgError)) throw error;
        if (error.code !== IN_USE || performance.now() > deadline) throw asFailure(error, connection.where);
        await connection.ready();
        await new Promise((resolve) => setTimeout(resolve, SLOT_LOOK_MS));
      } finally {
        clearTimeout(timer);
      }
    }
  }

  /** Goes on to the next change or keepalive that is here: its kind, `write` or `keepalive`; 0 when more has to be read. */
  tryNext(): number {
    const { connection } = this;
    while (connection.tryNext()) {
      if (connection.type === Message.copyData) {
        const kind = connection.buffer[connection.bodyStart];
        if (kind === Pg.write) return kind;
        if (kind === Pg.keepalive) {
          this.walEnd = Math.max(this.walEnd, lsnAt(connection.buffer, connection.bodyStart + 1));
          return kind;
        }
      } else if (connection.type === Message.error) {
        throw asFailure(
          new PgError(connection.buffer.slice(connection.bodyStart, connection.bodyEnd)),
          connection.where,
        );
      } else if (connection.type === Message.copyDone) {
        throw new UnavailableError(`${connection.where}: the server ended the replication`);
      }
    }
    return 0;
  }

  /** Where the change's message lies. */
  get start(): number {
    return this.connection.bodyStart + 25;
  }

  /** Whether the keepalive wants an answer. */
  get isAsking(): boolean {
    return this.connection.buffer[this.connection.bodyStart + 17] === 1;
  }

  async fill(): Promise<void> {
    this.#readingSince = performance.now();
    await this.connection.fill();
    this.#readingSince = null;
  }

  /** All before `lsn` is safe: the server may forget it. Never goes back. */
  confirm(lsn: number): void {
    this.#confirmed = Math.max(this.#confirmed, lsn);
    this.tell();
  }

  /** Tells the server how far all is safe; with `isAsking` it answers at once where it is. */
  tell(isAsking = false): void {
    const body = new Uint8Array(34);
    const view = new DataView(body.buffer);
    body[0] = 0x72;
    for (const at of [1, 9, 17]) {
      view.setUint32(at, Math.floor(this.#confirmed / 2 ** 32));
      view.setUint32(at + 4, this.#confirmed % 2 ** 32);
    }
    view.setBigInt64(25, BigInt(Date.now() - EPOCH_MS) * 1000n);
    body[33] = isAsking ? 1 : 0;
    // Whoever reads finds out why it failed.
    this.connection.write(message(Message.copyData, body)).catch(() => {});
  }

  /** Ends it, and with it the connection; the slot is free then. */
  async end(): Promise<void> {
    clearInterval(this.#timer);
    await this.connection.end();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.connection.close();
  }

  #tick(): void {
    const silentMs = this.#readingSince === null ? 0 : performance.now() - this.#readingSince;
    if (silentMs > this.#silentMaxMs) this.connection.close(silence(this.connection.where, silentMs));
    else this.tell(silentMs > this.#tellEveryMs);
  }
}

function silence(where: string, ms: number): UnavailableError {
  return new UnavailableError(`${where}: nothing came for ${Math.round(ms / 1000)} s`);
}

export interface Begin {
  readonly commitLsn: number;
  readonly committedAtMs: number;
  readonly transaction: number;
}

export function readBegin(data: Uint8Array, at: number): Begin {
  return {
    commitLsn: lsnAt(data, at + 1),
    committedAtMs: timeAt(data, at + 9),
    transaction: uint32At(data, at + 17),
  };
}

/** The place after the transaction. */
export function readCommitEnd(data: Uint8Array, at: number): number {
  return lsnAt(data, at + 10);
}

export interface RelationMessage {
  readonly oid: number;
  readonly schema: string;
  readonly table: string;
  readonly identity: string;
  readonly columns: readonly {
    readonly name: string;
    readonly type: number;
    readonly modifier: number;
    readonly isKey: boolean;
  }[];
}

const text = new TextDecoder();

export function readRelation(data: Uint8Array, start: number): RelationMessage {
  let at = start + 1;
  const string = () => {
    const end = data.indexOf(0, at);
    const value = text.decode(data.subarray(at, end));
    at = end + 1;
    return value;
  };
  const int32 = () => int32At(data, (at += 4) - 4);
  const oid = int32() >>> 0;
  const schema = string();
  const table = string();
  const identity = String.fromCharCode(data[at++]);
  const count = (data[at] << 8) | data[at + 1];
  at += 2;
  const columns = Array.from({ length: count }, () => {
    const isKey = (data[at++] & 1) === 1;
    return { isKey, name: string(), type: int32() >>> 0, modifier: int32() };
  });
  return { oid, schema, table, identity, columns };
}

/** Finds the values of a row, and gives the place after it. @throws Error when it has not as many columns as `cells` */
export function readRow(data: Uint8Array, start: number, cells: Cells): number {
  const count = (data[start] << 8) | data[start + 1];
  if (2 * count !== cells.length) throw new Error(`A row of ${count} columns came for a table of ${cells.length / 2}`);
  let at = start + 2;
  for (let i = 0; i < cells.length; i += 2) {
    const kind = data[at++];
    if (kind === NULL_VALUE) {
      cells[i] = NULL;
    } else if (kind === UNCHANGED_VALUE) {
      cells[i] = UNCHANGED;
    } else {
      const length = int32At(data, at);
      at += 4;
      cells[i] = at;
      at += length;
      cells[i + 1] = at;
    }
  }
  return at;
}

/** Finds the values of a row of a query's answer: `columns int16 * (length int32, text)`. */
export function readDataRow(data: Uint8Array, start: number, cells: Cells): void {
  let at = start + 2;
  for (let i = 0; i < cells.length; i += 2) {
    const length = int32At(data, at);
    at += 4;
    if (length < 0) {
      cells[i] = NULL;
    } else {
      cells[i] = at;
      at += length;
      cells[i + 1] = at;
    }
  }
}
