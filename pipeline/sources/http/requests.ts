/**
 * One request to the API and what comes of it: a page, nothing new, or a reason to wait.
 *
 * @module
 */
import { MalformedRecordError, UnavailableError } from "../../errors.ts";
import type { Authorization } from "../../net/authorization.ts";
import { type Guard, type GuardedResponse, showUrl } from "../../net/guarded_fetch.ts";
import { retryAfterMs } from "../../net/retry_after.ts";
import type { HttpPollSpec, Parameter } from "./definition.ts";
import { jsonPath, withValueAt } from "./json_path.ts";
import type { KeptPages } from "./kept_pages.ts";
import { parseExact, recordsOf } from "./page_records.ts";
import type { Next, Page, Pager } from "./paging.ts";
import { limitResetMs } from "./pauses.ts";
import type { Validators } from "./position.ts";
import { hashOf } from "./seen.ts";

export type Outcome =
  | {
    readonly kind: "page";
    readonly records: readonly unknown[];
    readonly next: Next;
    readonly validators: Validators | null;
    /** How long to wait before the next request, milliseconds. */
    readonly pauseMs: number | null;
  }
  | { readonly kind: "unchanged"; readonly pauseMs: number | null }
  /** The other side is away or has too much to do. */
  | { readonly kind: "busy"; readonly reason: string; readonly pauseMs: number | null }
  /** It answers what makes no sense: somebody has to look, here or there. */
  | { readonly kind: "wrong"; readonly reason: string };

export interface RequestOptions {
  readonly page: Page;
  readonly since: string | number | null;
  /** Of the last round. */
  readonly validators: Validators | null;
  readonly nowMs: number;
  readonly signal: AbortSignal;
}

export interface RequesterOptions {
  readonly spec: HttpPollSpec;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly guard: Guard;
  readonly authorization: Authorization;
  readonly pager: Pager;
  readonly kept: KeptPages;
  readonly timeoutMs: number;
}

export class Requester {
  readonly #options: RequesterOptions;

  constructor(options: RequesterOptions) {
    this.#options = options;
  }

  /** @throws ConfigError when the host is at an address that may not be asked, or a secret is refused for good */
  async ask(request: RequestOptions): Promise<Outcome> {
    try {
      const outcome = await this.#once(request);
      // A token may have ended before its time.
      return outcome === "refused" ? await this.#once(request, true) as Outcome : outcome;
    } catch (error) {
      request.signal.throwIfAborted();
      if (error instanceof UnavailableError) return { kind: "busy", reason: error.message, pauseMs: null };
      if (error instanceof MalformedRecordError) return { kind: "wrong", reason: error.message };
      throw error;
    }
  }

