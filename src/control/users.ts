// Administration of users: who there is, who they are, and what ends with them.
import * as v from "valibot";
import { scopesOfRole } from "../config/role-scopes.ts";
import type { Realm } from "../config/types.ts";
import { randomBase62 } from "../crypto/credential-format.ts";
import { passwordErrors } from "../issuer/password-policy.ts";
import { Problem } from "../problem.ts";
import type { UserView } from "../store/directory.ts";
import type { PasswordHash } from "../store/writes.ts";
import { ADMIN_READS, ADMIN_WRITES, type Call, type Endpoint, endpoint } from "./endpoint.ts";
import {
  Attributes,
  DisplayName,
  EmailAddress,
  listOf,
  PAGE_MEMBERS,
  Password,
  pageOf,
  RealmName,
  Role,
  SearchText,
  toList,
  UserId,
  Username,
  UserStatus,
  Words,
} from "./fields.ts";
import { invalid } from "./input.ts";
import { type Administrator, demandHeld, demandRank, endingWith } from "./rank.ts";
import { denyUntil, realmNamed } from "./realm.ts";
import { RealmSummary, toRealm, toUser, User } from "./resources.ts";

const MEMBERS = {
  username: v.exactOptional(v.nullable(Username)),
  email: v.exactOptional(v.nullable(EmailAddress)),
  name: v.exactOptional(v.nullable(DisplayName)),
  role: v.exactOptional(Role),
  permissions: v.exactOptional(Words),
  status: v.exactOptional(UserStatus),
  attributes: v.exactOptional(Attributes),
};
const NewUser = v.strictObject({
  id: v.exactOptional(UserId),
  ...MEMBERS,
  password: v.exactOptional(Password),
});
const UserChange = v.strictObject(MEMBERS);
const DEFAULT_ROLE = "user";

type AdminCall<Body = null> = Call<null, Body, Administrator>;

export const userEndpoints: readonly Endpoint[] = [
  endpoint({
    method: "GET",
    path: "/admin/realms",
    id: "listRealms",
    summary: "List the realms, by name",
    access: ADMIN_READS,
    query: v.strictObject({ ...PAGE_MEMBERS, cursor: v.optional(RealmName) }),
    body: null,
    status: 200,
    answer: listOf(RealmSummary),
    async handle({ services, query }) {
      const { limit } = pageOf(query);
      const realms = [...services.config.realms.values()]
        .sort((a, b) => (a.name < b.name ? -1 : 1))
        .filter(({ name }) => name > (query.cursor ?? ""));
      const nextCursor = realms.length > limit ? (realms[limit - 1]?.name ?? null) : null;
      const { apiKeyPrefix } = services.config.gateway;
      return toList({ items: realms.slice(0, limit), nextCursor }, (realm) => toRealm(realm, apiKeyPrefix));
    },
  }),
  endpoint({
    method: "GET",
    path: "/admin/realms/:realm/users",
    id: "listUsers",
    summary:
      "List users by id; search finds parts of id, name, username and e-mail address, account the one whose username or address it is",
    access: ADMIN_READS,
    query: v.strictObject({
      ...PAGE_MEMBERS,
      search: v.optional(SearchText),
      account: v.optional(SearchText),
      role: v.optional(Role),
      status: v.optional(UserStatus),
    }),
    body: null,
    status: 200,
    answer: listOf(User),
    async handle({ services, params, query }) {
      const { name } = realmNamed(services.config, params.realm ?? "");
      const { search = null, account = null, role = null, status = null } = query;
      return toList(
        await services.directory.users({ realm: name, search, account, role, status }, pageOf(query)),
        toUser,
      );
    },
  }),
  endpoint({
    method: "POST",
    path: "/admin/realms/:realm/users",
    id: "createUser",
    summary: "Create a user",
    access: ADMIN_WRITES,
    query: null,
    body: NewUser,
    status: 201,
    answer: User,
    handle: createUser,
  }),
  endpoint({
    method: "GET",
    path: "/admin/realms/:realm/users/:id",
    id: "getUser",
    summary: "Show a user",
    access: ADMIN_READS,
    query: null,
    body: null,
    status: 200,
    answer: User,
    handle: async (call) => toUser((await findUser(call)).user),
  }),
  endpoint({
    method: "PATCH",
    path: "/admin/realms/:realm/users/:id",
    id: "updateUser",
    summary: "Change the given members of a user",
    access: ADMIN_WRITES,
    query: null,
    body: UserChange,
    status: 200,
    answer: User,
    handle: updateUser,
  }),
  endpoint({
    method: "DELETE",
    path: "/admin/realms/:realm/users/:id",
    id: "deleteUser",
    summary: "Delete a user with all keys, tokens and sessions; the id is never used again",
    access: ADMIN_WRITES,
    query: null,
    body: null,
    status: 204,
    answer: null,
    handle: deleteUser,
  }),
  endpoint({
    method: "POST",
    path: "/admin/realms/:realm/users/:id/password",
    id: "setUserPassword",
    summary: "Set a user's password, which ends all sessions of the user",
    access: ADMIN_WRITES,
    query: null,
    body: v.strictObject({ password: Password }),
    status: 204,
    answer: null,
    handle: setPassword,
  }),
  endpoint({
    method: "DELETE",
    path: "/admin/realms/:realm/users/:id/sessions",
    id: "endUserSessions",
    summary: "End all sessions of a user",
    access: ADMIN_WRITES,
    query: null,
    body: null,
    status: 204,
    answer: null,
    handle: endSessions,
  }),
];

