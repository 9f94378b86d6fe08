// Where a site takes credentials from, and which kinds it can verify.
import type { Introspection, PresetRules } from "../presets/preset.ts";
import { CREDENTIAL_KINDS, type CredentialKind } from "../types.ts";
import { foldHeaderName } from "./names.ts";
import type { SiteInput } from "./schema.ts";
import type { Scope } from "./scope.ts";
import type { CredentialRules } from "./types.ts";

const DEFAULT_USER_HEADER = "New-Api-User";

/** `ours`: folded names of the headers that the gateway sets towards the site's origin. */
export function compileCredentialRules(
  site: SiteInput,
  ours: ReadonlySet<string>,
  keyOf: (name: string) => string,
  scope: Scope,
): CredentialRules {
  const given = site.credentials ?? {};
  const userHeader = site.user_header ?? DEFAULT_USER_HEADER;
  const rules: CredentialRules = {
    authorization: given.authorization ?? "bearer",
    headers: lowerCase(given.headers ?? []),
    cookies: [...new Set(given.cookies ?? [])],
    query: [...new Set(given.query ?? [])],
    conflict: site.conflict ?? "refuse",
    onInvalid: site.on_invalid ?? "refuse",
    forwardCredential: site.forward_credential ?? false,
    userHeader: userHeader === false ? null : userHeader.toLowerCase(),
    userHeaderOnSessions: true,
  };
  checkHeaders(rules, ours, keyOf, scope);
  if (rules.query.length > 0) {
    scope.issues.warn(
      `${keyOf("credentials")}.query`,
      "takes credentials from URLs, which logs and histories keep (RFC 9700 section 4.3.2)",
    );
  }
  return rules;
}

function checkHeaders(
  rules: CredentialRules,
  ours: ReadonlySet<string>,
  keyOf: (name: string) => string,
  { issues }: Scope,
): void {
  for (const name of rules.headers) {
    const key = `${keyOf("credentials")}.headers`;
    if (name === "authorization")
      issues.add(key, "must not hold Authorization: that is the key authorization");
    else if (name === "cookie") issues.add(key, "must not hold Cookie: name the cookie under cookies");
    else if (name === "host") issues.add(key, "must not hold Host");
    else if (ours.has(foldHeaderName(name)))
      issues.add(key, "must not hold a header that the gateway sets for the origin");
  }
  const { userHeader } = rules;
  if (userHeader === null) return;
  if (["authorization", "cookie", "host"].includes(userHeader) || rules.headers.includes(userHeader)) {
    issues.add(keyOf("user_header"), "must be a header of its own: it names the user beside the credential");
  } else if (ours.has(foldHeaderName(userHeader))) {
    issues.add(keyOf("user_header"), "must not be a header that the gateway sets for the origin");
  }
}

function lowerCase(names: readonly string[]): readonly string[] {
  return [...new Set(names.map((name) => name.toLowerCase()))];
}

export interface Verifiable {
  readonly kinds: readonly CredentialKind[];
  /** Why a kind is not among them, and the mend. */
  readonly whyNot: (kind: CredentialKind) => string;
}

/** Which kinds a site can verify: it needs a place to find them in, and someone or something to check them with. */
export function verifiableKinds(
  rules: CredentialRules,
  hasJwtIssuer: boolean,
  users: "required" | "none",
  preset: PresetRules | null,
  introspection: Introspection | null,
): Verifiable {
  const hasPlace = rules.authorization !== "off" || rules.headers.length > 0 || rules.query.length > 0;
  const whyNot = (kind: CredentialKind): string => {
    if (kind === "jwt" && !hasJwtIssuer) return "the site has no issuer to verify it with: add a jwt table";
    if (kind !== "jwt" && users === "none")
      return 'users = "none" means that nothing is looked up: only jwt stands alone';
    if (kind === "session")
      return "no cookie is read: name one in credentials.cookies, such as __Host-session";
    return "no place to find it in is left: see credentials.authorization and credentials.headers";
  };
  // Where they stand is the preset's business.
  if (preset !== null) {
    const kinds = [...preset.kinds(users), ...(introspection?.kinds ?? [])];
    const whyNotHere = `the preset ${preset.name} verifies none on such a site: see docs/presets.md`;
    return { kinds: CREDENTIAL_KINDS.filter((kind) => kinds.includes(kind)), whyNot: () => whyNotHere };
  }
  const kinds: CredentialKind[] = [];
  if (hasJwtIssuer && hasPlace) kinds.push("jwt");
  if (users === "required" && hasPlace) kinds.push("api_key", "pat");
  if (users === "required" && rules.cookies.length > 0) kinds.push("session");
  return { kinds, whyNot };
}
