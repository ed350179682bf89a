/**
 * How a receiver knows who sent a request, and when:
 *
 *     X-Tailrace-Timestamp: 1795210000                 seconds since the epoch
 *     X-Tailrace-Signature: sha256=9f86d081884c7d65..  HMAC-SHA256 of `<timestamp>.<body>`, hexadecimal
 *
 * @module
 */
const text = new TextEncoder();

/** Signs bodies with one key. */
export class Signer {
  readonly #key: Promise<CryptoKey>;

  constructor(secret: string) {
    this.#key = crypto.subtle.importKey("raw", text.encode(secret), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  }

  async headers(body: Uint8Array, nowMs: number): Promise<Record<string, string>> {
    const timestamp = String(Math.floor(nowMs / 1000));
    const before = text.encode(`${timestamp}.`);
    const signed = new Uint8Array(before.length + body.length);
    signed.set(before);
    signed.set(body, before.length);
    const signature = new Uint8Array(await crypto.subtle.sign("HMAC", await this.#key, signed));
    return { "x-tailrace-timestamp": timestamp, "x-tailrace-signature": `sha256=${signature.toHex()}` };
  }
}