async function createUser(call: AdminCall<v.InferOutput<typeof NewUser>>) {
  const { context, services, caller, params, body } = call;
  const realm = realmNamed(services.config, params.realm ?? "");
  const { id = randomBase62(12), role = DEFAULT_ROLE, password, ...members } = body;
  demandRoleOf(realm, role);
  demandRank(caller, realm, role);
  demandHeld(realm, members.permissions ?? [], caller.permissions, "permissions");
  const user = { username: null, email: null, permissions: [], ...members, role };
  const hash = password === undefined ? undefined : await hashFor(user, password, realm, call);
  const { nowSeconds } = context;
  const times = { createdAtSeconds: nowSeconds, updatedAtSeconds: nowSeconds };
  const entry = call.audit("user.created", targetOf(realm, id), { role, fields: Object.keys(body) });
  try {
    await services.writes
      .audited(entry)
      .createUser({ ...members, ...times, realm: realm.name, id, role }, hash);
  } catch (error) {
    throw takenOr(error);
  }
  return toUser((await findUser({ services, params: { ...params, id } })).user);
}

async function updateUser(call: AdminCall<v.InferOutput<typeof UserChange>>) {
  const { context, services, caller, body } = call;
  const { realm, user } = await findUser(call);
  demandRank(caller, realm, user.role);
  const { role = user.role, status = user.status } = body;
  if (role !== user.role) {
    demandRoleOf(realm, role);
    demandRank(caller, realm, role);
  }
  demandHeld(realm, body.permissions ?? [], caller.permissions, "permissions");
  const fields = Object.keys(body);
  if (fields.length === 0) return toUser(user);
  const ends = endingWith(realm, user, { role, status });
  const entry = call.audit("user.updated", targetOf(realm, user.id), {
    fields,
    ...(ends !== null && { ended: ends }),
    ...(role !== user.role && { role: [user.role, role] }),
    ...(status !== user.status && { status: [user.status, status] }),
  });
  try {
    const writes = services.writes.audited(entry);
    const isDone = await writes.updateUser(realm.name, user.id, body, context.nowSeconds, {
      expected: user,
      ...(ends !== null && {
        ending: { what: ends, denyUntilSeconds: denyUntil(call, realm) },
      }),
    });
    if (!isDone) throw await changed(call);
  } catch (error) {
    throw takenOr(error);
  }
  return toUser((await findUser(call)).user);
}

