import { UnavailableError } from "../errors.ts";
import type { FromGenerator, GeneratorStart } from "./generator_worker.ts";

/**
 * Runs the generator in a worker until the signal ends it and all it wrote is acknowledged.
 *
 * @throws UnavailableError when the broker stays away
 */
export async function generateInThread(
  start: GeneratorStart,
  options: { readonly signal: AbortSignal; readonly onProgress?: (acknowledged: number) => void },
): Promise<void> {
  const worker = new Worker(new URL("./generator_worker.ts", import.meta.url), { type: "module", name: "generator" });
  const stop = () => worker.postMessage("stop");
  options.signal.addEventListener("abort", stop, { once: true });
  try {
    await new Promise<void>((resolve, reject) => {
      worker.onmessage = ({ data }: MessageEvent<FromGenerator>) => {
        if (data.kind === "progress") options.onProgress?.(data.acknowledged);
        else if (data.failure === null) resolve();
        else {reject(
            data.failure.name === "UnavailableError"
              ? new UnavailableError(data.failure.message)
              : new Error(data.failure.message),
          );}
      };
      worker.onerror = (event) => {
        event.preventDefault();
        reject(new Error(`The generator's thread crashed: ${event.message}`));
      };
      worker.postMessage(start);
      if (options.signal.aborted) stop();
    });
  } finally {
    options.signal.removeEventListener("abort", stop);
    worker.terminate();
  }
}
