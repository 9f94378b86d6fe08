// Issue mode: signing in, refreshing and signing out as NekoHub's clients know it, and who one is.
import { type Actor, auditEntry } from "../../audit.ts";
import { scopesOfRole } from "../../config/role-scopes.ts";
import type { RequestContext } from "../../context.ts";
import type { Services } from "../../control/services.ts";
import { passwordFormError } from "../../issuer/password-policy.ts";
import {
  beginSession,
  endSessions,
  failureMayShow,
  longestAccessSeconds,
  signInByPassword,
} from "../../issuer/sessions.ts";
import { newestPepper } from "../../issuer/sign-in.ts";
import { addCorsHeaders } from "../../pipeline/cors.ts";
import { Problem } from "../../problem.ts";
import type { UserView } from "../../store/directory.ts";
import type { LiveSession, PresentedRefresh } from "../../store/session-chains.ts";
import type { Principal, RejectReason } from "../../types.ts";
import type { AnswerCall, Answers } from "../answer.ts";
import { servicesOf, signerOf, signToken } from "../sign.ts";
import { readFields } from "./body.ts";
import { LONG_NAMES } from "./claims.ts";
import { newSessionId, type RefreshContent, readRefreshToken, writeRefreshToken } from "./refresh-token.ts";
import { permissionsOf, roleNames } from "./rights.ts";

export const nekohubAnswers: Answers = {
  "nekohub.login": login,
  "nekohub.refresh": refresh,
  "nekohub.logout": logout,
  "nekohub.me": me,
};

const MAX_NAME_LENGTH = 254;
/** None: 0 would be the rest of this second. */
const NO_GRACE_SECONDS = -1;

/** `POST /api/v1/auth/login`. Only who knows the password is told that the account is inactive. */
async function login(call: AnswerCall): Promise<Response> {
  const { context, match } = call;
  const services = servicesOf(context);
  const mayFail = failureMayShow();
  const { username, password } = await readFields(context, ["username", "password"]);
  const name = username.trim();
  const isName = name !== "" && name.length <= MAX_NAME_LENGTH && name.isWellFormed() && !name.includes("\0");
  if (!isName || password === "" || passwordFormError(password) !== null) {
    await mayFail;
    throw new Problem("sign_in_failed", "no name or no password");
  }
  const { realm } = match.site;
  const signedIn = await signInByPassword({ realm, name, password }, mayFail, context, services);
  const id = newSessionId();
  const scopes = scopesOfRole(realm, signedIn.user.role);
  await beginSession(signedIn, { id, kind: "token", digest: "", scopes }, context, services);
  const presented = { sessionId: id, counter: 0, pepper: newestPepper(services).id };
  const session = await services.chains.peek(presented, context.nowSeconds);
  if (session === null) throw new Problem("sign_in_failed", "ended meanwhile");
  return answerJson(await tokensOf(session, signedIn.user, call, services), call);
}

/**
 * `POST /api/v1/auth/refresh`: each token works once. One that was used before, or whose session was ended, ends all
 * sessions of its user; of many that arrive at once one is the first.
 */
async function refresh(call: AnswerCall): Promise<Response> {
  const { context, match } = call;
  const services = servicesOf(context);
  const { nowSeconds } = context;
  const { refreshToken } = await readFields(context, ["refreshToken"]);
  if (refreshToken.trim() === "") {
    throw new Problem("input_invalid", "refreshToken is blank", {
      reject: "malformed",
      errors: [{ field: "refreshToken", message: "refreshToken is required." }],
    });
  }
  const { peppers } = services.config.secrets;
  const presented = await readRefreshToken(refreshToken.trim(), match.site.realm.name, peppers);
  if (presented === null) throw refused("unknown");
  context.trace.credentialId = presented.sessionId;
  const advance = await services.chains.advance(
    presented,
    {
      nowSeconds,
      denyUntilSeconds: nowSeconds + longestAccessSeconds(services),
      graceSeconds: NO_GRACE_SECONDS,
    },
    (action) =>
      auditEntry(context, { kind: "anonymous" }, action, {
        kind: "session",
        realm: "",
        id: presented.sessionId,
      }),
  );
  if (advance.kind !== "live") throw refused(await whyDead(presented, context, services));
  const { session } = advance;
  context.trace.principalId = session.userId;
  const user = await services.directory.user(session.realm, session.userId);
  if (user === null) throw refused("owner_missing");
  return answerJson(await tokensOf(session, user, call, services), call);
}

const refused = (reject: RejectReason) =>
  new Problem("credential_invalid", `refresh token: ${reject}`, { reject });

/**
 * Why a token that was made here does not count, in the order in which clients are told: unknown, its user missing,
 * inactive, used before or ended, run out. Used before or ended: all sessions of its user are over after this.
 */
