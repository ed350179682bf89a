/** A client as docs/http-ingest.md tells to write one: it repeats a request under its key until it is answered. */
export async function sendUntilAnswered(
  url: () => string,
  { body, key, pauseMs = 20, signal }: {
    readonly body: string;
    readonly key: string;
    readonly pauseMs?: number;
    /** Gives up. */
    readonly signal?: AbortSignal;
  },
): Promise<{ readonly tries: number; readonly records: number }> {
  for (let tries = 1;; tries++) {
    signal?.throwIfAborted();
    try {
      const response = await fetch(url(), {
        method: "POST",
        body,
        headers: { "content-type": "application/x-ndjson", "idempotency-key": key },
        signal: AbortSignal.timeout(60_000),
      });
      const answer = await response.json();
      if (response.status === 201) return { tries, records: answer.records };
      if (![409, 429, 503].includes(response.status)) throw new RefusedError(JSON.stringify(answer));
    } catch (error) {
      if (error instanceof RefusedError) throw error;
      // The process is gone, or cut the connection.
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

/** No repeat helps. */
export class RefusedError extends Error {
  override readonly name = "RefusedError";
}
