/**
 * The broker's own thread; see `startBrokerWorker` in mod.ts, which is the other end of the messages.
 *
 * @module
 */
import type { BrokerWorkerOptions } from "./options.ts";
import { Server } from "./server.ts";

export type ToWorker =
  | { readonly type: "start"; readonly options: Omit<BrokerWorkerOptions, "log"> }
  | { readonly type: "close" };

export type FromWorker =
  | { readonly type: "started"; readonly host: string; readonly port: number }
  | { readonly type: "refused"; readonly message: string }
  | { readonly type: "log"; readonly line: string }
  | { readonly type: "closed" };

// The types of a worker's global scope are not those of the window this project is checked for.
const scope = self as unknown as {
  onmessage: (event: MessageEvent<ToWorker>) => void;
  postMessage: (message: FromWorker) => void;
};

let server: Server | null = null;

scope.onmessage = async ({ data }) => {
  if (data.type === "start") {
    try {
      server = new Server({ ...data.options, log: (line) => scope.postMessage({ type: "log", line }) });
      scope.postMessage({ type: "started", host: server.host, port: server.port });
    } catch (error) {
      scope.postMessage({ type: "refused", message: (error as Error).message });
    }
    return;
  }
  await server?.close();
  scope.postMessage({ type: "closed" });
};
