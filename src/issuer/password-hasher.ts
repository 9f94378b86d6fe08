// Password digests: scrypt for what is set here, and the schemes of systems that users came from.
import { scryptSync } from "node:crypto";
import { isSameSecret } from "../crypto/constant-time.ts";
import type { PasswordHash } from "../store/writes.ts";
import { createHashingQueue, type QueueTools } from "./hashing-queue.ts";
import { passwordFormError } from "./password-policy.ts";
import {
  CURRENT,
  isCurrent,
  KEY_BYTES,
  readScryptHash,
  SALT_BYTES,
  type ScryptHash,
  type ScryptParameters,
  toBase64,
  writeScryptHash,
} from "./scrypt-hash.ts";

export interface PasswordHasher {
  /**
   * scrypt N=2^14, r=8, p=5 over the NFC form, as a PHC string. Does not check the policy.
   * @throws Problem `sign_in_busy`; RangeError for what no password can be: too long, or no text
   */
  hash(password: string): Promise<PasswordHash>;
  /**
   * Whether it is the password. `null` as the stored hash takes the time of a wrong password and answers no; so does a
   * stored hash that cannot be read. The other schemes see the password as it was typed, like the systems they come
   * from, and a wrong one costs the scrypt work besides: with `cloudreve` it cannot be told from no account at all, with
   * `bcrypt` and `aspnet-identity` their own work shows until the first sign-in.
   * @throws Problem `sign_in_busy` when the isolate is hashing and the wait was too long
   */
  verify(password: string, stored: PasswordHash | null): Promise<boolean>;
  /** Whether it ought to be hashed again: another scheme, or other parameters. */
  isOutdated(stored: PasswordHash): boolean;
}

/** The platform's, but for tests. */
export interface HasherTools extends QueueTools {
  /** @returns `KEY_BYTES` bytes */
  scrypt(password: Uint8Array, salt: Uint8Array, parameters: ScryptParameters): Uint8Array;
}

const MAX_MEMORY_BYTES = 96 * 1_024 * 1_024;

const PLATFORM: HasherTools = {
  nowMs: Date.now,
  wait: (milliseconds) => scheduler.wait(milliseconds),
  // The platform computes the asynchronous one synchronously, too.
  scrypt: (password, salt, { costLog2, blockSize, parallelism }) =>
    scryptSync(password, salt, KEY_BYTES, {
      N: 2 ** costLog2,
      r: blockSize,
      p: parallelism,
      maxmem: MAX_MEMORY_BYTES,
    }),
};

/** Stands in where there is no digest to compare with. No password has this key: its base64 is not one of 32 bytes. */
const NOBODYS: ScryptHash = { parameters: CURRENT, salt: new Uint8Array(SALT_BYTES), key: "" };

const encoder = new TextEncoder();

/** Each digest blocks the isolate for about 130 ms; how many may wait for that is bounded (`hashing-queue.ts`). */
export function createPasswordHasher(tools: HasherTools = PLATFORM): PasswordHasher {
  const myTurn = createHashingQueue(tools);

  const keyOf = (password: string, parameters: ScryptParameters, salt: Uint8Array): string =>
    toBase64(tools.scrypt(encoder.encode(password.normalize("NFC")), salt, parameters));

  const isKeyOf = (password: string, { parameters, salt, key }: ScryptHash): boolean =>
    isSameSecret(keyOf(password, parameters, salt), key);

  /** Whatever has to be loaded is, so that the check itself is synchronous. */
  async function checkOf(stored: PasswordHash | null): Promise<(password: string) => boolean> {
    if (stored === null) return (password) => isKeyOf(password, NOBODYS);
    if (stored.scheme === "scrypt") {
      const hash = readScryptHash(stored.hash) ?? NOBODYS;
      return (password) => isKeyOf(password, hash);
    }
    const { legacyCheck } = await import("./legacy-passwords.ts");
    const isLegacy = await legacyCheck(stored.scheme, stored.hash);
    return (password) => isLegacy(password) || isKeyOf(password, NOBODYS);
  }

  return {
    async hash(password) {
      const error = passwordFormError(password);
      if (error !== null) throw new RangeError(`a password ${error}`);
      await myTurn();
      const salt = crypto.getRandomValues(new Uint8Array(SALT_BYTES));
      const key = keyOf(password, CURRENT, salt);
      return { scheme: "scrypt", hash: writeScryptHash({ parameters: CURRENT, salt, key }) };
    },

    async verify(password, stored) {
      // For every account alike, so it tells nothing of this one.
      if (passwordFormError(password) !== null) return false;
      const isPassword = await checkOf(stored);
      await myTurn();
      return isPassword(password);
    },

    isOutdated: ({ scheme, hash }) => scheme !== "scrypt" || !isCurrent(hash),
  };
}
