import type { Context } from "hono";
import type { Clock } from "../../pipeline/clock.ts";
import type { AuditLog } from "./audit.ts";
import { Failures } from "./failures.ts";
import { keyId, type KeyStore, type StoredKey, verifyKey } from "./keys.ts";
import type { Role } from "./roles.ts";
import { Sessions } from "./sessions.ts";

declare module "hono" {
  interface ContextVariableMap {
    /** Who asks; set before any route runs. */
    caller: Caller;
  }
}

/** Whoever made a request. */
export interface Caller {
  /** The key's name; `local` where no keys are set. */
  readonly name: string;
  /** Null without a key, or with one that is not known. */
  readonly role: Role | null;
  /** Why there is no role although a key was given. */
  readonly refused: { readonly why: "unknown key" | "ended session" } | {
    readonly why: "too many failures";
    readonly waitSeconds: number;
  } | null;
}

/** A setting as `/v1/config` shows it. */
export interface SettingShown {
  readonly name: string;
  readonly variable: string;
  /** Never a secret. */
  readonly value: string;
  readonly origin: "default" | "environment" | "file" | "flag";
}

/** What guards an application. */
export interface SecurityOptions {
  /** Absent: nobody needs a key. */
  readonly keys?: KeyStore;
  /** What somebody without a key may do while there are no keys. */
  readonly anonymous?: Role;
  /** Where the actions of operators and admins are noted; absent, they are not. */
  readonly audit?: AuditLog;
  /** Every setting, for `/v1/config`. */
  readonly settings?: () => readonly SettingShown[];
}

export const SESSION_COOKIE = "tailrace_session";

/** Tells who a request comes from: by bearer key, or by the cookie of a browser that has signed in. */
export class Gatekeeper {
  readonly #keys: KeyStore | null;
  readonly #anonymous: Role;
  readonly #failures: Failures;
  readonly #sessions: Sessions;

  constructor({ keys, anonymous = "admin" }: SecurityOptions, clock: Clock) {
    this.#keys = keys ?? null;
    this.#anonymous = anonymous;
    this.#failures = new Failures(clock);
    this.#sessions = new Sessions(clock);
  }

  /** Whether keys are set at all. */
  async needsKeys(): Promise<boolean> {
    return await this.#stored() !== null;
  }

  /** @throws UnavailableError when the keys cannot be read */
  async callerOf(c: Context): Promise<Caller> {
    const stored = await this.#stored();
    if (stored === null) return { name: "local", role: this.#anonymous, refused: null };
    const authorization = c.req.header("authorization");
    // Of another scheme it is a wrong key like any other.
    if (authorization !== undefined) {
      return await this.tryKey(authorization.replace(/^Bearer +/i, ""), clientAddress(c));
    }
    const session = sessionOf(c);
    if (session === null) return { name: "nobody", role: null, refused: null };
    const id = await this.#sessions.keyOf(session);
    const key = id === null ? undefined : stored.find((key) => key.id === id);
    return key ? callerFor(key) : { name: "nobody", role: null, refused: { why: "ended session" } };
  }

  /** Who a key's text is; counts it when it is nobody. `address` is the client's. */
  async tryKey(text: string, address: string): Promise<Caller> {
    const stored = await this.#stored() ?? [];
    const id = keyId(text);
    const source = stored.some((key) => key.id === id) ? `${address} ${id}` : address;
    const waitSeconds = this.#failures.waitSeconds(source);
    if (waitSeconds > 0) return { name: "nobody", role: null, refused: { why: "too many failures", waitSeconds } };
    const key = await verifyKey(text, stored);
    if (key) return callerFor(key);
    this.#failures.add(source);
    return { name: "nobody", role: null, refused: { why: "unknown key" } };
  }

  /** Starts a session for a key's text; the session's id, or why there is none. */
  async signIn(text: string, address: string): Promise<{ readonly session: string | null; readonly caller: Caller }> {
    const caller = await this.tryKey(text, address);
    return { session: caller.role === null ? null : await this.#sessions.start(keyId(text)!), caller };
  }

  async signOut(c: Context): Promise<void> {
    const session = sessionOf(c);
    if (session !== null) await this.#sessions.end(session);
  }

  async #stored(): Promise<readonly StoredKey[] | null> {
    return this.#keys === null ? null : await this.#keys.keys();
  }
}

function callerFor({ name, role }: StoredKey): Caller {
  return { name, role, refused: null };
}

/** The id in the session's cookie. */
function sessionOf(c: Context): string | null {
  const cookies = c.req.header("cookie") ?? "";
  return new RegExp(`(?:^|; *)${SESSION_COOKIE}=([A-Za-z0-9_-]{43})(?:;|$)`).exec(cookies)?.[1] ?? null;
}

/** The address a request came from, as the server tells it; behind a proxy that is the proxy's. */
export function clientAddress(c: Context): string {
  const { remoteAddr } = (c.env ?? {}) as { readonly remoteAddr?: { readonly hostname?: string } };
  return remoteAddr?.hostname ?? "unknown";
}
