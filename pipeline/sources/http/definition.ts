/**
 * How the polling of an HTTP API is written down.
 *
 * @module
 */
import type { Duration } from "../../definition.ts";
import type { Auth } from "../../net/authorization.ts";
import type { SecretReference } from "../../secrets.ts";

/** Where a parameter of a request goes: into the query, or into the JSON body at a path. */
export type Parameter = { readonly query: string } | { readonly body: string };

/** How one answer leads to the next. Without it there is one. */
export type Paging =
  /** By the header `Link: <..>; rel="next"` (RFC 8288). */
  | { readonly by: "link" }
  /** By a URL in the body; the last page has none, or null. */
  | { readonly by: "url"; readonly path: string }
  /**
   * By a text or number in the body, given with the next request; the last page has none, null or an empty text. With `keep` the
   * next round goes on from the last one, as APIs of events want it.
   */
  | {
    readonly by: "cursor";
    readonly path: string;
    readonly to: Parameter;
    readonly keep?: boolean;
    readonly more?: string;
  }
  /** By a number that grows by one; the last page is empty. */
  | { readonly by: "page"; readonly to: Parameter; readonly first?: number; readonly more?: string }
  /** By how many records came before; the last page is empty. */
  | { readonly by: "offset"; readonly to: Parameter; readonly more?: string };

/** Asks only for what changed since the last round. */
export interface Since {
  /** Where a record says when it changed, or its number. */
  readonly path: string;
  /**
   * `time`: a text as RFC 3339 has it; `seconds` or `millis` since 1970; `number`: any number that grows, such as an id.
   */
  readonly as: "time" | "seconds" | "millis" | "number";
  readonly to: Parameter;
  /** Asked for again each time, for what was committed late; 1 minute unless told, and 0 of a `number`. */
  readonly overlap?: Duration | number;
  /** What the first round asks for; everything unless told. */
  readonly start?: string | number;
}

export interface HttpPollOptions {
  readonly url: string | SecretReference;
  /** GET unless told. */
  readonly method?: "GET" | "POST";
  readonly headers?: Readonly<Record<string, string | SecretReference>>;
  readonly query?: Readonly<Record<string, string | number | boolean>>;
  /** Sent as JSON with each POST. */
  readonly body?: unknown;
  readonly auth?: Auth;
  /** Where the records are: an array, or one object. A `?` at the end means that it may be missing when there are none. */
  readonly records?: string;
  /**
   * A field of the schema and where its value is in a record, or `constant(..)`. Without it the fields are taken by their names,
   * and what the schema does not have is left out.
   */
  readonly map?: Readonly<Record<string, string | Constant>>;
  readonly paging?: Paging;
  readonly since?: Since;
  /** A round begins so long after the last one began. */
  readonly every?: Duration;
  /** Instead of `every`: a cron expression, minute first, in UTC or `timezone`. */
  readonly cron?: string;
  /** As IANA names it: `Europe/Berlin`. */
  readonly timezone?: string;
  /** A record that came before, unchanged, is left out (`skip`, unless told) or written again each round (`write`). */
  readonly repeats?: "skip" | "write";
  /** Hosts that redirects and links may lead to besides the URL's own: `api2.example.com`, `api2.example.com:8443`. */
  readonly hosts?: readonly string[];
  /** Also asks addresses of this machine, its network and its cloud, and sends secrets over plain http. */
  readonly allowPrivate?: boolean;
  /** Of one answer, to its headers; 30 seconds unless told. */
  readonly timeout?: Duration;
  /** Of one answer, unpacked; 16 MiB unless told. */
  readonly bytesMax?: number;
  /** Of one round; it goes on with the next. 10,000 unless told. */
  readonly pagesMax?: number;
  /** As many as the API puts up with unless told. */
  readonly requestsPerSecond?: number;
}

export interface Constant {
  readonly constant: string | number | boolean | null;
}

export interface HttpPollSpec extends HttpPollOptions {
  readonly kind: "httpPoll";
}

/** An API that is asked again and again for records as JSON. */
export function httpPoll(options: HttpPollOptions): HttpPollSpec {
  return { kind: "httpPoll", ...options };
}

/** A value that every record gets. */
export function constant(value: Constant["constant"]): Constant {
  return { constant: value };
}
