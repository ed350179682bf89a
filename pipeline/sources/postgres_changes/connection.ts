/**
 * A connection to PostgreSQL that replicates: our own, because nothing per change may be allocated on the way.
 *
 *     message: type byte | length int32 (itself included) | body
 *
 * Source: PostgreSQL documentation, "Frontend/Backend Protocol", "Streaming Replication Protocol".
 *
 * @module
 */
import { createHash } from "node:crypto";
import { ConfigError, UnavailableError } from "../../errors.ts";
import type { DatabaseAddress } from "./database_url.ts";
import { int32At } from "./lsn.ts";
import { asFailure, PgError } from "./pg_error.ts";
import { createScramClient, type ScramClient } from "./scram.ts";

const PROTOCOL = 3 << 16;
const TLS_REQUEST = 80_877_103;
const INITIAL_BYTES = 1024 * 1024;
/** Of one message, which is one change: Kafka takes no larger records either. */
export const MESSAGE_BYTES_MAX = 128 * 1024 * 1024;
export const CONNECT_WITHIN_MS = 15_000;
/** A buffer that one large row made large is given back. */
const BUFFER_KEPT_BYTES = 8 * 1024 * 1024;

/** Types of messages from the server. */
export const Message = {
  authentication: 0x52,
  commandComplete: 0x43,
  copyBoth: 0x57,
  copyData: 0x64,
  copyDone: 0x63,
  dataRow: 0x44,
  error: 0x45,
  readyForQuery: 0x5a,
} as const;

/** Values as these tell them do not depend on how the server, the database or the user is set up. */
const SETTINGS: readonly (readonly [string, string])[] = [
  ["client_encoding", "UTF8"],
  ["DateStyle", "ISO, YMD"],
  ["IntervalStyle", "iso_8601"],
  ["TimeZone", "UTC"],
  ["bytea_output", "hex"],
  ["extra_float_digits", "1"],
  ["statement_timeout", "0"],
  ["lock_timeout", "0"],
  ["idle_in_transaction_session_timeout", "0"],
  // A policy that hides rows is an error then, not fewer rows.
  ["row_security", "off"],
  ["application_name", "tailrace"],
];

const utf8 = new TextEncoder();
const text = new TextDecoder();

export interface ConnectOptions {
  readonly signal: AbortSignal;
  /** What errors name. */
  readonly where: string;
  /** How long connecting may take; default `CONNECT_WITHIN_MS`. */
  readonly withinMs?: number;
  /**
   * When nothing has come for so long it is asked whether the server is still there: an answer may take its time, as that of a
   * snapshot does. It is not asked unless told.
   */
  readonly silence?: { readonly everyMs: number; readonly probe: (signal: AbortSignal) => Promise<void> };
}

/** One command at a time; the caller reads its messages up to `readyForQuery`. */
export class PgConnection implements Disposable {
  /** The bytes that came; the current message's body lies in `[bodyStart, bodyEnd)` until the next is asked for. */
  buffer = new Uint8Array(INITIAL_BYTES);
  type = 0;
  bodyStart = 0;
  bodyEnd = 0;
  readonly where: string;
  #conn: Deno.Conn;
  #start = 0;
  #end = 0;
  /** Nobody reads along: TLS, or the machine itself. */
  #isPrivate = false;
  #isClosed = false;
  #failure: unknown = null;
  #writes: Promise<void> = Promise.resolve();
  readonly #signal: AbortSignal;
  readonly #onAbort = () => this.close();
  readonly #closing = new AbortController();
  readonly #silenceTimer: ReturnType<typeof setInterval> | undefined;
  #readingSince: number | null = null;
  #isProbing = false;

