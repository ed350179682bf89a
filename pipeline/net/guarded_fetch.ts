/**
 * Requests to addresses that somebody else may have a say in: a definition, a redirect, a link in an answer, the DNS.
 *
 *     URL ──▶ host among those allowed? ──▶ name resolved once ──▶ every address public? ──▶ connected to one of these
 *      ▲                                                                                                        │
 *      └───────────────────────────── redirect, at most 5, never from https to http ◀──────────────────────────┘
 *
 * The name is not resolved again for the connection, so a DNS that answers otherwise the second time gains nothing.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { lookup as dnsLookup } from "node:dns";
import http, { type IncomingMessage } from "node:http";
import https from "node:https";
import { isIP, type LookupFunction } from "node:net";
import type { Duplex } from "node:stream";
import { ConfigError, UnavailableError } from "../errors.ts";
import { unlessAborted } from "../log/unless_aborted.ts";
import { specialUse } from "./addresses.ts";
import { type BodyLimits, readBody } from "./guarded_body.ts";

const REDIRECTS_MAX = 5;
/** Connections to one host at the same time. */
const CONNECTIONS_MAX = 8;
const HEADERS_MS = 30_000;
const IDLE_MS = 30_000;
const TOTAL_MS = 300_000;
const BYTES_MAX = 16 * 1024 * 1024;
/** A body that nobody wants is read to its end when it is at most this long. */
const LEFT_BYTES_MAX = 64 * 1024;

/** All addresses of a name. */
export type Lookup = (host: string) => Promise<readonly string[]>;

export interface GuardOptions {
  /** Whom to ask: `api.example.com` at its scheme's usual port, or `api.example.com:8443`. */
  readonly hosts: readonly string[];
  /** Also addresses of this machine, its network and its cloud. */
  readonly allowPrivate?: boolean;
  /** How names are resolved; as the machine does unless told. */
  readonly lookup?: Lookup;
  /** A certificate authority to trust besides the usual ones, PEM. */
  readonly ca?: string;
}

export interface GuardedRequest extends Partial<BodyLimits> {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** Longest wait for connection and headers, milliseconds; 30 seconds unless told. */
  readonly headersMs?: number;
  readonly signal: AbortSignal;
}

export interface GuardedResponse extends Disposable {
  readonly status: number;
  readonly headers: Headers;
  /** Of the answer, after redirects. */
  readonly url: URL;
  /** Unpacked; to be taken once. @throws MalformedRecordError, UnavailableError */
  readonly body: AsyncIterable<Uint8Array>;
  /** The whole body. @throws MalformedRecordError, UnavailableError */
  bytes(): Promise<Uint8Array>;
  text(): Promise<string>;
  /** Closes the connection of a body that nobody wants. */
  [Symbol.dispose](): void;
}

/** A connection that has become something else than HTTP. */
export interface Upgraded {
  readonly socket: Duplex;
  /** What came with the answer's headers already. */
  readonly head: Uint8Array;
  readonly headers: Headers;
}

type Answer =
  | { readonly kind: "response"; readonly message: IncomingMessage }
  | ({ readonly kind: "upgrade" } & Upgraded);

/** Asks hosts that are allowed, at addresses that are. Dispose of it to close its connections. */
export class Guard implements Disposable {
  readonly #hosts: ReadonlySet<string>;
  readonly #options: GuardOptions;
  readonly #lookup: Lookup;
  readonly #agents: { readonly "http:": http.Agent; readonly "https:": https.Agent };

  constructor(options: GuardOptions) {
    this.#options = options;
    this.#hosts = new Set(options.hosts.map((host) => host.toLowerCase()));
    this.#lookup = options.lookup ?? systemLookup;
    const pool = { keepAlive: true, maxSockets: CONNECTIONS_MAX, maxFreeSockets: 2 };
    this.#agents = { "http:": new http.Agent(pool), "https:": new https.Agent(pool) };
  }

