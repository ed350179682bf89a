/** A handler of requests as the platforms take it: `fetch(request, ...)`. */
type Fetch<Rest extends unknown[]> = (request: Request, ...rest: Rest) => Response | Promise<Response>;

/**
 * Answers HEAD as GET without its body: the same status and headers, and the length GET's body would have. What has no end
 * (`text/event-stream`) has no length.
 *
 * Servers send `content-length: 0` for a response without a body, and a HEAD answered so says that GET's body is empty.
 */
export function withHead<Rest extends unknown[]>(fetch: Fetch<Rest>): Fetch<Rest> {
  return async (request, ...rest) => {
    if (request.method !== "HEAD") return await fetch(request, ...rest);
    const answer = await fetch(new Request(request.url, { headers: request.headers }), ...rest);
    if (!answer.body) return answer;
    if (answer.headers.get("content-type")?.startsWith("text/event-stream")) {
      await answer.body.cancel();
      return new Response(emptyStream(), answer); // a stream, even one without content, has no length to announce
    }
    const { byteLength } = await answer.arrayBuffer();
    const head = new Response(null, answer);
    head.headers.set("content-length", String(byteLength));
    return head;
  };
}

function emptyStream(): ReadableStream<Uint8Array> {
  return new ReadableStream({ start: (controller) => controller.close() });
}
