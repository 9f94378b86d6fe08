// The configuration as operators write it: `GATEWAY`, `SITE_<NAME>` and their continuations. Shapes and single values
// only; what depends on several keys, on secrets or on bindings is checked where those are compiled.
import * as v from "valibot";
import { AMBIGUITIES, type Ambiguity } from "../pipeline/path.ts";
import { CREDENTIAL_KINDS } from "../types.ts";
import { hostProblem, isHeaderName } from "./names.ts";
import { oneOf, table, tableOf } from "./read.ts";

export const HMAC_ALGORITHMS = ["HS256", "HS384", "HS512"] as const;
export type HmacAlgorithm = (typeof HMAC_ALGORITHMS)[number];
export const PUBLIC_KEY_ALGORITHMS = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
  "Ed25519",
] as const;
export type PublicKeyAlgorithm = (typeof PUBLIC_KEY_ALGORITHMS)[number];
export const SIGNING_ALGORITHMS = ["ES256", "EdDSA"] as const;
export type SigningAlgorithm = (typeof SIGNING_ALGORITHMS)[number];

const AMBIGUITY_NAMES = Object.keys(AMBIGUITIES) as [Ambiguity, ...Ambiguity[]];

const text = v.pipe(v.string(), v.minLength(1));
const whole = (least: number, most: number) =>
  v.pipe(v.number(), v.integer(), v.minValue(least), v.maxValue(most));
const listOf = <Item extends v.GenericSchema>(item: Item) => v.pipe(v.array(item), v.minLength(1));

const headerName = v.pipe(
  v.string(),
  v.check(isHeaderName, "is not a header name: letters, digits and - _ . only, without the colon"),
);
const host = v.pipe(
  v.string(),
  v.check(
    (name) => hostProblem(name) === null,
    (issue) => hostProblem(issue.input) ?? "",
  ),
);
/** Messages about secret names do not repeat them: someone may have put the secret itself there. */
const secretName = v.pipe(
  v.string(),
  v.regex(
    /^[A-Z][A-Z0-9_]{0,63}$/,
    "must be the NAME of a Worker secret (A-Z, 0-9, _), never the secret itself",
  ),
);
const secretEncoding = oneOf(["text", "base64url", "base64", "hex"]);
const realmName = v.pipe(
  v.string(),
  v.regex(/^[a-z0-9][a-z0-9_-]{0,63}$/, "must be a name of a-z, 0-9, _ and -"),
);
const word = v.pipe(
  v.string(),
  v.regex(
    /^[\x21\x23-\x5b\x5d-\x7e]{1,128}$/,
    "must be a word of visible ASCII without quotes and backslashes",
  ),
);
const cookieOrParameter = v.pipe(
  v.string(),
  v.check(isHeaderName, "must be a name of letters, digits and - _ . only"),
);

/** Browsers keep such a cookie to one host, its whole path and HTTPS (RFC 6265bis §4.1.3.2). */
const HOST_COOKIE = 'must be a cookie name that begins with "__Host-", or false for no cookies';

/** Systems whose clients find here what they know; `src/presets/` says what that is. */
export const PRESET_NAMES = ["cloudreve", "nekohub", "new-api", "new-api-current"] as const;
export type PresetName = (typeof PRESET_NAMES)[number];

export const GatewaySchema = table({
  environment: v.optional(oneOf(["production", "development"])),
  issuer: v.optional(text),
  hosts: v.optional(listOf(host)),
  freshness_seconds: v.optional(whole(1, 3600)),
  client_address_header: v.optional(
    v.union([headerName, v.literal(false)], "must be a header name, or false when none can be trusted"),
  ),
  api_key_prefix: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^[A-Za-z][A-Za-z0-9_-]{0,14}[_-]$/, 'must be letters and digits that end with "-" or "_"'),
    ),
  ),
  realms: v.optional(
    tableOf(
      realmName,
      table({
        untagged_keys: v.optional(v.boolean()),
        sign_in: v.optional(
          table({
            access_seconds: v.optional(whole(60, 3_600)),
            idle_days: v.optional(whole(1, 400)),
            session_days: v.optional(whole(1, 400)),
            min_password_length: v.optional(whole(8, 64)),
            scopes: v.optional(
              v.union(
                [v.array(word), tableOf(word, v.array(word))],
                "must be a list of scopes, or a table of such lists by role",
              ),
            ),
            cookie: v.optional(
              v.union(
                [v.pipe(cookieOrParameter, v.regex(/^__Host-./, HOST_COOKIE)), v.literal(false)],
                HOST_COOKIE,
              ),
            ),
          }),
        ),
      }),
    ),
  ),
  user_context: v.optional(
    table({
      algorithm: v.optional(oneOf(SIGNING_ALGORITHMS)),
      header: v.optional(headerName),
      bind: v.optional(oneOf(["site", "request"])),
      life_seconds: v.optional(whole(1, 60)),
    }),
  ),
});
export type GatewayInput = v.InferOutput<typeof GatewaySchema>;

