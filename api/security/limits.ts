/**
 * Bounds on what one request, and all of them together, may take.
 *
 * @module
 */
import type { MiddlewareHandler } from "hono";
import { problem } from "../problem.ts";

export interface RequestLimits {
  /** Characters of address and query: a page's cursor alone may have 16,384. */
  readonly urlCharactersMax?: number;
  /** Characters of all header names and values. */
  readonly headerCharactersMax?: number;
  /** Requests worked on at a time; open streams are counted by the live hub. */
  readonly requestsMax?: number;
  /** A request with a body has to be read and answered in this time. */
  readonly bodyMs?: number;
  /** A pipeline has to do what it is told, or explain a record, in this time; 30 s unless told. */
  readonly answerMs?: number;
  /** Paths whose bodies are bounded where they are read, in size and time. */
  readonly ownBounds?: (path: string) => boolean;
}

/** Answers 414, 431, 503 and 408 where a request goes beyond its bounds. */
export function requestLimits(limits: RequestLimits = {}): MiddlewareHandler {
  const { urlCharactersMax = 32_768, headerCharactersMax = 32_768, requestsMax = 512, bodyMs = 60_000 } = limits;
  const { ownBounds = () => false } = limits;
  let active = 0;
  return async (c, next) => {
    const instance = c.req.path.slice(0, 256);
    if (c.req.url.length > urlCharactersMax) {
      return problem("url-too-long", { detail: `at most ${urlCharactersMax} characters`, instance });
    }
    let characters = 0;
    for (const [name, value] of c.req.raw.headers) characters += name.length + value.length;
    if (characters > headerCharactersMax) {
      return problem("headers-too-large", { detail: `at most ${headerCharactersMax} characters`, instance });
    }
    if (active >= requestsMax) {
      return problem("too-many-requests", { detail: `${requestsMax} requests are under way`, instance });
    }
    active++;
    let timer: ReturnType<typeof setTimeout> | undefined;
    try {
      if (c.req.raw.body === null || ownBounds(c.req.path)) return await next();
      const late = new Promise<"late">((resolve) => timer = setTimeout(() => resolve("late"), bodyMs));
      const ended = next();
      ended.catch(() => {}); // once it is too late nobody asks
      if (await Promise.race([ended, late]) === "late") {
        return problem("slow-body", { detail: `within ${bodyMs / 1000} s`, instance });
      }
    } finally {
      clearTimeout(timer);
      active--;
    }
  };
}
