// Administering API keys and PATs: one set of endpoints, made for each kind.
import * as v from "valibot";
import { endpointsOfOne } from "./credential-endpoints.ts";
import { type CredentialKind, CredentialPatch, KINDS, NEW_CREDENTIAL_MEMBERS } from "./credential-fields.ts";
import { createCredential, listCredentials, noOwner, type Reach } from "./credential-work.ts";
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
      demandHeld(realm, owner.permissions, caller.permissions, "user");
      return owner;
    },
    demandScopes: (scopes) => demandHeld(realm, scopes, caller.scopes, "scopes"),
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
    ...endpointsOfOne<typeof ADMIN_READS | typeof ADMIN_WRITES>(kind, {
      path: all,
      reads: ADMIN_READS,
      writes: ADMIN_WRITES,
      patch: CredentialPatch,
      says: {
        get: [`get${operation}`, `One ${one}`],
        update: [`update${operation}`, `Rename, disable, enable or limit one of the ${many}`],
        delete: [`delete${operation}`, `End one of the ${many} for good`],
        rotate: [
          `rotate${operation}`,
          `Put a new ${one} in its place; the old one works until the grace ends`,
        ],
      },
      reachOf,
    }),
  ];
}

export const credentialEndpoints = [...endpointsFor("api_key"), ...endpointsFor("pat")];
