// Issue mode of the classic New API: sessions in a cookie, and the one personal access token that a user has.

import { type AuditAction, auditEntry } from "../../audit.ts";
import { scopesOfRole } from "../../config/role-scopes.ts";
import { mint } from "../../control/credential-work.ts";
import type { Services } from "../../control/services.ts";
import { hasValidSessionTag, mintSessionCookie, randomBase62 } from "../../crypto/credential-format.ts";
import { storedDigests } from "../../crypto/digest.ts";
import { beginSession, endSessions } from "../../issuer/sessions.ts";
import { newestPepper } from "../../issuer/sign-in.ts";
import { RENEWAL_RULE } from "../../issuer/throttle-rules.ts";
import { cookieValues } from "../../pipeline/pieces.ts";
import { isFromOtherPage } from "../../pipeline/verify/same-origin.ts";
import { Problem } from "../../problem.ts";
import type { CredentialView } from "../../store/directory.ts";
import type { Principal } from "../../types.ts";
import type { AnswerCall, Answers } from "../answer.ts";
import { servicesOf } from "../sign.ts";
import { strictCookie } from "./cookie.ts";
import { ginJson, signInByBody, toNewApiUser } from "./sign-in.ts";

export const newApiAnswers: Answers = {
  "new-api.login": login,
  "new-api.logout": logout,
  "new-api.token": newToken,
  "new-api.self": self,
};

/** Of what the original's middleware adds to every answer of a signed-in caller; its pages look at it. */
const AUTH_VERSION = { "auth-version": "864b7076dbcd0a3c01b5520316720ebf" };
/** More cookies of one name than that no browser sends. */
const MAX_COOKIES = 4;
/** A user who asks for a token twice at the same time gets two answers, and the later one holds. */
const MAX_ATTEMPTS = 4;

/** `POST /api/user/login`. */
async function login(call: AnswerCall): Promise<Response> {
  const { context, match } = call;
  const services = servicesOf(context);
  const signedIn = await signInByBody(call, services);
  const { realm, user } = signedIn;
  const id = `ses_${randomBase62(22)}`;
  const { value, secret } = await mintSessionCookie(id, services.config.secrets.tagSecrets);
  const [digest = ""] = await storedDigests(secret, [newestPepper(services)]);
  const session = { id, kind: "cookie", digest, scopes: scopesOfRole(realm, user.role) } as const;
  const expiresAtSeconds = await beginSession(signedIn, session, context, services);
  const cookie = sessionCookie(match, value, expiresAtSeconds - context.nowSeconds, context);
  const content = { message: "", success: true, data: toNewApiUser(user) };
  return ginJson(content, { "set-cookie": cookie });
}

function sessionCookie(
  { site }: AnswerCall["match"],
  value: string,
  maxAgeSeconds: number,
  { arrival }: AnswerCall["context"],
): string {
  return strictCookie(
    site.realm.signIn?.cookie ?? "session",
    value,
    { path: "/", maxAgeSeconds },
    arrival.scheme,
  );
}

/**
 * `GET /api/user/logout`: ends the session, where the original only empties the browser's cookie. Asks for no
 * `New-Api-User`, as the original does not, and whether the session was over already makes no difference.
 * @throws Problem `permission_denied` for a page of another origin
 */
async function logout({ match, context }: AnswerCall): Promise<Response> {
  // SameSite lets pages of the same site send the cookie: another port, another subdomain.
  if (isFromOtherPage(match, context)) throw new Problem("permission_denied", "a page of another origin");
  const services = servicesOf(context);
  const { realm } = match.site;
  const sent = context.arrival.request.headers.get("cookie") ?? "";
  const values = cookieValues(sent, realm.signIn?.cookie ?? "session");
  let isEnded = false;
  for (const value of new Set(values.slice(0, MAX_COOKIES))) {
    // The tag says that it was made here; whoever holds it may end it.
    if (!(await hasValidSessionTag(value, services.config.secrets.tagSecrets))) continue;
    const session = await services.directory.session(value.slice(0, value.indexOf(".")));
    if (session === null || session.realm !== realm.name) continue;
    const actor = { kind: "user", realm: realm.name, id: session.userId, credentialId: session.id } as const;
    await endSessions({ realm: realm.name, id: session.id }, actor, context, services);
    isEnded = true;
  }
  if (isEnded) await services.catchUp(context.background);
  return ginJson({ message: "", success: true }, { "set-cookie": sessionCookie(match, "", 0, context) });
}

