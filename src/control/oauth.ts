// What OAuth tools ask of whoever issues tokens: revocation (RFC 7009) and introspection (RFC 7662).
import * as v from "valibot";
import { auditEntry } from "../audit.ts";
import type { Realm } from "../config/types.ts";
import type { RequestContext } from "../context.ts";
import { hasTaggedShape, hasValidTag } from "../crypto/credential-format.ts";
import { storedDigests } from "../crypto/digest.ts";
import { readRefreshToken } from "../issuer/refresh-token.ts";
import type { CredentialKind, Principal } from "../types.ts";
import { endByRefreshToken } from "./auth.ts";
import { matchOf } from "./caller.ts";
import { ADMIN_READS, ANYONE, type Call, endpoint } from "./endpoint.ts";
import { realmNamedByToken } from "./realm.ts";
import type { Services } from "./services.ts";

const Token = v.pipe(v.string(), v.minLength(1, "must not be empty"), v.maxLength(8_192, "is too long"));
/** "A server MAY ignore this parameter": what a token is can be seen by its shape. */
const token = { token: Token, token_type_hint: v.optional(v.string()) };

const Introspection = v.union([
  v.strictObject({ active: v.literal(false) }),
  v.strictObject({
    active: v.literal(true),
    /** `access_token`, `refresh_token`, `api_key` or `pat`. */
    token_type: v.string(),
    realm: v.string(),
    sub: v.string(),
    username: v.nullable(v.string()),
    scope: v.string(),
    role: v.nullable(v.string()),
    exp: v.nullable(v.number()),
    /** Of the key, PAT or session; of an access token, its `jti`. */
    id: v.nullable(v.string()),
  }),
]);

export const oauthEndpoints = [
  endpoint({
    method: "POST",
    path: "/oauth/revoke",
    id: "revokeToken",
    summary: "Revoke a token that one holds: an access or refresh token, an API key or a PAT (RFC 7009)",
    access: ANYONE,
    query: null,
    body: v.object(token),
    bodyType: "form",
    status: 200,
    answer: null,
    handle: async (call) => {
      await revokeToken(call);
      // "The authorization server responds with HTTP status code 200 if […] the client submitted an invalid token."
      return new Response(null, { headers: { "cache-control": "no-store" } });
    },
  }),
  endpoint({
    method: "POST",
    path: "/oauth/introspect",
    id: "introspectToken",
    summary: "Whether a token is good now, and whose it is (RFC 7662)",
    access: ADMIN_READS,
    query: null,
    body: v.object({ ...token, client_address: v.optional(v.string()) }),
    bodyType: "form",
    status: 200,
    answer: Introspection,
    handle: ({ context, services, body }) =>
      introspect(body.token, { ...context, clientAddress: body.client_address ?? null }, services),
  }),
];

/** Holding it is the proof: who found a leaked key may end it, from wherever they are. */
async function revokeToken({
  context,
  services,
  body,
}: Pick<Call<null, { readonly token: string }, never>, "context" | "services" | "body">): Promise<void> {
  const { config, writes, tokens } = services;
  const { nowSeconds } = context;
  const { tagSecrets, peppers } = config.secrets;
  if (await endByRefreshToken(body.token, context, services)) return;
  const kind = kindOf(body.token, services);
  if (kind === "jwt") {
    const realm = realmNamedByToken(config, body.token);
    const principal = realm === null ? null : await identify(body.token, kind, realm, context);
    if (principal === null || principal.credential.id === null) return;
    const { id: userId, credential } = principal;
    const target = { kind: "token", realm: principal.realm, id: credential.id ?? "" } as const;
    const actor = { kind: "user", realm: principal.realm, id: userId, credentialId: credential.id } as const;
    await writes.audited(auditEntry(context, actor, "revocation.created", target)).revoke(
      {
        realm: principal.realm,
        kind: "token",
        value: target.id,
        expiresAtSeconds: (credential.expiresAtSeconds ?? nowSeconds) + 60,
      },
      nowSeconds,
    );
    return;
  }
  // Ours are told by their tag; imported ones, which have none, are looked up where there may be any.
  const secret = kind === "api_key" ? body.token.slice(config.gateway.apiKeyPrefix.length) : body.token;
  const isOurs = hasTaggedShape(kind, secret) && (await hasValidTag(kind, secret, tagSecrets));
  const realms = [...config.realms.values()].filter(({ untaggedKeys }) => isOurs || untaggedKeys);
  if (realms.length === 0) return;
  const digests = await storedDigests(body.token, peppers);
  const names = realms.map(({ name }) => name);
  const held = await tokens.byDigests(kind, names, digests);
  if (held === null) return;
  const { id, realm, userId } = held;
  const actor = { kind: "user", realm, id: userId, credentialId: id } as const;
  const entry = auditEntry(context, actor, "credential.deleted", { kind, realm, id });
  await writes.audited(entry).updateCredential(id, { status: "deleted" }, nowSeconds);
}

async function introspect(
  value: string,
  context: RequestContext,
  services: Services,
): Promise<v.InferOutput<typeof Introspection>> {
  const { config, chains } = services;
  const inactive = { active: false } as const;
  const presented = await readRefreshToken(value, config.secrets.peppers);
  if (presented !== null) {
    const session = await chains.peek(presented, context.nowSeconds);
    if (session === null) return inactive;
    return {
      active: true,
      token_type: "refresh_token",
      realm: session.realm,
      sub: session.userId,
      username: null,
      scope: session.scopes.join(" "),
      role: session.role,
      exp: Math.min(session.expiresAtSeconds, session.idleExpiresAtSeconds),
      id: session.id,
    };
  }
  const kind = kindOf(value, services);
  const possible = kind === "jwt" ? [realmNamedByToken(config, value)] : [...config.realms.values()];
  for (const realm of possible) {
    const principal = realm === null ? null : await identify(value, kind, realm, context);
    if (principal === null) continue;
    const { credential } = principal;
    return {
      active: true,
      token_type: kind === "jwt" ? "access_token" : kind,
      realm: principal.realm,
      sub: principal.id,
      username: principal.name,
      scope: credential.scopes.join(" "),
      role: principal.role,
      exp: credential.expiresAtSeconds,
      id: credential.id,
    };
  }
  return inactive;
}

function kindOf(value: string, { config }: Services): "jwt" | "api_key" | "pat" {
  if (value.split(".").length === 3) return "jwt";
  return value.startsWith(config.gateway.apiKeyPrefix) ? "api_key" : "pat";
}

/** As a site of the realm would, asking D1. @throws Problem when it could not be decided */
async function identify(
  value: string,
  kind: CredentialKind,
  realm: Realm,
  context: RequestContext,
): Promise<Principal | null> {
  const match = matchOf(realm, { accept: [kind] });
  // What is found out about the token must not end up in this call's own log line.
  const trace = { ...context.trace };
  const credential = { kind, value, claimedUserId: null, suffix: null };
  const verdict = await context.runtime.verifiers[kind](credential, match, { ...context, trace });
  return verdict.kind === "accept" ? verdict.principal : null;
}
