/**
 * How feeds that push are written down: server-sent events and WebSockets.
 *
 * @module
 */
import type { Duration } from "../../definition.ts";
import type { Auth } from "../../net/authorization.ts";
import type { SecretReference } from "../../secrets.ts";
import type { Constant } from "../http/definition.ts";

interface FeedOptions {
  readonly url: string | SecretReference;
  readonly headers?: Readonly<Record<string, string | SecretReference>>;
  readonly auth?: Auth;
  /** Where the records are in a message's JSON: an array, or one object. A `?` at the end: a message without it has none. */
  readonly records?: string;
  /** As `httpPoll` has it. */
  readonly map?: Readonly<Record<string, string | Constant>>;
  /** A field that names a record: one that comes again with the same is left out, among the last 10,000. */
  readonly id?: string;
  /** Also connects to addresses of this machine, its network and its cloud, and sends secrets unencrypted. */
  readonly allowPrivate?: boolean;
  /** A connection on which nothing came for so long is made anew; 1 minute unless told. */
  readonly silence?: Duration;
  /** Of one message, in bytes; 1 MiB unless told. */
  readonly messageBytesMax?: number;
}

export interface EventStreamOptions extends FeedOptions {
  /** Names of events that are read; all unless told. Events without a name are `message`. */
  readonly events?: readonly string[];
}

export interface EventStreamSpec extends EventStreamOptions {
  readonly kind: "eventStream";
}

/**
 * Server-sent events. After a break it goes on behind the last event that is written, where the server gives its events an id
 * and keeps them; what it does not keep is lost.
 */
export function eventStream(options: EventStreamOptions): EventStreamSpec {
  return { kind: "eventStream", ...options };
}

export interface WebSocketOptions extends FeedOptions {
  /** Sent as JSON (a text as it is) once connected, one after the other. */
  readonly subscribe?: readonly unknown[];
  /** Pings are sent so often, and a text of the API's own where it wants one; every 30 seconds unless told. */
  readonly heartbeat?: { readonly every?: Duration; readonly message?: unknown };
}

export interface WebSocketSpec extends WebSocketOptions {
  readonly kind: "webSocket";
}

/**
 * A WebSocket of JSON messages. The protocol has no way to go on where it was: what is sent while nobody is connected is lost, so
 * each record comes at most once across a gap.
 */
export function webSocket(options: WebSocketOptions): WebSocketSpec {
  return { kind: "webSocket", ...options };
}
