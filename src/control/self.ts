// What users do for themselves: see who they are, change their password, end their sessions, keep keys and PATs.
import * as v from "valibot";
import { passwordErrors } from "../issuer/password-policy.ts";
import { checkAccount } from "../issuer/sign-in.ts";
import { Problem } from "../problem.ts";
import type { UserView } from "../store/directory.ts";
import type { Caller } from "./caller.ts";
import { type Call, endpoint, USER_READS, USER_WRITES } from "./endpoint.ts";
import { listOf, PAGE_MEMBERS, Password, pageOf, toList } from "./fields.ts";
import { invalid } from "./input.ts";
import { denyUntil } from "./realm.ts";
import { OwnSession, toSession, toUser, User } from "./resources.ts";
import { selfCredentialEndpoints } from "./self-credentials.ts";

type Self = Extract<Caller, { readonly for: "user" }>;
type SelfCall<Query, Body> = Call<Query, Body, Self>;

const Me = v.strictObject({
  ...User.entries,
  /** What this very call was made with. */
  credential: v.strictObject({
    kind: v.picklist(["jwt", "session", "api_key", "pat"]),
    id: v.nullable(v.string()),
    scopes: v.array(v.string()),
    expires_at: v.nullable(v.number()),
  }),
});

const PasswordChange = v.strictObject({ current_password: Password, new_password: Password });

export const selfEndpoints = [
  endpoint({
    method: "GET",
    path: "/me",
    id: "getMe",
    summary: "Who I am, and what I called with",
    access: USER_READS,
    query: null,
    body: null,
    status: 200,
    answer: Me,
    handle: whoAmI,
  }),
  endpoint({
    method: "POST",
    path: "/me/password",
    id: "changeMyPassword",
    summary: "Change my password, which ends my other sessions. Throttled like a sign-in",
    access: USER_WRITES,
    query: null,
    body: PasswordChange,
    status: 204,
    answer: null,
    handle: changePassword,
  }),
  endpoint({
    method: "GET",
    path: "/me/sessions",
    id: "listMySessions",
    summary: "My sessions, newest first; `current` marks the one that asks",
    access: USER_READS,
    query: v.strictObject(PAGE_MEMBERS),
    body: null,
    status: 200,
    answer: listOf(OwnSession),
    handle: listSessions,
  }),
  endpoint({
    method: "DELETE",
    path: "/me/sessions",
    id: "endMyOtherSessions",
    summary: "End all my sessions but the one that asks",
    access: USER_WRITES,
    query: null,
    body: null,
    status: 204,
    answer: null,
    handle: endOtherSessions,
  }),
  endpoint({
    method: "DELETE",
    path: "/me/sessions/:id",
    id: "endMySession",
    summary: "End one of my sessions",
    access: USER_WRITES,
    query: null,
    body: null,
    status: 204,
    answer: null,
    handle: endSession,
  }),
  ...selfCredentialEndpoints,
];

async function whoAmI(call: SelfCall<null, null>) {
  const { kind, id, scopes, expiresAtSeconds } = call.caller.principal.credential;
  return { ...toUser(await userOf(call)), credential: { kind, id, scopes, expires_at: expiresAtSeconds } };
}

/**
 * The new password is looked at first: nobody pays an attempt for one that is refused anyway. What is verified is what
 * is replaced, so that of two changes at a time one is told.
 */
async function changePassword(call: SelfCall<null, v.InferOutput<typeof PasswordChange>>) {
  const { context, services, caller, body } = call;
  const { nowSeconds, clientAddress } = context;
  const { realm, principal } = caller;
  if (realm.signIn === null) throw new Problem("resource_not_found", "nobody signs in to this realm");
  const { username, email } = await userOf(call);
  const errors = await passwordErrors(body.new_password, "new_password", {
    minLength: realm.signIn.minPasswordLength,
    words: [username, email, realm.name].filter((word) => word !== null),
    accounts: services.accounts,
  });
  if (errors.length > 0) throw invalid(errors);

  const verified = await checkAccount(
    await services.accounts.byId(realm.name, principal.id),
    principal.id,
    {
      realm,
      password: body.current_password,
      address: clientAddress,
      nowSeconds,
      audit: (_actor, action, target, details) => call.audit(action, target, details),
      failureMayShow: Promise.resolve(),
    },
    services,
  );
  const target = { kind: "user", realm: realm.name, id: principal.id } as const;
  const isSet = await services.writes
    .audited(call.audit("user.password_changed", target))
    .setPassword(
      realm.name,
      principal.id,
      await services.hasher.hash(body.new_password),
      { exceptSessionId: principal.credential.sessionId, previousHash: verified.password.hash },
      nowSeconds,
      denyUntil(call, realm),
    );
  if (!isSet) throw new Problem("changed_meanwhile", "the password was changed, or the user deleted");
  return null;
}

async function listSessions({
  context,
  services,
  caller,
  query,
}: SelfCall<Parameters<typeof pageOf>[0], null>) {
  const { realm, principal } = caller;
  const filter = { realm: realm.name, userId: principal.id };
  const page = await services.directory.sessions(filter, pageOf(query), context.nowSeconds);
  return toList(page, (session) => ({
    ...toSession(session),
    current: session.id === principal.credential.sessionId,
  }));
}

async function endOtherSessions(call: SelfCall<null, null>) {
  const { context, services, caller } = call;
  const { realm, principal } = caller;
  const { sessionId } = principal.credential;
  const target = { kind: "user", realm: realm.name, id: principal.id } as const;
  await services.writes
    .audited(call.audit("session.ended", target, { except: sessionId }))
    .endSessions(
      { realm: realm.name, userId: principal.id, exceptId: sessionId },
      context.nowSeconds,
      denyUntil(call, realm),
    );
  return null;
}

async function endSession(call: SelfCall<null, null>) {
  const { context, services, caller, params } = call;
  const { realm, principal } = caller;
  const id = params.id ?? "";
  const session = await services.directory.session(id);
  if (session === null || session.realm !== realm.name || session.userId !== principal.id) {
    throw new Problem("resource_not_found", "no such session");
  }
  const ended = await services.writes
    .audited(call.audit("session.ended", { kind: "session", realm: realm.name, id }))
    .endSessions({ realm: realm.name, id }, context.nowSeconds, denyUntil(call, realm));
  if (ended === 0) throw new Problem("resource_not_found", "ended meanwhile");
  return null;
}

/** @throws Problem `resource_not_found` for who was deleted since this call was let in */
async function userOf({ services, caller }: SelfCall<null, unknown>): Promise<UserView> {
  const user = await services.directory.user(caller.realm.name, caller.principal.id);
  if (user === null) throw new Problem("resource_not_found", "deleted meanwhile");
  return user;
}
