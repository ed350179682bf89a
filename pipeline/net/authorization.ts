/**
 * How a request says on whose behalf it comes. What is secret is named, never written down.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { type Clock, systemClock } from "../clock.ts";
import { ConfigError, type Fault, UnavailableError } from "../errors.ts";
import { isSecret, type SecretReference, type Secrets } from "../secrets.ts";
import { Guard, type GuardOptions, hostOf, showUrl } from "./guarded_fetch.ts";
import { headerText, isToken } from "./request_headers.ts";

export type Auth =
  | { readonly bearer: SecretReference }
  | { readonly basic: { readonly user: string | SecretReference; readonly password: SecretReference } }
  | { readonly header: string; readonly value: SecretReference }
  | { readonly query: string; readonly value: SecretReference }
  /** OAuth 2.0 client credentials (RFC 6749, section 4.4): a token is fetched, and renewed before it ends. */
  | {
    readonly oauth2: {
      readonly tokenUrl: string;
      readonly clientId: string | SecretReference;
      readonly clientSecret: SecretReference;
      readonly scope?: string;
    };
  };

/** Adds to requests what they need. */
export interface Authorization extends Disposable {
  /** Query parameters that are secret: to be taken out of URLs before they are kept or told. */
  readonly secretQuery: readonly string[];
  /** Headers to add; sets query parameters in `url`. @throws ConfigError, UnavailableError */
  apply(url: URL, signal: AbortSignal): Promise<Record<string, string>>;
  /** Told that the other side did not take it: true when another try may go better. */
  refused(): boolean;
}

/** A token is fetched anew so long before its end, milliseconds. */
const RENEW_BEFORE_MS = 60_000;
/** Of a token whose end is not told, milliseconds. */
const TOKEN_MS = 300_000;
const TOKEN_BYTES_MAX = 64 * 1024;

/** What is wrong with an `auth`, `where` being its own name. */
export function authFaults(auth: Auth | undefined, where: string): Fault[] {
  if (auth === undefined) return [];
  const fault = (part: string, problem: string): Fault[] => [{ where: `${where}${part}`, problem }];
  const secretAt = (value: unknown, part: string) =>
    isSecret(value) ? [] : fault(part, `is not secret(".."): what is secret is named, never written down`);
  if ("bearer" in auth) return secretAt(auth.bearer, ".bearer");
  if ("basic" in auth) return secretAt(auth.basic?.password, ".basic.password");
  if ("header" in auth) {
    return [
      ...(isToken(auth.header) ? [] : fault(".header", `${auth.header} is no name of a header`)),
      ...secretAt(auth.value, ".value"),
    ];
  }
  if ("query" in auth) return secretAt(auth.value, ".value");
  if ("oauth2" in auth) {
    const { tokenUrl, clientSecret } = auth.oauth2 ?? {};
    return [
      ...(URL.canParse(tokenUrl) && /^https?:/.test(tokenUrl)
        ? []
        : fault(".oauth2.tokenUrl", `${tokenUrl} is no URL`)),
      ...secretAt(clientSecret, ".oauth2.clientSecret"),
    ];
  }
  return fault("", "is none of bearer, basic, header, query and oauth2");
}

/** @throws ConfigError when a secret is not set, or is none that a header can have */
export function createAuthorization(
  auth: Auth | undefined,
  { secrets, guard, clock = systemClock }: {
    readonly secrets: Secrets;
    /** How the place that gives tokens is asked; its host is added. */
    readonly guard: Omit<GuardOptions, "hosts">;
    readonly clock?: Clock;
  },
): Authorization {
  const textOf = (value: string | SecretReference) => typeof value === "string" ? value : secrets.get(value);
  const fixed = (headers: Record<string, string>, query: Record<string, string> = {}): Authorization => ({
    secretQuery: Object.keys(query),
    apply: (url) => {
      for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
      return Promise.resolve(headers);
    },
    refused: () => false,
    [Symbol.dispose]: () => {},
  });
  if (auth === undefined) return fixed({});
  if ("bearer" in auth) return fixed({ authorization: `Bearer ${headerText(auth.bearer, secrets)}` });
  if ("basic" in auth) return fixed({ authorization: basic(textOf(auth.basic.user), textOf(auth.basic.password)) });
  if ("header" in auth) return fixed({ [auth.header.toLowerCase()]: headerText(auth.value, secrets) });
  if ("query" in auth) return fixed({}, { [auth.query]: textOf(auth.value) });
  const { tokenUrl, clientId, clientSecret, scope } = auth.oauth2;
  return new Tokens(
    new URL(tokenUrl),
    { credentials: basic(formEncoded(textOf(clientId)), formEncoded(textOf(clientSecret))), scope, guard, clock },
  );
}

