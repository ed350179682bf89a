/**
 * A server that webhooks are posted to.
 *
 * @module
 */

export interface Received {
  readonly key: string;
  readonly headers: Headers;
  readonly text: string;
  readonly body: {
    readonly topic: string;
    readonly partition: number;
    readonly records: readonly { readonly offset: number; readonly timestamp: string; readonly value: never }[];
  };
}

/** Answers 200 unless told otherwise; keeps what it took. */
export class Receiver implements AsyncDisposable {
  readonly requests: Received[] = [];
  /** Requests that were answered with 200. */
  readonly taken: Received[] = [];
  /** What to answer instead. */
  answer: (request: Received) => Response | null | Promise<Response | null> = () => null;
  readonly port: number;
  #server: Deno.HttpServer<Deno.NetAddr> | null = null;

  constructor() {
    this.#server = this.#listen(0);
    this.port = this.#server.addr.port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/hook`;
  }

  /** Offsets that were taken, in the order they were. */
  offsets(partition?: number): number[] {
    return this.taken.filter(({ body }) => partition === undefined || body.partition === partition)
      .flatMap(({ body }) => body.records.map(({ offset }) => offset));
  }

  async stop(): Promise<void> {
    await this.#server?.shutdown();
    this.#server = null;
  }

  start(): void {
    this.#server = this.#listen(this.port);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #listen(port: number): Deno.HttpServer<Deno.NetAddr> {
    return Deno.serve({ hostname: "127.0.0.1", port, onListen: () => {} }, async (request) => {
      const text = await request.text();
      const received: Received = {
        key: request.headers.get("idempotency-key")!,
        headers: request.headers,
        text,
        body: JSON.parse(text),
      };
      this.requests.push(received);
      const answer = await this.answer(received);
      if (answer !== null) return answer;
      this.taken.push(received);
      return new Response("ok");
    });
  }
}
