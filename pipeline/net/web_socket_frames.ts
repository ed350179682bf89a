/**
 * Frames of the WebSocket protocol (RFC 6455, section 5.2), as a client reads and writes them.
 *
 *     byte 0      FIN(1) RSV(3) opcode(4)      0 more, 1 text, 2 binary, 8 close, 9 ping, 10 pong
 *     byte 1      MASK(1) length(7)            126: two bytes of length follow; 127: eight
 *     4 bytes     the mask, from clients only
 *     payload
 *
 * @module
 */
import { UnavailableError } from "../errors.ts";

export const OPCODES = { more: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

export interface Frame {
  readonly isFinal: boolean;
  readonly opcode: number;
  readonly payload: Uint8Array;
}

/** Reads frames out of pieces as they come. */
export class FrameReader {
  readonly #bytesMax: number;
  #pieces = new Uint8Array(0);

  constructor({ bytesMax }: { readonly bytesMax: number }) {
    this.#bytesMax = bytesMax;
  }

  /** The frames that are whole with this piece. @throws UnavailableError when the server breaks the protocol */
  *take(piece: Uint8Array): Generator<Frame> {
    let bytes = piece;
    if (this.#pieces.length > 0) {
      bytes = new Uint8Array(this.#pieces.length + piece.length);
      bytes.set(this.#pieces);
      bytes.set(piece, this.#pieces.length);
    }
    let at = 0;
    for (;;) {
      const head = this.#head(bytes, at);
      if (head === null || bytes.length < head.end) break;
      yield {
        isFinal: (bytes[at] & 0x80) !== 0,
        opcode: bytes[at] & 0x0f,
        payload: bytes.slice(head.start, head.end),
      };
      at = head.end;
    }
    this.#pieces = bytes.slice(at);
  }

  #head(bytes: Uint8Array, at: number): { start: number; end: number } | null {
    if (bytes.length < at + 2) return null;
    if ((bytes[at] & 0x70) !== 0) throw new UnavailableError("the server sends an extension that was not agreed on");
    if ((bytes[at + 1] & 0x80) !== 0) throw new UnavailableError("the server masks its frames, which only clients do");
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let length = bytes[at + 1] & 0x7f;
    let start = at + 2;
    if (length === 126) {
      if (bytes.length < at + 4) return null;
      length = view.getUint16(at + 2);
      start = at + 4;
    } else if (length === 127) {
      if (bytes.length < at + 10) return null;
      length = Number(view.getBigUint64(at + 2));
      start = at + 10;
    }
    if (length > this.#bytesMax) throw new UnavailableError(`a message is longer than ${this.#bytesMax} bytes`);
    return { start, end: start + length };
  }
}

/** A whole message in one frame, masked with four bytes that nobody can foresee. */
export function writeFrame(opcode: number, payload: Uint8Array): Uint8Array {
  const { length } = payload;
  const wide = length < 126 ? 0 : length < 65_536 ? 2 : 8;
  const frame = new Uint8Array(2 + wide + 4 + length);
  const view = new DataView(frame.buffer);
  frame[0] = 0x80 | opcode;
  frame[1] = 0x80 | (wide === 0 ? length : wide === 2 ? 126 : 127);
  if (wide === 2) view.setUint16(2, length);
  if (wide === 8) view.setBigUint64(2, BigInt(length));
  const mask = crypto.getRandomValues(frame.subarray(2 + wide, 6 + wide));
  for (let i = 0; i < length; i++) frame[6 + wide + i] = payload[i] ^ mask[i & 3];
  return frame;
}
