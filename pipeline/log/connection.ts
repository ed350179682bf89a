/**
 * One connection to a Kafka broker, for the data plane: requests are pipelined, answers are read straight into buffers
 * that are used again, so that a fetched megabyte is copied once, by the kernel.
 *
 *     request   size int32 | api key int16 | version int16 | correlation id int32 | client id string | body
 *     response  size int32 | correlation id int32 | body
 *
 * Only versions before the "flexible" headers are used. Why not a client library's connection: docs/decisions/0002.
 *
 * @module
 */
import { UnavailableError } from "../errors.ts";
import { WireReader, WireWriter } from "./wire.ts";

/** Larger answers are refused: the peer does not speak Kafka, or the fetch limits are not kept. */
const FRAME_BYTES_MAX = 256 * 1024 * 1024;
/** Read at most this much before a frame's size is known, so that little has to be moved to the next buffer. */
const READ_AHEAD_BYTES = 16 * 1024;
/** Buffers kept for the next answers; two let one be filled while the other is read. */
const SPARE_BUFFERS_MAX = 3;
/** Requests sent and not yet answered; further ones wait their turn. */
export const IN_FLIGHT_MAX = 64;
const REQUEST_TIMEOUT_MS = 30_000;

/** An answer's body in a buffer on loan: give it back with `release()` and do not read it afterwards. */
export interface Frame {
  readonly data: Uint8Array;
  /** Where the body, after the response header, starts and ends in `data`. */
  readonly start: number;
  readonly end: number;
  release(): void;
}

interface Pending {
  readonly correlationId: number;
  readonly resolve: (frame: Frame) => void;
  readonly reject: (error: Error) => void;
  readonly deadline: number;
}

export class BrokerConnection {
  readonly address: string;
  readonly #connection: Deno.Conn;
  readonly #clientId: string;
  readonly #pending: Pending[] = [];
  /** Requests that wait until one is answered, first come, first sent. */
  readonly #queued: { readonly send: () => void; readonly reject: (error: Error) => void }[] = [];
  readonly #spare: Uint8Array[] = [];
  #writing: Promise<unknown> = Promise.resolve();
  #correlationId = 0;
  #failure: Error | null = null;
  #watchdog: ReturnType<typeof setInterval>;

  /** Over an open socket, which is then this connection's; see `openConnection`. */
  constructor(connection: Deno.Conn, address: string, clientId: string) {
    this.#connection = connection;
    this.address = address;
    this.#clientId = clientId;
    this.#watchdog = setInterval(() => this.#checkDeadline(), 1000);
    this.#readFrames().catch((error) => this.#fail(error));
  }

  get closed(): boolean {
    return this.#failure !== null;
  }

