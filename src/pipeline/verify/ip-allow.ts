// The address list of a credential.

/** 4 or 16 bytes; an IPv4-mapped IPv6 address is the IPv4 address it holds. */
type Address = readonly number[];

interface Block {
  readonly network: Address;
  readonly bits: number;
}

const MAPPED_PREFIX = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/** By the identity of the list: records are replaced, never changed. */
const compiled = new WeakMap<readonly string[], readonly Block[]>();

/**
 * Whether an address is in one of the blocks (`10.0.0.0/8`, `2001:db8::/32`, or a single address). An IPv4-mapped IPv6
 * address counts as the IPv4 address it holds (RFC 4291 §2.5.5.2). An empty list allows any address; otherwise an unknown
 * address is not allowed, and an entry that is no block allows nothing.
 */
export function isAddressAllowed(address: string | null, blocks: readonly string[]): boolean {
  if (blocks.length === 0) return true;
  const known = address === null ? null : readAddress(address);
  if (known === null) return false;
  let list = compiled.get(blocks);
  if (list === undefined) {
    list = blocks.map(readBlock).filter((block) => block !== null);
    compiled.set(blocks, list);
  }
  return list.some((block) => contains(block, known));
}

/** Whether an entry of such a list means anything. */
export function isAddressBlock(text: string): boolean {
  return readBlock(text) !== null;
}

/**
 * What one caller can be told by: an IPv4 address, or the /64 network of an IPv6 one, of which a single line has all
 * 2^64 addresses (RFC 4291 §2.5.4). Anything else stays as it is.
 */
export function callerNetwork(address: string): string {
  const known = readAddress(address);
  if (known === null) return address;
  if (known.length === 4) return known.join(".");
  return `${known
    .slice(0, 8)
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("")}/64`;
}

/** `null` for what is not a CIDR block (RFC 4632 §3.1, RFC 4291 §2.3). Bits beyond the prefix are ignored. */
function readBlock(text: string): Block | null {
  const slash = text.indexOf("/");
  const written = slash < 0 ? text : text.slice(0, slash);
  const network = readAddress(written);
  if (network === null) return null;
  const writtenBits = written.includes(":") ? 128 : 32;
  const bits = slash < 0 ? writtenBits : readDecimal(text.slice(slash + 1), writtenBits);
  if (bits === null) return null;
  if (network.length * 8 === writtenBits) return { network, bits };
  // Written in IPv6, holds IPv4. A prefix that ends before the IPv4 part means more than that; then it names no IPv4.
  return bits >= 96 ? { network, bits: bits - 96 } : null;
}

function contains({ network, bits }: Block, address: Address): boolean {
  if (network.length !== address.length) return false;
  for (let i = 0; i * 8 < bits; i++) {
    const mask = bits - i * 8 >= 8 ? 0xff : (0xff00 >> (bits - i * 8)) & 0xff;
    if ((((network[i] ?? 0) ^ (address[i] ?? 0)) & mask) !== 0) return false;
  }
  return true;
}

function readAddress(text: string): Address | null {
  if (!text.includes(":")) return readIpv4(text);
  const address = readIpv6(text);
  const isMapped = address !== null && MAPPED_PREFIX.every((byte, i) => address[i] === byte);
  return isMapped ? address.slice(MAPPED_PREFIX.length) : address;
}

/** Four decimal numbers without leading zeros: other readings differ between programs. */
function readIpv4(text: string): Address | null {
  const bytes = text.split(".").map((part) => readDecimal(part, 255));
  const known = bytes.filter((byte) => byte !== null);
  return bytes.length === 4 && known.length === 4 ? known : null;
}

/** RFC 4291 §2.2, without zone. */
function readIpv6(text: string): Address | null {
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const head = readGroups(halves[0] ?? "", halves.length === 1);
  const tail = halves.length === 2 ? readGroups(halves[1] ?? "", true) : [];
  if (head === null || tail === null) return null;
  const missing = 16 - head.length - tail.length;
  if (halves.length === 1) return missing === 0 ? head : null;
  return missing >= 2 ? [...head, ...new Array<number>(missing).fill(0), ...tail] : null;
}

/** Groups of an IPv6 address as bytes; the last one may be an IPv4 address. */
function readGroups(text: string, mayEndInIpv4: boolean): readonly number[] | null {
  const bytes: number[] = [];
  if (text === "") return bytes;
  const groups = text.split(":");
  for (const [index, group] of groups.entries()) {
    if (mayEndInIpv4 && index === groups.length - 1 && group.includes(".")) {
      const ipv4 = readIpv4(group);
      if (ipv4 === null) return null;
      bytes.push(...ipv4);
    } else {
      if (!/^[0-9A-Fa-f]{1,4}$/.test(group)) return null;
      const value = Number.parseInt(group, 16);
      bytes.push(value >> 8, value & 0xff);
    }
  }
  return bytes;
}

function readDecimal(text: string, max: number): number | null {
  if (!/^(0|[1-9][0-9]{0,2})$/.test(text)) return null;
  const value = Number(text);
  return value <= max ? value : null;
}
