import { MalformedRecordError } from "../../pipeline/errors.ts";
import type { Broker } from "./broker.ts";
import type { ByteBudget, WriterPool } from "./buffers.ts";
import { BadRequest, dispatch } from "./dispatch.ts";
import type { ResponseWriter } from "./protocol/fields.ts";
import { RequestBuffer } from "./request_buffer.ts";

/** Requests of one connection that may be under way; with that many nothing more is read from it. */
export const requestsInFlightMax = 8;
/** Bytes in and out after which a connection lets the others have their turn, though it has more to do. */
const turnBytes = 2 * 1024 * 1024;
/** Small responses that are ready together are sent together, up to so many bytes. */
const coalescedBytesMax = 64 * 1024;

/**
 * Lets the event loop come to rest, which is when it looks at all sockets. Reads and writes that can be done at once resolve without
 * that, and while anything is ready to run the sockets are looked at only every 61st time: measured, one client sending without a
 * pause made others wait 100 ms and more for an answer. Only a timer that is not due yet makes it rest.
 */
function turnOfOthers(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/** One response on its way; responses leave in the order of their requests. */
interface Reply {
  readonly writer: ResponseWriter;
  /** Resolves, never rejects, when the response is written; null once it is. */
  pending: Promise<void> | null;
  send: boolean;
}

/** One client: reads its requests, has them answered, and sends the answers in order. */
export class Connection {
  readonly name: string;
  readonly #conn: Deno.TcpConn;
  readonly #broker: Broker;
  readonly #writers: WriterPool;
  readonly #requests: RequestBuffer;
  readonly #clientHost: string;
  readonly #gone = new AbortController();
  readonly #outbox: Reply[] = [];
  #sending: Promise<void> = Promise.resolve();
  #isSending = false;
  #onRoom: (() => void) | null = null;
  #lastActiveMs: number;
  /** Bytes since the others had their turn. */
  #turn = 0;

  constructor(conn: Deno.TcpConn, options: { broker: Broker; writers: WriterPool; budget: ByteBudget }) {
    this.#conn = conn;
    this.#broker = options.broker;
    this.#writers = options.writers;
    this.#requests = new RequestBuffer({ budget: options.budget, frameBytesMax: options.broker.options.frameBytesMax });
    this.#clientHost = conn.remoteAddr.hostname;
    this.name = `${conn.remoteAddr.hostname}:${conn.remoteAddr.port}`;
    this.#lastActiveMs = options.broker.clock.now();
  }

  /** Serves the client until it goes or must go, and none of its requests is under way. Never rejects. */
  async serve(): Promise<void> {
    try {
      while (!this.#gone.signal.aborted) {
        for (let frame = this.#requests.next(); frame !== null; frame = this.#requests.next()) {
          this.#answer(frame);
          this.#turn += frame.end - frame.start;
          while (this.#outbox.length >= requestsInFlightMax && !this.#gone.signal.aborted) await this.#room();
        }
        if (this.#turn >= turnBytes) {
          this.#turn = 0;
          await turnOfOthers();
        }
        if (!await this.#requests.fill(this.#conn)) break;
        this.#lastActiveMs = this.#broker.clock.now();
      }
      this.#close();
    } catch (error) {
      this.#fail(error);
    }
    this.#requests.release();
    await this.#sending;
    // A reply that cannot be sent ends the sending, while requests behind it are still worked on.
    await Promise.all(this.#outbox.map(({ pending }) => pending));
  }

  /** Closes the connection when it has been silent for too long; called now and then. */
  checkIdle(nowMs: number): void {
    const { stallMs, idleMs } = this.#broker.options;
    const silentMs = nowMs - this.#lastActiveMs;
    if (this.#outbox.length > 0) return;
    if (this.#requests.isPartial && silentMs > stallMs) {
      this.close(
        `a request was begun ${Math.round(silentMs / 1000)} s ago and not finished; the limit is ${stallMs} ms`,
      );
    } else if (silentMs > idleMs) {
      this.close(`nothing came for ${Math.round(silentMs / 1000)} s; the limit is ${idleMs} ms`);
    }
  }

  /** Closes the connection, saying why when there is something to say. */
  close(reason?: string): void {
    if (this.#gone.signal.aborted) return;
    if (reason !== undefined) this.#broker.log(`Closed the connection of ${this.name}: ${reason}`);
    this.#close();
  }

  #close(): void {
    if (this.#gone.signal.aborted) return;
    this.#gone.abort();
    this.#onRoom?.();
    this.#conn.close();
  }

  #fail(error: unknown): void {
    const foreseen = error instanceof BadRequest || error instanceof MalformedRecordError;
    if (foreseen) return this.close(error.message);
    const lost = [
      Deno.errors.ConnectionReset,
      Deno.errors.BrokenPipe,
      Deno.errors.Interrupted,
      Deno.errors.BadResource,
    ];
    if (lost.some((kind) => error instanceof kind)) return this.#close();
    this.close(`a fault of the broker: ${error instanceof Error ? error.stack : error}`);
  }

  #answer(frame: { start: number; end: number }): void {
    const writer = this.#writers.take();
    const reply: Reply = { writer, pending: null, send: true };
    const peer = { clientHost: this.#clientHost, signal: this.#gone.signal };
    try {
      const outcome = dispatch(this.#broker, peer, { data: this.#requests.data, ...frame, response: writer });
      if (typeof outcome === "boolean") {
        reply.send = outcome;
      } else {
        reply.pending = outcome.then((send) => {
          reply.send = send;
        }, (error) => {
          reply.send = false;
          this.#fail(error);
        }).then(() => {
          reply.pending = null;
        });
      }
    } catch (error) {
      if (!(error instanceof BadRequest && error.answered)) throw error;
      reply.pending = null;
      this.#outbox.push(reply);
      this.#send();
      this.#sending = this.#sending.then(() => this.#fail(error));
      return;
    }
    this.#outbox.push(reply);
    this.#send();
  }

  #room(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onRoom = resolve;
    return promise;
  }

  #send(): void {
    if (this.#isSending) return;
    this.#isSending = true;
    this.#sending = this.#sendAll().catch((error) => this.#fail(error));
  }

  async #sendAll(): Promise<void> {
    try {
      while (this.#outbox.length > 0) await this.#sendFirst();
    } finally {
      // In the same step as the look at the outbox: a reply that comes later finds that it must start the sending again.
      this.#isSending = false;
    }
  }

  /** Sends the first reply, together with those behind it that are ready and small. */
  async #sendFirst(): Promise<void> {
    const reply = this.#outbox[0];
    if (reply.pending !== null) await reply.pending;
    this.#outbox.shift();
    if (this.#gone.signal.aborted) return;
    const { writer } = reply;
    if (!reply.send) writer.reset();
    while (this.#outbox.length > 0 && this.#outbox[0].pending === null) {
      const next = this.#outbox[0];
      if (next.send && writer.position + next.writer.position > coalescedBytesMax) break;
      if (next.send) writer.raw(next.writer.bytes());
      this.#outbox.shift();
      this.#writers.give(next.writer);
    }
    const bytes = writer.bytes();
    this.#turn += bytes.length;
    for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
    this.#writers.give(writer);
    this.#lastActiveMs = this.#broker.clock.now();
    this.#onRoom?.();
    this.#onRoom = null;
  }
}
