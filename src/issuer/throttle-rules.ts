// How often passwords may be tried, per account and per address.
import { callerNetwork } from "../pipeline/verify/ip-allow.ts";
import type { ThrottleRule } from "../store/throttle.ts";

/**
 * Slows down, and never locks: an account whose password somebody else tries opens within the longest delay. The hundred
 * failures that NIST SP 800-63B-4 §3.2.2 allows in a row take more than a day.
 */
export const ACCOUNT_RULE: ThrottleRule = {
  freeAttempts: 5,
  firstDelaySeconds: 1,
  maxDelaySeconds: 1_024,
  forgetAfterSeconds: 86_400,
};

/**
 * For one address that tries many accounts. More patient, as many people can share an address, and counted in windows:
 * where somebody is always mistyping, failures would otherwise add up for good.
 */
export const ADDRESS_RULE: ThrottleRule = {
  freeAttempts: 20,
  firstDelaySeconds: 1,
  maxDelaySeconds: 300,
  forgetAfterSeconds: 3_600,
};
const ADDRESS_WINDOW_SECONDS = 600;

/** For what a user may well do at any time, and a thousand times only to wear D1 and every isolate's view of it out. */
export const RENEWAL_RULE: ThrottleRule = {
  freeAttempts: 20,
  firstDelaySeconds: 60,
  maxDelaySeconds: 1_200,
  forgetAfterSeconds: 2_400,
};

export interface ThrottleKey {
  readonly key: string;
  readonly rule: ThrottleRule;
}

export interface CallerAddress {
  /** `null`: not known, and not counted by. */
  readonly address: string | null;
  /** Whether the account's user has signed in from there. */
  readonly isKnown: boolean;
}

/**
 * What an attempt is counted by: first the account, then the address, for IPv6 its /64 network; the latter in all realms
 * together.
 *
 * @param subject the user's id, so that username and e-mail address share one; for a name that nobody has, what stands
 *   for all its spellings and cannot be an id. Must not contain the name itself: people type passwords into that field
 * @param caller from an address that the user signed in from before, attempts are counted apart: whoever tries passwords
 *   elsewhere must not keep the owner out
 */
export function throttleKeys(
  realm: string,
  subject: string,
  { address, isKnown }: CallerAddress,
  nowSeconds: number,
): readonly ThrottleKey[] {
  const place = isKnown && address !== null ? ` from ${callerNetwork(address)}` : "";
  const account = { key: `account:${realm}/${subject}${place}`, rule: ACCOUNT_RULE };
  if (address === null) return [account];
  const window = Math.floor(nowSeconds / ADDRESS_WINDOW_SECONDS);
  return [account, { key: `address:${window}/${callerNetwork(address)}`, rule: ADDRESS_RULE }];
}