  /**
   * The answer, whatever its status, after redirects among the allowed hosts. Another host is told nothing of the request's own
   * headers, and no body.
   *
   * @throws ConfigError when the host is not allowed, or is at an address that is not
   * @throws UnavailableError when it cannot be reached, does not answer in time, or redirects to where it may not
   */
  async fetch(url: URL | string, request: GuardedRequest): Promise<GuardedResponse> {
    let at = new URL(url);
    const problem = this.problem(at);
    if (problem !== null) throw new ConfigError({ where: showUrl(at), problem });
    let { method = "GET", headers = {} } = request;
    for (let redirects = 0;; redirects++) {
      const what = `${method} ${showUrl(at)}`;
      const answer = await this.#ask(at, { ...request, method, headers });
      if (answer.kind === "upgrade") {
        answer.socket.destroy();
        throw new UnavailableError(`${what}: answered with another protocol than HTTP`);
      }
      const { message } = answer;
      const status = message.statusCode!;
      const location = message.headers.location;
      if (![301, 302, 303, 307, 308].includes(status) || location === undefined) {
        return guardedResponse(message, { what, url: at, request });
      }
      leave(message);
      const next = this.#redirected(at, { location, what, method, status });
      if (redirects === REDIRECTS_MAX) {
        throw new UnavailableError(`${what}: redirects more than ${REDIRECTS_MAX} times`);
      }
      if (next.origin !== at.origin) headers = pick(headers, ["accept", "user-agent"]);
      at = next;
    }
  }

  /**
   * Asks to speak another protocol, such as `websocket`. Redirects are not followed.
   *
   * @throws ConfigError, UnavailableError as `fetch`, and when the answer is another
   */
  async upgrade(url: URL | string, request: GuardedRequest): Promise<Upgraded> {
    const at = new URL(url);
    const problem = this.problem(at);
    if (problem !== null) throw new ConfigError({ where: showUrl(at), problem });
    const answer = await this.#ask(at, { ...request, isUpgrade: true });
    if (answer.kind === "upgrade") return answer;
    const { statusCode } = answer.message;
    answer.message.destroy();
    throw new UnavailableError(`GET ${showUrl(at)}: answers ${statusCode}, and does not change protocols`);
  }

  /** What keeps the URL from being asked, its addresses aside; null when nothing does. */
  problem(url: URL): string | null {
    if (url.protocol !== "http:" && url.protocol !== "https:") return `${url.protocol} is neither http: nor https:`;
    if (url.username !== "" || url.password !== "") return "has a user or password in it: give them as auth";
    if (!this.#hosts.has(hostOf(url))) {
      return `${hostOf(url)} is not among the hosts that may be asked: add it to hosts`;
    }
    return null;
  }

