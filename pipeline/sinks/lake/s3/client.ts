/**
 * Requests to one bucket: signed, timed out, repeated where that can help.
 *
 * A try ends in one of four ways: an answer; a refusal that passes (5xx, 429, SlowDown) or one that does not; or nothing whole: no
 * connection, no answer in time, a body that stops or ends early. All that passes is tried again after a pause that doubles.
 *
 * Source of the signature: AWS Signature Version 4, made by aws4fetch. The body's SHA-256 is signed too, so a store takes nothing
 * that was damaged on its way, over plain HTTP either.
 *
 * @module
 */
import { AwsV4Signer } from "aws4fetch";
import { type Clock, systemClock } from "../../../clock.ts";
import { ConfigError, UnavailableError } from "../../../errors.ts";
import { baseUrl, S3_SETTINGS, type S3Options } from "./options.ts";
import { isPassing, isUncertain, Refusal, refusedForGood } from "./refusal.ts";

/** Tries of one request in all; then it is the caller's to wait. */
export const TRIES_MAX = 6;
const FIRST_DELAY_MS = 100;
const DELAY_MS_MAX = 5_000;
/** A store may ask for more patience than we would have, up to this. */
const RETRY_AFTER_MS_MAX = 20_000;

/** From the last byte sent to the answer's head. */
const ANSWER_MS_MAX = 20_000;
/** Between two pieces of a body. */
const IDLE_MS_MAX = 20_000;
/** Slower than this a connection counts as broken when it sends. */
const SENT_BYTES_PER_SECOND_MIN = 128 * 1024;
/** Bodies read whole into memory. */
const BODY_BYTES_MAX = 512 * 1024 * 1024;
/** Of a refusal. */
const REFUSAL_BYTES_MAX = 64 * 1024;

const EMPTY = new Uint8Array(0);

export interface S3Request {
  readonly method: "GET" | "PUT" | "POST" | "DELETE";
  /** Whole, the root included; empty for the bucket itself. */
  readonly key: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array<ArrayBuffer>;
  /** For what a store may take long to answer, milliseconds. */
  readonly answerMsMax?: number;
}

export interface Exchange<T> {
  /** Reads an answer of 2xx; may do so anew after a broken one. It may throw a Refusal that the body holds. */
  readonly read: (answer: Answer) => Promise<T>;
  /**
   * What a refusal means to this caller; undefined to have it sorted as any other. `uncertain` says that an earlier try ended without
   * a whole answer, so that the store may have done what was asked. Where it is false that may still be: fetch sends a request
   * again by itself when a connection closes under it.
   */
  readonly refused?: (refusal: Refusal, uncertain: boolean) => Promise<T | undefined> | T | undefined;
  readonly signal?: AbortSignal;
}

export interface Answer {
  readonly headers: Headers;
  /** Bytes to come as the head tells; null when it does not. */
  readonly bytes: number | null;
  /** The body, piece by piece, checked for its length. @throws BrokenAnswer */
  pieces(): AsyncIterable<Uint8Array<ArrayBuffer>>;
  /** The body in one piece; BODY_BYTES_MAX at most. */
  whole(): Promise<Uint8Array>;
}

/** An answer that did not come, or not whole. */
class BrokenAnswer extends Error {
  override readonly name = "BrokenAnswer";
}

export interface S3ClientOptions extends S3Options {
  readonly bucket: string;
  readonly clock?: Clock;
  /** A number in [0, 1), for the jitter. */
  readonly random?: () => number;
  /** Default 20,000 each. */
  readonly answerMsMax?: number;
  readonly idleMsMax?: number;
}

export class S3Client {
  readonly #options: S3ClientOptions;
  readonly #base: string;
  readonly #clock: Clock;
  /** aws4fetch keeps the day's signing key here. */
  readonly #signingKeys = new Map<string, ArrayBuffer>();

  constructor(options: S3ClientOptions) {
    this.#options = options;
    this.#base = baseUrl(options, options.bucket);
    this.#clock = options.clock ?? systemClock;
  }

  /** The body of a request's answer, whole; BODY_BYTES_MAX at most. */
  async send(request: S3Request, options: Omit<Exchange<Uint8Array>, "read"> = {}): Promise<Uint8Array> {
    return await this.exchange(request, { ...options, read: (answer) => answer.whole() });
  }

  /** @throws UnavailableError, ConfigError */
  async exchange<T>(request: S3Request, { read, refused, signal }: Exchange<T>): Promise<T> {
    let uncertain = false;
    for (let tries = 1;; tries++) {
      let failure: Refusal | BrokenAnswer;
      try {
        return await this.#once(request, read, signal);
      } catch (error) {
        if (signal?.aborted) throw signal.reason;
        if (!(error instanceof Refusal || error instanceof BrokenAnswer)) throw error;
        failure = error;
      }
      if (failure instanceof Refusal) {
        const meant = await refused?.(failure, uncertain);
        if (meant !== undefined) return meant;
        if (!isPassing(failure)) throw this.#forGood(request, failure);
      }
      uncertain ||= failure instanceof BrokenAnswer || isUncertain(failure);
      if (tries >= TRIES_MAX) throw this.#unavailable(request, failure);
      await this.#clock.sleep(this.#pauseMs(tries, failure), signal);
    }
  }

