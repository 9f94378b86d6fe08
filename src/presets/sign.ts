// What every preset that issues needs: the stores it signs people in from, and tokens by the key that the origin verifies with.
import { base64url } from "jose";
import type { JwtIssuer, Site } from "../config/types.ts";
import type { RequestContext } from "../context.ts";
import type { Services } from "../control/services.ts";
import { hmacSha256 } from "../crypto/hmac.ts";
import { Problem } from "../problem.ts";

/** These systems know no other. */
export const ALGORITHM = "HS256";
/** The same for every token signed here. */
const HEADER = base64url.encode(`{"alg":"${ALGORITHM}","typ":"JWT"}`);

const encoder = new TextEncoder();

/** @throws Problem `store_unavailable` without D1 */
export function servicesOf({ runtime }: RequestContext): Services {
  if (runtime.services === null) throw new Problem("store_unavailable", "no D1 is bound");
  return runtime.services;
}

/**
 * Whom a site's own tokens are signed as: what its `jwt` table says of the system's, with its key.
 * @throws Problem `config_invalid` where the site has no shared secret
 */
export function signerOf({
  jwtIssuers,
}: Pick<Site, "jwtIssuers">): JwtIssuer & { readonly secret: Uint8Array } {
  for (const issuer of jwtIssuers) {
    const { keys, algorithms } = issuer;
    if (keys.kind === "secret" && algorithms.includes(ALGORITHM)) return { ...issuer, secret: keys.secret };
  }
  throw new Problem("config_invalid", `no jwt table with an ${ALGORITHM} secret to sign with`);
}

/** A compact JWS, typ `JWT` (RFC 7515 §7.1). Members that are `undefined` are left out. */
export async function signToken(claims: object, secret: Uint8Array): Promise<string> {
  const signed = `${HEADER}.${base64url.encode(JSON.stringify(claims))}`;
  return `${signed}.${base64url.encode(await hmacSha256(secret, encoder.encode(signed)))}`;
}
