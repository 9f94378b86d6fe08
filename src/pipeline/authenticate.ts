// Step 3: credential -> principal | null. Asks the one verifier of the credential's kind.
import type { RequestContext } from "../context.ts";
import { Problem } from "../problem.ts";
import type { Credential, CredentialKind, Principal, Verdict } from "../types.ts";
import type { Match } from "./route.ts";

/** Decides one kind of credential. Throws only when it could not decide. */
export type Verifier = (credential: Credential, match: Match, context: RequestContext) => Promise<Verdict>;

export type Verifiers = Readonly<Record<CredentialKind, Verifier>>;

/**
 * Who is calling. On an `auth = "none"` route nobody is asked. A credential that is presented and bad is refused on
 * optional routes too, unless the site says `on_invalid = "anonymous"`; required routes refuse it in any case.
 * Does not check role, scopes or permissions (`authorize`). Writes what it learns into the trace.
 *
 * @returns `null`: anonymous, which the route permits
 * @throws Problem `credential_missing`, `credential_invalid`, `store_unavailable`, `keys_unavailable`
 */
export async function authenticate(
  credential: Credential | null,
  match: Match,
  context: RequestContext,
): Promise<Principal | null> {
  const { route } = match;
  if (route.auth === "none") return null;
  if (credential === null) {
    if (route.auth === "optional") return null;
    throw new Problem("credential_missing", whyNone(match, context));
  }
  const { kind } = credential;
  const { trace } = context;
  trace.credentialKind = kind;
  if (!route.accept.includes(kind)) return refuseOrForget({ reason: "kind_not_accepted" }, kind, match);
  const verdict = await context.runtime.verifiers[kind](credential, match, context);
  if (verdict.kind === "reject") return refuseOrForget(verdict, kind, match);
  const { preset } = match.site;
  const principal = preset?.rightsOf?.(verdict.principal) ?? verdict.principal;
  preset?.restrict(principal, credential, route, context.arrival);
  trace.principalId = principal.id;
  trace.credentialId = principal.credential.id;
  context.runtime.lastUse.note(principal, context.nowSeconds, context.background);
  return principal;
}

function refuseOrForget(
  { reason, about, detail }: Omit<Extract<Verdict, { kind: "reject" }>, "kind">,
  kind: CredentialKind,
  { site: { credentials, preset }, route }: Match,
): null {
  const mayForget = route.auth === "optional" && credentials.onInvalid === "anonymous";
  const isUnforgivable = preset?.unforgivable.includes(reason) || preset?.unforgivableKinds?.includes(kind);
  if (mayForget && !isUnforgivable) return null;
  const told = detail ?? (reason.startsWith("user_header") ? credentials.userHeader : null);
  throw new Problem("credential_invalid", `${kind}: ${reason}${told === null ? "" : ` (${told})`}`, {
    reject: reason,
    ...(about !== undefined && { about }),
  });
}

/** Where people put keys that are for `Authorization`, or for a header that the site does not read. */
const USUAL_PLACES = [
  "x-api-key",
  "api-key",
  "apikey",
  "x-auth-token",
  "x-access-token",
  "x-token",
  "x-goog-api-key",
  "private-token",
];

/** Names the header that was meant, for the log; what it holds is a secret. Asked only where the answer is 401. */
function whyNone({ site }: Match, { arrival }: RequestContext): string {
  const place =
    site.credentials.authorization === "off" && arrival.request.headers.has("authorization")
      ? "authorization"
      : USUAL_PLACES.find((name) => arrival.request.headers.has(name));
  if (place === undefined) return "no credential";
  const key = site.preset === null ? ": see credentials.headers" : "";
  return `no credential; ${place} is not a place of this site${key}`;
}
