// The endpoints of one API key or PAT: the same for its owner and for administrators, but for whom they let in.
import {
  type CredentialKind,
  type CredentialPatch,
  KINDS,
  type OwnCredentialPatch,
  Rotation,
  toCredential,
} from "./credential-fields.ts";
import {
  deleteCredential,
  findCredential,
  patchCredential,
  type Reach,
  rotateCredential,
} from "./credential-work.ts";
import { type Access, type Call, type CallerOf, type Endpoint, endpoint } from "./endpoint.ts";

/** What the two sides differ in. */
export interface Side<Rule extends Access> {
  /** Of the list: `/me/keys`. */
  readonly path: `/${string}`;
  readonly reads: Rule;
  readonly writes: Rule;
  /** What may be changed. */
  readonly patch: typeof CredentialPatch | typeof OwnCredentialPatch;
  /** `operationId` and summary of each. */
  readonly says: Readonly<
    Record<"get" | "update" | "delete" | "rotate", readonly [id: string, summary: string]>
  >;
  readonly reachOf: (
    call: Pick<Call<unknown, unknown, CallerOf<Rule>>, "caller" | "params" | "services">,
  ) => Reach;
}

export function endpointsOfOne<const Rule extends Access>(
  kind: CredentialKind,
  { path, reads, writes, patch, says, reachOf }: Side<Rule>,
): readonly Endpoint[] {
  const { resource, minted } = KINDS[kind];
  const one = `${path}/:id` as const;
  return [
    endpoint({
      method: "GET",
      path: one,
      id: says.get[0],
      summary: says.get[1],
      access: reads,
      query: null,
      body: null,
      status: 200,
      answer: resource,
      handle: async (call) =>
        toCredential(await findCredential(call, reachOf(call), kind, call.params.id ?? "")),
    }),
    endpoint({
      method: "PATCH",
      path: one,
      id: says.update[0],
      summary: says.update[1],
      access: writes,
      query: null,
      body: patch,
      status: 200,
      answer: resource,
      handle: (call) => patchCredential(call, reachOf(call), kind, call.params.id ?? "", call.body),
    }),
    endpoint({
      method: "DELETE",
      path: one,
      id: says.delete[0],
      summary: says.delete[1],
      access: writes,
      query: null,
      body: null,
      status: 204,
      answer: null,
      handle: (call) => deleteCredential(call, reachOf(call), kind, call.params.id ?? ""),
    }),
    endpoint({
      method: "POST",
      path: `${one}/rotate`,
      id: says.rotate[0],
      summary: says.rotate[1],
      access: writes,
      query: null,
      body: Rotation,
      status: 201,
      answer: minted,
      handle: (call) => rotateCredential(call, reachOf(call), kind, call.params.id ?? "", call.body),
    }),
  ];
}
