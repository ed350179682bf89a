import type { Clock } from "../../pipeline/clock.ts";
import { sha256 } from "./keys.ts";

/** A session ends this long after its sign-in. */
export const SESSION_MS = 12 * 60 * 60 * 1000;
/** Open sessions; one more ends the oldest. */
export const SESSIONS_MAX = 1_000;

/**
 * Browsers that have signed in. Kept in memory only, so a restart signs everybody out; a session's id is 256 random bits, and
 * only its hash is kept, so that looking it up tells nothing about it by the time it takes.
 */
export class Sessions {
  readonly #clock: Clock;
  /** Hash of the session's id to whose it is, oldest first. */
  readonly #open = new Map<string, { readonly keyId: string; readonly endsAtMs: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Starts a session for a key and returns its id, for the cookie. */
  async start(keyId: string): Promise<string> {
    const id = crypto.getRandomValues(new Uint8Array(32)).toBase64({ alphabet: "base64url", omitPadding: true });
    if (this.#open.size >= SESSIONS_MAX) this.#open.delete(this.#open.keys().next().value!);
    this.#open.set(await sha256(id), { keyId, endsAtMs: this.#clock.now() + SESSION_MS });
    return id;
  }

  /** The key of a session, null for one that has ended or never was. */
  async keyOf(id: string): Promise<string | null> {
    const hash = await sha256(id);
    const session = this.#open.get(hash);
    if (!session) return null;
    if (this.#clock.now() < session.endsAtMs) return session.keyId;
    this.#open.delete(hash);
    return null;
  }

  async end(id: string): Promise<void> {
    this.#open.delete(await sha256(id));
  }

  get size(): number {
    return this.#open.size;
  }
}
