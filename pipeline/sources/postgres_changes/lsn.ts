/**
 * Places in PostgreSQL's write-ahead log. As numbers: exact up to 2^53, which is 8 PiB of log.
 *
 * @module
 */

/** `16/B374D848`, as PostgreSQL writes it. */
export function formatLsn(lsn: number): string {
  const high = Math.floor(lsn / 2 ** 32);
  return `${high.toString(16).toUpperCase()}/${(lsn - high * 2 ** 32).toString(16).toUpperCase()}`;
}

/** @throws TypeError for a text that is none */
export function parseLsn(text: string): number {
  const match = /^([0-9A-F]{1,8})\/([0-9A-F]{1,8})$/i.exec(text);
  if (!match) throw new TypeError(`${JSON.stringify(text)} is no place in a write-ahead log`);
  return parseInt(match[1], 16) * 2 ** 32 + parseInt(match[2], 16);
}

/** The eight bytes at `at`. */
export function lsnAt(data: Uint8Array, at: number): number {
  return uint32At(data, at) * 2 ** 32 + uint32At(data, at + 4);
}

export function uint32At(data: Uint8Array, at: number): number {
  return ((data[at] << 24) | (data[at + 1] << 16) | (data[at + 2] << 8) | data[at + 3]) >>> 0;
}

export function int32At(data: Uint8Array, at: number): number {
  return (data[at] << 24) | (data[at + 1] << 16) | (data[at + 2] << 8) | data[at + 3];
}

/** Microseconds since 2000-01-01, eight bytes, as milliseconds since 1970. */
export function timeAt(data: Uint8Array, at: number): number {
  return Math.floor((int32At(data, at) * 2 ** 32 + uint32At(data, at + 4)) / 1000) + EPOCH_MS;
}

/** 2000-01-01T00:00:00Z. */
export const EPOCH_MS = 946_684_800_000;