  #pauseMs(tries: number, failure: Refusal | BrokenAnswer): number {
    const own = Math.min(FIRST_DELAY_MS * 2 ** (tries - 1), DELAY_MS_MAX) *
      (0.5 + (this.#options.random ?? Math.random)() / 2);
    const asked = failure instanceof Refusal ? 1000 * Number(failure.headers.get("retry-after") ?? 0) : 0;
    return Math.max(own, Number.isFinite(asked) ? Math.min(asked, RETRY_AFTER_MS_MAX) : 0);
  }

  /** One try. Time-outs cover the head and every piece of the body, while `read` takes as long as it likes. */
  async #once<T>(request: S3Request, read: (answer: Answer) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const { answerMsMax = ANSWER_MS_MAX, idleMsMax = IDLE_MS_MAX } = this.#options;
    const sendingMs = 1000 * (request.body?.length ?? 0) / SENT_BYTES_PER_SECOND_MIN;
    const signed = await this.#sign(request);
    const timeout = new Timeout();
    const either = signal ? AbortSignal.any([signal, timeout.signal]) : timeout.signal;
    try {
      timeout.start((request.answerMsMax ?? answerMsMax) + sendingMs, "no answer");
      const response = await broken(fetch(signed.url, { ...signed, signal: either, redirect: "manual" }));
      timeout.stop();
      const answer = answerOf(response, timeout, request.answerMsMax ?? idleMsMax);
      if (!response.ok) {
        throw new Refusal(response.status, response.headers, await beginning(answer, REFUSAL_BYTES_MAX));
      }
      return await read(answer);
    } finally {
      timeout.stop();
      // Ends what is left of a body that nobody read to its end.
      timeout.abandon();
    }
  }

  async #sign({ method, key, query = {}, headers = {}, body = EMPTY }: S3Request) {
    const url = new URL(this.#base + key.split("/").map(encodeURIComponent).join("/"));
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    if (this.#signingKeys.size > 1) this.#signingKeys.clear();
    const { region, accessKeyId, secretAccessKey, sessionToken } = this.#options;
    const signer = new AwsV4Signer({
      method,
      url: url.href,
      headers: { ...headers, "x-amz-content-sha256": await sha256(body) },
      service: "s3",
      region,
      accessKeyId,
      secretAccessKey,
      sessionToken: sessionToken || undefined,
      cache: this.#signingKeys,
      datetime: new Date(this.#clock.now()).toISOString().replace(/[:-]|\.\d{3}/g, ""),
    });
    const signed = await signer.sign();
    // Not signed, as proxies change it; without it an answer may come compressed, and its length means nothing.
    signed.headers.set("accept-encoding", "identity");
    return {
      url: signed.url,
      method,
      headers: signed.headers,
      body: method === "PUT" || method === "POST" ? body : null,
    };
  }

  #doing({ method, key, query = {} }: S3Request): string {
    const names = Object.keys(query).filter((name) => query[name] === "");
    return `${method}${names.map((name) => ` ${name}`).join("")} s3://${this.#options.bucket}/${key}`;
  }

  #forGood(request: S3Request, refusal: Refusal): ConfigError {
    const { bucket } = this.#options;
    return refusedForGood(refusal, { doing: this.#doing(request), nowMs: this.#clock.now(), bucket });
  }

  #unavailable(request: S3Request, failure: Refusal | BrokenAnswer): UnavailableError {
    const { origin } = new URL(this.#base);
    return new UnavailableError(
      `${this.#doing(request)}: the store at ${origin} does not serve it after ${TRIES_MAX} tries: ${failure.message}`,
      { cause: failure },
    );
  }
}

/** Ends a try when nothing comes for too long. */
class Timeout {
  readonly #controller = new AbortController();
  readonly signal = this.#controller.signal;
  #timer: ReturnType<typeof setTimeout> | undefined;

  start(ms: number, what: string): void {
    this.stop();
    this.#timer = setTimeout(() => this.#controller.abort(new BrokenAnswer(`${what} within ${Math.ceil(ms)} ms`)), ms);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  abandon(): void {
    this.#controller.abort(new BrokenAnswer("not read to its end"));
  }
}

function answerOf(response: Response, timeout: Timeout, idleMsMax: number): Answer {
  const told = response.headers.get("content-length");
  const bytes = told === null || response.headers.has("content-encoding") ? null : Number(told);
  const answer: Answer = {
    headers: response.headers,
    bytes,
    async *pieces() {
      const reader = response.body?.getReader();
      let came = 0;
      for (; reader;) {
        timeout.start(idleMsMax, "no more of the answer");
        const { done, value } = await broken(reader.read());
        timeout.stop();
        if (done) break;
        came += value.length;
        yield value;
      }
      if (bytes !== null && came !== bytes) throw new BrokenAnswer(`${came} of ${bytes} bytes came`);
    },
    whole: () => wholeBody(answer),
  };
  return answer;
}

/** Text of a body's first bytes; what comes after them is not waited for. */
async function beginning(answer: Answer, bytesMax: number): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const piece of answer.pieces()) {
    text += decoder.decode(piece, { stream: true });
    if (text.length >= bytesMax) break;
  }
  return text;
}

async function wholeBody(answer: Answer): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of answer.pieces()) {
    bytes += piece.length;
    if (bytes > BODY_BYTES_MAX) throw new Error(`An object of over ${BODY_BYTES_MAX} bytes is not read into memory`);
    pieces.push(piece);
  }
  if (pieces.length === 1) return pieces[0];
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/** What fetch throws is a lost connection, whatever its words; but a missing permission is not. */
async function broken<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof BrokenAnswer) throw error;
    if (error instanceof Deno.errors.NotCapable) {
      throw new ConfigError({ where: S3_SETTINGS.endpoint, problem: error.message });
    }
    throw new BrokenAnswer(whyBroken(error), { cause: error });
  }
}

/** The innermost reason: the outer ones say only that something failed. The address is told by who tells of it. */
function whyBroken(error: unknown): string {
  const messages: string[] = [];
  for (let one = error; one instanceof Error && messages.length < 5; one = one.cause) messages.push(one.message);
  return messages.at(-1)?.replace(/^error sending request for url \(.*?\): /, "") ?? String(error);
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}
