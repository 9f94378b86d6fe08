// What the verifiers' tests share: one user, a site that trusts one HMAC issuer, records that answer what a test says.
import type { JwtIssuer, Route, Site } from "../../../../src/config/types.ts";
import { newTrace, type RequestContext, type Runtime } from "../../../../src/context.ts";
import { storedDigests } from "../../../../src/crypto/digest.ts";
import type { Verifiers } from "../../../../src/pipeline/authenticate.ts";
import type { Match } from "../../../../src/pipeline/route.ts";
import { createJwtVerifier } from "../../../../src/pipeline/verify/jwt.ts";
import type { JwksSource } from "../../../../src/records/jwks.ts";
import { NO_LAST_USE } from "../../../../src/records/last-use.ts";
import type {
  CredentialRecord,
  Demand,
  Knowledge,
  Records,
  UserRecord,
} from "../../../../src/records/types.ts";
import type { Credential, CredentialKind, Verdict } from "../../../../src/types.ts";
import { aRoute, aSite, NOBODY_ASKS, NOW_SECONDS } from "../../../support/worker/policy.ts";

export { aRoute, aSite, NOW_SECONDS };

export const SECRET = new TextEncoder().encode("an HMAC secret of thirty-two byte, and more");
export const TAG_SECRETS = [
  { id: "t1", value: new TextEncoder().encode("tag secret one, thirty-two bytes long") },
];
export const PEPPERS = [
  { id: "p1", value: new TextEncoder().encode("pepper one, at least thirty-two bytes") },
];
export const SECRETS = { tagSecrets: TAG_SECRETS, peppers: PEPPERS };

export function anIssuer(changes: Partial<JwtIssuer> = {}): JwtIssuer {
  return {
    id: "test/0",
    algorithms: ["HS256"],
    keys: { kind: "secret", secret: SECRET },
    issuer: "https://idp.example",
    audience: ["api"],
    require: [],
    clockToleranceSeconds: 30,
    maxLifetimeSeconds: 86_400,
    types: ["", "jwt", "at+jwt"],
    interpret: null,
    claims: {
      subject: ["sub"],
      name: ["name"],
      role: ["role"],
      scopes: ["scope"],
      permissions: ["permissions"],
      session: ["sid"],
    },
    ...changes,
  };
}

/** Claims that `anIssuer()` accepts. */
export const GOOD_CLAIMS = {
  iss: "https://idp.example",
  aud: "api",
  sub: "7",
  exp: NOW_SECONDS + 900,
} as const;

export function aMatch(site: Partial<Site> = {}, route: Partial<Route> = {}): Match {
  const only = aRoute("/*", route);
  return {
    site: aSite([only], { users: "none", revocation: "none", jwtIssuers: [anIssuer()], ...site }),
    route: only,
    forwardPath: "/",
  };
}

export function aRequestContext(
  changes: Partial<Pick<RequestContext, "nowSeconds" | "clientAddress" | "background">> & {
    readonly request?: Request;
    readonly verifiers?: Partial<Verifiers>;
  } = {},
): RequestContext {
  const request = changes.request ?? new Request("https://api.example/thing");
  const url = new URL(request.url);
  return {
    arrival: {
      request,
      method: request.method,
      scheme: url.protocol === "http:" ? "http" : "https",
      authority: url.host,
      host: url.hostname,
      path: url.pathname,
      search: url.search,
      ambiguities: 0,
    },
    runtime: { verifiers: changes.verifiers ?? {}, lastUse: NO_LAST_USE } as unknown as Runtime,
    requestId: "request-1",
    nowSeconds: changes.nowSeconds ?? NOW_SECONDS,
    clientAddress: changes.clientAddress ?? null,
    background: changes.background ?? (() => undefined),
    trace: newTrace(),
  };
}

export function aCredential(
  kind: CredentialKind,
  value: string,
  claimedUserId: string | null = null,
): Credential {
  return { kind, value, suffix: null, claimedUserId };
}