  /**
   * Sends one request and resolves with its answer. `tail` is written after what `body` wrote without being copied; it must
   * stay as it is until the answer is there.
   *
   * @throws UnavailableError when the connection is or gets lost, or no answer comes in time: whether the request was
   *   carried out is then unknown
   */
  request(
    apiKey: number,
    version: number,
    body: (writer: WireWriter) => void,
    options: { tail?: Uint8Array; timeoutMs?: number; noResponse?: boolean } = {},
  ): Promise<Frame | null> {
    if (this.#failure) return Promise.reject(this.#failure);
    if (this.#pending.length < IN_FLIGHT_MAX && this.#queued.length === 0) {
      return this.#send(apiKey, version, body, options);
    }
    return new Promise((resolve, reject) => {
      const send = () => this.#send(apiKey, version, body, options).then(resolve, reject);
      this.#queued.push({ send, reject });
    });
  }

  #send(
    apiKey: number,
    version: number,
    body: (writer: WireWriter) => void,
    options: { tail?: Uint8Array; timeoutMs?: number; noResponse?: boolean },
  ): Promise<Frame | null> {
    const correlationId = this.#correlationId = (this.#correlationId + 1) & 0x7fffffff;
    const writer = new WireWriter(256);
    const size = writer.reserveInt32();
    writer.int16(apiKey).int16(version).int32(correlationId).string(this.#clientId);
    body(writer);
    const head = writer.bytes();
    writer.patchInt32(size, head.length - 4 + (options.tail?.length ?? 0));
    const answered = options.noResponse ? null : new Promise<Frame>((resolve, reject) => {
      const deadline = performance.now() + (options.timeoutMs ?? REQUEST_TIMEOUT_MS);
      this.#pending.push({ correlationId, resolve, reject, deadline });
    });
    const written = this.#writing = this.#writing
      .then(() => writeAll(this.#connection, head))
      .then(() => options.tail && writeAll(this.#connection, options.tail))
      .catch((error) => this.#fail(error));
    return answered ?? written.then(() => {
      if (this.#failure) throw this.#failure;
      return null;
    });
  }

  /** Closes at once; unanswered requests are rejected. */
  close(): void {
    this.#fail(new UnavailableError(`The connection to ${this.address} was closed`));
  }

  async #readFrames(): Promise<void> {
    let buffer: Uint8Array = new Uint8Array(64 * 1024);
    let filled = 0;
    while (!this.#failure) {
      while (filled < 4) filled += await this.#readInto(buffer.subarray(filled, READ_AHEAD_BYTES));
      const end = 4 + (buffer[0] << 24 | buffer[1] << 16 | buffer[2] << 8 | buffer[3]);
      if (end < 8 || end > FRAME_BYTES_MAX) {
        throw new UnavailableError(
          `${this.address} sent a frame of ${end - 4} bytes, which no Kafka answer has; is it a Kafka broker?`,
        );
      }
      if (buffer.length < end) buffer = this.#take(end, buffer.subarray(0, filled));
      while (filled < end) filled += await this.#readInto(buffer.subarray(filled, Math.max(end, READ_AHEAD_BYTES)));
      const frame = buffer;
      buffer = this.#take(64 * 1024, frame.subarray(end, filled));
      filled -= end;
      this.#answer(frame, end);
    }
  }

  async #readInto(space: Uint8Array): Promise<number> {
    const read = await this.#connection.read(space);
    if (read === null) throw new UnavailableError(`Kafka broker ${this.address} closed the connection`);
    return read;
  }

  #answer(data: Uint8Array, end: number): void {
    const correlationId = data[4] << 24 | data[5] << 16 | data[6] << 8 | data[7];
    const pending = this.#pending.shift();
    if (pending?.correlationId !== correlationId) {
      if (pending) this.#pending.unshift(pending);
      throw new UnavailableError(`${this.address} answered request ${correlationId}, which was not the next one asked`);
    }
    let lent = true;
    const release = () => {
      if (lent && this.#spare.length < SPARE_BUFFERS_MAX) this.#spare.push(data);
      lent = false;
    };
    pending.resolve({ data, start: 8, end, release });
    while (this.#pending.length < IN_FLIGHT_MAX && this.#queued.length > 0) this.#queued.shift()!.send();
  }

  /** A buffer of at least `size` bytes that begins with `start`: a spare one where one is large enough. */
  #take(size: number, start: Uint8Array): Uint8Array {
    const at = this.#spare.findIndex((buffer) => buffer.length >= size);
    const buffer = at >= 0 ? this.#spare.splice(at, 1)[0] : new Uint8Array(2 ** Math.ceil(Math.log2(size)));
    buffer.set(start);
    return buffer;
  }

  #checkDeadline(): void {
    if (this.#pending.length > 0 && performance.now() > this.#pending[0].deadline) {
      this.#fail(new UnavailableError(`Kafka broker ${this.address} did not answer in time`));
    }
  }

  #fail(error: unknown): void {
    if (this.#failure) return;
    this.#failure = error instanceof UnavailableError
      ? error
      : new UnavailableError(`The connection to ${this.address} was lost: ${(error as Error).message}`, {
        cause: error,
      });
    clearInterval(this.#watchdog);
    try {
      this.#connection.close();
    } catch {
      // Already closed by the other side.
    }
    for (const { reject } of [...this.#pending.splice(0), ...this.#queued.splice(0)]) reject(this.#failure);
  }
}

async function writeAll(connection: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let written = 0; written < bytes.length;) written += await connection.write(bytes.subarray(written));
}

/** Sends a request and hands its answer's body to `read`; the buffer is given back whatever happens. */
export async function ask<T>(
  connection: BrokerConnection,
  request: { apiKey: number; version: number; body: (writer: WireWriter) => void; timeoutMs?: number },
  read: (reader: WireReader) => T,
): Promise<T> {
  const frame = await connection.request(request.apiKey, request.version, request.body, {
    timeoutMs: request.timeoutMs,
  });
  try {
    return read(new WireReader(frame!.data, frame!.start, frame!.end));
  } finally {
    frame!.release();
  }
}
