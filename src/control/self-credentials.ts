// A user's own API keys and PATs: one set of endpoints, made for each kind.
import * as v from "valibot";
import type { Caller } from "./caller.ts";
import { endpointsOfOne } from "./credential-endpoints.ts";
import {
  type CredentialKind,
  KINDS,
  NEW_CREDENTIAL_MEMBERS,
  OwnCredentialPatch,
} from "./credential-fields.ts";
import { createCredential, listCredentials, type Reach } from "./credential-work.ts";
import { type Call, type Endpoint, endpoint, USER_READS, USER_WRITES } from "./endpoint.ts";
import { listOf, PAGE_MEMBERS, pageOf } from "./fields.ts";
import { demandSubset } from "./rank.ts";

type User = Extract<Caller, { readonly for: "user" }>;

/** Of the caller alone, and with no scope that the credential of this very call does not have. */
function reachOf({ caller }: Pick<Call<unknown, unknown, User>, "caller">): Reach {
  const { realm, principal } = caller;
  return {
    realm,
    userId: principal.id,
    demandOwner: async () => null,
    demandScopes: (scopes) => demandSubset(scopes, principal.credential.scopes, "scopes"),
  };
}

function endpointsFor(kind: CredentialKind): readonly Endpoint[] {
  const { path, one, many, operation, resource, minted } = KINDS[kind];
  const all = `/me/${path}` as const;
  return [
    endpoint({
      method: "GET",
      path: all,
      id: `listMy${operation}s`,
      summary: `My ${many}, newest first`,
      access: USER_READS,
      query: v.strictObject(PAGE_MEMBERS),
      body: null,
      status: 200,
      answer: listOf(resource),
      handle: (call) =>
        listCredentials(call, reachOf(call), kind, call.caller.principal.id, pageOf(call.query)),
    }),
    endpoint({
      method: "POST",
      path: all,
      id: `createMy${operation}`,
      summary: `Make a new ${one} for myself. Its secret is in this answer and in no other`,
      access: USER_WRITES,
      query: null,
      body: v.strictObject(NEW_CREDENTIAL_MEMBERS),
      status: 201,
      answer: minted,
      handle: (call) => createCredential(call, reachOf(call), kind, call.caller.principal.id, call.body),
    }),
    ...endpointsOfOne<typeof USER_READS | typeof USER_WRITES>(kind, {
      path: all,
      reads: USER_READS,
      writes: USER_WRITES,
      patch: OwnCredentialPatch,
      says: {
        get: [`getMy${operation}`, `One of my ${many}`],
        update: [`updateMy${operation}`, `Rename, disable, enable or limit one of my ${many}`],
        delete: [`deleteMy${operation}`, `End one of my ${many} for good`],
        rotate: [
          `rotateMy${operation}`,
          `Put a new ${one} in the place of one of mine, which works until the grace ends`,
        ],
      },
      reachOf,
    }),
  ];
}

export const selfCredentialEndpoints = [...endpointsFor("api_key"), ...endpointsFor("pat")];