async function deleteUser(call: AdminCall) {
  const { context, services, caller } = call;
  const { realm, user } = await findUser(call);
  demandRank(caller, realm, user.role);
  const { nowSeconds } = context;
  const denyUntilSeconds = denyUntil(call, realm);
  const entry = call.audit("user.deleted", targetOf(realm, user.id), { role: user.role });
  const writes = services.writes.audited(entry);
  const isDone = await writes.deleteUser(realm.name, user.id, nowSeconds, denyUntilSeconds, user);
  if (!isDone) throw await changed(call);
}

async function setPassword(call: AdminCall<{ readonly password: string }>) {
  const { context, services, caller, body } = call;
  const { realm, user } = await findUser(call);
  demandRank(caller, realm, user.role);
  const hash = await hashFor(user, body.password, realm, call);
  const { nowSeconds } = context;
  const denyUntilSeconds = denyUntil(call, realm);
  const isDone = await services.writes
    .audited(call.audit("user.password_changed", targetOf(realm, user.id)))
    .setPassword(
      realm.name,
      user.id,
      hash,
      { exceptSessionId: null, owner: user },
      nowSeconds,
      denyUntilSeconds,
    );
  if (!isDone) throw await changed(call);
}

async function endSessions(call: AdminCall) {
  const { context, services, caller } = call;
  const { realm, user } = await findUser(call);
  demandRank(caller, realm, user.role);
  const { nowSeconds } = context;
  const denyUntilSeconds = denyUntil(call, realm);
  const writes = services.writes.audited(call.audit("session.ended", targetOf(realm, user.id)));
  await writes.endSessions(
    { realm: realm.name, userId: user.id, exceptId: null },
    nowSeconds,
    denyUntilSeconds,
  );
}

/** @throws Problem `resource_not_found` */
async function findUser({ services, params }: Pick<AdminCall<unknown>, "services" | "params">): Promise<{
  readonly realm: Realm;
  readonly user: UserView;
}> {
  const realm = realmNamed(services.config, params.realm ?? "");
  const user = await services.directory.user(realm.name, params.id ?? "");
  if (user === null) throw new Problem("resource_not_found", "no such user");
  return { realm, user };
}

/** For a write that met another role or status than the one the caller's rank was held against. */
async function changed(call: AdminCall<unknown>): Promise<Problem> {
  await findUser(call); // or 404
  return new Problem("changed_meanwhile", "role or status changed meanwhile");
}

function demandRoleOf(realm: Realm, role: string): void {
  if (realm.roles.includes(role)) return;
  throw invalid([{ field: "role", message: `must be one of ${realm.roles.join(", ")}` }]);
}

/**
 * The digest of a password that may be set. In the gateway's own realm whoever sets one could sign in with it, so it is
 * given only by those who hold what signing in gives.
 */
async function hashFor(
  { username, email, role, permissions }: Pick<UserView, "username" | "email" | "role" | "permissions">,
  password: string,
  realm: Realm,
  { services, caller }: Pick<AdminCall, "services" | "caller">,
): Promise<PasswordHash> {
  if (realm.signIn === null) {
    throw invalid([{ field: "password", message: "must be left out: the realm has no sign_in" }]);
  }
  demandHeld(realm, scopesOfRole(realm, role), caller.scopes, "password");
  demandHeld(realm, permissions, caller.permissions, "password");
  const errors = await passwordErrors(password, "password", {
    minLength: realm.signIn.minPasswordLength,
    words: [realm.name, username, email].filter((word) => word !== null),
    accounts: services.accounts,
  });
  if (errors.length > 0) throw invalid(errors);
  return services.hasher.hash(password);
}

const targetOf = (realm: Realm, id: string) => ({ kind: "user", realm: realm.name, id }) as const;

/** What SQLite says of a name that is taken, as a 409 that says which; anything else as it is. */
function takenOr(error: unknown): unknown {
  const message = error instanceof Error ? error.message : "";
  if (!message.includes("UNIQUE constraint failed: users.")) return error;
  const field = ["username", "email"].find((name) => message.includes(`users.${name}_key`)) ?? "id";
  const errors = [{ field, message: "is taken: choose another" }];
  return new Problem("already_exists", `${field} is taken`, { errors });
}