  private constructor(conn: Deno.Conn, { signal, where, silence }: ConnectOptions) {
    this.#conn = conn;
    this.where = where;
    this.#signal = signal;
    if (silence) this.#silenceTimer = setInterval(() => void this.#listen(silence), silence.everyMs);
    signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  /**
   * Connects for replication from the address's database; such a connection takes SQL as well.
   *
   * @throws UnavailableError, ConfigError
   */
  static async open(address: DatabaseAddress, options: ConnectOptions): Promise<PgConnection> {
    const { withinMs = CONNECT_WITHIN_MS } = options;
    const timeout = AbortSignal.timeout(withinMs);
    const signal = AbortSignal.any([options.signal, timeout]);
    const where = options.where;
    let opened: PgConnection | null = null;
    // Ends what hangs in TLS or in the greeting.
    const onAbort = () => opened?.close();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      signal.throwIfAborted();
      const conn = await Deno.connect({ hostname: address.host, port: address.port }).catch((error) => {
        throw new UnavailableError(`${where}: ${error.message}`, { cause: error });
      });
      conn.setNoDelay(true);
      conn.setKeepAlive(true);
      opened = new PgConnection(conn, options);
      if (signal.aborted) opened.close();
      await opened.#secure(address);
      await opened.#greet(address);
      return opened;
    } catch (error) {
      opened?.close();
      if (options.signal.aborted) throw options.signal.reason;
      if (timeout.aborted) throw new UnavailableError(`${where}: no answer within ${withinMs / 1000} s`);
      throw asFailure(error, where);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** Goes on to the next message when it is here whole. @throws UnavailableError for a message beyond all bounds */
  tryNext(): boolean {
    const have = this.#end - this.#start;
    if (have < 5) return false;
    const length = int32At(this.buffer, this.#start + 1);
    if (length < 4 || length > MESSAGE_BYTES_MAX) {
      throw new ConfigError({
        where: this.where,
        problem:
          `a message of ${length} bytes came; the most is ${MESSAGE_BYTES_MAX}: leave the table of such rows out`,
      });
    }
    if (have < length + 1) return false;
    this.type = this.buffer[this.#start];
    this.bodyStart = this.#start + 5;
    this.#start += length + 1;
    this.bodyEnd = this.#start;
    return true;
  }

  /** Reads what comes next; messages before are given up. @throws UnavailableError when the connection is gone */
  async fill(): Promise<void> {
    const have = this.#end - this.#start;
    if (this.#start > 0) {
      const needed = have < 5 ? 0 : Math.min(int32At(this.buffer, this.#start + 1) + 1, MESSAGE_BYTES_MAX + 1);
      if (this.buffer.length > BUFFER_KEPT_BYTES && needed <= INITIAL_BYTES && have <= INITIAL_BYTES) {
        const smaller = new Uint8Array(INITIAL_BYTES + have);
        smaller.set(this.buffer.subarray(this.#start, this.#end));
        this.buffer = smaller;
      } else {
        this.buffer.copyWithin(0, this.#start, this.#end);
      }
      this.#start = 0;
      this.#end = have;
    }
    if (this.#end === this.buffer.length) {
      const larger = new Uint8Array(2 * this.buffer.length);
      larger.set(this.buffer);
      this.buffer = larger;
    }
    let count: number | null;
    this.#readingSince = performance.now();
    try {
      count = await this.#conn.read(this.buffer.subarray(this.#end));
    } catch (error) {
      throw this.#gone(error);
    } finally {
      this.#readingSince = null;
    }
    if (count === null) throw this.#gone(null);
    this.#end += count;
  }

  /** Waits for the next message. @throws UnavailableError; PgError for an ErrorResponse, after which `ready` goes on */
  async next(): Promise<number> {
    while (!this.tryNext()) await this.fill();
    if (this.type === Message.error) throw new PgError(this.buffer.slice(this.bodyStart, this.bodyEnd));
    return this.type;
  }

  /** Sends a command; its answer is read message by message. */
  async send(sql: string): Promise<void> {
    await this.write(message(0x51, utf8.encode(`${sql}\0`)));
  }

  /** Runs SQL or a replication command: all its rows as text. @throws PgError, UnavailableError */
  async query(sql: string): Promise<(string | null)[][]> {
    await this.send(sql);
    const rows: (string | null)[][] = [];
    let failure: unknown = null;
    for (;;) {
      try {
        if (await this.next() === Message.readyForQuery) break;
      } catch (error) {
        if (!(error instanceof PgError)) throw error;
        failure = error;
        continue;
      }
      if (this.type === Message.dataRow) rows.push(this.#row());
    }
    if (failure) throw failure;
    return rows;
  }

  /** Reads on until the server takes commands again. */
  async ready(): Promise<void> {
    while (await this.next() !== Message.readyForQuery);
  }

  /** Writes are sent in the order of the calls. */
  write(bytes: Uint8Array): Promise<void> {
    const written = this.#writes.then(async () => {
      try {
        for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
      } catch (error) {
        throw this.#gone(error);
      }
    });
    this.#writes = written.catch(() => {});
    return written;
  }

  /** Closes it at once; whatever is being read or written fails, with `failure` where there is one. */
  close(failure: unknown = null): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#failure = failure;
    clearInterval(this.#silenceTimer);
    this.#closing.abort();
    this.#signal.removeEventListener("abort", this.#onAbort);
    try {
      this.#conn.close();
    } catch {
      // TLS closes the connection below it, and may have failed with it.
    }
  }

  /** Says good-bye, so that the server gives the slot free at once. */
  async end(): Promise<void> {
    if (!this.#isClosed) await this.write(message(0x58, new Uint8Array(0))).catch(() => {});
    this.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Gives up when nothing came, and the server does not answer otherwise either. */
  async #listen({ everyMs, probe }: NonNullable<ConnectOptions["silence"]>): Promise<void> {
    const began = this.#readingSince;
    if (this.#isProbing || began === null || performance.now() - began < everyMs) return;
    this.#isProbing = true;
    try {
      await probe(this.#closing.signal);
    } catch (error) {
      if (this.#readingSince === began) this.close(error);
    } finally {
      this.#isProbing = false;
    }
  }

  #gone(error: unknown): unknown {
    if (this.#signal.aborted) return this.#signal.reason;
    if (this.#failure) return this.#failure;
    const why = error === null ? "the server closed the connection" : (error as Error).message;
    return new UnavailableError(`${this.where}: ${why}`, { cause: error });
  }

  #row(): (string | null)[] {
    const { buffer } = this;
    const count = (buffer[this.bodyStart] << 8) | buffer[this.bodyStart + 1];
    let at = this.bodyStart + 2;
    return Array.from({ length: count }, () => {
      const length = int32At(buffer, at);
      at += 4;
      if (length < 0) return null;
      at += length;
      return text.decode(buffer.subarray(at - length, at));
    });
  }

  async #secure({ tls, host, caFile }: DatabaseAddress): Promise<void> {
    this.#isPrivate = ["localhost", "127.0.0.1", "::1"].includes(host);
    if (tls === "off") return;
    const ask = new Uint8Array(8);
    new DataView(ask.buffer).setInt32(0, 8);
    new DataView(ask.buffer).setInt32(4, TLS_REQUEST);
    await this.write(ask);
    const answer = new Uint8Array(1);
    if (await this.#conn.read(answer) === null) throw this.#gone(null);
    if (answer[0] !== 0x53) {
      if (tls === "offered") return;
      throw new ConfigError({
        where: this.where,
        problem: "the server has no TLS: turn ssl on there, or sslmode=disable",
      });
    }
    try {
      const caCerts = caFile === null ? [] : [await Deno.readTextFile(caFile)];
      const secured = await Deno.startTls(this.#conn as Deno.TcpConn, { hostname: host, caCerts });
      this.#conn = secured as Deno.Conn;
      await secured.handshake();
      this.#isPrivate = true;
    } catch (error) {
      if (error instanceof Deno.errors.ConnectionReset || this.#signal.aborted) throw this.#gone(error);
      const problem = `TLS: ${(error as Error).message}: name the certificate to trust with sslrootcert=FILE in the ` +
        "address, or go without with sslmode=disable";
      throw new ConfigError({ where: this.where, problem });
    }
  }

  async #greet({ user, password, database }: DatabaseAddress): Promise<void> {
    const parameters = [["user", user], ["database", database], ["replication", "database"], ...SETTINGS];
    const pairs = utf8.encode(`${parameters.map(([name, value]) => `${name}\0${value}\0`).join("")}\0`);
    const startup = new Uint8Array(8 + pairs.length);
    const view = new DataView(startup.buffer);
    view.setInt32(0, startup.length);
    view.setInt32(4, PROTOCOL);
    startup.set(pairs, 8);
    await this.write(startup);
    const login = { user, password, scram: null };
    for (;;) {
      const type = await this.next();
      if (type === Message.readyForQuery) return;
      if (type === Message.authentication) await this.#authenticate(login);
    }
  }

  async #authenticate(login: { user: string; password: string; scram: ScramClient | null }): Promise<void> {
    const body = this.buffer.slice(this.bodyStart, this.bodyEnd);
    const said = text.decode(body.subarray(4));
    const secret = (value: string) => this.write(message(0x70, utf8.encode(value)));
    switch (int32At(body, 0)) {
      case 0:
        return;
      case 3:
        if (!this.#isPrivate) break;
        return await secret(`${login.password}\0`);
      case 5: {
        const md5 = (value: Uint8Array) => createHash("md5").update(value).digest("hex");
        const inner = utf8.encode(md5(utf8.encode(login.password + login.user)));
        return await secret(`md5${md5(Uint8Array.of(...inner, ...body.subarray(4, 8)))}\0`);
      }
      case 10: {
        if (!said.split("\0").includes("SCRAM-SHA-256")) break;
        login.scram = createScramClient(login.password);
        const first = utf8.encode(login.scram.first);
        const length = new Uint8Array(4);
        new DataView(length.buffer).setInt32(0, first.length);
        return await this.write(message(0x70, utf8.encode("SCRAM-SHA-256\0"), length, first));
      }
      case 11:
        if (login.scram) return await secret(await login.scram.answer(said));
        break;
      case 12:
        if (login.scram) return login.scram.verify(said);
    }
    throw new ConfigError({
      where: this.where,
      problem: "the server wants another way to log in than SCRAM-SHA-256, md5 or, over TLS, the password itself: " +
        "set scram-sha-256 in pg_hba.conf",
    });
  }
}

/** A message to the server. */
export function message(type: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 4);
  const bytes = new Uint8Array(length + 1);
  bytes[0] = type;
  new DataView(bytes.buffer).setInt32(1, length);
  let at = 5;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
