/**
 * A connection to PostgreSQL for one thing only, that is gone after it, whatever it was at.
 *
 * The client cannot let go of a COPY out of the server: it stops reading from its socket while the reader is slow, and where the
 * last bytes come meanwhile it never goes on, so the next statement waits for ever; a COPY that is broken off stays in its
 * connection, for whoever gets it next; and a statement on a connection that was reserved, and broke, ends the process. So who
 * copies gets a connection of its own, and the socket under it is closed at the end: the server then ends what it was doing.
 *
 * @module
 */
import { connect as connectSocket, type Socket } from "node:net";
import postgres from "postgres";
import { UnavailableError } from "../errors.ts";

export interface OwnConnectionOptions {
  /** Statements in one message that open what `work` happens in. After them a connection that breaks is not made again. */
  readonly begin: string;
  readonly signal: AbortSignal;
  /** Bytes or rows that have come so far: something that grows while the server answers. */
  readonly progress: () => number;
  /** How long that may stay as it is before the server is taken to be away, milliseconds. */
  readonly silentMsMax: number;
}

/**
 * Runs `work` on a new connection to where `shared` is connected to, with its settings, and closes it.
 *
 * @throws the signal's reason when it ends the work
 * @throws UnavailableError when the server falls silent
 * @throws what `work` and the client throw
 */
export async function onOwnConnection<T>(
  shared: postgres.Sql,
  work: (sql: postgres.Sql) => Promise<T>,
  { begin, signal, progress, silentMsMax }: OwnConnectionOptions,
): Promise<T> {
  signal.throwIfAborted();
  const ended = Promise.withResolvers<never>();
  ended.promise.catch(() => {});
  let socket: Socket | null = null;
  /** Why no other connection may be made. */
  let over: Error | null = null;
  const end = (why: Error) => {
    over ??= why;
    ended.reject(why);
    socket?.destroy(why);
  };
  const onAbort = () => end(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  const silence = watch(progress, {
    silentMsMax,
    onSilent: () => end(new UnavailableError(`PostgreSQL has not answered for ${silentMsMax / 1000} s`)),
  });
  const options = {
    ...shared.options,
    max: 1,
    fetch_types: false,
    idle_timeout: null,
    max_lifetime: null,
    onclose: () => {},
    socket: async () => {
      try {
        if (over !== null) throw over;
        socket = await connected(shared.options, signal);
        if (over !== null) {
          socket.destroy();
          throw over;
        }
        return socket;
      } catch (error) {
        // With several hosts the client says nothing of it.
        end(error as Error);
        throw error;
      }
    },
  };
  // Options that were parsed are taken as they are; the types of the client know neither that nor `socket`.
  const own = postgres(options as unknown as postgres.Options<Record<string, never>>) as postgres.Sql;
  try {
    const all = async () => {
      await own.unsafe(begin);
      over = Object.assign(new Error("the connection was lost"), { code: "CONNECTION_CLOSED" });
      return await work(own);
    };
    return await Promise.race([all(), ended.promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
    clearInterval(silence);
    over ??= new Error("the connection was closed");
    (socket as Socket | null)?.destroy();
    await own.end({ timeout: 0 });
  }
}

function watch(
  progress: () => number,
  { silentMsMax, onSilent }: { readonly silentMsMax: number; readonly onSilent: () => void },
): ReturnType<typeof setInterval> {
  let before = progress();
  let since = performance.now();
  return setInterval(() => {
    const now = progress();
    if (now !== before) {
      before = now;
      since = performance.now();
    } else if (performance.now() - since >= silentMsMax) {
      onSilent();
    }
  }, Math.min(1_000, silentMsMax / 4));
}

/** A socket to the first host that takes it. */
async function connected(
  { host: hosts, port: ports, path, connect_timeout: secondsMax }: postgres.Sql["options"],
  signal: AbortSignal,
): Promise<Socket> {
  let failure: unknown;
  for (const [i, host] of hosts.entries()) {
    signal.throwIfAborted();
    // Whose certificate is to be seen is read from the socket.
    const socket = Object.assign(path ? connectSocket(path) : connectSocket(ports[i], host), { host });
    const late = setTimeout(() => {
      const message = `no connection to ${host} within ${secondsMax} s`;
      socket.destroy(Object.assign(new Error(message), { code: "CONNECT_TIMEOUT" }));
    }, secondsMax * 1000);
    const onAbort = () => socket.destroy(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once("connect", resolve);
        socket.once("error", reject);
      });
      return socket;
    } catch (error) {
      failure = error;
    } finally {
      clearTimeout(late);
      signal.removeEventListener("abort", onAbort);
    }
  }
  throw failure;
}
