// How a scrypt digest (RFC 7914) is written in a row: as a PHC string, `$scrypt$ln=14,r=8,p=5$<salt>$<key>`, both in
// base64 without padding.

/** RFC 7914 §2. */
export interface ScryptParameters {
  /** log2 of N, the cost. */
  readonly costLog2: number;
  readonly blockSize: number;
  readonly parallelism: number;
}

export interface ScryptHash {
  readonly parameters: ScryptParameters;
  readonly salt: Uint8Array;
  /** Base64 without padding, of `KEY_BYTES`. */
  readonly key: string;
}

/** What new digests are made with: 16 MiB, and about 130 ms of CPU. */
export const CURRENT: ScryptParameters = { costLog2: 14, blockSize: 8, parallelism: 5 };
export const SALT_BYTES = 16;
export const KEY_BYTES = 32;

/** N·r·p: what the platform computes at most. Half of it is the memory of an isolate that others need too. */
const MAX_WORK = 2 ** 20;
const MAX_MEMORY_BYTES = 64 * 1_024 * 1_024;
const MAX_HASH_LENGTH = 200;

const FORM =
  /^\$scrypt\$ln=([1-9][0-9]?),r=([1-9][0-9]?),p=([1-9][0-9]?)\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/;
const SALT_LENGTHS = { least: 22, most: 86 };
const KEY_LENGTH = 43;

/**
 * Reads a digest as `writeScryptHash` writes it. Parameters, salt and key may be others' within what this platform can
 * compute; the key is always of 32 bytes, as the beginning of a key verifies like the whole.
 *
 * @returns `null` for anything else
 */
export function readScryptHash(hash: string): ScryptHash | null {
  const parts = hash.length <= MAX_HASH_LENGTH ? FORM.exec(hash) : null;
  if (parts === null) return null;
  const [, costLog2 = 0, blockSize = 0, parallelism = 0] = parts.map(Number);
  const [, , , , salt = "", key = ""] = parts;
  const memoryBytes = 128 * 2 ** costLog2 * blockSize;
  if (2 ** costLog2 * blockSize * parallelism > MAX_WORK || memoryBytes > MAX_MEMORY_BYTES) return null;
  if (salt.length < SALT_LENGTHS.least || salt.length > SALT_LENGTHS.most || salt.length % 4 === 1)
    return null;
  if (key.length !== KEY_LENGTH) return null;
  return { parameters: { costLog2, blockSize, parallelism }, salt: fromBase64(salt), key };
}

export function writeScryptHash({ parameters, salt, key }: ScryptHash): string {
  return `${prefixOf(parameters)}${toBase64(salt)}$${key}`;
}

/** Whether a digest was made with the parameters that new ones are made with. */
export const isCurrent = (hash: string): boolean => hash.startsWith(prefixOf(CURRENT));

const prefixOf = ({ costLog2, blockSize, parallelism }: ScryptParameters) =>
  `$scrypt$ln=${costLog2},r=${blockSize},p=${parallelism}$`;

/** Without padding. */
export function toBase64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replace(/=+$/, "");
}

function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