/** Tokens of OAuth 2.0, one at a time. */
class Tokens implements Authorization {
  readonly secretQuery = [];
  readonly #url: URL;
  readonly #guard: Guard;
  readonly #credentials: string;
  readonly #scope: string | undefined;
  readonly #clock: Clock;
  #token: { readonly text: string; readonly untilMs: number } | null = null;
  #isFresh = false;

  constructor(
    url: URL,
    { credentials, scope, guard, clock }: {
      readonly credentials: string;
      readonly scope: string | undefined;
      readonly guard: Omit<GuardOptions, "hosts">;
      readonly clock: Clock;
    },
  ) {
    this.#url = url;
    this.#guard = new Guard({ ...guard, hosts: [hostOf(url)] });
    this.#credentials = credentials;
    this.#scope = scope;
    this.#clock = clock;
  }

  async apply(_url: URL, signal: AbortSignal): Promise<Record<string, string>> {
    this.#isFresh = false;
    if (this.#token === null || this.#clock.monotonic() >= this.#token.untilMs) {
      this.#token = await this.#fetch(signal);
      this.#isFresh = true;
    }
    return { authorization: `Bearer ${this.#token.text}` };
  }

  /** A token may end before its time; a fresh one that is refused will not get better. */
  refused(): boolean {
    this.#token = null;
    return !this.#isFresh;
  }

  [Symbol.dispose](): void {
    this.#guard[Symbol.dispose]();
  }

  async #fetch(signal: AbortSignal): Promise<{ text: string; untilMs: number }> {
    const what = `POST ${showUrl(this.#url)}`;
    const form = new URLSearchParams({
      grant_type: "client_credentials",
      ...(this.#scope ? { scope: this.#scope } : {}),
    });
    using response = await this.#guard.fetch(this.#url, {
      method: "POST",
      headers: {
        authorization: this.#credentials,
        accept: "application/json",
        "content-type": "application/x-www-form-urlencoded",
      },
      body: form.toString(),
      bytesMax: TOKEN_BYTES_MAX,
      signal,
    });
    const { status } = response;
    if (status === 400 || status === 401 || status === 403) {
      throw new ConfigError({
        where: "auth.oauth2",
        problem: `${what} answers ${status}: are client id and secret right?`,
      });
    }
    if (status !== 200) throw new UnavailableError(`${what} answers ${status} instead of giving a token`);
    const token = await response.text().then(JSON.parse).catch(() => null) as Record<string, unknown> | null;
    const { access_token: text, expires_in: seconds } = token ?? {};
    if (typeof text !== "string" || !/^[\x21-\x7e]+$/.test(text)) {
      throw new UnavailableError(`${what}: there is no access_token in the answer`);
    }
    const ms = typeof seconds === "number" && seconds > 0 ? seconds * 1000 : TOKEN_MS;
    // A token that lives shorter than that is used for half its life.
    return { text, untilMs: this.#clock.monotonic() + Math.max(ms - RENEW_BEFORE_MS, ms / 2) };
  }
}

function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
}

/** As RFC 6749, section 2.3.1 wants it before it goes into Basic. */
function formEncoded(text: string): string {
  return new URLSearchParams([["", text]]).toString().slice(1);
}