/** `GET /api/user/self`: what is known of the user here. Numbers that only the original counts are 0 unless imported. */
async function self({ context, principal }: AnswerCall): Promise<Response> {
  if (principal === null) throw new Problem("credential_missing", "nobody");
  const user = await servicesOf(context).directory.user(principal.realm, principal.id);
  if (user === null) throw new Problem("credential_missing", "deleted meanwhile");
  const { attributes, email } = user;
  const counted = (name: string) => (typeof attributes[name] === "number" ? attributes[name] : 0);
  const { display_name, group, id, role, status, username } = toNewApiUser(user);
  const data = {
    ...{ display_name, email: email ?? "", group, id, quota: counted("quota") },
    ...{ request_count: counted("request_count"), role, status, used_quota: counted("used_quota"), username },
  };
  return ginJson({ data, message: "", success: true }, AUTH_VERSION);
}

/**
 * `GET /api/user/token`: a new personal access token each time, in the place of the one before. The old one ends in the
 * transaction that makes the new one, so that there are never two, and never none. Slowed down per user, where the
 * original does so per address.
 * @throws Problem `changed_meanwhile` after having lost to other requests several times; `rate_limited`
 */
async function newToken({ context, principal }: AnswerCall): Promise<Response> {
  const { method } = context.arrival;
  // HEAD would end the old one and show the new one to nobody.
  if (method !== "GET") throw new Problem("method_not_allowed", `${method} for a token`, { allow: ["GET"] });
  if (principal === null) throw new Problem("credential_missing", "nobody");
  const services = servicesOf(context);
  const key = `token:${principal.realm}/${principal.id}`;
  const retryAfterSeconds = await services.throttle.take([{ key, rule: RENEWAL_RULE }], context.nowSeconds);
  if (retryAfterSeconds > 0) throw new Problem("rate_limited", "new tokens", { retryAfterSeconds });
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const token = await replaceToken(principal, context, services);
    if (token === null) continue;
    await services.catchUp(context.background);
    return ginJson({ data: token, message: "", success: true }, AUTH_VERSION);
  }
  throw new Problem("changed_meanwhile", "tokens are being made by others");
}

/** @returns `null`: somebody else was faster */
async function replaceToken(
  principal: Principal,
  context: AnswerCall["context"],
  services: Services,
): Promise<string | null> {
  const { nowSeconds } = context;
  const { realm, id: userId } = principal;
  const actor = { kind: "user", realm, id: userId, credentialId: principal.credential.id } as const;
  const audited = (action: AuditAction, id: string, details = {}) =>
    services.writes.audited(auditEntry(context, actor, action, { kind: "pat", realm, id }, details));

  const page = { limit: 100, cursor: null };
  const { items } = await services.directory.credentials({ kind: "pat", realm, userId }, page, nowSeconds);
  const live = items.filter(
    ({ expiresAtSeconds }) => expiresAtSeconds === null || expiresAtSeconds > nowSeconds,
  );
  const old = live.find(({ status, replacedBy }) => status === "active" && replacedBy === null) ?? null;
  // Made by other means, or switched off: one user has one token.
  for (const { id } of live) {
    if (id === old?.id) continue;
    await audited("credential.deleted", id).updateCredential(id, { status: "deleted" }, nowSeconds);
  }

  const { secret, id, digest, pepper } = await mint({ services }, "pat");
  const expiresAtSeconds = old === null ? null : endLike(old, nowSeconds);
  const next = {
    ...{ id, digest, pepper, realm, userId, expiresAtSeconds },
    kind: "pat",
    createdAtSeconds: nowSeconds,
  } as const;
  const made =
    old === null
      ? audited("credential.created", id, { user: userId }).createCredential(
          { ...next, scopes: principal.credential.scopes },
          1,
        )
      : audited("credential.rotated", old.id, { replaced_by: id, grace_seconds: 0 }).rotateCredential(
          old.id,
          next,
          nowSeconds,
          1,
          old,
        );
  return (await made) === null ? null : secret;
}

/** As long a life as the old one had: nobody makes a token that ends into one that does not. */
function endLike(
  { expiresAtSeconds, createdAtSeconds }: Pick<CredentialView, "expiresAtSeconds" | "createdAtSeconds">,
  nowSeconds: number,
): number | null {
  return expiresAtSeconds === null ? null : nowSeconds + Math.max(1, expiresAtSeconds - createdAtSeconds);
}
