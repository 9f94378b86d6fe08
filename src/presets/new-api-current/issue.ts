// Issue mode of the current New API: a short dashboard token, and a cookie that is exchanged for the next one.
import { auditEntry } from "../../audit.ts";
import { scopesOfRole } from "../../config/role-scopes.ts";
import type { Site } from "../../config/types.ts";
import type { RequestContext } from "../../context.ts";
import type { Services } from "../../control/services.ts";
import { beginSession, endSessions, longestAccessSeconds } from "../../issuer/sessions.ts";
import { newestPepper } from "../../issuer/sign-in.ts";
import { cookieValues } from "../../pipeline/pieces.ts";
import { isFromOtherPage } from "../../pipeline/verify/same-origin.ts";
import { Problem } from "../../problem.ts";
import type { SessionView, UserView } from "../../store/directory.ts";
import type { LiveSession, PresentedRefresh } from "../../store/session-chains.ts";
import type { AnswerCall, Answers } from "../answer.ts";
import { ginJson, signInByBody, toNewApiUser } from "../new-api/sign-in.ts";
import { servicesOf, signerOf, signToken } from "../sign.ts";
import { REFRESH_COOKIE, readRefreshValue, refreshCookie, refreshValue } from "./cookie.ts";

export const newApiCurrentAnswers: Answers = {
  "new-api-current.login": login,
  "new-api-current.refresh": refresh,
  "new-api-current.logout": logout,
};

/** For an answer that got lost, and for a second tab. */
const GRACE_SECONDS = 30;
/** Tokens are good a little earlier than they are made, for origins whose clocks are behind. */
const NOT_BEFORE_SECONDS = 5;
/** Which version of the user and of the session a token is of: here a session that has changed has ended. */
const ONLY_VERSION = 1;

/** `POST /api/user/login`. */
async function login(call: AnswerCall): Promise<Response> {
  const { context, match } = call;
  const services = servicesOf(context);
  const signedIn = await signInByBody(call, services);
  const { realm, user } = signedIn;
  const id = crypto.randomUUID();
  const scopes = scopesOfRole(realm, user.role);
  await beginSession(signedIn, { id, kind: "token", digest: "", scopes }, context, services);
  const presented = { sessionId: id, counter: 0, pepper: newestPepper(services).id };
  const session = await services.chains.peek(presented, context.nowSeconds);
  if (session === null) throw new Problem("sign_in_failed", "ended meanwhile");
  return bundle(session, user, match.site, context, services);
}

/**
 * `POST /api/user/auth/refresh`: the next cookie and a new token for the current cookie. The one before it is answered
 * again for half a minute; any other ends the session.
 */
async function refresh({ context, match }: AnswerCall): Promise<Response> {
  const services = servicesOf(context);
  const { nowSeconds } = context;
  const realm = match.site.realm.name;
  const presented = await presentedCookie(match, context, services);
  if (presented === null) throw new Problem("credential_missing", "no cookie that was made here");
  context.trace.credentialId = presented.sessionId;
  const advance = await services.chains.advance(
    presented,
    {
      nowSeconds,
      denyUntilSeconds: nowSeconds + longestAccessSeconds(services),
      graceSeconds: GRACE_SECONDS,
    },
    (action) =>
      auditEntry(context, { kind: "anonymous" }, action, { kind: "session", realm, id: presented.sessionId }),
  );
  if (advance.kind === "reused") await services.catchUp(context.background);
  const user = advance.kind === "live" ? await services.directory.user(realm, advance.session.userId) : null;
  if (advance.kind !== "live" || user === null) {
    throw new Problem("credential_invalid", `refresh cookie: ${advance.kind}`, { reject: "revoked" });
  }
  context.trace.principalId = user.id;
  return bundle(advance.session, user, match.site, context, services);
}

