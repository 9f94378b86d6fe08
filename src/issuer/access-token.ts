// Access tokens: JWTs as RFC 9068 has them, signed with the gateway's own keys, good for the sites of one realm.
import { base64url } from "jose";
import type { GatewayConfig, Realm } from "../config/types.ts";
import type { CompactSigner } from "../crypto/context-signer.ts";
import { Problem } from "../problem.ts";

export interface Grant {
  readonly realm: Realm;
  readonly userId: string;
  readonly sessionId: string;
  readonly scopes: readonly string[];
  /** `iat`. */
  readonly issuedAtSeconds: number;
  /** No token outlives its session. */
  readonly sessionEndsAtSeconds: number;
}

export interface AccessToken {
  readonly token: string;
  readonly expiresInSeconds: number;
}

/**
 * Signs an access token: typ `at+jwt`, `token_type: "access"`, `aud` the realm, `sid` the session, a random `jti`.
 * Role and permissions are left out: they are looked up on each request.
 *
 * @throws Problem `config_invalid` for a realm without sign-in
 * @see RFC 9068 §2
 */
export async function signAccessToken(
  grant: Grant,
  gateway: GatewayConfig,
  signer: CompactSigner,
): Promise<AccessToken> {
  const { realm, userId, sessionId, scopes, issuedAtSeconds, sessionEndsAtSeconds } = grant;
  if (realm.signIn === null) throw new Problem("config_invalid", `nobody signs in to ${realm.name}`);
  const expiresAtSeconds = Math.min(issuedAtSeconds + realm.signIn.accessSeconds, sessionEndsAtSeconds);
  const payload = JSON.stringify({
    iss: gateway.issuer,
    aud: realm.name,
    sub: userId,
    client_id: "postern",
    iat: issuedAtSeconds,
    exp: expiresAtSeconds,
    jti: base64url.encode(crypto.getRandomValues(new Uint8Array(16))),
    sid: sessionId,
    scope: scopes.join(" "),
    token_type: "access",
  });
  const token = await signer.sign(
    payload,
    { algorithm: gateway.userContext.algorithm, secret: null },
    "at+jwt",
  );
  return { token, expiresInSeconds: expiresAtSeconds - issuedAtSeconds };
}
