import { ResponseWriter } from "./protocol/fields.ts";

/** Bytes of unused response buffers kept for the next responses. */
const pooledBytesMax = 64 * 1024 * 1024;

/** Response buffers, used again: allocating and clearing megabytes for each fetch would cost more than filling them. */
export class WriterPool {
  readonly #writers: ResponseWriter[] = [];
  #bytes = 0;

  take(): ResponseWriter {
    const writer = this.#writers.pop();
    if (writer === undefined) return new ResponseWriter(1024);
    this.#bytes -= writer.data.length;
    writer.reset();
    return writer;
  }

  give(writer: ResponseWriter): void {
    if (this.#bytes + writer.data.length > pooledBytesMax) return;
    this.#bytes += writer.data.length;
    this.#writers.push(writer);
  }
}

/** A number of bytes shared by all connections: who needs more than is left waits for others to give back, in order. */
export class ByteBudget {
  #left: number;
  readonly #waiting: { bytes: number; resolve: () => void }[] = [];

  constructor(bytes: number) {
    this.#left = bytes;
  }

  get isWanted(): boolean {
    return this.#waiting.length > 0;
  }

  take(bytes: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ bytes, resolve });
    this.#serve();
    return promise;
  }

  give(bytes: number): void {
    this.#left += bytes;
    this.#serve();
  }

  #serve(): void {
    while (this.#waiting.length > 0 && this.#waiting[0].bytes <= this.#left) {
      const { bytes, resolve } = this.#waiting.shift()!;
      this.#left -= bytes;
      resolve();
    }
  }
}
