// What an endpoint of the control plane is: one entry of a table that routing, access, validation and the OpenAPI
// document are all made from. An endpoint without an access rule does not compile.
import type * as v from "valibot";
import type { AuditAction, AuditEntry } from "../audit.ts";
import type { RequestContext } from "../context.ts";
import type { CredentialKind } from "../types.ts";
import type { Caller } from "./caller.ts";
import type { Services } from "./services.ts";

/** Who may call. */
export type Access =
  /** Whoever knows what the request itself proves: a password, a refresh token. */
  | { readonly for: "anyone" }
  /** A user of the realm, by a credential of one of these kinds. */
  | { readonly for: "user"; readonly by: readonly CredentialKind[] }
  /** An administrator of at least this role whose credential carries the scope; or the `ADMIN_TOKEN`. */
  | {
      readonly for: "administrator";
      readonly role: "admin" | "root";
      readonly scope: "gateway.read" | "gateway.write";
    };

/** One call that was let in. */
export interface Call<Query, Body, Who extends Caller> {
  readonly context: RequestContext;
  readonly services: Services;
  readonly caller: Who;
  /** The path's `:names`, decoded, case kept. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: Query;
  readonly body: Body;
  /** An entry of the audit log by this caller, now. */
  audit(action: AuditAction, target: AuditEntry["target"], details?: AuditEntry["details"]): AuditEntry;
}

export type CallerOf<Rule extends Access> = Extract<Caller, { readonly for: Rule["for"] }>;
type OutputOf<Schema> = Schema extends v.GenericSchema ? v.InferOutput<Schema> : null;

export interface EndpointDefinition<
  Rule extends Access,
  Query extends v.GenericSchema | null,
  Body extends v.GenericSchema | null,
> {
  readonly method: "GET" | "POST" | "PATCH" | "DELETE";
  /** Below `/_gateway`, lower case, with `:names`. */
  readonly path: `/${string}`;
  /** `operationId` of the OpenAPI document; unique. */
  readonly id: string;
  readonly summary: string;
  readonly access: Rule;
  /** Of the query's parameters, all of them texts. `null`: none are accepted. */
  readonly query: Query;
  /** `null`: none is read. */
  readonly body: Body;
  /** How the body is written: JSON, or as the OAuth endpoints have it. */
  readonly bodyType?: "json" | "form";
  /** Success. 204 has no answer. */
  readonly status: 200 | 201 | 204;
  /** The form of the answer, for the document and the tests; `null`: no body. */
  readonly answer: v.GenericSchema | null;
  /** @returns what becomes the JSON body, or a whole response. @throws Problem */
  handle(call: Call<OutputOf<Query>, OutputOf<Body>, CallerOf<Rule>>): Promise<unknown>;
}

/** An endpoint whose input types are forgotten: how the table holds it. */
export type Endpoint = EndpointDefinition<Access, v.GenericSchema | null, v.GenericSchema | null>;

/** Checks the handler against the schemas, then forgets them. */
export function endpoint<
  const Rule extends Access,
  const Query extends v.GenericSchema | null,
  const Body extends v.GenericSchema | null,
>(definition: EndpointDefinition<Rule, Query, Body>): Endpoint {
  return definition as unknown as Endpoint;
}

export const ANYONE = { for: "anyone" } as const;
/** Keys and PATs may look, and not make more of themselves. */
export const USER_READS = { for: "user", by: ["jwt", "session", "api_key", "pat"] } as const;
export const USER_WRITES = { for: "user", by: ["jwt", "session"] } as const;
export const ADMIN_READS = { for: "administrator", role: "admin", scope: "gateway.read" } as const;
export const ADMIN_WRITES = { for: "administrator", role: "admin", scope: "gateway.write" } as const;
export const ROOT_WRITES = { for: "administrator", role: "root", scope: "gateway.write" } as const;