async function whyDead(
  presented: PresentedRefresh & RefreshContent,
  context: RequestContext,
  services: Services,
): Promise<RejectReason> {
  const { nowSeconds } = context;
  const fate = await services.chains.fate(presented.sessionId);
  if (fate === null) return presented.expiresAtSeconds <= nowSeconds ? "expired" : "unknown";
  const { realm, userId, ownerStatus } = fate;
  context.trace.principalId = userId;
  if (ownerStatus === "deleted") return "owner_missing";
  if (ownerStatus !== "active") return "owner_inactive";
  const isCurrent = !fate.isEnded && fate.counter === presented.counter;
  if (isCurrent && fate.endsAtSeconds <= nowSeconds) return "expired";
  // Whoever presented it may be a thief, or the one it was stolen from: nobody is signed in any more.
  await endSessions({ realm, userId }, { kind: "anonymous" }, context, services);
  await services.catchUp(context.background);
  return "revoked";
}

/** `POST /api/v1/auth/logout`: the same answer for a token that is unknown, somebody else's or over. */
async function logout(call: AnswerCall): Promise<Response> {
  const { context, match } = call;
  const services = servicesOf(context);
  const principal = someone(call.principal);
  const { refreshToken } = await readFields(context, ["refreshToken"]);
  const realm = match.site.realm.name;
  const presented = await readRefreshToken(refreshToken.trim(), realm, services.config.secrets.peppers);
  const session = presented === null ? null : await services.directory.session(presented.sessionId);
  if (session !== null && session.realm === realm && session.userId === principal.id) {
    const credentialId = principal.credential.sessionId ?? principal.credential.id;
    const actor: Actor = { kind: "user", realm, id: principal.id, credentialId };
    await endSessions({ realm, id: session.id }, actor, context, services);
    await services.catchUp(context.background);
  }
  return answerWith(null, 204, call);
}

/** `GET /api/v1/auth/me`. */
async function me(call: AnswerCall): Promise<Response> {
  const services = servicesOf(call.context);
  const { realm, id } = someone(call.principal);
  const user = await services.directory.user(realm, id);
  if (user === null) throw new Problem("credential_invalid", "the user is gone");
  return answerJson(await toUser(user, call.context, services), call);
}

function someone(principal: Principal | null): Principal {
  if (principal === null) throw new Problem("credential_missing", "nobody");
  return principal;
}

async function tokensOf(
  session: LiveSession,
  user: UserView,
  { context, match }: AnswerCall,
  services: Services,
) {
  const { realm } = match.site;
  const { issuer, audience, secret } = signerOf(match.site);
  const pepper = services.config.secrets.peppers.find(({ id }) => id === session.pepper);
  if (pepper === undefined) throw refused("unknown");
  const refreshEndsAtSeconds = Math.min(session.expiresAtSeconds, session.idleExpiresAtSeconds);
  const accessEndsAtSeconds = Math.min(
    session.issuedAtSeconds + (realm.signIn?.accessSeconds ?? 0),
    refreshEndsAtSeconds,
  );
  const shown = await toUser(user, context, services);
  const { permissions } = shown;
  const claims = {
    [LONG_NAMES.subject]: user.id,
    [LONG_NAMES.name]: shown.username,
    [LONG_NAMES.role]: roleNames(user.role).token,
    jti: crypto.randomUUID(),
    // As .NET writes a claim that is there several times, once, or not at all.
    permission: permissions.length > 1 ? permissions : permissions[0],
    sid: session.id,
    nbf: session.issuedAtSeconds,
    exp: accessEndsAtSeconds,
    iss: issuer ?? undefined,
    aud: audience?.[0],
  };
  const content: RefreshContent = {
    sessionId: session.id,
    counter: session.counter,
    expiresAtSeconds: refreshEndsAtSeconds,
  };
  return {
    accessToken: await signToken(claims, secret),
    refreshToken: await writeRefreshToken(content, realm.name, pepper),
    accessTokenExpiresAtUtc: utc(accessEndsAtSeconds),
    refreshTokenExpiresAtUtc: utc(refreshEndsAtSeconds),
    user: shown,
  };
}

async function toUser(user: UserView, { nowSeconds }: RequestContext, { directory }: Services) {
  const newest = await directory.sessions(
    { realm: user.realm, userId: user.id },
    { limit: 1, cursor: null },
    nowSeconds,
  );
  const signedInAtSeconds = newest.items[0]?.createdAtSeconds ?? null;
  return {
    id: user.id,
    username: user.username ?? user.email ?? user.id,
    role: roleNames(user.role).json,
    isActive: user.status === "active",
    createdAtUtc: utc(user.createdAtSeconds),
    updatedAtUtc: utc(user.updatedAtSeconds),
    lastLoginAtUtc: signedInAtSeconds === null ? null : utc(signedInAtSeconds),
    permissions: permissionsOf(user.role, user.permissions),
  };
}

/** As .NET writes a DateTimeOffset: no fraction where it is zero, and an offset where others write Z. */
function utc(seconds: number): string {
  return `${new Date(seconds * 1_000).toISOString().slice(0, 19)}+00:00`;
}

const answerJson = (data: object, call: AnswerCall) => answerWith(JSON.stringify({ data }), 200, call);

function answerWith(body: string | null, status: number, { match, context }: AnswerCall): Response {
  const { request, method } = context.arrival;
  const headers = new Headers({ "cache-control": "no-store" });
  if (body !== null) headers.set("content-type", "application/json; charset=utf-8");
  addCorsHeaders(headers, match, request);
  return new Response(method === "HEAD" ? null : body, { status, headers });
}
