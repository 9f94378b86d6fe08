// Pairs of tokens as Cloudreve signs them, and what it reads in one that is sent to it in a body.
import { compactVerify } from "jose";
import type { Site } from "../../config/types.ts";
import { hmacKey } from "../../crypto/hmac.ts";
import type { Claims } from "../../pipeline/verify/claims.ts";
import { readCompactJws } from "../../pipeline/verify/compact-jws.ts";
import { readStrictObject } from "../../pipeline/verify/strict-json.ts";
import type { LiveSession } from "../../store/session-chains.ts";
import { ALGORITHM, signerOf, signToken } from "../sign.ts";

/** The origin allows its clock no leeway, so tokens are good a little earlier than they are made. */
const NOT_BEFORE_SECONDS = 5;

const encoder = new TextEncoder();

/** In the order of the original. */
export interface TokenPair {
  readonly access_token: string;
  readonly refresh_token: string;
  readonly access_expires: string;
  readonly refresh_expires: string;
}

/**
 * Signs a pair for a session, by the key that the origin verifies with. The session's id is the `root_token_id` of all
 * its refresh tokens and the `sid` of its access tokens, which the original does not have: by it they end with the session.
 * `iat` is there for what was "issued before".
 *
 * @throws Problem `config_invalid` where the site has no such key
 */
export async function signPair(
  { id, userId, issuedAtSeconds, expiresAtSeconds, idleExpiresAtSeconds }: LiveSession,
  stateHash: string,
  site: Site,
): Promise<TokenPair> {
  const { secret } = signerOf(site);
  const refreshEndsAtSeconds = Math.min(expiresAtSeconds, idleExpiresAtSeconds);
  const accessSeconds = site.realm.signIn?.accessSeconds ?? 0;
  const accessEndsAtSeconds = Math.min(issuedAtSeconds + accessSeconds, refreshEndsAtSeconds);
  const times = { nbf: issuedAtSeconds - NOT_BEFORE_SECONDS, iat: issuedAtSeconds };
  const access = { token_type: "access", sub: userId, exp: accessEndsAtSeconds, ...times, sid: id };
  const refresh = {
    ...{ token_type: "refresh", sub: userId, exp: refreshEndsAtSeconds, ...times },
    ...{ state_hash: stateHash, root_token_id: id },
  };
  return {
    access_token: await signToken(access, secret),
    refresh_token: await signToken(refresh, secret),
    access_expires: rfc3339(accessEndsAtSeconds),
    refresh_expires: rfc3339(refreshEndsAtSeconds),
  };
}

/**
 * The claims of a token of any use, if its signature is good and its time is now; `null`: not. No leeway, and one that
 * never ends is none.
 */
export async function readSigned(token: string, site: Site, nowSeconds: number): Promise<Claims | null> {
  const { secret } = signerOf(site);
  if (readCompactJws(token)?.algorithm !== ALGORITHM) return null;
  let payload: Uint8Array;
  try {
    ({ payload } = await compactVerify(token, await hmacKey(secret, "SHA-256"), { algorithms: [ALGORITHM] }));
  } catch {
    return null;
  }
  const claims = readStrictObject(payload);
  const { exp, nbf = 0 } = claims ?? {};
  const isNow = typeof exp === "number" && typeof nbf === "number" && nbf <= nowSeconds && nowSeconds < exp;
  return isNow ? claims : null;
}

/** What a refresh token is bound to: another e-mail address or password makes another one. Standard base64. */
export async function stateHashOf(email: string, passwordDigest: string, siteId: string): Promise<string> {
  const state = encoder.encode(`${email}/${passwordDigest}/${siteId}`);
  return btoa(String.fromCharCode(...new Uint8Array(await crypto.subtle.digest("SHA-256", state))));
}

/** With a fraction and an offset, as Go writes a time that has both. */
export const rfc3339 = (seconds: number): string =>
  `${new Date(seconds * 1_000).toISOString().slice(0, -1)}+00:00`;
