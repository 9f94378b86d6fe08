// A user's own API keys and PATs: one set of endpoints, made for each kind.
import * as v from "valibot";
import type { Caller } from "./caller.ts";
import {
  type CredentialKind,
  KINDS,
  NEW_CREDENTIAL_MEMBERS,
  OwnCredentialPatch,
  Rotation,
  toCredential,
} from "./credential-fields.ts";
import {
  createCredential,
  deleteCredential,
  findCredential,
  listCredentials,
  patchCredential,
  type Reach,
  rotateCredential,
} from "./credential-work.ts";
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
    demandOwner: async () => {},
    demandScopes: (scopes) => demandSubset(scopes, principal.credential.scopes),
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
    endpoint({
      method: "GET",
      path: `${all}/:id`,
      id: `getMy${operation}`,
      summary: `One of my ${many}`,
      access: USER_READS,
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
      id: `updateMy${operation}`,
      summary: `Rename, disable, enable or limit one of my ${many}`,
      access: USER_WRITES,
      query: null,
      body: OwnCredentialPatch,
      status: 200,
      answer: resource,
      handle: (call) => patchCredential(call, reachOf(call), kind, call.params.id ?? "", call.body),
    }),
    endpoint({
      method: "DELETE",
      path: `${all}/:id`,
      id: `deleteMy${operation}`,
      summary: `End one of my ${many} for good`,
      access: USER_WRITES,
      query: null,
      body: null,
      status: 204,
      answer: null,
      handle: (call) => deleteCredential(call, reachOf(call), kind, call.params.id ?? ""),
    }),
    endpoint({
      method: "POST",
      path: `${all}/:id/rotate`,
      id: `rotateMy${operation}`,
      summary: `Put a new ${one} in the place of one of mine, which works until the grace ends`,
      access: USER_WRITES,
      query: null,
      body: Rotation,
      status: 201,
      answer: minted,
      handle: (call) => rotateCredential(call, reachOf(call), kind, call.params.id ?? "", call.body),
    }),
  ];
}

export const selfCredentialEndpoints = [...endpointsFor("api_key"), ...endpointsFor("pat")];
