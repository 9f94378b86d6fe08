// bcrypt, to verify digests of other systems: the Blowfish cipher with an expensive key schedule (Provos and Mazières, 1999).
// Its tables are the first 33,344 bits of π, which take less room as a sum than as numbers.

const ROUNDS = 16;
const P_LENGTH = ROUNDS + 2;
const S_LENGTH = 4 * 256;
const KEY_BYTES = 72;
const SALT_BYTES = 16;
/** "OrpheanBeholderScryDoubt". */
const MAGIC = [0x4f727068, 0x65616e42, 0x65686f6c, 0x64657253, 0x63727944, 0x6f756274];
const DIGEST_BYTES = 23;
const REPEATED = 64;
const ALPHABET = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

let tables: Uint32Array | null = null;

/** P, then the four S-boxes: the fraction of π in words of 32 bits. Computed once an isolate, in some milliseconds. */
export function piWords(): Uint32Array {
  if (tables !== null) return tables;
  const words = P_LENGTH + S_LENGTH;
  const guardBits = 64n;
  const bits = BigInt(words * 32) + guardBits;
  /** arctan(1/x), scaled. */
  const arctan = (x: bigint) => {
    const square = -x * x;
    let term = (1n << bits) / x;
    let sum = term;
    for (let n = 3n; term !== 0n; n += 2n) {
      term /= square;
      sum += term / n;
    }
    return sum;
  };
  // Machin's formula.
  const pi = 4n * (4n * arctan(5n) - arctan(239n));
  const fraction = (pi >> guardBits) & ((1n << BigInt(words * 32)) - 1n);
  const hex = fraction.toString(16).padStart(words * 8, "0");
  tables = Uint32Array.from({ length: words }, (_, at) => Number.parseInt(hex.slice(at * 8, at * 8 + 8), 16));
  return tables;
}

/**
 * The digest of a password, as 31 characters. Reads 72 bytes of it, as every bcrypt does, the NUL at its end included.
 * Blocks for as long as the cost says.
 *
 * @param costLog2 4 to 31
 * @param salt 22 characters
 */
export function bcrypt(password: string, costLog2: number, salt: string): string {
  const key = cyclicWords(new TextEncoder().encode(`${password}\0`).slice(0, KEY_BYTES));
  const saltWords = cyclicWords(decode(salt));
  const state = piWords().slice();
  const p = state.subarray(0, P_LENGTH);
  const s = state.subarray(P_LENGTH);
  const none = new Uint32Array(P_LENGTH);

  expand(p, s, saltWords, key);
  for (let rounds = 2 ** costLog2; rounds > 0; rounds--) {
    expand(p, s, none, key);
    expand(p, s, none, saltWords);
  }
  const block = new Uint32Array(2);
  const digest = new DataView(new ArrayBuffer(MAGIC.length * 4));
  for (let at = 0; at < MAGIC.length; at += 2) {
    block.set(MAGIC.slice(at, at + 2));
    for (let times = 0; times < REPEATED; times++) encipher(p, s, block);
    digest.setUint32(at * 4, block[0] ?? 0);
    digest.setUint32(at * 4 + 4, block[1] ?? 0);
  }
  return encode(new Uint8Array(digest.buffer, 0, DIGEST_BYTES));
}

/** Mixes the key into P, then replaces P and S by what enciphering the salt over and over gives. */
function expand(p: Uint32Array, s: Uint32Array, salt: Uint32Array, key: Uint32Array): void {
  for (let at = 0; at < P_LENGTH; at++) p[at] = (p[at] as number) ^ (key[at] as number);
  const block = new Uint32Array(2);
  let taken = 0;
  for (const table of [p, s]) {
    for (let at = 0; at < table.length; at += 2) {
      // The salt is four words long, and repeats.
      block[0] = (block[0] as number) ^ (salt[taken & 3] as number);
      block[1] = (block[1] as number) ^ (salt[(taken + 1) & 3] as number);
      taken += 2;
      encipher(p, s, block);
      table.set(block, at);
    }
  }
}

/** One block of Blowfish, in place. All that is read lies within the tables, which the types do not know. */
function encipher(p: Uint32Array, s: Uint32Array, block: Uint32Array): void {
  let left = (block[0] as number) ^ (p[0] as number);
  let right = block[1] as number;
  for (let round = 1; round <= ROUNDS; round += 2) {
    right ^=
      ((((s[left >>> 24] as number) + (s[0x100 | ((left >>> 16) & 0xff)] as number)) ^
        (s[0x200 | ((left >>> 8) & 0xff)] as number)) +
        (s[0x300 | (left & 0xff)] as number)) ^
      (p[round] as number);
    left ^=
      ((((s[right >>> 24] as number) + (s[0x100 | ((right >>> 16) & 0xff)] as number)) ^
        (s[0x200 | ((right >>> 8) & 0xff)] as number)) +
        (s[0x300 | (right & 0xff)] as number)) ^
      (p[round + 1] as number);
  }
  block[0] = right ^ (p[ROUNDS + 1] as number);
  block[1] = left;
}

/** As many big-endian words as P has, the bytes over and over. */
function cyclicWords(bytes: Uint8Array): Uint32Array {
  return Uint32Array.from({ length: P_LENGTH }, (_, word) =>
    [0, 1, 2, 3].reduce((sum, at) => (sum << 8) | (bytes[(word * 4 + at) % bytes.length] ?? 0), 0),
  );
}

/** bcrypt's own alphabet, otherwise base64 without padding. */
function encode(bytes: Uint8Array): string {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, "0")).join("");
  return (bits.match(/.{1,6}/g) ?? [])
    .map((six) => ALPHABET[Number.parseInt(six.padEnd(6, "0"), 2)])
    .join("");
}

function decode(text: string): Uint8Array {
  const bits = [...text].map((one) => ALPHABET.indexOf(one).toString(2).padStart(6, "0")).join("");
  return Uint8Array.from({ length: SALT_BYTES }, (_, at) =>
    Number.parseInt(bits.slice(at * 8, at * 8 + 8), 2),
  );
}
