import { ConfigError, UnavailableError } from "../pipeline/errors.ts";
import type { Option } from "./call.ts";

const URL_DEFAULT = "http://127.0.0.1:8000";
/** Longer than the API takes for anything. */
const TIMEOUT_MS = 60_000;
const KEY_VARIABLE = "TAILRACE_API_KEY";

/** The option of every command that asks a running Tailrace. */
export const API_OPTION: Option = {
  flag: "api",
  placeholder: "URL",
  help: `the running Tailrace to ask (TAILRACE_API, default ${URL_DEFAULT})`,
};

/** What to say about the key in `--help`. */
export const API_KEY_NOTE =
  `${KEY_VARIABLE}: the key, where the API asks for one (no option, as command lines are seen by others)`;

interface ProblemJson {
  readonly title?: string;
  readonly detail?: string;
  readonly errors?: readonly { readonly where: string; readonly problem: string }[];
}

/** Asks the API of a running Tailrace. */
export class ApiClient {
  readonly url: string;
  readonly #key: string | undefined;
  readonly #signal: AbortSignal;

  /** @throws ConfigError when the address is none */
  constructor({ url, key, signal }: { readonly url?: string; readonly key?: string; readonly signal: AbortSignal }) {
    const given = url ?? Deno.env.get("TAILRACE_API") ?? URL_DEFAULT;
    const parsed = URL.parse(given);
    if (!parsed || !["http:", "https:"].includes(parsed.protocol)) {
      throw new ConfigError({ where: "--api (TAILRACE_API)", problem: `must be an http:// or https:// address` });
    }
    this.url = parsed.href.replace(/\/+$/, "");
    this.#key = key ?? (Deno.env.get(KEY_VARIABLE) || undefined);
    this.#signal = signal;
  }

  /** @throws as `post` */
  async get<T>(path: string): Promise<T> {
    return await this.#ask(path, {});
  }

  /**
   * @throws ConfigError for what the caller has to change: a parameter, the key
   * @throws UnavailableError when nothing answers, or what answers is not ready
   */
  async post<T>(path: string, body: unknown): Promise<T> {
    const headers = { "content-type": "application/json" };
    return await this.#ask(path, { method: "POST", headers, body: JSON.stringify(body) });
  }

  /** @throws as `post` */
  async put<T>(path: string, body: unknown): Promise<T> {
    const headers = { "content-type": "application/json" };
    return await this.#ask(path, { method: "PUT", headers, body: JSON.stringify(body) });
  }

  /** @throws as `post` */
  async delete<T>(path: string): Promise<T> {
    return await this.#ask(path, { method: "DELETE" });
  }

  /**
   * Asks for what is no JSON, or large: resolves when the answer begins. Without a body it is a GET.
   *
   * @throws as `post`
   */
  async open(path: string, { body, accept }: { readonly body?: unknown; readonly accept: string }): Promise<Response> {
    let response: Response;
    try {
      response = await fetch(this.url + path, {
        method: body === undefined ? "GET" : "POST",
        headers: {
          "content-type": "application/json",
          accept: `${accept}, application/problem+json`,
          ...this.#authorization(),
        },
        body: JSON.stringify(body),
        signal: this.#signal,
      });
    } catch (error) {
      if (this.#signal.aborted) throw error;
      throw this.#unanswered((error as Error).message);
    }
    if (!response.ok) throw this.#refusal(response, await response.json().catch(() => ({})));
    return response;
  }

  #authorization(): Record<string, string> {
    return this.#key ? { authorization: `Bearer ${this.#key}` } : {};
  }

  #unanswered(why: string): UnavailableError {
    return new UnavailableError(
      `No Tailrace answers at ${this.url}: start one (deno task dev), or name another with --api URL. ${why}`,
    );
  }

  async #ask<T>(path: string, init: RequestInit): Promise<T> {
    const timeout = new AbortController();
    const timer = setTimeout(() => timeout.abort(), TIMEOUT_MS);
    try {
      const response = await fetch(this.url + path, {
        ...init,
        headers: {
          accept: "application/json, application/problem+json",
          ...init.headers,
          ...this.#authorization(),
        },
        signal: AbortSignal.any([this.#signal, timeout.signal]),
      });
      const answer = await response.json().catch(() => null);
      if (!response.ok || answer === null) throw this.#refusal(response, answer ?? {});
      return answer;
    } catch (error) {
      if (this.#signal.aborted || error instanceof ConfigError || error instanceof UnavailableError) throw error;
      const why = timeout.signal.aborted ? `no answer in ${TIMEOUT_MS / 1000} s` : (error as Error).message;
      throw this.#unanswered(why);
    } finally {
      clearTimeout(timer);
    }
  }

  #refusal({ status }: Response, { title, detail, errors = [] }: ProblemJson): Error {
    if (title === undefined) return new UnavailableError(`${this.url} answers ${status}, and is no Tailrace`);
    const said = detail ? `${title}: ${detail}` : title;
    if (status === 401) return new ConfigError({ where: KEY_VARIABLE, problem: said });
    if (errors.length > 0) {
      return new ConfigError(errors.map(({ where, problem }) => ({ where: where.replace(/^\w+\./, ""), problem })));
    }
    if (status >= 500 || status === 409) return new UnavailableError(said);
    return new ConfigError({ where: this.url, problem: said });
  }
}
