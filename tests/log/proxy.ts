import { type Clock, systemClock } from "../../pipeline/clock.ts";

/** What becomes of bytes on their way: passed on, all or half of them and then the end, the end at once, kept for ever, or a while. */
export type Fate = "pass" | "last" | "half" | "cut" | "swallow" | "hold";

/** A TCP proxy that does to a connection what networks do. */
export class Proxy implements AsyncDisposable {
  readonly address: string;
  readonly #listener: Deno.TcpListener;
  readonly #target: Deno.ConnectOptions;
  readonly #open = new Set<Deno.Conn>();
  readonly #running = new Set<Promise<void>>();
  /** Decides about each chunk a client sends, and about each a server answers. */
  onRequest: (chunk: Uint8Array) => Fate = () => "pass";
  onAnswer: (chunk: Uint8Array) => Fate = () => "pass";
  /** How long each chunk is held back. */
  delayMs = 0;
  /** What is held is passed on when this resolves. */
  held: Promise<void> = Promise.resolve();
  connections = 0;
  #isListening = true;
  /** A chunk is then one request or answer of the Kafka protocol, and not what the network makes of them. */
  byFrame = false;

  constructor(listen: { hostname: string; port: number }, target: { hostname: string; port: number }) {
    this.#listener = Deno.listen(listen);
    const { hostname, port } = this.#listener.addr as Deno.NetAddr;
    this.address = `${hostname}:${port}`;
    this.#target = target;
    this.#track(this.#accept());
  }

  /** Ends all connections; new ones are taken. */
  cut(): void {
    for (const connection of [...this.#open]) this.#close(connection);
  }

  /** Refuses new connections from here on; the open ones stay. */
  refuse(): void {
    if (this.#isListening) this.#listener.close();
    this.#isListening = false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.refuse();
    this.cut();
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  #track(work: Promise<void>): void {
    const running = work.catch(() => {}).finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  async #accept(): Promise<void> {
    for await (const client of this.#listener) {
      this.connections++;
      this.#open.add(client);
      this.#track(this.#join(client));
    }
  }

  async #join(client: Deno.Conn): Promise<void> {
    try {
      const server = await Deno.connect(this.#target);
      this.#open.add(server);
      const ways = [
        this.#pump(client, server, (chunk) => this.onRequest(chunk)),
        this.#pump(server, client, (chunk) => this.onAnswer(chunk)),
      ];
      await Promise.race(ways);
      this.#close(server);
      await Promise.all(ways);
    } finally {
      this.#close(client);
    }
  }

  /** Moves bytes until one side ends or fate does. */
  async #pump(from: Deno.Conn, to: Deno.Conn, fate: (chunk: Uint8Array) => Fate): Promise<void> {
    try {
      for await (const chunk of this.byFrame ? framesOf(from) : chunksOf(from)) {
        if (this.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, this.delayMs));
        const what = fate(chunk);
        if (what === "swallow") continue;
        if (what === "hold") await this.held;
        const upTo = what === "half" ? chunk.length >> 1 : what === "cut" ? 0 : chunk.length;
        for (let at = 0; at < upTo;) at += await to.write(chunk.subarray(at, upTo));
        if (what !== "pass" && what !== "hold") break;
      }
    } catch {
      // Either side went away.
    }
    this.#close(from);
    this.#close(to);
  }

  #close(connection: Deno.Conn): void {
    if (!this.#open.delete(connection)) return;
    connection.close();
  }
}

/** The bytes as they come; each chunk is good until the next. */
async function* chunksOf(from: Deno.Conn): AsyncGenerator<Uint8Array> {
  const buffer = new Uint8Array(16 * 1024);
  for (let read = await from.read(buffer); read !== null; read = await from.read(buffer)) {
    yield buffer.subarray(0, read);
  }
}

/** Whole frames, length and all. */
async function* framesOf(from: Deno.Conn): AsyncGenerator<Uint8Array> {
  let held = new Uint8Array(0);
  for await (const chunk of chunksOf(from)) {
    const joined = new Uint8Array(held.length + chunk.length);
    joined.set(held);
    joined.set(chunk, held.length);
    held = joined;
    while (held.length >= 4) {
      const end = 4 + new DataView(held.buffer, held.byteOffset).getInt32(0);
      if (held.length < end) break;
      yield held.subarray(0, end);
      held = held.slice(end);
    }
  }
}

/** Numbers in [0, 1) that follow from the seed alone (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** The system's clock with a tenth of the pauses, for tests that meet many of them. */
export const hurriedClock: Clock = {
  ...systemClock,
  sleep: (ms, signal) => systemClock.sleep(ms / 10, signal),
};

/** The seed of this run; set `TAILRACE_SEED` to repeat one. */
export const seed = Number(Deno.env.get("TAILRACE_SEED") ?? crypto.getRandomValues(new Uint32Array(1))[0]);