export function aUser(changes: Partial<UserRecord> = {}): UserRecord {
  return {
    realm: "test",
    id: "7",
    username: "alice",
    name: "Alice",
    role: "user",
    permissions: ["files.read"],
    status: "active",
    attributes: { group: "vip" },
    ...changes,
  };
}

export function aRecord(changes: Partial<CredentialRecord> = {}): CredentialRecord {
  return {
    kind: "api_key",
    id: "key-1",
    realm: "test",
    userId: "7",
    name: "laptop",
    status: "active",
    digest: "",
    scopes: ["files.write"],
    createdAtSeconds: NOW_SECONDS - 1_000,
    expiresAtSeconds: null,
    isReplaced: false,
    ipAllow: [],
    attributes: {},
    user: aUser(),
    ...changes,
  };
}

export interface FakeRecords extends Pick<Records, "know"> {
  readonly demands: Demand[];
}

/** Answers every demand with the same knowledge; looks at no key, so tests look at `demands`. */
export function fakeRecords(knowledge: Partial<Knowledge> = {}): FakeRecords {
  const demands: Demand[] = [];
  return {
    demands,
    know: async (demand) => {
      demands.push(demand);
      return { credential: null, user: null, isRevoked: false, ...knowledge };
    },
  };
}

export const NO_JWKS: JwksSource = {
  keySet: async () => {
    throw new Error("no key set expected");
  },
};

export async function digestOf(secret: string): Promise<string> {
  const [digest] = await storedDigests(secret, PEPPERS);
  if (digest === undefined) throw new Error("no pepper");
  return digest;
}

export const accepted = (verdict: Verdict) => (verdict.kind === "accept" ? verdict.principal : verdict);
export const rejected = (verdict: Verdict) => (verdict.kind === "reject" ? verdict.reason : "accepted");

/** Base64url of the text, as in a segment of a JWS. */
export function segment(text: string | Uint8Array): string {
  const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}

/** A compact JWS over header and payload exactly as written, with a right HMAC. */
export async function signText(
  header: string,
  payload: string | Uint8Array,
  secret: Uint8Array = SECRET,
  hash = "SHA-256",
): Promise<string> {
  return signSegments(segment(header), segment(payload), secret, hash);
}

export async function signSegments(
  header: string,
  payload: string,
  secret: Uint8Array = SECRET,
  hash = "SHA-256",
): Promise<string> {
  const key = await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash }, false, ["sign"]);
  const mac = await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(`${header}.${payload}`));
  return `${header}.${payload}.${segment(new Uint8Array(mac))}`;
}

/** A good token but for the given changes; `undefined` removes a claim. */
export function mint(
  claims: Readonly<Record<string, unknown>> = {},
  header: Readonly<Record<string, unknown>> = {},
): Promise<string> {
  return signText(JSON.stringify({ alg: "HS256", ...header }), JSON.stringify({ ...GOOD_CLAIMS, ...claims }));
}

export interface JwtSetting {
  readonly issuer?: Partial<JwtIssuer>;
  readonly site?: Partial<Site>;
  readonly records?: Pick<Records, "know">;
  readonly jwks?: JwksSource;
  readonly nowSeconds?: number;
}

/** Asks a verifier of its own, so that nothing is remembered. */
export function verifyJwt(token: string, setting: JwtSetting = {}): Promise<Verdict> {
  const {
    issuer = {},
    site = {},
    records = fakeRecords(),
    jwks = NO_JWKS,
    nowSeconds = NOW_SECONDS,
  } = setting;
  const verifier = createJwtVerifier({ records, ...NOBODY_ASKS, jwks, maxRemembered: 16 });
  const match = aMatch({ jwtIssuers: [anIssuer(issuer)], ...site });
  return verifier(aCredential("jwt", token), match, aRequestContext({ nowSeconds }));
}
