import { WireReader } from "../../pipeline/log/wire.ts";

export interface Request {
  readonly apiKey: number;
  readonly correlationId: number;
  readonly body: WireReader;
}

/** The next request; null when the client is gone, undefined when none came within the time given. */
type NextRequest = (withinMs?: number) => Promise<Request | null | undefined>;

/** A server that reads Kafka requests and answers as the test says, one `serve` per connection. */
export class FakeBroker implements AsyncDisposable {
  readonly hostname = "127.0.0.1";
  readonly port: number;
  readonly #listener: Deno.TcpListener;
  readonly #running: Promise<void>[] = [];
  readonly #open: Deno.Conn[] = [];

  constructor(serve: (next: NextRequest, send: (bytes: Uint8Array) => Promise<void>) => Promise<void>) {
    this.#listener = Deno.listen({ hostname: this.hostname, port: 0 });
    this.port = (this.#listener.addr as Deno.NetAddr).port;
    this.#running.push(this.#accept(serve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const connection of this.#open.splice(0)) {
      try {
        connection.close();
      } catch {
        // The client closed it.
      }
    }
    await Promise.allSettled(this.#running);
  }

  async #accept(serve: ConstructorParameters<typeof FakeBroker>[0]): Promise<void> {
    for await (const connection of this.#listener) {
      this.#open.push(connection);
      const send = async (bytes: Uint8Array) => {
        for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
      };
      this.#running.push(serve(requestsOf(connection), send).catch(() => {}));
    }
  }
}

function requestsOf(connection: Deno.Conn): NextRequest {
  let reading: Promise<Request | null> | null = null;
  return async (withinMs) => {
    reading ??= readRequest(connection).catch(() => null);
    if (withinMs === undefined) return await reading.finally(() => reading = null);
    const late = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => late.resolve(undefined), withinMs);
    const first = await Promise.race([reading, late.promise]);
    clearTimeout(timer);
    if (first !== undefined) reading = null;
    return first;
  };
}

async function readRequest(connection: Deno.Conn): Promise<Request | null> {
  const size = await exactly(connection, 4);
  const frame = size && await exactly(connection, new WireReader(size).int32());
  if (!frame) return null;
  const body = new WireReader(frame);
  const apiKey = body.int16();
  body.int16();
  const correlationId = body.int32();
  body.nullableString();
  return { apiKey, correlationId, body };
}

async function exactly(connection: Deno.Conn, count: number): Promise<Uint8Array | null> {
  const bytes = new Uint8Array(count);
  for (let at = 0; at < count;) {
    const read = await connection.read(bytes.subarray(at));
    if (read === null) return null;
    at += read;
  }
  return bytes;
}
