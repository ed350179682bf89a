const HEX = new Int8Array(256).fill(-1);
for (let i = 0; i < 16; i++) {
  HEX["0123456789abcdef".charCodeAt(i)] = i;
  HEX["0123456789ABCDEF".charCodeAt(i)] = i;
}

/** Whether `data[start, end)` is a UUID's text (RFC 9562): 8-4-4-4-12 hexadecimal digits. */
export function isUuidText(data: Uint8Array, start: number, end: number): boolean {
  if (end - start !== 36) return false;
  for (let i = 0; i < 36; i++) {
    const byte = data[start + i];
    if (i === 8 || i === 13 || i === 18 || i === 23) {
      if (byte !== 0x2d) return false;
    } else if (HEX[byte] < 0) return false;
  }
  return true;
}

/** Writes the 36 characters of the UUID whose 16 bytes begin at `from[at]`. */
export function writeUuidText(from: Uint8Array, at: number, into: Uint8Array, position: number): void {
  for (let i = 0; i < 16; i++) {
    if (i === 4 || i === 6 || i === 8 || i === 10) into[position++] = 0x2d;
    into[position++] = hexDigit(from[at + i] >> 4);
    into[position++] = hexDigit(from[at + i] & 15);
  }
}

/** Whether a string is a UUID's text. */
export function isUuidString(text: string): boolean {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text);
}

/** The 16 bytes of a UUID's text, or null when it is none. */
export function uuidBytes(text: string): Uint8Array | null {
  if (!isUuidString(text)) return null;
  const digits = text.replaceAll("-", "");
  return Uint8Array.from({ length: 16 }, (_, i) => parseInt(digits.slice(2 * i, 2 * i + 2), 16));
}

function hexDigit(value: number): number {
  return value < 10 ? 0x30 + value : 0x57 + value;
}
