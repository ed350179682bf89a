/**
 * Saying who one is without telling the password: SCRAM-SHA-256.
 *
 *     client  n,,n=,r=<nonce>
 *     server  r=<nonce><more>,s=<salt>,i=<rounds>
 *     client  c=biws,r=<nonce><more>,p=<proof>
 *     server  v=<signature>
 *
 * Source: RFC 5802 and 7677; PostgreSQL takes the user from the startup packet.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";

/** A server that asks for more rounds would keep this process busy. */
const ROUNDS_MAX = 1_000_000;
const NONCE_BYTES = 18;

const text = new TextEncoder();

export interface ScramClient {
  readonly first: string;
  /** The answer to the server's challenge. @throws ConfigError when it is none */
  answer(challenge: string): Promise<string>;
  /** @throws ConfigError when the server does not know the password either: it is another than it says */
  verify(last: string): void;
}

export function createScramClient(password: string): ScramClient {
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES)).toBase64();
  const bare = `n=,r=${nonce}`;
  let signature = "";
  const refuse = (problem: string) => new ConfigError({ where: "PostgreSQL's authentication", problem });
  return {
    first: `n,,${bare}`,
    async answer(challenge) {
      const match = /^r=([!-+\--~]+),s=([A-Za-z0-9+/=]+),i=(\d{1,9})/.exec(challenge);
      if (!match || !match[1].startsWith(nonce) || match[1] === nonce) throw refuse("the server's challenge is none");
      const rounds = Number(match[3]);
      if (rounds < 1 || rounds > ROUNDS_MAX) throw refuse(`the server asks for ${rounds} rounds of hashing`);
      const base = await crypto.subtle.importKey("raw", text.encode(password.normalize("NFKC")), "PBKDF2", false, [
        "deriveBits",
      ]);
      const salt = Uint8Array.fromBase64(match[2]);
      const salted = new Uint8Array(
        await crypto.subtle.deriveBits({ name: "PBKDF2", hash: "SHA-256", salt, iterations: rounds }, base, 256),
      );
      const unproven = `c=biws,r=${match[1]}`;
      const message = `${bare},${challenge},${unproven}`;
      const clientKey = await hmac(salted, "Client Key");
      const stored = new Uint8Array(await crypto.subtle.digest("SHA-256", clientKey));
      const mask = await hmac(stored, message);
      signature = (await hmac(await hmac(salted, "Server Key"), message)).toBase64();
      return `${unproven},p=${clientKey.map((byte, i) => byte ^ mask[i]).toBase64()}`;
    },
    verify(last) {
      if (signature === "" || last !== `v=${signature}`) throw refuse("the server cannot prove that it knows the user");
    },
  };
}

async function hmac(key: Uint8Array<ArrayBuffer>, message: string): Promise<Uint8Array<ArrayBuffer>> {
  const imported = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", imported, text.encode(message)));
}
