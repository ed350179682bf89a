import { Broker } from "./broker.ts";
import { ByteBudget, WriterPool } from "./buffers.ts";
import { Connection } from "./connection.ts";
import { lockFolder } from "./folder_lock.ts";
import { type BrokerOptions, resolveOptions } from "./options.ts";

/** Memory that requests larger than a connection's own buffer may take, all connections together. */
const largeRequestBytesMax = 256 * 1024 * 1024;
/** How often silent connections are looked for. */
const idleCheckMs = 1000;

/** A broker that listens. */
export class Server {
  readonly host: string;
  readonly port: number;
  readonly broker: Broker;
  readonly #listener: Deno.TcpListener;
  readonly #unlock: () => void;
  readonly #connections = new Map<Connection, Promise<void>>();
  readonly #writers = new WriterPool();
  readonly #budget: ByteBudget;
  readonly #accepting: Promise<void>;
  readonly #idleTimer: ReturnType<typeof setInterval>;
  #closing: Promise<void> | null = null;

  /** Listens, takes the data folder and opens it. Throws an `Error` that says what to change when any of it cannot be. */
  constructor(options: BrokerOptions) {
    const resolved = resolveOptions(options);
    using cleanUp = new DisposableStack();
    this.#unlock = lockFolder(resolved.dataDir);
    cleanUp.defer(this.#unlock);
    this.#listener = cleanUp.adopt(listen(resolved), (listener) => listener.close());
    this.broker = new Broker(resolved);
    cleanUp.move();

    const { hostname, port } = this.#listener.addr;
    this.host = hostname;
    this.port = port;
    this.broker.advertised = { host: resolved.advertisedHost, port };
    this.#budget = new ByteBudget(Math.max(largeRequestBytesMax, resolved.frameBytesMax + 4));
    this.#idleTimer = setInterval(() => {
      const nowMs = resolved.clock.now();
      for (const connection of this.#connections.keys()) connection.checkIdle(nowMs);
    }, idleCheckMs);
    this.#accepting = this.#accept();
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  /** Stops listening, ends all connections, and puts everything on disk. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #accept(): Promise<void> {
    while (true) {
      let conn: Deno.TcpConn;
      try {
        conn = await this.#listener.accept();
      } catch (error) {
        if (this.#closing !== null) return;
        // Too many open files, or a client gone before it was accepted: others can still be served.
        this.broker.log(`Cannot accept a connection: ${(error as Error).message}`);
        await this.broker.clock.sleep(100);
        continue;
      }
      this.#serve(conn);
    }
  }

  #serve(conn: Deno.TcpConn): void {
    const { broker } = this;
    const { connectionsMax } = broker.options;
    if (this.#connections.size >= connectionsMax) {
      const { hostname, port } = conn.remoteAddr;
      broker.log(
        `Refused the connection of ${hostname}:${port}: there are ${connectionsMax} already, which is the limit`,
      );
      conn.close();
      return;
    }
    conn.setNoDelay(true);
    const connection = new Connection(conn, { broker, writers: this.#writers, budget: this.#budget });
    this.#connections.set(connection, connection.serve().finally(() => this.#connections.delete(connection)));
  }

  async #close(): Promise<void> {
    clearInterval(this.#idleTimer);
    this.#listener.close();
    await this.#accepting;
    const served = Promise.all(this.#connections.values());
    for (const connection of this.#connections.keys()) connection.close();
    await this.broker.close(served);
    this.#unlock();
  }
}

function listen({ host, port }: { host: string; port: number }): Deno.TcpListener {
  try {
    return Deno.listen({ hostname: host, port });
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) {
      throw new Error(
        `Cannot start the broker: port ${port} of ${host} is in use; stop what uses it or choose another port`,
      );
    }
    throw new Error(`Cannot start the broker at ${host}:${port}: ${(error as Error).message}`, { cause: error });
  }
}
