// Signing in, refreshing, signing out.
import * as v from "valibot";
import type { Actor } from "../audit.ts";
import { remainingScopes, scopesOfRole } from "../config/role-scopes.ts";
import type { Realm } from "../config/types.ts";
import type { RequestContext } from "../context.ts";
import { mintSessionCookie, randomBase62 } from "../crypto/credential-format.ts";
import { storedDigests } from "../crypto/digest.ts";
import { signAccessToken } from "../issuer/access-token.ts";
import { readRefreshToken, signRefreshToken } from "../issuer/refresh-token.ts";
import { checkPassword, newestPepper } from "../issuer/sign-in.ts";
import { Problem } from "../problem.ts";
import type { UserView } from "../store/directory.ts";
import type { LiveSession } from "../store/session-chains.ts";
import { auditEntry } from "./call.ts";
import { admit } from "./caller.ts";
import { ANYONE, type Call, endpoint, USER_WRITES } from "./endpoint.ts";
import { Password, RealmName, Word } from "./fields.ts";
import { invalid } from "./input.ts";
import { longestTokenSeconds, realmOfUsers } from "./realm.ts";
import { toUser, User } from "./resources.ts";
import type { Services } from "./services.ts";

/** Long enough for any scheme of digest, so that no cause of failure is faster than another. */
const FAILURE_TAKES_MS = 750;
const MAX_USER_AGENT_LENGTH = 256;

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
const SignedIn = v.union([
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
    answer: SignedIn,
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
  const failureMayShow = scheduler.wait(FAILURE_TAKES_MS);
  const realm = realmOfUsers(body.realm ?? null, context);
  if (realm.signIn === null) {
    throw invalid([{ field: "realm", message: "must be one with sign_in: nobody signs in to this one" }]);
  }
  const isCookie = body.session === "cookie";
  if (isCookie && realm.signIn.cookie === null) {
    throw invalid([{ field: "session", message: "must be token: this realm has no cookies" }]);
  }
  const account = await checkPassword(
    {
      realm,
      name: body.username ?? body.email ?? "",
      password: body.password,
      address: context.clientAddress,
      nowSeconds: context.nowSeconds,
      audit: (actor, action, target, details) => auditEntry(context, actor, action, target, details),
      failureMayShow,
    },
    services,
  );
  const user = await services.directory.user(realm.name, account.userId);
  if (user === null) throw new Problem("sign_in_failed", "deleted meanwhile");
  const scopes = chosenScopes(body.scope, scopesOfRole(realm, user.role));
  const granted = { realm, user, scopes, verifiedHash: account.password.hash, context, services };
  return isCookie ? beginCookie(granted) : beginTokens(granted);
}

const wordsOf = (text: string) => text.split(" ").filter((word) => word !== "");

/** What was asked for, as far as it can be had; everything where nothing was (RFC 6749 §3.3). */
function chosenScopes(asked: string | undefined, possible: readonly string[]): readonly string[] {
  if (asked === undefined) return possible;
  const words = wordsOf(asked);
  return possible.filter((scope) => words.includes(scope));
}

/** A sign-in that succeeded, on the way to its session. */
interface Granted {
  readonly realm: Realm;
  readonly user: UserView;
  readonly scopes: readonly string[];
  /** What the password was found right by: if it is another one by now, there will be no session. */
  readonly verifiedHash: string;
  readonly context: RequestContext;
  readonly services: Services;
}

/** @returns when the session ends, at the latest. @throws Problem `sign_in_failed` */
async function begin(
  { realm, user, scopes, verifiedHash, context, services }: Granted,
  kind: "cookie" | "token",
  id: string,
  digest: string,
): Promise<number> {
  if (realm.signIn === null) throw new Problem("config_invalid", "no sign-in");
  const { nowSeconds, clientAddress, arrival } = context;
  const { idleSeconds, sessionSeconds } = realm.signIn;
  const actor = { kind: "user", realm: realm.name, id: user.id, credentialId: id } as const;
  const target = { kind: "session", realm: realm.name, id } as const;
  const expiresAtSeconds =
    nowSeconds + (kind === "cookie" ? Math.min(idleSeconds, sessionSeconds) : sessionSeconds);
  const isBegun = await services.writes
    .audited(auditEntry(context, actor, "session.created", target, { user: user.id, kind }))
    .createSession(
      {
        id,
        realm: realm.name,
        userId: user.id,
        kind,
        digest,
        pepper: newestPepper(services).id,
        scopes,
        createdAtSeconds: nowSeconds,
        expiresAtSeconds,
        idleExpiresAtSeconds: kind === "cookie" ? null : nowSeconds + idleSeconds,
        lastUsedAtSeconds: nowSeconds,
        address: clientAddress,
        userAgent: arrival.request.headers.get("user-agent")?.slice(0, MAX_USER_AGENT_LENGTH) ?? null,
      },
      verifiedHash,
    );
  if (!isBegun) throw new Problem("sign_in_failed", "disabled, or another password meanwhile");
  context.trace.principalId = user.id;
  context.trace.credentialId = id;
  return expiresAtSeconds;
}

const newSessionId = () => `ses_${randomBase62(22)}`;

async function beginTokens(granted: Granted) {
  const { realm, user, context, services } = granted;
  const id = newSessionId();
  await begin(granted, "token", id, "");
  const presented = { sessionId: id, counter: 0, pepper: newestPepper(services).id };
  const session = await services.chains.peek(presented, context.nowSeconds);
  if (session === null) throw new Problem("sign_in_failed", "ended meanwhile");
  return tokensOf(session, realm, user, context, services);
}

async function beginCookie(granted: Granted) {
  const { realm, user, scopes, context, services } = granted;
  const id = newSessionId();
  const { value, secret } = await mintSessionCookie(id, services.config.secrets.tagSecrets);
  const [digest = ""] = await storedDigests(secret, [newestPepper(services)]);
  const expiresAtSeconds = await begin(granted, "cookie", id, digest);
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

/** The row tells the realm only once it has been read, and a denial may last longer than it must. */
function longestAccessSeconds({ config }: Services): number {
  return Math.max(...[...config.realms.values()].map((realm) => longestTokenSeconds(config, realm)));
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
  await end(realm, id, { kind: "user", realm, id: userId, credentialId: id }, context, services);
  return true;
}

async function end(realm: string, id: string, actor: Actor, context: RequestContext, services: Services) {
  const { nowSeconds } = context;
  const entry = auditEntry(context, actor, "session.ended", { kind: "session", realm, id });
  await services.writes
    .audited(entry)
    .endSessions({ realm, id }, nowSeconds, nowSeconds + longestAccessSeconds(services));
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
  await end(caller.realm.name, sessionId, caller.actor, context, services);
  const response = new Response(null, init);
  const cookie = caller.realm.signIn?.cookie ?? null;
  if (cookie !== null) response.headers.set("set-cookie", cookieOf(cookie, "", 0));
  return response;
}
