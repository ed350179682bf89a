/**
 * API keys: their text, what is kept of them, and the check.
 *
 *     trk_3f9c21d07a5b4e18_mM0p...43 characters...
 *         id, 8 bytes hex  secret, 32 random bytes as base64url
 *
 * Of a key only SHA-256(salt ‖ secret) is kept. A slow password hash would add nothing: it makes guessing words slower, and a
 * secret of 256 random bits is not guessed at any speed. The salt keeps equal secrets from showing as equal.
 *
 * @module
 */
import type { Role } from "./roles.ts";

/** What is kept of a key. */
export interface StoredKey {
  /** Not secret: finds the key, and names it when it is removed. */
  readonly id: string;
  /** Whose it is, as the audit log shows it. */
  readonly name: string;
  readonly role: Role;
  /** 16 bytes, hex. */
  readonly salt: string;
  /** SHA-256 of salt and secret, hex. */
  readonly hash: string;
  /** ISO 8601. */
  readonly createdAt: string;
}

/** Where keys are looked up. */
export interface KeyStore {
  /**
   * All keys there are now; null while there has never been one, which lets everybody who reaches the API in.
   *
   * @throws UnavailableError when they cannot be read: nobody is let in then
   */
  keys(): Promise<readonly StoredKey[] | null>;
}

const TEXT = /^trk_([0-9a-f]{16})_([A-Za-z0-9_-]{43})$/;
const SECRET_BYTES = 32;

/** Makes a key. Its `text` is shown once and kept nowhere. */
export async function newKey(
  { name, role, nowMs }: { readonly name: string; readonly role: Role; readonly nowMs: number },
): Promise<{ readonly text: string; readonly stored: StoredKey }> {
  const id = crypto.getRandomValues(new Uint8Array(8)).toHex();
  const secret = crypto.getRandomValues(new Uint8Array(SECRET_BYTES)).toBase64({
    alphabet: "base64url",
    omitPadding: true,
  });
  const salt = crypto.getRandomValues(new Uint8Array(16)).toHex();
  const stored = { id, name, role, salt, hash: await hashOf(salt, secret), createdAt: new Date(nowMs).toISOString() };
  return { text: `trk_${id}_${secret}`, stored };
}

/** The id inside a key's text, null for what is no key. */
export function keyId(text: string): string | null {
  return TEXT.exec(text)?.[1] ?? null;
}

/**
 * The stored key that a text is, or null. A text with an unknown id costs the same hash and the same comparison as one with
 * a known id.
 */
export async function verifyKey(text: string, stored: readonly StoredKey[]): Promise<StoredKey | null> {
  const parts = TEXT.exec(text);
  if (!parts) return null;
  const [, id, secret] = parts;
  const found = stored.find((key) => key.id === id) ?? null;
  const hash = await hashOf(found?.salt ?? NO_SALT, secret);
  const isRight = equalInConstantTime(hash, found?.hash ?? NO_HASH);
  return isRight ? found : null;
}

/** Whether two texts are equal, in a time that depends on their lengths only. */
export function equalInConstantTime(a: string, b: string): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i);
  return difference === 0;
}

/** SHA-256 of a text, hex. */
export async function sha256(text: string): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))).toHex();
}

const NO_SALT = "00".repeat(16);
const NO_HASH = "zz".repeat(32); // no hash has this letter, so nothing is equal to it

function hashOf(salt: string, secret: string): Promise<string> {
  return sha256(salt + secret);
}
