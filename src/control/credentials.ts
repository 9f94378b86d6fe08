// Administering API keys and PATs: one set of endpoints, made for each kind.
import * as v from "valibot";
import {
  type CredentialKind,
  CredentialPatch,
  KINDS,
  NEW_CREDENTIAL_MEMBERS,
  Rotation,
  toCredential,
} from "./credential-fields.ts";
import {
  createCredential,
  deleteCredential,
  findCredential,
  listCredentials,
  noOwner,
  patchCredential,
  type Reach,
  rotateCredential,
} from "./credential-work.ts";
import { ADMIN_READS, ADMIN_WRITES, type Call, type Endpoint, endpoint } from "./endpoint.ts";
import { Attributes, listOf, PAGE_MEMBERS, pageOf, UserId } from "./fields.ts";
import { type Administrator, demandHeld, demandRank } from "./rank.ts";
import { realmNamed } from "./realm.ts";

type AdminCall = Pick<Call<unknown, unknown, Administrator>, "caller" | "params" | "services">;

function reachOf({ caller, params, services }: AdminCall): Reach {
  const realm = realmNamed(services.config, params.realm ?? "");
  return {
    realm,
    userId: null,
    async demandOwner(userId) {
      const owner = await services.directory.user(realm.name, userId);
      if (owner === null) throw noOwner();
      demandRank(caller, realm, owner.role);
      // Whoever holds a key acts with all of its owner's permissions.
      demandHeld(realm, owner.permissions, caller.permissions);
    },
    demandScopes: (scopes) => demandHeld(realm, scopes, caller.scopes),
  };
}

function endpointsFor(kind: CredentialKind): readonly Endpoint[] {
  const { path, one, many, operation, resource, minted } = KINDS[kind];
  const all = `/admin/realms/:realm/${path}` as const;
  return [
    endpoint({
      method: "GET",
      path: all,
      id: `list${operation}s`,
      summary: `${many} of a realm, newest first; of one user with \`user\``,
      access: ADMIN_READS,
      query: v.strictObject({ ...PAGE_MEMBERS, user: v.optional(UserId) }),
      body: null,
      status: 200,
      answer: listOf(resource),
      handle: (call) =>
        listCredentials(call, reachOf(call), kind, call.query.user ?? null, pageOf(call.query)),
    }),
    endpoint({
      method: "POST",
      path: all,
      id: `create${operation}`,
      summary: `Make a new ${one} for a user. Its secret is in this answer and in no other`,
      access: ADMIN_WRITES,
      query: null,
      body: v.strictObject({
        ...NEW_CREDENTIAL_MEMBERS,
        user: UserId,
        attributes: v.optional(Attributes),
      }),
      status: 201,
      answer: minted,
      handle: (call) => {
        const { user, ...input } = call.body;
        return createCredential(call, reachOf(call), kind, user, input);
      },
    }),
    endpoint({
      method: "GET",
      path: `${all}/:id`,
      id: `get${operation}`,
      summary: `One ${one}`,
      access: ADMIN_READS,
      query: null,
      body: null,
      status: 200,
      answer: resource,
      handle: async (call) =>
        toCredential(await findCredential(call, reachOf(call), kind, call.params.id ?? "")),
    }),
    endpoint({
      method: "PATCH",
      path: `${all}/:id`,
      id: `update${operation}`,
      summary: `Rename, disable, enable or limit one of the ${many}`,
      access: ADMIN_WRITES,
      query: null,
      body: CredentialPatch,
      status: 200,
      answer: resource,
      handle: (call) => patchCredential(call, reachOf(call), kind, call.params.id ?? "", call.body),
    }),
    endpoint({
      method: "DELETE",
      path: `${all}/:id`,
      id: `delete${operation}`,
      summary: `End one of the ${many} for good`,
      access: ADMIN_WRITES,
      query: null,
      body: null,
      status: 204,
      answer: null,
      handle: (call) => deleteCredential(call, reachOf(call), kind, call.params.id ?? ""),
    }),
    endpoint({
      method: "POST",
      path: `${all}/:id/rotate`,
      id: `rotate${operation}`,
      summary: `Put a new ${one} in its place; the old one works until the grace ends`,
      access: ADMIN_WRITES,
      query: null,
      body: Rotation,
      status: 201,
      answer: minted,
      handle: (call) => rotateCredential(call, reachOf(call), kind, call.params.id ?? "", call.body),
    }),
  ];
}

export const credentialEndpoints = [...endpointsFor("api_key"), ...endpointsFor("pat")];
