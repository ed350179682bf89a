/**
 * SASL over the Kafka protocol (SaslHandshake 17, SaslAuthenticate 36): PLAIN (RFC 4616) and SCRAM (RFC 5802, 7677).
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import { ask, type BrokerConnection } from "./connection.ts";

export interface SaslOptions {
  readonly mechanism: "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512";
  readonly username: string;
  readonly password: string;
}

/** A server may not make a client hash for minutes. */
const SCRAM_ITERATIONS_MAX = 1_000_000;

const text = new TextEncoder();

/** Authenticates an open connection. @throws ConfigError when the broker refuses mechanism or credentials */
export async function authenticate(connection: BrokerConnection, options: SaslOptions): Promise<void> {
  await ask(
    connection,
    { apiKey: 17, version: 1, body: (writer) => writer.string(options.mechanism) },
    (reader) => {
      if (reader.int16() !== 0) {
        const offered = Array.from({ length: reader.arrayLength() }, () => reader.string());
        throw refuse(`the broker does not offer ${options.mechanism}; it offers ${offered.join(", ") || "none"}`);
      }
    },
  );
  if (options.mechanism === "PLAIN") {
    await exchange(connection, text.encode(`\0${options.username}\0${options.password}`));
  } else {
    await scram(connection, options);
  }
}

async function exchange(connection: BrokerConnection, message: Uint8Array): Promise<Uint8Array> {
  return await ask(
    connection,
    { apiKey: 36, version: 0, body: (writer) => writer.byteField(message) },
    (reader) => {
      const code = reader.int16();
      const reason = reader.nullableString();
      if (code !== 0) throw refuse(`the broker refused the credentials (${reason ?? `error ${code}`})`);
      return reader.bytes().slice();
    },
  );
}

async function scram(connection: BrokerConnection, options: SaslOptions): Promise<void> {
  const hash = options.mechanism === "SCRAM-SHA-256" ? "SHA-256" : "SHA-512";
  const nonce = toBase64(crypto.getRandomValues(new Uint8Array(24)));
  const name = options.username.replaceAll("=", "=3D").replaceAll(",", "=2C");
  const first = `n=${name},r=${nonce}`;
  const serverFirst = new TextDecoder().decode(await exchange(connection, text.encode(`n,,${first}`)));
  const server = attributes(serverFirst);
  const iterations = Number(server.i);
  const salt = fromBase64(server.s ?? "");
  if (!server.r?.startsWith(nonce) || !salt || !(iterations >= 1 && iterations <= SCRAM_ITERATIONS_MAX)) {
    throw refuse("the broker's SCRAM challenge makes no sense");
  }
  const password = await crypto.subtle.importKey("raw", text.encode(options.password), "PBKDF2", false, ["deriveBits"]);
  const bits = hash === "SHA-256" ? 256 : 512;
  const salted = await crypto.subtle.deriveBits(
    { name: "PBKDF2", hash, salt, iterations },
    password,
    bits,
  );
  const clientKey = await hmac(hash, salted, "Client Key");
  const storedKey = await crypto.subtle.digest(hash, clientKey);
  const withoutProof = `c=biws,r=${server.r}`;
  const signed = `${first},${serverFirst},${withoutProof}`;
  const signature = await hmac(hash, storedKey, signed);
  const proof = clientKey.map((byte, i) => byte ^ signature[i]);
  const answer = await exchange(connection, text.encode(`${withoutProof},p=${toBase64(proof)}`));
  const expected = toBase64(await hmac(hash, await hmac(hash, salted, "Server Key"), signed));
  if (attributes(new TextDecoder().decode(answer)).v !== expected) {
    throw refuse("the broker could not prove that it knows the password");
  }
}

async function hmac(hash: string, key: BufferSource, message: string): Promise<Uint8Array<ArrayBuffer>> {
  const imported = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", imported, text.encode(message)));
}

function attributes(message: string): Record<string, string | undefined> {
  return Object.fromEntries(message.split(",").map((part) => [part.slice(0, 1), part.slice(2)]));
}

function toBase64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

/** Null for an empty text and for one that is not base64. */
function fromBase64(encoded: string): Uint8Array<ArrayBuffer> | null {
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(encoded) || encoded === "") return null;
  return Uint8Array.from(atob(encoded), (character) => character.charCodeAt(0));
}

function refuse(problem: string): ConfigError {
  return new ConfigError({ where: "KAFKA_SASL", problem });
}
