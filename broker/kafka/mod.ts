/**
 * Tailrace's embedded broker: Kafka's wire protocol over a durable log in one folder, for one machine.
 *
 * @module
 */
import type { BrokerOptions, BrokerWorkerOptions } from "./options.ts";
import { Server } from "./server.ts";
import type { FromWorker, ToWorker } from "./worker.ts";

export type { BrokerOptions } from "./options.ts";

/** A broker that runs. */
export interface RunningBroker extends AsyncDisposable {
  /** The address it listens at. */
  readonly host: string;
  readonly port: number;
  /** Resolves, with the reason, when the broker has died by itself; stays pending otherwise. */
  readonly failed: Promise<Error>;
  /** Ends all connections and puts everything on disk. */
  close(): Promise<void>;
}

/** Starts a broker in this thread. Rejects when the port or the data folder is taken or cannot be used. */
// deno-lint-ignore require-await -- a promise, so that this and startBrokerWorker are exchangeable and errors are rejections
export async function startBroker(options: BrokerOptions): Promise<RunningBroker> {
  const server = new Server(options);
  const close = () => server.close();
  return { host: server.host, port: server.port, failed: new Promise(() => {}), close, [Symbol.asyncDispose]: close };
}

/** Starts a broker in a thread of its own, which is how it is fast beside other work. Rejects as `startBroker` does. */
export async function startBrokerWorker(options: BrokerWorkerOptions): Promise<RunningBroker> {
  const { log, ...rest } = options;
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module", name: "broker" });
  const started = Promise.withResolvers<{ host: string; port: number }>();
  const failed = Promise.withResolvers<Error>();
  const closed = Promise.withResolvers<void>();
  const send = (message: ToWorker) => worker.postMessage(message);

  worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
    if (data.type === "log") log?.(data.line);
    else if (data.type === "started") started.resolve(data);
    else if (data.type === "refused") started.reject(new Error(data.message));
    else closed.resolve();
  };
  worker.onerror = (event) => {
    event.preventDefault();
    const error = new Error(`The broker's worker died: ${event.message}`);
    started.reject(error);
    failed.resolve(error);
    closed.resolve();
  };
  send({ type: "start", options: rest });

  let closing: Promise<void> | null = null;
  const close = () => {
    closing ??= (async () => {
      send({ type: "close" });
      await closed.promise;
      worker.terminate();
    })();
    return closing;
  };
  try {
    const { host, port } = await started.promise;
    return { host, port, failed: failed.promise, close, [Symbol.asyncDispose]: close };
  } catch (error) {
    worker.terminate();
    throw error;
  }
}