export const SiteSchema = table({
  hosts: v.optional(listOf(host)),
  base_path: v.optional(v.string()),
  strip_base_path: v.optional(v.boolean()),
  origin: v.optional(v.string()),
  preset: v.optional(oneOf(PRESET_NAMES)),
  issue: v.optional(v.boolean()),
  introspect: v.optional(v.boolean()),
  errors: v.optional(oneOf(["preset", "problem"])),
  api_keys: v.optional(secretName),
  site_id: v.optional(text),
  mcp: v.optional(v.boolean()),
  origin_headers: v.optional(
    tableOf(headerName, v.string("must be a text in quotes: a value, or secret:NAME")),
  ),
  realm: v.optional(realmName),
  roles: v.optional(listOf(word)),
  users: v.optional(oneOf(["required", "none"])),
  revocation: v.optional(oneOf(["feed", "none"])),
  credentials: v.optional(
    table({
      authorization: v.optional(oneOf(["bearer", "bearer_or_raw", "off"])),
      headers: v.optional(v.array(headerName)),
      cookies: v.optional(v.array(cookieOrParameter)),
      query: v.optional(v.array(cookieOrParameter)),
    }),
  ),
  conflict: v.optional(oneOf(["refuse", "first"])),
  on_invalid: v.optional(oneOf(["refuse", "anonymous"])),
  forward_credential: v.optional(v.boolean()),
  user_header: v.optional(
    v.union([headerName, v.literal(false)], "must be a header name, or false to do without"),
  ),
  user_context: v.optional(
    table({
      algorithm: v.optional(oneOf([...SIGNING_ALGORITHMS, ...HMAC_ALGORITHMS])),
      secret: v.optional(secretName),
      secret_encoding: v.optional(secretEncoding),
      header: v.optional(headerName),
      bind: v.optional(oneOf(["site", "request"])),
      life_seconds: v.optional(whole(1, 60)),
      attributes: v.optional(v.array(word)),
    }),
  ),
  plain_headers: v.optional(
    v.union(
      [
        v.boolean(),
        table({
          id: v.optional(headerName),
          name: v.optional(headerName),
          role: v.optional(headerName),
          method: v.optional(headerName),
        }),
      ],
      "must be true, false, or a table of header names with the keys id, name, role, method",
    ),
  ),
  strip_headers: v.optional(v.array(headerName)),
  unmatched: v.optional(oneOf(["refuse", "forward"])),
  request_id: v.optional(oneOf(["refusals", "always"])),
  allow: v.optional(v.array(oneOf(AMBIGUITY_NAMES))),
  cors: v.optional(
    table({
      allow_origins: listOf(text),
      allow_methods: v.optional(listOf(word)),
      allow_headers: v.optional(v.array(headerName)),
      expose_headers: v.optional(v.array(headerName)),
      allow_credentials: v.optional(v.boolean()),
      max_age_seconds: v.optional(whole(0, 86_400)),
    }),
  ),
  // Their rows are read one by one, so that a bad row does not hide the next.
  jwt: v.optional(v.unknown()),
  routes: v.optional(v.array(v.unknown())),
});
export type SiteInput = v.InferOutput<typeof SiteSchema>;

/** `a.b` walks into objects; a list is one path of literal names, for claims whose names contain dots. */
const claimPath = v.union(
  [v.pipe(v.string(), v.regex(/^[^.]+(\.[^.]+)*$/, "must be a claim name or a dotted path")), listOf(text)],
  'must be a claim name, a dotted path, or a list of names such as ["https://example.com/roles"]',
);

/** `algorithms`, `issuer` and `audience` may be missing only where a preset knows them: `compileJwtIssuer` sees to it. */
export const JwtSchema = table({
  algorithms: v.optional(listOf(oneOf([...HMAC_ALGORITHMS, ...PUBLIC_KEY_ALGORITHMS]))),
  secret: v.optional(secretName),
  secret_encoding: v.optional(secretEncoding),
  public_key: v.optional(
    v.union(
      [v.pipe(v.string(), v.minLength(1)), v.record(v.string(), v.unknown())],
      "must be a public key in PEM, a JWK, a JWK set, or secret:NAME",
    ),
  ),
  jwks: v.optional(v.string()),
  issuer: v.optional(text),
  audience: v.optional(v.union([text, listOf(text)], "must be a text or a list of texts, not empty")),
  require: v.optional(
    tableOf(
      v.string(),
      v.union([v.string(), v.number(), v.boolean()], "must be a text, a number, or true or false"),
    ),
  ),
  clock_tolerance_seconds: v.optional(whole(0, 60)),
  max_lifetime_seconds: v.optional(whole(1, 31_622_400)),
  types: v.optional(listOf(v.string())),
  claims: v.optional(
    table({
      subject: v.optional(claimPath),
      name: v.optional(claimPath),
      role: v.optional(claimPath),
      scopes: v.optional(claimPath),
      permissions: v.optional(claimPath),
      session: v.optional(claimPath),
    }),
  ),
});
export type JwtInput = v.InferOutput<typeof JwtSchema>;

export const RouteSchema = table({
  path: text,
  methods: v.optional(
    listOf(
      v.pipe(v.string(), v.regex(/^[A-Z][A-Z-]{0,31}$/, 'must be a method in upper case, such as "GET"')),
    ),
  ),
  auth: v.optional(oneOf(["none", "optional", "required"])),
  accept: v.optional(listOf(oneOf(CREDENTIAL_KINDS))),
  role: v.optional(v.string()),
  scopes: v.optional(listOf(word)),
  any_scopes: v.optional(listOf(word)),
  permissions: v.optional(listOf(word)),
  any_permissions: v.optional(listOf(word)),
  limit: v.optional(
    table({
      binding: v.optional(text),
      exact: v.optional(v.literal(true, "must be true, or left out")),
      requests: v.optional(whole(1, 1_000_000_000)),
      per_seconds: v.optional(whole(1, 2_678_400)),
      by: v.optional(oneOf(["principal", "credential", "address"])),
    }),
  ),
  freshness_seconds: v.optional(whole(0, 3600)),
  mode: v.optional(oneOf(["enforce", "observe"])),
  allow: v.optional(v.array(oneOf(AMBIGUITY_NAMES))),
  cache: v.optional(v.boolean()),
  mcp: v.optional(v.boolean()),
  first_byte_seconds: v.optional(whole(1, 3600)),
  max_stream_seconds: v.optional(whole(1, 604_800)),
});
export type RouteInput = v.InferOutput<typeof RouteSchema>;