  [Symbol.dispose](): void {
    for (const agent of Object.values(this.#agents)) agent.destroy();
  }

  #redirected(
    from: URL,
    { location, what, method, status }: {
      readonly location: string;
      readonly what: string;
      readonly method: string;
      readonly status: number;
    },
  ): URL {
    if (!URL.canParse(location, from)) throw new UnavailableError(`${what}: redirects to what is no URL`);
    const to = new URL(location, from);
    const refuse = (problem: string) => new UnavailableError(`${what}: redirects to ${showUrl(to)}: ${problem}`);
    const problem = this.problem(to);
    if (problem !== null) throw refuse(problem);
    if (from.protocol === "https:" && to.protocol === "http:") throw refuse("from https to http is not followed");
    if (method !== "GET" && method !== "HEAD" && (status < 307 || to.origin !== from.origin)) {
      throw refuse(`a ${method} is not sent to another place: change the URL`);
    }
    return to;
  }

  /** Addresses that may be connected to, all of the name's. @throws ConfigError when one of them may not */
  async #addresses(url: URL, signal: AbortSignal): Promise<readonly string[]> {
    const host = url.hostname.replace(/^\[|\]$/g, "");
    let addresses: readonly string[];
    try {
      addresses = isIP(host) !== 0 ? [host] : await unlessAborted(this.#lookup(host), signal);
    } catch (error) {
      signal.throwIfAborted();
      throw new UnavailableError(`${host} is not found in the DNS: ${(error as Error).message}`);
    }
    signal.throwIfAborted();
    if (addresses.length === 0) throw new UnavailableError(`${host} has no address in the DNS`);
    if (this.#options.allowPrivate) return addresses;
    for (const address of addresses) {
      const use = specialUse(address);
      if (use === null) continue;
      const named = address === host ? "is" : `is at ${address},`;
      throw new ConfigError({
        where: showUrl(url),
        problem: `${host} ${named} ${use}: if it is meant to be asked there, set allowPrivate: true`,
      });
    }
    return addresses;
  }

  async #ask(url: URL, request: GuardedRequest & { readonly isUpgrade?: boolean }): Promise<Answer> {
    const { method = "GET", headers = {}, body, signal, headersMs = HEADERS_MS, isUpgrade = false } = request;
    signal.throwIfAborted();
    const what = `${method} ${showUrl(url)}`;
    const addresses = await this.#addresses(url, signal);
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const protocol = url.protocol as "http:" | "https:";
    const sent = (protocol === "https:" ? https : http).request({
      protocol,
      hostname: url.hostname.replace(/^\[|\]$/g, ""),
      port: url.port === "" ? (protocol === "https:" ? 443 : 80) : Number(url.port),
      path: url.pathname + url.search,
      method,
      headers: {
        ...(isUpgrade ? {} : { "accept-encoding": "gzip" }),
        ...headers,
        ...(body === undefined ? {} : { "content-length": String(Buffer.byteLength(body)) }),
      },
      lookup: always(addresses),
      // A connection that becomes another protocol is nobody else's.
      ...(isUpgrade ? { agent: false } : { agent: this.#agents[protocol] }),
      ...(this.#options.ca === undefined ? {} : { ca: this.#options.ca }),
    } as https.RequestOptions);
    const fail = (error: unknown) => {
      reject(error);
      sent.destroy();
    };
    const onAbort = () => fail(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    const timer = setTimeout(
      () => fail(new UnavailableError(`${what}: no answer within ${headersMs / 1000} s`)),
      headersMs,
    );
    sent.on("error", (error) => reject(new UnavailableError(`${what}: ${error.message}`)));
    sent.on("response", (message) => resolve({ kind: "response", message }));
    sent.on("upgrade", (message, socket, head) => {
      resolve({ kind: "upgrade", socket, head, headers: headersOf(message) });
    });
    sent.end(body);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
    }
  }
}

function guardedResponse(
  message: IncomingMessage,
  { what, url, request }: { readonly what: string; readonly url: URL; readonly request: GuardedRequest },
): GuardedResponse {
  const { bytesMax = BYTES_MAX, idleMs = IDLE_MS, totalMs = TOTAL_MS, signal } = request;
  let isTaken = false;
  const body = {
    [Symbol.asyncIterator]: () => {
      isTaken = true;
      return readBody(message, { what, limits: { bytesMax, idleMs, totalMs }, signal });
    },
  };
  // A connection that breaks while nobody reads is told to whoever reads next.
  message.on("error", () => {});
  const bytes = async () => {
    const pieces: Uint8Array[] = [];
    for await (const piece of body) pieces.push(piece);
    return Buffer.concat(pieces);
  };
  return {
    status: message.statusCode!,
    headers: headersOf(message),
    url,
    body,
    bytes,
    text: async () => new TextDecoder().decode(await bytes()),
    [Symbol.dispose]: () => isTaken ? undefined : leave(message),
  };
}

/**
 * Leaves a body that nobody wants. A short one is read to its end, and its connection used again; without either the pool would
 * count it as in use for ever.
 */
function leave(message: IncomingMessage): void {
  const length = Number(message.headers["content-length"] ?? NaN);
  if (message.statusCode === 304 || length <= LEFT_BYTES_MAX) message.resume();
  else message.destroy();
}

function headersOf(message: IncomingMessage): Headers {
  const headers = new Headers();
  for (let at = 0; at < message.rawHeaders.length; at += 2) {
    headers.append(message.rawHeaders[at], message.rawHeaders[at + 1]);
  }
  return headers;
}

/** A lookup for the connection that knows one answer. */
function always(addresses: readonly string[]): LookupFunction {
  const found = addresses.map((address) => ({ address, family: isIP(address) }));
  return (_host, options, callback) => {
    if (options.all) callback(null, found);
    else callback(null, found[0].address, found[0].family);
  };
}

function systemLookup(host: string): Promise<string[]> {
  return new Promise((resolve, reject) =>
    dnsLookup(
      host,
      { all: true },
      (error, found) => error ? reject(error) : resolve(found.map(({ address }) => address)),
    )
  );
}

/** `host` or `host:port`, as `hosts` has it; a dot at the end of a name means nothing. */
export function hostOf(url: URL): string {
  const usual = url.port === "" || url.port === (url.protocol === "https:" ? "443" : "80");
  return url.hostname.replace(/\.$/, "") + (usual ? "" : `:${url.port}`);
}

/** A URL as it may be told: without user, password, query and fragment, where secrets are. */
export function showUrl(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`;
}

function pick(headers: Readonly<Record<string, string>>, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => names.includes(name.toLowerCase())));
}
