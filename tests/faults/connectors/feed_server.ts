/**
 * Server-sent events that are kept: whoever names the last one it had gets all behind it.
 *
 * @module
 */
const text = new TextEncoder();
/** Shorter than any silence that a reader puts up with. */
const ALIVE_MS = 1_000;

export class FeedServer implements AsyncDisposable {
  /** What each event says; its id is its place, from 1 on. */
  readonly events: string[] = [];
  readonly port: number;
  #server: Deno.HttpServer<Deno.NetAddr> | null;
  /** A comment now and then, so that a feed without news is not taken for a dead one. */
  readonly #alive = setInterval(() => {
    for (const controller of this.#open.keys()) controller.enqueue(text.encode(": alive\n\n"));
  }, ALIVE_MS);
  readonly #open = new Map<ReadableStreamDefaultController<Uint8Array>, number>();

  constructor() {
    this.#server = this.#listen(0);
    this.port = this.#server.addr.port;
  }

  push(data: string): void {
    this.events.push(data);
    for (const controller of this.#open.keys()) this.#send(controller);
  }

  /** Listens no more and ends all connections; `start` listens again, at the same port. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    for (const controller of this.#open.keys()) controller.close();
    this.#open.clear();
    await server?.shutdown();
  }

  start(): void {
    this.#server ??= this.#listen(this.port);
  }

  [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#alive);
    return this.stop();
  }

  #listen(port: number): Deno.HttpServer<Deno.NetAddr> {
    return Deno.serve({ hostname: "127.0.0.1", port, onListen: () => {} }, (request) => {
      const last = Number(request.headers.get("last-event-id") ?? 0);
      let own: ReadableStreamDefaultController<Uint8Array>;
      const body = new ReadableStream<Uint8Array>({
        start: (controller) => {
          own = controller;
          controller.enqueue(text.encode(": hello\n\n"));
          this.#open.set(controller, last);
          this.#send(controller);
        },
        cancel: () => void this.#open.delete(own),
      });
      return new Response(body, { headers: { "content-type": "text/event-stream" } });
    });
  }

  /** Gives a connection all that it does not have yet. */
  #send(controller: ReadableStreamDefaultController<Uint8Array>): void {
    const from = this.#open.get(controller)!;
    if (from >= this.events.length) return;
    const lines = this.events.slice(from).map((data, i) => `id: ${from + i + 1}\ndata: ${data}\n\n`);
    this.#open.set(controller, this.events.length);
    controller.enqueue(text.encode(lines.join("")));
  }
}