/** `POST /api/user/auth/logout`: ends the session of the cookie. Whether there was one makes no difference. */
async function logout({ context, match }: AnswerCall): Promise<Response> {
  const services = servicesOf(context);
  const { site } = match;
  const presented = await presentedCookie(match, context, services);
  const session = presented === null ? null : await services.directory.session(presented.sessionId);
  if (session !== null) {
    const { realm, id, userId } = session;
    const actor = { kind: "user", realm, id: userId, credentialId: id } as const;
    await endSessions({ realm, id }, actor, context, services);
    await services.catchUp(context.background);
  }
  const cookie = refreshCookie(site, "", 0, context.arrival.scheme);
  return ginJson({ message: "", success: true }, { "set-cookie": cookie });
}

/**
 * The session that the request's cookie names; `null`: no cookie, or none that was made here.
 * @throws Problem `permission_denied` for a page of another origin; `changed_meanwhile` where the page says that it is
 *   signed in to another session than its browser, as happens with two accounts in two tabs
 */
async function presentedCookie(
  match: AnswerCall["match"],
  context: RequestContext,
  { config }: Services,
): Promise<PresentedRefresh | null> {
  const { headers } = context.arrival.request;
  if (isFromOtherPage(match, context)) {
    throw new Problem("permission_denied", "a page of another origin", { reject: "cross_site" });
  }
  const [value = "", ...others] = cookieValues(headers.get("cookie") ?? "", REFRESH_COOKIE);
  if (others.some((other) => other !== value)) return null;
  const presented = await readRefreshValue(match.site.realm.name, value, config.secrets.peppers);
  const expected = headers.get("x-auth-session");
  if (presented !== null && expected !== null && expected !== presented.sessionId) {
    throw new Problem("changed_meanwhile", "the page is of another session");
  }
  return presented;
}

/** What a sign-in and a refresh answer: a token, the user, the session, and the cookie for the next time. */
async function bundle(
  session: LiveSession,
  user: UserView,
  site: Site,
  context: RequestContext,
  services: Services,
): Promise<Response> {
  const { nowSeconds, arrival } = context;
  const pepper = services.config.secrets.peppers.find(({ id }) => id === session.pepper);
  if (pepper === undefined) throw new Problem("credential_invalid", "the session's pepper is gone");
  const row = await services.directory.session(session.id);
  if (row === null) throw new Problem("credential_invalid", "ended meanwhile", { reject: "revoked" });
  const endsAtSeconds = Math.min(session.expiresAtSeconds, session.idleExpiresAtSeconds);
  const access = await signDashboardToken(session, endsAtSeconds, site);
  const value = await refreshValue(session.realm, session.id, session.counter, pepper);
  const cookie = refreshCookie(site, value, endsAtSeconds - nowSeconds, arrival.scheme);
  const content = {
    success: true,
    message: "",
    data: {
      access_token: access.token,
      token_type: "Bearer",
      access_expires_at: access.expiresAtSeconds,
      user: toNewApiUser(user),
      session: toSession(row, endsAtSeconds),
    },
  };
  return ginJson(content, { "set-cookie": cookie });
}

function toSession(row: SessionView, expiresAtSeconds: number) {
  return {
    sid: row.id,
    current: true,
    login_method: "password",
    ip: row.address ?? "",
    user_agent: row.userAgent ?? "",
    created_at: row.createdAtSeconds,
    last_active_at: row.lastUsedAtSeconds ?? row.createdAtSeconds,
    expires_at: expiresAtSeconds,
  };
}

/** By the key, issuer and audience that the site verifies such tokens with. No token outlives its session. */
async function signDashboardToken(session: LiveSession, endsAtSeconds: number, site: Site) {
  const { issuer, audience, secret } = signerOf(site);
  const { issuedAtSeconds } = session;
  const accessSeconds = site.realm.signIn?.accessSeconds ?? 0;
  const expiresAtSeconds = Math.min(issuedAtSeconds + accessSeconds, endsAtSeconds);
  const payload = {
    token_use: "access",
    sid: session.id,
    uv: ONLY_VERSION,
    sv: ONLY_VERSION,
    iss: issuer,
    sub: session.userId,
    aud: audience,
    exp: expiresAtSeconds,
    nbf: issuedAtSeconds - NOT_BEFORE_SECONDS,
    iat: issuedAtSeconds,
    jti: crypto.randomUUID(),
  };
  return { token: await signToken(payload, secret), expiresAtSeconds };
}
