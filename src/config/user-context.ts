// How a site's origin is told who is calling: the signed header, and the plain ones beside it.
import { foldHeaderName } from "./names.ts";
import type { GatewayInput, HmacAlgorithm, SigningAlgorithm, SiteInput } from "./schema.ts";
import type { Scope } from "./scope.ts";
import { readHmacSecret } from "./secrets.ts";
import type { PlainHeaderNames, UserContextSettings } from "./types.ts";

const DEFAULT_PLAIN_HEADERS: PlainHeaderNames = {
  id: "x-user-id",
  name: "x-user-name",
  role: "x-user-role",
  method: "x-auth-method",
};

/** Headers that mean something else to everybody on the way. */
const TAKEN = new Set([
  "authorization",
  "cookie",
  "host",
  "connection",
  "content-length",
  "content-type",
  "transfer-encoding",
  "upgrade",
  "forwarded",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
  "x-real-ip",
  "x-request-id",
]);

/** What sites inherit: `GATEWAY.user_context`. Its algorithms are public-key ones, so it needs no secret. */
export function compileGatewayUserContext(
  given: GatewayInput["user_context"],
  scope: Scope,
): UserContextSettings {
  const header = (given?.header ?? "X-User-Context").toLowerCase();
  checkHeader(header, "GATEWAY.user_context.header", scope);
  return {
    algorithm: given?.algorithm ?? "ES256",
    secret: null,
    header,
    bind: given?.bind ?? "site",
    lifeSeconds: given?.life_seconds ?? 60,
    plainHeaders: null,
    attributes: [],
  };
}

/** A site's own settings over the inherited ones. `keyOf` names the variable a key stands in. */
export function compileUserContext(
  site: SiteInput,
  inherited: UserContextSettings,
  keyOf: (name: string) => string,
  scope: Scope,
): UserContextSettings {
  const given = site.user_context ?? {};
  const key = keyOf("user_context");
  const algorithm = given.algorithm ?? inherited.algorithm;
  const header = (given.header ?? inherited.header).toLowerCase();
  if (given.header !== undefined) checkHeader(header, `${key}.header`, scope);
  const plainHeaders = compilePlainHeaders(
    site.plain_headers ?? false,
    header,
    keyOf("plain_headers"),
    scope,
  );
  let secret: Uint8Array | null = null;
  if (isHmac(algorithm)) {
    if (given.secret === undefined) {
      scope.issues.add(`${key}.secret`, `is required with ${algorithm}: the NAME of a Worker secret`);
    } else {
      const encoding = given.secret_encoding ?? "text";
      secret = readHmacSecret(
        given.secret,
        [algorithm],
        encoding,
        `${key}.secret`,
        scope.secrets,
        scope.issues,
      );
    }
  } else if (given.secret !== undefined || given.secret_encoding !== undefined) {
    scope.issues.add(`${key}.secret`, `has a meaning only with HS256, HS384 or HS512, not with ${algorithm}`);
  }
  return {
    algorithm,
    secret,
    header,
    bind: given.bind ?? inherited.bind,
    lifeSeconds: given.life_seconds ?? inherited.lifeSeconds,
    plainHeaders,
    attributes: given.attributes ?? [],
  };
}

/** Names of every header that only the gateway may set towards this site's origin, folded. */
export function ownHeaders(settings: UserContextSettings): ReadonlySet<string> {
  const plain = settings.plainHeaders;
  const names = plain === null ? [] : [plain.id, plain.name, plain.role, plain.method];
  return new Set([settings.header, ...names].map(foldHeaderName));
}

export function isHmac(algorithm: HmacAlgorithm | SigningAlgorithm): algorithm is HmacAlgorithm {
  return algorithm.startsWith("HS");
}

function compilePlainHeaders(
  given: NonNullable<SiteInput["plain_headers"]>,
  contextHeader: string,
  key: string,
  scope: Scope,
): PlainHeaderNames | null {
  if (given === false) return null;
  const chosen = given === true ? {} : given;
  const names: PlainHeaderNames = {
    id: (chosen.id ?? DEFAULT_PLAIN_HEADERS.id).toLowerCase(),
    name: (chosen.name ?? DEFAULT_PLAIN_HEADERS.name).toLowerCase(),
    role: (chosen.role ?? DEFAULT_PLAIN_HEADERS.role).toLowerCase(),
    method: (chosen.method ?? DEFAULT_PLAIN_HEADERS.method).toLowerCase(),
  };
  const seen = new Set([foldHeaderName(contextHeader)]);
  for (const [part, name] of Object.entries(names)) {
    if (seen.has(foldHeaderName(name))) {
      scope.issues.add(`${key}.${part}`, "is the name of another header we set: each needs its own");
    }
    seen.add(foldHeaderName(name));
    checkHeader(name, `${key}.${part}`, scope);
  }
  return names;
}

function checkHeader(name: string, key: string, scope: Scope): void {
  if (!TAKEN.has(foldHeaderName(name))) return;
  scope.issues.add(key, "is a header with a meaning of its own: choose another name");
}