  async #once(request: RequestOptions, isSecond = false): Promise<Outcome | "refused"> {
    const { spec, guard, authorization, timeoutMs, headers } = this.#options;
    const { url, body } = this.#address(request);
    const sent = new URL(url);
    // What is the API's own is told to the API alone.
    const isOwn = sent.origin === this.#options.url.origin;
    const authorized = isOwn ? { ...headers, ...await authorization.apply(sent, request.signal) } : {};
    const asked = request.page === null ? conditions(request.validators, url) : {};
    const method = spec.method ?? "GET";
    using response = await guard.fetch(sent, {
      method,
      headers: {
        accept: "application/json",
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...authorized,
        ...asked,
      },
      ...(body === undefined ? {} : { body }),
      headersMs: timeoutMs,
      ...(spec.bytesMax === undefined ? {} : { bytesMax: spec.bytesMax }),
      signal: request.signal,
    });
    const { status } = response;
    const what = `${method} ${showUrl(url)}`;
    const pauseMs = limitResetMs(response.headers, request.nowMs);
    if (status === 304 && Object.keys(asked).length > 0) return { kind: "unchanged", pauseMs };
    if (status >= 200 && status < 300) return await this.#page(response, { url, request, pauseMs, what });
    if (status === 401 && !isSecond && isOwn && authorization.refused()) return "refused";
    const reason = `${what} answers ${status}`;
    // GitHub says 403 for a limit that is reached.
    if (status === 403 && (pauseMs !== null || response.headers.has("retry-after"))) {
      return { kind: "busy", reason, pauseMs: retryAfterMs(response.headers, request.nowMs) ?? pauseMs };
    }
    if (status >= 500 || [408, 425, 429].includes(status)) {
      return { kind: "busy", reason, pauseMs: retryAfterMs(response.headers, request.nowMs) ?? pauseMs };
    }
    const hint = status === 401 || status === 403 ? ": is what auth names right, and allowed to read this?" : "";
    return { kind: "wrong", reason: reason + hint };
  }

  async #page(
    response: GuardedResponse,
    { url, request, pauseMs, what }: {
      readonly url: URL;
      readonly request: RequestOptions;
      readonly pauseMs: number | null;
      readonly what: string;
    },
  ): Promise<Outcome> {
    const { spec, pager, authorization, guard, kept } = this.#options;
    const text = await response.text();
    try {
      const body = text === "" && response.status === 204 ? null : parseExact(text);
      const records = body === null ? [] : recordsOf(body, spec.records);
      const next = pager.next(request.page, { headers: response.headers, body, count: records.length, url });
      const etag = response.headers.get("etag");
      const lastModified = response.headers.get("last-modified");
      return {
        kind: "page",
        records,
        next: {
          ...next,
          page: kept.keep(
            pager.isUrl && next.page !== null
              ? linked(new URL(String(next.page)), { from: url, guard, secretQuery: authorization.secretQuery })
              : next.page,
          ),
        },
        // Of several pages the first one does not tell whether the others changed; nor whether there are others now, where only
        // a header says so: an ETag is often made of the body alone.
        validators:
          request.page === null && next.isLast && spec.paging?.by !== "link" && (etag ?? lastModified) !== null &&
            kept.secretIn(`${etag} ${lastModified}`) === null
            ? { of: hashOf(url.href), etag, lastModified }
            : null,
        pauseMs,
      };
    } catch (error) {
      if (error instanceof MalformedRecordError) throw new MalformedRecordError(`${what}: ${error.message}`);
      throw error;
    }
  }

  /** Without what `auth` adds. */
  #address({ page, since }: RequestOptions): { url: URL; body?: string } {
    const { spec, pager, kept } = this.#options;
    if (pager.isUrl && page !== null) return { url: kept.url(page), ...this.#body(spec.body) };
    const url = new URL(this.#options.url);
    for (const [name, value] of Object.entries(spec.query ?? {})) url.searchParams.set(name, String(value));
    let { body } = spec;
    const set = (to: Parameter, value: string | number) => {
      if ("query" in to) url.searchParams.set(to.query, String(value));
      else body = withValueAt(body ?? {}, jsonPath(to.body), value);
    };
    if (since !== null && spec.since) set(spec.since.to, since);
    const parameter = pager.parameter(page);
    if (parameter) set(parameter.to, parameter.value);
    return { url, ...this.#body(body) };
  }

  #body(body: unknown): { body?: string } {
    return this.#options.spec.method === "POST" ? { body: JSON.stringify(body ?? {}) } : {};
  }
}

function conditions(validators: Validators | null, url: URL): Record<string, string> {
  if (validators === null || validators.of !== hashOf(url.href)) return {};
  const { etag, lastModified } = validators;
  return {
    ...(etag === null ? {} : { "if-none-match": etag }),
    ...(lastModified === null ? {} : { "if-modified-since": lastModified }),
  };
}

/** The next page's URL without what `auth` adds. @throws MalformedRecordError when it may not be asked */
function linked(
  url: URL,
  { from, guard, secretQuery }: { readonly from: URL; readonly guard: Guard; readonly secretQuery: readonly string[] },
): string {
  const isLess = from.protocol === "https:" && url.protocol === "http:";
  const problem = guard.problem(url) ?? (isLess ? "is http where this page is https" : null);
  if (problem !== null) throw new MalformedRecordError(`the next page, ${showUrl(url)}: ${problem}`);
  for (const name of secretQuery) url.searchParams.delete(name);
  return url.href;
}
