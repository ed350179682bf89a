/**
 * A record's headers, as `Records` says where they lie.
 *
 *     count varint, then of each: name length varint, name, value length varint (-1: null), value
 *
 * @module
 */
const text = new TextDecoder();
/** Names by their place among a record's headers, as seen last: records of a topic mostly have the same ones. */
const NAMES_KEPT_MAX = 16;
const NAME_BYTES_KEPT_MAX = 64;
const namesSeen: { readonly bytes: Uint8Array; readonly name: string }[] = [];

function headerName(data: Uint8Array, place: { readonly index: number; readonly start: number; readonly end: number }) {
  const { index, start, end } = place;
  const seen = namesSeen[index];
  if (seen && seen.bytes.length === end - start) {
    let at = start;
    while (at < end && data[at] === seen.bytes[at - start]) at++;
    if (at === end) return seen.name;
  }
  const name = text.decode(data.subarray(start, end));
  if (index < NAMES_KEPT_MAX && end - start <= NAME_BYTES_KEPT_MAX) {
    namesSeen[index] = { bytes: data.slice(start, end), name };
  }
  return name;
}

/** The headers of a row's header block, in order; null where the block is malformed. Allocates: for records set aside. */
export function readHeaders(data: Uint8Array, start: number, end: number): [string, Uint8Array | null][] | null {
  let at = start;
  const varint = () => {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      if (at >= end) return NaN;
      const byte = data[at++];
      value |= (byte & 127) << shift;
      if (byte < 128) return (value >>> 1) ^ -(value & 1);
    }
    return NaN;
  };
  const count = varint();
  // Each header has at least its two lengths.
  if (!(count >= 0 && count <= (end - at) / 2)) return null;
  const headers: [string, Uint8Array | null][] = [];
  for (let i = 0; i < count; i++) {
    const nameLength = varint();
    if (!(nameLength >= 0 && at + nameLength <= end)) return null;
    const name = headerName(data, { index: i, start: at, end: at += nameLength });
    const valueLength = varint();
    if (!(valueLength >= -1 && at + Math.max(0, valueLength) <= end)) return null;
    headers.push([name, valueLength < 0 ? null : data.slice(at, at += valueLength)]);
  }
  return headers;
}
