// Issue mode: signing in, refreshing and signing out as Cloudreve's clients know it.
import { scopesOfRole } from "../../config/role-scopes.ts";
import type { RequestContext } from "../../context.ts";
import type { Services } from "../../control/services.ts";
import { isSameSecret } from "../../crypto/constant-time.ts";
import { beginSession, endSessions, failureMayShow, signInByPassword } from "../../issuer/sessions.ts";
import { newestPepper } from "../../issuer/sign-in.ts";
import { Problem } from "../../problem.ts";
import type { UserView } from "../../store/directory.ts";
import type { LiveSession } from "../../store/session-chains.ts";
import type { AnswerCall, Answers } from "../answer.ts";
import { servicesOf } from "../sign.ts";
import { demandEmail, readFields, wrong } from "./body.ts";
import { readSigned, rfc3339, signPair, stateHashOf } from "./tokens.ts";

export const cloudreveAnswers: Answers = {
  "cloudreve.prepare": prepare,
  "cloudreve.login": login,
  "cloudreve.refresh": refresh,
  "cloudreve.logout": logout,
};

/** In code points. */
const LEAST_PASSWORD = 4;
const MOST_PASSWORD = 128;
/** Never advanced: the same refresh token is good again and again. */
const COUNTER = 0;

/** `GET /api/v4/session/prepare`: how somebody can sign in, and as in the original whether there is such a somebody. */
async function prepare(call: AnswerCall): Promise<Response> {
  const { context, match } = call;
  const services = servicesOf(context);
  const email = new URLSearchParams(context.arrival.search).get("email") ?? "";
  demandEmail(email);
  const account = await services.accounts.find(match.site.realm.name, email);
  if (account === null) throw new Problem("resource_not_found", "nobody has this address");
  return succeed({ webauthn_enabled: false, password_enabled: account.password !== null }, call);
}

/** `POST /api/v4/session/token`. Only who knows the password is told that the account is blocked or inactive. */
async function login(call: AnswerCall): Promise<Response> {
  const { context, match } = call;
  const services = servicesOf(context);
  const mayFail = failureMayShow();
  const { email, password } = await readFields(context.arrival.request, ["email", "password"]);
  demandEmail(email);
  const length = [...password].length;
  if (length === 0) throw wrong("Password cannot be empty");
  if (length < LEAST_PASSWORD) throw wrong("Password too short");
  if (length > MOST_PASSWORD) throw wrong("Password too long");
  const { realm } = match.site;
  const signedIn = await signInByPassword({ realm, name: email, password }, mayFail, context, services);
  const { user, verifiedHash } = signedIn;
  const id = crypto.randomUUID();
  const scopes = scopesOfRole(realm, user.role);
  await beginSession(signedIn, { id, kind: "token", digest: "", scopes }, context, services);
  const presented = { sessionId: id, counter: COUNTER, pepper: newestPepper(services).id };
  const session = await services.chains.peek(presented, context.nowSeconds);
  if (session === null) throw new Problem("sign_in_failed", "ended meanwhile");
  const token = await signPair(session, await stateOf(user, verifiedHash, call), match.site);
  return succeed({ user: toUser(user), token }, call);
}

/**
 * `POST /api/v4/session/token/refresh`: a new pair for the same session. The token that was presented stays good until its
 * own end, so that several tabs can present it; it ends with its session, its user's being active, and the password and
 * e-mail address that it was made under.
 */
async function refresh(call: AnswerCall): Promise<Response> {
  const { context, match } = call;
  const services = servicesOf(context);
  const { nowSeconds } = context;
  const { refresh_token: token } = await readToken(context);
  const refused = (reason: string) => notTaken("Failed to issue token pair", reason);
  const claims = await readSigned(token, match.site, nowSeconds);
  if (claims === null) throw refused("not signed, or out of time");
  const { token_type: use, sub, root_token_id: root, state_hash: given } = claims;
  if (use !== "refresh" || typeof sub !== "string" || typeof root !== "string" || typeof given !== "string") {
    throw refused("no refresh token");
  }
  context.trace.principalId = sub;
  context.trace.credentialId = root;
  const realm = match.site.realm.name;
  const [user, account] = await Promise.all([
    services.directory.user(realm, sub),
    services.accounts.byId(realm, sub),
  ]);
  if (user === null || account?.password == null) throw refused("no such user, or no password");
  const state = await stateOf(user, account.password.hash, call);
  if (!isSameSecret(state, given)) throw refused("another password or e-mail address");
  const session = await keepSession(root, services, nowSeconds);
  if (session === null || session.realm !== realm || session.userId !== sub) throw refused("no live session");
  return succeed(await signPair(session, state, match.site), call);
}

/** A row names the pepper of its time, which these tokens do not. */
async function keepSession(
  sessionId: string,
  { chains, config }: Services,
  nowSeconds: number,
): Promise<LiveSession | null> {
  for (const { id: pepper } of config.secrets.peppers) {
    const session = await chains.keep({ sessionId, counter: COUNTER, pepper }, nowSeconds);
    if (session !== null) return session;
  }
  return null;
}

/** `DELETE /api/v4/session/token`: ends the session of a token that was made here. Whether there is one makes no difference. */
async function logout(call: AnswerCall): Promise<Response> {
  const { context, match } = call;
  const services = servicesOf(context);
  const { refresh_token: token } = await readToken(context);
  const claims = await readSigned(token, match.site, context.nowSeconds);
  if (claims === null) throw notTaken("Failed to parse token", "not signed, or out of time");
  const { root_token_id: root, sub } = claims;
  const session = typeof root === "string" ? await services.directory.session(root) : null;
  const realm = match.site.realm.name;
  if (session !== null && session.realm === realm && session.userId === sub) {
    const { id, userId } = session;
    const actor = { kind: "user", realm, id: userId, credentialId: id } as const;
    await endSessions({ realm, id }, actor, context, services);
    await services.catchUp(context.background);
  }
  return succeed("", call);
}

/** @throws Problem `input_invalid` */
async function readToken(context: RequestContext) {
  const fields = await readFields(context.arrival.request, ["refresh_token"]);
  if (fields.refresh_token === "") throw wrong("RefreshToken cannot be empty");
  return fields;
}

/** A token in a body that does not count: told as the call tells it. */
const notTaken = (message: string, reason: string) =>
  new Problem("credential_invalid", `token in the body: ${reason}`, { errors: [{ field: "", message }] });

const stateOf = ({ email }: UserView, digest: string, { match }: AnswerCall): Promise<string> =>
  stateHashOf(email ?? "", digest, match.site.preset?.siteId ?? "");

/** What the import knows of Cloudreve's own; `undefined` leaves a member out, as the original leaves out what is empty. */
function toUser({ id, email, name, attributes, createdAtSeconds }: UserView) {
  const text = (key: string) => {
    const value = attributes[key];
    return typeof value === "string" && value !== "" ? value : undefined;
  };
  const groupId = text("group_id");
  return {
    id,
    email: email ?? undefined,
    nickname: name ?? text("nick") ?? "",
    status: "active",
    avatar: text("avatar"),
    created_at: rfc3339(createdAtSeconds),
    preferred_theme: text("preferred_theme"),
    group: groupId && { id: groupId, name: text("group") ?? "", permission: text("permission") },
    language: text("language"),
  };
}

/** In the order of the original's members. */
function succeed(data: unknown, { context }: AnswerCall): Response {
  const headers = { "content-type": "application/json; charset=utf-8", "cache-control": "no-store" };
  const body = JSON.stringify({ code: 0, data, msg: "" });
  return new Response(context.arrival.method === "HEAD" ? null : body, { headers });
}
