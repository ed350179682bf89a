import { UnavailableError } from "../errors.ts";
import { BrokerConnection } from "./connection.ts";
import { authenticate, type SaslOptions } from "./sasl.ts";

const CONNECT_TIMEOUT_MS = 10_000;

/** How to reach and enter a cluster; shared by every connection to it. */
export interface ClusterOptions {
  readonly clientId: string;
  /** TLS with the system's certificate authorities. */
  readonly ssl: boolean;
  readonly sasl: SaslOptions | null;
}

/**
 * Connects to a broker and, where asked, authenticates. The signal ends the attempt, not the connection made.
 *
 * @throws UnavailableError when nobody answers, or the signal ended it
 * @throws ConfigError when the credentials are refused
 */
export async function openConnection(
  host: string,
  port: number,
  options: ClusterOptions & { readonly signal?: AbortSignal },
): Promise<BrokerConnection> {
  const { clientId, ssl, sasl, signal } = options;
  const address = `${host}:${port}`;
  let socket: Deno.Conn;
  try {
    socket = await connect({ hostname: host, port, ssl, signal });
  } catch (error) {
    throw new UnavailableError(`Kafka broker ${address} cannot be reached: ${(error as Error).message}`, {
      cause: error,
    });
  }
  const connection = new BrokerConnection(socket, address, clientId);
  if (!sasl) return connection;
  const onAbort = () => connection.close();
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    await authenticate(connection, sasl);
    return connection;
  } catch (error) {
    connection.close();
    throw error;
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}

async function connect(
  to: { readonly hostname: string; readonly port: number; readonly ssl: boolean; readonly signal?: AbortSignal },
): Promise<Deno.Conn> {
  const { hostname, port, ssl } = to;
  const inTime = AbortSignal.timeout(CONNECT_TIMEOUT_MS);
  const signal = to.signal ? AbortSignal.any([inTime, to.signal]) : inTime;
  const socket = await Deno.connect({ hostname, port, signal });
  socket.setNoDelay(true);
  return ssl ? await Deno.startTls(socket, { hostname }) : socket;
}
