// Name and password -> a session. Throttled before anything is computed, and the same for names that nobody has.
import type { Actor, AuditAction, AuditEntry } from "../audit.ts";
import type { NamedSecret } from "../config/secrets.ts";
import type { Realm } from "../config/types.ts";
import type { Services } from "../control/services.ts";
import { toHex } from "../crypto/digest.ts";
import { hmacSha256 } from "../crypto/hmac.ts";
import { Problem } from "../problem.ts";
import { accountKey } from "../store/account-name.ts";
import type { Account } from "../store/accounts.ts";
import type { PasswordHash } from "../store/writes.ts";
import { throttleKeys } from "./throttle-rules.ts";

export interface SignInAttempt {
  readonly realm: Realm;
  /** Username or e-mail address, as typed. */
  readonly name: string;
  readonly password: string;
  readonly address: string | null;
  readonly nowSeconds: number;
  /** An entry of the audit log by this actor, now. */
  readonly audit: (
    actor: Actor,
    action: AuditAction,
    target: AuditEntry["target"],
    details?: AuditEntry["details"],
  ) => AuditEntry;
  /** Settles when a failure may be answered: started before anything was looked up, so that all take the same time. */
  readonly failureMayShow: Promise<unknown>;
}

/** An account, with the digest that stands for the password now. */
export type VerifiedAccount = Account & { readonly password: PasswordHash };

const FAILURE_WINDOW_SECONDS = 600;

/**
 * Checks a name and a password. Every failure, whatever its cause, is the same answer after the same time.
 *
 * @returns the account, whose user is active and whose password this is
 * @throws Problem `sign_in_failed`; `rate_limited` with the seconds to wait; `sign_in_busy`
 * @see NIST SP 800-63B-4 §3.2.2 (rate limiting), OWASP ASVS 5.0 6.3.8 (no enumeration)
 */
export async function checkPassword(attempt: SignInAttempt, services: Services): Promise<VerifiedAccount> {
  const { realm, name, password, audit } = attempt;
  const account = await services.accounts.find(realm.name, name);
  const subject = account?.userId ?? `?${await unknownName(name, services)}`;
  const verified = await checkAccount(account, subject, attempt, services);
  if (services.hasher.isOutdated(verified.password)) {
    const actor = { kind: "user", realm: realm.name, id: subject, credentialId: null } as const;
    const target = { kind: "user", realm: realm.name, id: subject } as const;
    const entry = audit(actor, "user.password_rehashed", target, { from: verified.password.scheme });
    const better = await rehash(subject, password, verified.password.hash, attempt, services, entry);
    if (better !== null) return { ...verified, password: better };
  }
  return verified;
}

/**
 * Checks the password of an account that is known already, with the same throttle. Hashes nothing anew.
 *
 * @param subject the user's id; for a name nobody has, what failures are counted by
 * @throws Problem as `checkPassword`
 */
export async function checkAccount(
  account: Account | null,
  subject: string,
  attempt: Omit<SignInAttempt, "name">,
  services: Services,
): Promise<VerifiedAccount> {
  const { realm, password, address, nowSeconds } = attempt;
  // Asked for names that nobody has, too: how long a refusal takes must not tell them apart.
  const isKnownAddress =
    address !== null && (await services.accounts.hasSessionFrom(realm.name, subject, address));
  const keys = throttleKeys(realm.name, subject, { address, isKnown: isKnownAddress }, nowSeconds);
  const waitSeconds = await services.throttle.take(keys, nowSeconds);
  if (waitSeconds > 0) {
    throw new Problem("rate_limited", "sign-in attempts", { retryAfterSeconds: waitSeconds });
  }
  const stored = account?.password ?? null;
  const isRight = await verifyOrGiveBack(password, stored, keys, services);
  if (account === null || stored === null || !isRight || account.status !== "active") {
    const reason =
      account === null ? "unknown name" : isRight ? `status ${account.status}` : "wrong password";
    await countFailure(subject, attempt, services);
    await attempt.failureMayShow;
    // Not shown but by systems that say so to whoever knows the password.
    const about = isRight && account !== null ? { about: { status: account.status } } : {};
    throw new Problem("sign_in_failed", reason, about);
  }
  // The right password takes back what its own attempts cost, the address's too.
  const [ownKey, ...otherKeys] = keys.map(({ key }) => key);
  if (ownKey !== undefined) await services.throttle.reset(ownKey);
  if (otherKeys.length > 0) await services.throttle.giveBack(otherKeys);
  return { ...account, password: stored };
}

/** What is made from now on is made under it. @throws Problem `config_invalid` */
export function newestPepper({ config }: Pick<Services, "config">): NamedSecret {
  const [pepper] = config.secrets.peppers;
  if (pepper === undefined) throw new Problem("config_invalid", "no pepper");
  return pepper;
}

/** A keyed hash, as what is typed into the name may be a password. 32 bits tell apart, and do not tell what it was. */
async function unknownName(name: string, services: Services): Promise<string> {
  const pepper = newestPepper(services);
  const message = new TextEncoder().encode(`postern unknown name 1:${accountKey(name)}`);
  return toHex(await hmacSha256(pepper.value, message)).slice(0, 8);
}

async function verifyOrGiveBack(
  password: string,
  stored: Account["password"],
  keys: readonly { readonly key: string }[],
  { hasher, throttle }: Services,
): Promise<boolean> {
  try {
    return await hasher.verify(password, stored);
  } catch (error) {
    // Nothing was tried, so nothing counts.
    await throttle.giveBack(keys.map(({ key }) => key));
    throw error;
  }
}

/** Counted per window; the first one of a window is audited at once, the number of the others when it is over. */
async function countFailure(
  subject: string,
  { realm, address, nowSeconds, audit }: Omit<SignInAttempt, "name">,
  services: Services,
): Promise<void> {
  const windowAtSeconds = nowSeconds - (nowSeconds % FAILURE_WINDOW_SECONDS);
  const failure = { realm: realm.name, account: subject, address };
  if (!(await services.throttle.countFailure(failure, windowAtSeconds))) return;
  const target = { kind: "user", realm: realm.name, id: subject } as const;
  await services.auditLog.append(audit({ kind: "anonymous" }, "sign_in.failed", target, { count: 1 }));
}

/** @returns the new digest; `null` where the isolate is busy hashing, or the digest was changed: then it is for next time */
async function rehash(
  userId: string,
  password: string,
  verified: string,
  { realm, nowSeconds }: SignInAttempt,
  { hasher, writes }: Services,
  entry: AuditEntry,
): Promise<PasswordHash | null> {
  try {
    const better = await hasher.hash(password);
    const audited = writes.audited(entry);
    return (await audited.rehashPassword(realm.name, userId, verified, better, nowSeconds)) ? better : null;
  } catch (error) {
    if (error instanceof Problem && error.code === "sign_in_busy") return null;
    throw error;
  }
}
