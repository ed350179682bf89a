/**
 * Which addresses of the Internet Protocol lead to the world, and which to this machine, its network or its cloud's own services.
 *
 * The ranges are those of IANA's registries of special-purpose addresses (RFC 6890 and its successors). Addresses of version 6
 * that carry one of version 4 are as good as that one.
 *
 * @module
 */
import { isIPv4, isIPv6 } from "node:net";

type Range = readonly [network: string, bits: number, name: string];

const RANGES_4: readonly Range[] = [
  ["0.0.0.0", 8, "an address of this host"],
  ["10.0.0.0", 8, "a private address"],
  ["100.64.0.0", 10, "an address shared behind a carrier's NAT"],
  ["127.0.0.0", 8, "a loopback address"],
  ["169.254.0.0", 16, "a link-local address, where clouds keep their metadata"],
  ["172.16.0.0", 12, "a private address"],
  ["192.0.0.0", 24, "an address for protocols' own use"],
  ["192.0.2.0", 24, "an address for documentation"],
  ["192.88.99.0", 24, "an address of a 6to4 relay"],
  ["192.168.0.0", 16, "a private address"],
  ["198.18.0.0", 15, "an address for benchmarks"],
  ["198.51.100.0", 24, "an address for documentation"],
  ["203.0.113.0", 24, "an address for documentation"],
  ["224.0.0.0", 4, "a multicast address"],
  ["240.0.0.0", 4, "a reserved address"],
];

/** Of version 6 only what is handed out (2000::/3) leads to the world; these of it do not. */
const RANGES_6: readonly Range[] = [
  ["2001::", 23, "an address for protocols' own use"],
  ["2001:db8::", 32, "an address for documentation"],
  ["3fff::", 20, "an address for documentation"],
];

/** Addresses of version 6 that carry one of version 4, and at which byte. */
const CARRIERS: readonly (readonly [network: string, bits: number, at: number])[] = [
  ["::ffff:0:0", 96, 12],
  ["64:ff9b::", 96, 12],
  ["2002::", 16, 2],
];

/** Clouds' metadata services at addresses that are not link-local. */
const METADATA = new Map([["168.63.129.16", "Azure's"], ["100.100.100.200", "Alibaba's"], ["fd00:ec2::254", "AWS's"]]);

/** What keeps an address from leading to the world, in words: `a loopback address`; null when nothing does. */
export function specialUse(address: string): string | null {
  const bytes = bytesOf(address);
  if (bytes === null) return "no address";
  const shown = bytes.length === 4 ? bytes.join(".") : null;
  for (const [metadata, cloud] of METADATA) {
    if (shown === metadata || same(bytes, bytesOf(metadata)!)) return `${cloud} metadata service`;
  }
  if (bytes.length === 4) return RANGES_4.find((range) => isIn(bytes, range))?.[2] ?? null;
  const carrier = CARRIERS.find(([network, bits]) => isIn(bytes, [network, bits]));
  if (carrier) return specialUse(bytes.slice(carrier[2], carrier[2] + 4).join("."));
  if (bytes.every((byte, at) => byte === (at === 15 ? 1 : 0))) return "a loopback address";
  if (bytes.every((byte) => byte === 0)) return "an address of this host";
  if (isIn(bytes, ["fe80::", 10])) return "a link-local address, where clouds keep their metadata";
  if (isIn(bytes, ["fc00::", 7])) return "a private address";
  if (isIn(bytes, ["ff00::", 8])) return "a multicast address";
  if (!isIn(bytes, ["2000::", 3])) return "a reserved address";
  return RANGES_6.find((range) => isIn(bytes, range))?.[2] ?? null;
}

function isIn(bytes: Uint8Array, [network, bits]: readonly [string, number, ...unknown[]]): boolean {
  const start = bytesOf(network)!;
  for (let at = 0; at * 8 < bits; at++) {
    const left = bits - at * 8;
    const mask = left >= 8 ? 0xff : (0xff << (8 - left)) & 0xff;
    if ((bytes[at] & mask) !== (start[at] & mask)) return false;
  }
  return true;
}

function same(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, at) => byte === other[at]);
}

/** Four or sixteen bytes; null for what is no address. A zone (`fe80::1%eth0`) is left out. */
function bytesOf(address: string): Uint8Array | null {
  if (isIPv4(address)) return Uint8Array.from(address.split("."), Number);
  const [plain] = address.split("%");
  if (!isIPv6(plain)) return null;
  // The last two groups may be written as an address of version 4.
  const hex = plain.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...digits) => {
    const [a, b, c, d] = digits.slice(0, 4).map(Number);
    return `${(a << 8 | b).toString(16)}:${(c << 8 | d).toString(16)}`;
  });
  const [before, after] = hex.split("::").map((part) => part === "" ? [] : part.split(":"));
  const groups = after === undefined
    ? before
    : [...before, ...Array<string>(8 - before.length - after.length).fill("0"), ...after];
  return Uint8Array.from(groups.flatMap((group) => [parseInt(group, 16) >> 8, parseInt(group, 16) & 0xff]));
}
