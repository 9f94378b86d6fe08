// Signing in, refreshing, signing out.
import * as v from "valibot";
import { type Actor, auditEntry } from "../audit.ts";
import { remainingScopes, scopesOfRole } from "../config/role-scopes.ts";
import type { Realm } from "../config/types.ts";
import type { RequestContext } from "../context.ts";
import { mintSessionCookie, randomBase62 } from "../crypto/credential-format.ts";
import { storedDigests } from "../crypto/digest.ts";
import { signAccessToken } from "../issuer/access-token.ts";
import { readRefreshToken, signRefreshToken } from "../issuer/refresh-token.ts";
import {
  beginSession,
  endSessions,
  failureMayShow,
  longestAccessSeconds,
  type SignedIn,
  signInByPassword,
} from "../issuer/sessions.ts";
import { newestPepper } from "../issuer/sign-in.ts";
import { Problem } from "../problem.ts";
import type { UserView } from "../store/directory.ts";
import type { LiveSession } from "../store/session-chains.ts";
import { admit } from "./caller.ts";
import { ANYONE, type Call, endpoint, USER_WRITES } from "./endpoint.ts";
import { Password, RealmName, Word } from "./fields.ts";
import { invalid } from "./input.ts";
import { realmOfUsers } from "./realm.ts";
import { toUser, User } from "./resources.ts";
import type { Services } from "./services.ts";

const Name = v.pipe(v.string(), v.minLength(1, "must not be empty"), v.maxLength(254, "is too long"));

const LoginBody = v.pipe(
  v.strictObject({
    realm: v.optional(RealmName),
    username: v.optional(Name),
    email: v.optional(Name),
    password: Password,
    /** Fewer than the user could have; RFC 6749 §3.3. */
    scope: v.optional(
      v.pipe(
        v.string(),
        v.check(
          (text) => wordsOf(text).every((word) => v.is(Word, word)),
          "must be scopes, separated by blanks",
        ),
      ),
    ),
    session: v.optional(v.picklist(["token", "cookie"], "must be token or cookie")),
  }),
  v.forward(
    v.check(
      ({ username, email }) => (username === undefined) !== (email === undefined),
      "is required, or email instead of it",
    ),
    ["username"],
  ),
);

const Tokens = {
  access_token: v.string(),
  refresh_token: v.string(),
  token_type: v.literal("Bearer"),
  expires_in: v.number(),
  refresh_expires_in: v.number(),
  scope: v.string(),
};
const SignInAnswer = v.union([
  v.strictObject({ ...Tokens, user: User }),
  v.strictObject({ session_id: v.string(), expires_in: v.number(), scope: v.string(), user: User }),
]);

type AnyoneCall<Body> = Call<null, Body, { readonly for: "anyone"; readonly actor: Actor }>;

export const authEndpoints = [
  endpoint({
    method: "POST",
    path: "/auth/login",
    id: "signIn",
    summary: "Sign in with a username or an e-mail address and a password, for tokens or a session cookie",
    access: ANYONE,
    query: null,
    body: LoginBody,
    status: 200,
    answer: SignInAnswer,
    handle: signIn,
  }),
  endpoint({
    method: "POST",
    path: "/auth/refresh",
    id: "refresh",
    summary: "Exchange the current refresh token for a new pair of tokens",
    access: ANYONE,
    query: null,
    body: v.strictObject({ refresh_token: v.string() }),
    status: 200,
    answer: v.strictObject({ ...Tokens, user: User }),
    handle: refresh,
  }),
  endpoint({
    method: "POST",
    path: "/auth/logout",
    id: "signOut",
    summary: "End the session of a refresh token, or of the access token or cookie that is presented",
    access: ANYONE,
    query: null,
    body: v.strictObject({ realm: v.optional(RealmName), refresh_token: v.optional(v.string()) }),
    status: 204,
    answer: null,
    handle: signOut,
  }),
];

async function signIn({ context, services, body }: AnyoneCall<v.InferOutput<typeof LoginBody>>) {
  const mayFail = failureMayShow();
  const realm = realmOfUsers(body.realm ?? null, context);
  if (realm.signIn === null) {
    throw invalid([{ field: "realm", message: "must be one with sign_in: nobody signs in to this one" }]);
  }
  const isCookie = body.session === "cookie";
  if (isCookie && realm.signIn.cookie === null) {
    throw invalid([{ field: "session", message: "must be token: this realm has no cookies" }]);
  }
  const name = body.username ?? body.email ?? "";
  const signedIn = await signInByPassword(
    { realm, name, password: body.password },
    mayFail,
    context,
    services,
  );
  const scopes = chosenScopes(body.scope, scopesOfRole(realm, signedIn.user.role));
  return isCookie
    ? beginCookie(signedIn, scopes, context, services)
    : beginTokens(signedIn, scopes, context, services);
}

const wordsOf = (text: string) => text.split(" ").filter((word) => word !== "");

/** What was asked for, as far as it can be had; everything where nothing was (RFC 6749 §3.3). */
function chosenScopes(asked: string | undefined, possible: readonly string[]): readonly string[] {
  if (asked === undefined) return possible;
  const words = wordsOf(asked);
  return possible.filter((scope) => words.includes(scope));
}

const newSessionId = () => `ses_${randomBase62(22)}`;

async function beginTokens(
  signedIn: SignedIn,
  scopes: readonly string[],
  context: RequestContext,
  services: Services,
) {
  const id = newSessionId();
  await beginSession(signedIn, { id, kind: "token", digest: "", scopes }, context, services);
  const presented = { sessionId: id, counter: 0, pepper: newestPepper(services).id };
  const session = await services.chains.peek(presented, context.nowSeconds);
  if (session === null) throw new Problem("sign_in_failed", "ended meanwhile");
  return tokensOf(session, signedIn.realm, signedIn.user, context, services);
}

