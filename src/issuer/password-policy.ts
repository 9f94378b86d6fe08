// Which passwords may be set (NIST SP 800-63B-4 §3.1.1.2): long enough, not well known, no rules of composition.
import type { InputError } from "../problem.ts";
import type { Accounts } from "../store/accounts.ts";
import { isMadeOf, isPattern, repeatedPart } from "./guessable.ts";

export interface PasswordContext {
  /** In code points of the NFC form. */
  readonly minLength: number;
  /** Words that an attacker tries first: username, e-mail address, realm. */
  readonly words: readonly string[];
  readonly accounts: Pick<Accounts, "isPasswordBlocked">;
}

/** The longest password that is hashed, in bytes of UTF-8 as received: no work beyond it. */
export const MAX_PASSWORD_BYTES = 1_024;

const OWN_NAME = "postern";

/** Why nothing can be a password however it is chosen, as the end of a sentence; `null`: it can. */
export function passwordFormError(password: string): string | null {
  // A code unit takes a byte at least, so that no more than this is ever looked at.
  if (password.length > MAX_PASSWORD_BYTES) return TOO_LONG;
  // Encoding would make one character of all that are none, and one password of many.
  if (!password.isWellFormed()) return "must be text: it holds half a surrogate pair";
  // HMAC, and so scrypt, fills up short keys with them: many more characters, and the same digest (RFC 2104 §2).
  if (password.includes("\0")) return "must not hold the character NUL";
  return new TextEncoder().encode(password).length > MAX_PASSWORD_BYTES ? TOO_LONG : null;
}

const TOO_LONG = `must be at most ${MAX_PASSWORD_BYTES} bytes`;

/**
 * What is wrong with a new password, for the field `field`; empty: nothing. The message never repeats the password.
 *
 * Checks its length, that it is no pattern of the keyboard or the alphabet, not made of the words of the context, and not
 * among the passwords that are used most, itself or repeated. The password counts as a whole: nothing is cut off, and a known
 * word within it is no fault. Does not check that it differs from the one before.
 */
export async function passwordErrors(
  password: string,
  field: string,
  context: PasswordContext,
): Promise<readonly InputError[]> {
  const message = passwordFormError(password) ?? (await choiceError(password.normalize("NFC"), context));
  return message === null ? [] : [{ field, message }];
}

async function choiceError(password: string, context: PasswordContext): Promise<string | null> {
  const { minLength, words, accounts } = context;
  if ([...password].length < minLength) return `must have at least ${minLength} characters`;
  if (isPattern(password)) {
    return "must not only repeat or count up characters: take several words that have nothing to do with each other";
  }
  if (isMadeOf(password, [...words, OWN_NAME])) {
    return "must not be made of the username, the e-mail address, the realm or the gateway's name: add other words";
  }
  const part = repeatedPart(password);
  const isBlocked =
    (await accounts.isPasswordBlocked(password)) ||
    (part !== null && (await accounts.isPasswordBlocked(part)));
  return isBlocked ? "is one of the passwords that are used most: take another one" : null;
}
