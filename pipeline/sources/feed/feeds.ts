/**
 * Server-sent events and WebSockets as feeds.
 *
 * @module
 */
import { ConfigError, UnavailableError } from "../../errors.ts";
import type { Authorization } from "../../net/authorization.ts";
import { type Guard, showUrl } from "../../net/guarded_fetch.ts";
import { retryAfterMs } from "../../net/retry_after.ts";
import { connectWebSocket } from "../../net/web_socket.ts";
import { EventParser } from "./event_parser.ts";
import type { Feed, FeedMessage } from "./feed_source.ts";

export interface ConnectionOptions {
  /** http: or https:, also of WebSockets. */
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly guard: Guard;
  readonly authorization: Authorization;
  readonly silenceMs: number;
  readonly messageBytesMax: number;
}

export class EventStreamFeed implements Feed {
  readonly #options: ConnectionOptions;
  readonly #events: ReadonlySet<string> | null;
  pauseMs: number | null = null;

  constructor(options: ConnectionOptions, { events }: { readonly events: readonly string[] | undefined }) {
    this.#options = options;
    this.#events = events === undefined ? null : new Set(events);
  }

  async *connect(at: string | null, signal: AbortSignal, onOpen: () => void): AsyncGenerator<FeedMessage> {
    const { url, headers, guard, authorization, silenceMs, messageBytesMax } = this.#options;
    const asked = new URL(url);
    const authorized = await authorization.apply(asked, signal);
    using response = await guard.fetch(asked, {
      headers: {
        accept: "text/event-stream",
        "cache-control": "no-store",
        ...headers,
        ...authorized,
        // Ids are any text; a header takes it as the bytes of its UTF-8.
        ...(at === null ? {} : {
          "last-event-id": new TextEncoder().encode(at).reduce((text, byte) => text + String.fromCharCode(byte), ""),
        }),
      },
      signal,
      idleMs: silenceMs,
      totalMs: Infinity,
      bytesMax: Infinity,
    });
    const what = `GET ${showUrl(url)}`;
    if (response.status !== 200) {
      this.pauseMs = retryAfterMs(response.headers, Date.now()) ?? this.pauseMs;
      if (response.status === 401) authorization.refused();
      throw new UnavailableError(`${what} answers ${response.status}`);
    }
    if (!/^text\/event-stream\b/i.test(response.headers.get("content-type") ?? "")) {
      throw new UnavailableError(`${what} does not answer with text/event-stream`);
    }
    onOpen();
    const parser = new EventParser({ id: at, bytesMax: messageBytesMax });
    for await (const piece of response.body) {
      for (const { name, data, id, isCut } of parser.take(piece)) {
        const problem = isCut ? `the event is longer than messageBytesMax, ${messageBytesMax} bytes` : null;
        if (this.#events === null || this.#events.has(name)) yield { text: data, at: id, problem };
      }
      this.pauseMs = parser.retryMs;
    }
  }
}

export class WebSocketFeed implements Feed {
  readonly pauseMs = null;
  readonly #options: ConnectionOptions;
  readonly #subscribe: readonly string[];
  readonly #heartbeat: { readonly everyMs: number; readonly text: string | null };

  constructor(
    options: ConnectionOptions,
    { subscribe, heartbeat }: {
      readonly subscribe: readonly string[];
      readonly heartbeat: { readonly everyMs: number; readonly text: string | null };
    },
  ) {
    this.#options = options;
    this.#subscribe = subscribe;
    this.#heartbeat = heartbeat;
  }

  async *connect(_at: string | null, signal: AbortSignal, onOpen: () => void): AsyncGenerator<FeedMessage> {
    const { url, guard, authorization, silenceMs, messageBytesMax } = this.#options;
    const asked = new URL(url);
    const headers = { ...this.#options.headers, ...await authorization.apply(asked, signal) };
    using connection = await connectWebSocket(asked, { guard, headers, bytesMax: messageBytesMax, silenceMs, signal });
    onOpen();
    for (const text of this.#subscribe) connection.send(text);
    const { everyMs, text } = this.#heartbeat;
    const timer = setInterval(() => text === null ? connection.ping() : connection.send(text), everyMs);
    try {
      for await (const message of connection.messages) {
        yield { text: new TextDecoder().decode(message), at: null, problem: null };
      }
    } finally {
      clearInterval(timer);
    }
  }
}

/** `ws:` and `wss:` as the schemes by which a WebSocket begins. @throws ConfigError */
export function httpUrl(text: string, where: string): URL {
  const found = URL.canParse(text) ? new URL(text.replace(/^ws(s?):/i, "http$1:")) : null;
  if (found === null || !/^https?:$/.test(found.protocol)) {
    throw new ConfigError({ where, problem: "is no URL of a feed" });
  }
  return found;
}