async function beginCookie(
  signedIn: SignedIn,
  scopes: readonly string[],
  context: RequestContext,
  services: Services,
) {
  const { realm, user } = signedIn;
  const id = newSessionId();
  const { value, secret } = await mintSessionCookie(id, services.config.secrets.tagSecrets);
  const [digest = ""] = await storedDigests(secret, [newestPepper(services)]);
  const session = { id, kind: "cookie", digest, scopes } as const;
  const expiresAtSeconds = await beginSession(signedIn, session, context, services);
  const content = {
    session_id: id,
    expires_in: expiresAtSeconds - context.nowSeconds,
    scope: scopes.join(" "),
    user: toUser(user),
  };
  // The browser keeps it to the session's absolute end; the row decides how long it counts.
  const cookie = cookieOf(realm.signIn?.cookie ?? "", value, realm.signIn?.sessionSeconds ?? 0);
  return Response.json(content, { headers: { "cache-control": "no-store", "set-cookie": cookie } });
}

/** RFC 6265bis §4.1.3.2: `__Host-` demands Secure, Path=/ and no Domain. */
function cookieOf(name: string, value: string, maxAgeSeconds: number): string {
  return `${name}=${value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=${maxAgeSeconds}`;
}

async function tokensOf(
  session: LiveSession,
  realm: Realm,
  user: UserView,
  context: RequestContext,
  { config, signer }: Services,
) {
  const pepper = config.secrets.peppers.find(({ id }) => id === session.pepper);
  if (pepper === undefined) throw new Problem("credential_invalid", "the session's pepper is gone");
  const scopes = remainingScopes(session.scopes, realm, session.role);
  const endsAtSeconds = Math.min(session.expiresAtSeconds, session.idleExpiresAtSeconds);
  const access = await signAccessToken(
    {
      realm,
      userId: session.userId,
      sessionId: session.id,
      scopes,
      issuedAtSeconds: session.issuedAtSeconds,
      sessionEndsAtSeconds: endsAtSeconds,
    },
    config.gateway,
    signer,
  );
  return {
    access_token: access.token,
    refresh_token: await signRefreshToken(session.id, session.counter, pepper),
    token_type: "Bearer",
    expires_in: access.expiresInSeconds,
    refresh_expires_in: endsAtSeconds - context.nowSeconds,
    scope: scopes.join(" "),
    user: toUser(user),
  };
}

async function refresh({ context, services, body }: AnyoneCall<{ readonly refresh_token: string }>) {
  const { nowSeconds } = context;
  const { config, chains, directory } = services;
  const presented = await readRefreshToken(body.refresh_token, config.secrets.peppers);
  if (presented === null) throw new Problem("credential_invalid", "refresh token: malformed");
  context.trace.credentialId = presented.sessionId;
  const advance = await chains.advance(
    presented,
    { nowSeconds, denyUntilSeconds: nowSeconds + longestAccessSeconds(services) },
    (action) =>
      auditEntry(context, { kind: "anonymous" }, action, {
        kind: "session",
        realm: "",
        id: presented.sessionId,
      }),
  );
  if (advance.kind === "reused") await services.catchUp(context.background);
  if (advance.kind !== "live") throw new Problem("credential_invalid", `refresh token: ${advance.kind}`);
  const { session } = advance;
  context.trace.principalId = session.userId;
  const realm = config.realms.get(session.realm);
  const user = await directory.user(session.realm, session.userId);
  if (realm === undefined || realm.signIn === null || user === null) {
    throw new Problem("credential_invalid", "refresh token: its realm or user is gone");
  }
  return tokensOf(session, realm, user, context, services);
}

/**
 * Ends the session of a refresh token. Whoever holds any token of the chain may: the worst that a thief can do with it
 * helps its owner.
 * @returns whether the gateway made it; the session may be over already
 */
export async function endByRefreshToken(
  token: string,
  context: RequestContext,
  services: Services,
): Promise<boolean> {
  const presented = await readRefreshToken(token, services.config.secrets.peppers);
  if (presented === null) return false;
  const session = await services.directory.session(presented.sessionId);
  if (session === null) return true;
  const { realm, id, userId } = session;
  const actor = { kind: "user", realm, id: userId, credentialId: id } as const;
  await endSessions({ realm, id }, actor, context, services);
  return true;
}

async function signOut({
  context,
  services,
  body,
}: AnyoneCall<{ readonly realm?: string | undefined; readonly refresh_token?: string | undefined }>) {
  const init = { status: 204, headers: { "cache-control": "no-store" } };
  if (body.refresh_token !== undefined) {
    if (await endByRefreshToken(body.refresh_token, context, services)) return new Response(null, init);
    throw new Problem("credential_invalid", "refresh token: malformed");
  }
  const caller = await admit(USER_WRITES, () => realmOfUsers(body.realm ?? null, context), context);
  if (caller.for !== "user") throw new Problem("credential_missing", "nobody");
  const { sessionId } = caller.principal.credential;
  if (sessionId === null) throw new Problem("credential_invalid", "the token names no session");
  await endSessions({ realm: caller.realm.name, id: sessionId }, caller.actor, context, services);
  const response = new Response(null, init);
  const cookie = caller.realm.signIn?.cookie ?? null;
  if (cookie !== null) response.headers.set("set-cookie", cookieOf(cookie, "", 0));
  return response;
}
