// The two people of the demo realm and what they sign in with.
import { createHmac, randomUUID } from "node:crypto";
import { SignJWT } from "jose";
import type { NamedSecret } from "../../src/config/secrets.ts";
import { type SessionCookie, tagged, taggedSession } from "../../src/crypto/credential-format.ts";

/** `SITE_DEMO` of `wrangler.toml`. */
export const DEMO_SITE = "demo";
export const SESSION_COOKIE = "postern_session";

export interface DemoAccount {
  readonly id: string;
  readonly username: string;
  readonly name: string;
  readonly role: string;
  readonly permissions: readonly string[];
  /** Of the key, PAT, session and JWT alike. */
  readonly scopes: readonly string[];
}

export const DEMO_USER: DemoAccount = {
  id: "7",
  username: "alice",
  name: "Alice",
  role: "user",
  permissions: [],
  scopes: ["notes.read"],
};

export const DEMO_ADMIN: DemoAccount = {
  id: "1",
  username: "carol",
  name: "Carol",
  role: "admin",
  permissions: ["audit.read"],
  scopes: ["notes.read", "notes.write"],
};

/** The secrets of one account, in the clear. Printed, never stored. */
export interface DemoCredentials {
  readonly account: DemoAccount;
  readonly apiKey: string;
  readonly pat: string;
  readonly sessionId: string;
  readonly session: SessionCookie;
}

const BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/**
 * The account's stored credentials. They come out the same for the same `seed`, so that a restart prints what already
 * works and nothing but digests is kept.
 */
export async function demoCredentials(
  account: DemoAccount,
  { seed, prefix, tagSecrets }: { seed: string; prefix: string; tagSecrets: readonly NamedSecret[] },
): Promise<DemoCredentials> {
  const random = (purpose: string, length: number) => derivedBase62(seed, `${purpose}:${account.id}`, length);
  const sessionId = random("session-id", 22);
  return {
    account,
    apiKey: `${prefix}${await tagged("api_key", random("api_key", 40), tagSecrets)}`,
    pat: await tagged("pat", random("pat", 24), tagSecrets),
    sessionId,
    session: await taggedSession(sessionId, random("session", 32), tagSecrets),
  };
}

/** An access token as the demo's identity provider would issue it, good for 12 hours. */
export async function mintDemoJwt(
  account: DemoAccount,
  provider: { readonly issuer: string; readonly audience: string; readonly secret: Uint8Array },
): Promise<string> {
  return new SignJWT({ scope: account.scopes.join(" ") })
    .setProtectedHeader({ alg: "HS256", typ: "JWT" })
    .setIssuer(provider.issuer)
    .setAudience(provider.audience)
    .setSubject(account.id)
    .setJti(randomUUID())
    .setIssuedAt()
    .setExpirationTime("12h")
    .sign(provider.secret);
}

/** Base62 characters from HMAC-SHA-512; bytes that would favour some characters are skipped. */
function derivedBase62(seed: string, purpose: string, length: number): string {
  let text = "";
  for (let block = 0; text.length < length; block += 1) {
    const bytes = createHmac("sha512", seed).update(`postern demo:${purpose}:${block}`).digest();
    for (const byte of bytes) {
      if (byte < 248 && text.length < length) text += BASE62.charAt(byte % BASE62.length);
    }
  }
  return text;
}
