import type { ProducerStart } from "./producer_worker.ts";

/** Produces at a rate from a thread of its own; resolves with how many records were acknowledged. */
export function produceInThread(start: ProducerStart): Promise<number> {
  const worker = new Worker(new URL("./producer_worker.ts", import.meta.url), {
    type: "module",
    name: "bench-producer",
  });
  return new Promise<number>((resolve, reject) => {
    worker.onmessage = ({ data }) => data.failure ? reject(new Error(data.failure)) : resolve(data.acknowledged);
    worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error(event.message));
    };
    worker.postMessage(start);
  }).finally(() => worker.terminate());
}
