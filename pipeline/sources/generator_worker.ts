/**
 * The generator in a thread of its own, so that producing at full speed takes nothing from the API.
 *
 * @module
 */
import { systemClock } from "../clock.ts";
import { Cluster } from "../log/cluster.ts";
import type { ClusterOptions } from "../log/open_connection.ts";
import { generate, type GeneratorOptions } from "./generator.ts";

/** What starts it; any further message ends it. */
export interface GeneratorStart extends Omit<GeneratorOptions, "clock" | "signal" | "onProgress"> {
  readonly brokers: readonly string[];
  readonly cluster: ClusterOptions;
}

export type FromGenerator =
  | { readonly kind: "progress"; readonly acknowledged: number }
  | { readonly kind: "ended"; readonly failure: { readonly name: string; readonly message: string } | null };

const PROGRESS_MS = 500;

// The worker's own global, which the default library types as a window.
const thread = self as unknown as {
  postMessage(message: FromGenerator): void;
  onmessage: ((event: MessageEvent<GeneratorStart | "stop">) => void) | null;
};
const stop = new AbortController();

thread.onmessage = async ({ data }) => {
  if (data === "stop") return stop.abort();
  await using cluster = new Cluster(data.brokers, data.cluster);
  let told = 0;
  const onProgress = (acknowledged: number) => {
    if (systemClock.monotonic() - told < PROGRESS_MS) return;
    told = systemClock.monotonic();
    thread.postMessage({ kind: "progress", acknowledged });
  };
  const failure = await generate(cluster, { ...data, clock: systemClock, signal: stop.signal, onProgress }).then(
    () => null,
    ({ name, message }) => ({ name, message }),
  );
  thread.postMessage({ kind: "ended", failure });
};
