// One verb that ends anything: a key, a PAT, a session, a token, everything of a user, everything of a realm.
import * as v from "valibot";
import { GATEWAY_REALM } from "../config/realms.ts";
import type { Realm } from "../config/types.ts";
import { Problem } from "../problem.ts";
import { ADMIN_READS, ADMIN_WRITES, type Call, type Endpoint, endpoint } from "./endpoint.ts";
import { EpochSeconds, listOf, PAGE_MEMBERS, pageOf, RecordId, toList } from "./fields.ts";
import { invalid } from "./input.ts";
import { type Administrator, demandRank, demandRankOverAll } from "./rank.ts";
import { denyUntil, realmNamed } from "./realm.ts";
import { Revocation, toRevocation } from "./resources.ts";
import { endSession } from "./sessions.ts";

/** Tokens are accepted for up to so long after their end; no issuer may be configured with more. */
const MAX_TOLERANCE_SECONDS = 60;

const NewRevocation = v.variant("kind", [
  v.strictObject({ kind: v.picklist(["key", "pat", "session"]), id: RecordId }),
  v.strictObject({ kind: v.literal("token"), id: RecordId, expires_at: v.exactOptional(EpochSeconds) }),
  v.strictObject({ kind: v.literal("user"), id: RecordId, issued_before: v.exactOptional(EpochSeconds) }),
  v.strictObject({ kind: v.literal("realm"), issued_before: v.exactOptional(EpochSeconds) }),
]);

type RevokeCall = Call<null, v.InferOutput<typeof NewRevocation>, Administrator>;

export const revocationEndpoints: readonly Endpoint[] = [
  endpoint({
    method: "GET",
    path: "/admin/realms/:realm/revocations",
    id: "listRevocations",
    summary: "List denials in force, newest first",
    access: ADMIN_READS,
    query: v.strictObject(PAGE_MEMBERS),
    body: null,
    status: 200,
    answer: listOf(Revocation),
    async handle({ context, services, params, query }) {
      const { name } = realmNamed(services.config, params.realm ?? "");
      return toList(
        await services.directory.revocations(name, pageOf(query), context.nowSeconds),
        toRevocation,
      );
    },
  }),
  endpoint({
    method: "POST",
    path: "/admin/realms/:realm/revocations",
    id: "revoke",
    summary:
      "Revoke a key, PAT, session or token by its id, or what a user or the realm was issued until a time",
    access: ADMIN_WRITES,
    query: null,
    body: NewRevocation,
    status: 204,
    answer: null,
    handle: revoke,
  }),
];

async function revoke(call: RevokeCall): Promise<void> {
  const { services, caller, params, body } = call;
  const realm = realmNamed(services.config, params.realm ?? "");
  switch (body.kind) {
    case "key":
      return deleteCredential(call, realm, "api_key", body.id);
    case "pat":
      return deleteCredential(call, realm, "pat", body.id);
    case "session":
      return endSession(call, realm, body.id);
    case "token": {
      // Whose it is nobody can tell from its id: it may be another administrator's.
      if (realm.name === GATEWAY_REALM) demandRank(caller, realm, "admin");
      return denyToken(call, realm, body.id, body.expires_at);
    }
    case "user":
      await demandRankOverSubject(call, realm, body.id);
      return denyIssuedBefore(call, realm, "subject", body.id, body.issued_before);
    case "realm":
      demandRankOverAll(caller, realm);
      return denyIssuedBefore(call, realm, "realm", "", body.issued_before);
  }
}

async function deleteCredential(
  { context, services, caller, audit }: RevokeCall,
  realm: Realm,
  kind: "api_key" | "pat",
  id: string,
): Promise<void> {
  const { directory, writes } = services;
  const credential = await directory.credential(kind, id, context.nowSeconds);
  const owner = credential?.realm === realm.name ? await directory.user(realm.name, credential.userId) : null;
  if (owner === null) throw new Problem("resource_not_found", "no such credential");
  demandRank(caller, realm, owner.role);
  await writes
    .audited(audit("credential.deleted", { kind, realm: realm.name, id }, { user: owner.id }))
    .updateCredential(id, { status: "deleted" }, context.nowSeconds);
}

async function denyToken(
  call: RevokeCall,
  realm: Realm,
  tokenId: string,
  tokenEndsAtSeconds: number | undefined,
): Promise<void> {
  const { services, audit } = call;
  const { nowSeconds } = call.context;
  const expiresAtSeconds =
    tokenEndsAtSeconds === undefined ? denyUntil(call, realm) : tokenEndsAtSeconds + MAX_TOLERANCE_SECONDS;
  if (expiresAtSeconds <= nowSeconds) {
    throw invalid([{ field: "expires_at", message: "must not be past: such a token is refused anyway" }]);
  }
  await services.writes
    .audited(audit("revocation.created", { kind: "token", realm: realm.name, id: tokenId }))
    .revoke({ realm: realm.name, kind: "token", value: tokenId, expiresAtSeconds }, nowSeconds);
}

/** It stands for good: keys and PATs without an end are among what it denies. */
async function denyIssuedBefore(
  { context, services, audit }: RevokeCall,
  { name: realm }: Realm,
  kind: "subject" | "realm",
  value: string,
  issuedBefore: number | undefined,
): Promise<void> {
  const { nowSeconds } = context;
  const issuedBeforeSeconds = issuedBefore ?? nowSeconds;
  if (issuedBeforeSeconds > nowSeconds) {
    throw invalid([{ field: "issued_before", message: "must not be in the future" }]);
  }
  const target = { kind: kind === "subject" ? "user" : kind, realm, id: value } as const;
  await services.writes
    .audited(audit("revocation.created", target, { issued_before: issuedBeforeSeconds }))
    .revoke({ realm, kind, value, issuedBeforeSeconds }, nowSeconds);
}

/** Users of a foreign issuer, where a site lets its tokens stand alone, are no users of ours and have no rank. */
async function demandRankOverSubject(
  { services, caller }: RevokeCall,
  realm: Realm,
  userId: string,
): Promise<void> {
  const user = await services.directory.user(realm.name, userId);
  if (user !== null) return demandRank(caller, realm, user.role);
  const isForeign = services.config.sites.some((site) => site.realm === realm && site.users === "none");
  if (!isForeign) throw new Problem("resource_not_found", "no such user");
}
