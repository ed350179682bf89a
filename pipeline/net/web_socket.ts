/**
 * A WebSocket client (RFC 6455) over guarded connections: the platform's own resolves names itself and cannot be told where not to
 * connect.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { Buffer } from "node:buffer";
import { UnavailableError } from "../errors.ts";
import { type Guard, showUrl } from "./guarded_fetch.ts";
import { FrameReader, OPCODES, writeFrame } from "./web_socket_frames.ts";

/** What section 1.3 has a server add to the key before it hashes it. */
const MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

export interface WebSocketConnectOptions {
  readonly headers: Readonly<Record<string, string>>;
  /** Of one message. */
  readonly bytesMax: number;
  /** A connection on which nothing came for so long is ended, milliseconds. */
  readonly silenceMs: number;
  readonly signal: AbortSignal;
}

export interface Connected extends Disposable {
  /** Sends a text. */
  send(text: string): void;
  ping(): void;
  /** Messages as they come, texts and binary ones alike; ends when the server closes. Reads no faster than they are taken. */
  readonly messages: AsyncIterable<Uint8Array>;
}

/** @throws ConfigError, UnavailableError as `Guard.upgrade`, and when the server does not speak the protocol */
export async function connectWebSocket(
  url: URL,
  { guard, headers, bytesMax, silenceMs, signal }: WebSocketConnectOptions & { readonly guard: Guard },
): Promise<Connected> {
  const key = Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString("base64");
  const { socket, head, headers: answered } = await guard.upgrade(url, {
    headers: {
      ...headers,
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-key": key,
      "sec-websocket-version": "13",
    },
    signal,
  });
  const what = `WebSocket ${showUrl(url)}`;
  let failure: Error | null = null;
  const end = (error: Error) => {
    failure ??= error;
    socket.destroy();
  };
  socket.on("error", (error) => failure ??= new UnavailableError(`${what}: ${error.message}`));
  if (answered.get("sec-websocket-accept") !== createHash("sha1").update(key + MAGIC).digest("base64")) {
    socket.destroy();
    throw new UnavailableError(`${what}: the server does not speak the protocol`);
  }
  const onAbort = () => end(signal.reason instanceof Error ? signal.reason : new Error(String(signal.reason)));
  signal.addEventListener("abort", onAbort, { once: true });
  const silent = () => end(new UnavailableError(`${what}: nothing came for ${silenceMs / 1000} s`));
  let timer = setTimeout(silent, silenceMs);
  const close = () => {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
    socket.destroy();
  };
  const write = (opcode: number, payload: Uint8Array) => {
    if (!socket.destroyed) socket.write(writeFrame(opcode, payload));
  };

  async function* messages(): AsyncGenerator<Uint8Array> {
    const frames = new FrameReader({ bytesMax });
    let parts: Uint8Array[] = [];
    let bytes = 0;
    const pieces = async function* () {
      if (head.length > 0) yield new Uint8Array(head);
      for await (const piece of socket) yield new Uint8Array(piece as Uint8Array);
    };
    try {
      for await (const piece of pieces()) {
        clearTimeout(timer);
        for (const { opcode, isFinal, payload } of frames.take(piece)) {
          if (opcode === OPCODES.ping) write(OPCODES.pong, payload);
          else if (opcode === OPCODES.close) {
            // The same code goes back, and that is the end.
            write(OPCODES.close, payload.subarray(0, 2));
            return;
          } else if (opcode <= OPCODES.binary) {
            bytes += payload.length;
            if (bytes > bytesMax) throw new UnavailableError(`${what}: a message is longer than ${bytesMax} bytes`);
            parts.push(payload);
            if (!isFinal) continue;
            yield Buffer.concat(parts);
            parts = [];
            bytes = 0;
          }
        }
        if (failure) throw failure;
        timer = setTimeout(silent, silenceMs);
      }
      if (failure) throw failure;
    } catch (error) {
      signal.throwIfAborted();
      throw failure ??
        (error instanceof UnavailableError ? error : new UnavailableError(`${what}: ${(error as Error).message}`));
    } finally {
      close();
    }
  }

  return {
    send: (text) => write(OPCODES.text, new TextEncoder().encode(text)),
    ping: () => write(OPCODES.ping, new Uint8Array(0)),
    messages: messages(),
    [Symbol.dispose]: close,
  };
}
