// Password digests of the systems that users came from. They are verified until the next sign-in, never made.
import { createHash, pbkdf2Sync } from "node:crypto";
import { isSameSecret } from "../crypto/constant-time.ts";
import type { PasswordHash } from "../store/writes.ts";
import { readScryptHash } from "./scrypt-hash.ts";

type LegacyScheme = Exclude<PasswordHash["scheme"], "scrypt">;
/** Takes the password as it was typed: those systems do not normalize. */
type Check = (password: string) => boolean;
/** What a stored digest can be checked by, or what is wrong with it. */
type Reading = { readonly load: () => Check | Promise<Check> } | { readonly problem: string };

const READERS: Readonly<Record<LegacyScheme, (hash: string) => Reading>> = {
  bcrypt: readBcrypt,
  cloudreve: readCloudreve,
  "aspnet-identity": readAspNetIdentity,
};

/** Beyond it, PBKDF2 throws in production, though not on the same runtime locally. */
const MAX_PBKDF2_ITERATIONS = 100_000;
/** About a second, in which the isolate does nothing else. */
const MAX_BCRYPT_COST = 13;

/**
 * What is wrong with a digest that is to be stored, as the end of a sentence, with the mend; `null`: it can be verified.
 * Never repeats the digest. Also for `scrypt`, as another gateway of this kind has written it.
 */
export function legacyHashProblem(scheme: PasswordHash["scheme"], hash: string): string | null {
  if (scheme === "scrypt") {
    return readScryptHash(hash) === null
      ? "must be $scrypt$ln=…,r=…,p=…$salt$key with a key of 32 bytes, and parameters up to N·r·p = 2^20"
      : null;
  }
  const reading = READERS[scheme](hash);
  return "problem" in reading ? reading.problem : null;
}

/** The check of a stored digest, ready to run; one that `legacyHashProblem` refuses matches no password. */
export async function legacyCheck(scheme: LegacyScheme, hash: string): Promise<Check> {
  const reading = READERS[scheme](hash);
  return "problem" in reading ? () => false : reading.load();
}

const BCRYPT = /^(\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{22})([./A-Za-z0-9]{31})$/;

/**
 * `$2a$`, `$2b$` and `$2y$`, which differ in the bugs of their first programs only. bcrypt reads 72 bytes of a password
 * and no more: what follows them is not verified, there as here. The digest that replaces it covers the whole.
 */
function readBcrypt(hash: string): Reading {
  const [, salt, costText, digest] = BCRYPT.exec(hash) ?? [];
  if (salt === undefined || digest === undefined) {
    return { problem: "must be a bcrypt digest of 60 characters that begins with $2a$, $2b$ or $2y$" };
  }
  const cost = Number(costText);
  if (cost < 4 || cost > MAX_BCRYPT_COST) {
    return {
      problem: `has a bcrypt cost of ${cost}, and 4 to ${MAX_BCRYPT_COST} can be verified here: ${SET_ANEW}`,
    };
  }
  return {
    async load() {
      const { hashSync } = await import("./bcrypt.ts");
      return (password) => isSameSecret(hashSync(password, salt).slice(salt.length), digest);
    },
  };
}

const SET_ANEW = "leave it out and set a new password";

/** `salt:sha256(password + salt)`; of version 3 with SHA-1; of version 2 `md5:md5(salt + password):salt`. */
function readCloudreve(stored: string): Reading {
  const [first = "", second = "", third] = stored.split(":", 4);
  const isVersion2 = third !== undefined;
  const salt = isVersion2 ? third : first;
  const hash = isVersion2 ? "md5" : HASH_BY_HEX_LENGTH[second.length];
  const isWhole = hash !== undefined && (!isVersion2 || (first === "md5" && second.length === 32));
  const rest = isVersion2 ? `${first}:${second}:${third}` : `${first}:${second}`;
  if (!isWhole || rest !== stored || salt === "" || salt.length > 128 || !/^[0-9a-f]+$/.test(second)) {
    return { problem: "must be salt:digest or md5:digest:salt, the digest in lower-case hex" };
  }
  return {
    load: () => (password) => {
      const salted = isVersion2 ? salt + password : password + salt;
      return isSameSecret(createHash(hash).update(salted, "utf8").digest("hex"), second);
    },
  };
}

const HASH_BY_HEX_LENGTH: Readonly<Record<number, "sha1" | "sha256">> = { 40: "sha1", 64: "sha256" };

/** Version 3 names them by these numbers. */
const ASPNET_PRFS = ["sha1", "sha256", "sha512"] as const;
const ASPNET_SALT_BYTES = 16;
const ASPNET_KEY_BYTES = 32;

/**
 * Base64 of: version 3, byte 1, then PRF, iterations and length of the salt as 32-bit big-endian numbers, salt, key;
 * version 2, byte 0, salt, key (PBKDF2 with HMAC-SHA-1 and 1,000 iterations). ASP.NET Identity always writes salts of 16 and
 * keys of 32 bytes; others are refused, as the beginning of a key verifies like the whole.
 */
function readAspNetIdentity(stored: string): Reading {
  const bytes = bytesOf(stored);
  const version = bytes[0];
  const headerBytes = version === 1 ? 13 : 1;
  if (
    version === undefined ||
    version > 1 ||
    bytes.length !== headerBytes + ASPNET_SALT_BYTES + ASPNET_KEY_BYTES
  ) {
    return { problem: "must be a digest of ASP.NET Identity, version 2 or 3, in base64" };
  }
  const header = new DataView(bytes.buffer);
  const prf = version === 1 ? ASPNET_PRFS[header.getUint32(1)] : "sha1";
  const iterations = version === 1 ? header.getUint32(5) : 1_000;
  const saltBytes = version === 1 ? header.getUint32(9) : ASPNET_SALT_BYTES;
  if (prf === undefined || iterations === 0 || saltBytes !== ASPNET_SALT_BYTES) {
    return { problem: "names a function, iterations or a salt that ASP.NET Identity does not write" };
  }
  if (iterations > MAX_PBKDF2_ITERATIONS) {
    return {
      problem: `has ${iterations} PBKDF2 iterations, and at most ${MAX_PBKDF2_ITERATIONS} can be verified on Workers: ${SET_ANEW}`,
    };
  }
  const salt = bytes.slice(headerBytes, headerBytes + ASPNET_SALT_BYTES);
  const key = String.fromCharCode(...bytes.slice(headerBytes + ASPNET_SALT_BYTES));
  return {
    load: () => (password) =>
      isSameSecret(
        String.fromCharCode(...pbkdf2Sync(password, salt, iterations, ASPNET_KEY_BYTES, prf)),
        key,
      ),
  };
}

/** None for what is no base64 with padding (RFC 4648 §4). */
function bytesOf(base64: string): Uint8Array {
  if (base64.length > 128 || base64.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) {
    return new Uint8Array();
  }
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}
