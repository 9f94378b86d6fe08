// `token`: a JWT for debugging on this machine, signed with the secret that a site shares with its issuer.
import { readFile } from "node:fs/promises";
import { base64url } from "jose";
import { loadConfig } from "../../src/config/load.ts";
import { nearest } from "../../src/config/read.ts";
import type { SecretNeed } from "../../src/config/secrets.ts";
import type { Config, JwtIssuer, Site } from "../../src/config/types.ts";
import { type HmacHash, hmacKey } from "../../src/crypto/hmac.ts";
import { localState } from "../local-state.ts";
import { parsePolicyFile } from "../policy-file.ts";
import { issueLines } from "../policy-table.ts";
import { standIn } from "../stand-ins.ts";
import { type Command, command, type Place } from "./command.ts";
import { Failure, wrongUsage } from "./failure.ts";
import { secretsIn } from "./gateway.ts";
import { parseDuration, shownTime } from "./times.ts";

const HASHES: Readonly<Record<string, HmacHash>> = { HS256: "SHA-256", HS384: "SHA-384", HS512: "SHA-512" };
const DEFAULT_TTL = "1h";

/** A secret that was not at hand, and what stands for it. */
interface Missing {
  readonly name: string;
  readonly bytes: Uint8Array;
}

export const tokenCommand: Command = command({
  words: "token",
  says: "A JWT for debugging on this machine, signed with the secret that a site shares with its issuer (HS256). Needs no gateway.",
  notes: [
    "The secret comes from the environment or the local .dev.vars. The token goes to standard output.",
    "It is for debugging only: whoever has that secret can be anybody. Never do this in production.",
  ],
  options: {
    user: { type: "string", value: "ID", isNeeded: true, says: "the subject" },
    ttl: { type: "string", value: "DURATION", says: `how long it is valid; default ${DEFAULT_TTL}` },
    site: {
      type: "string",
      value: "NAME",
      says: "whose secret; may be left out where only one site has one",
    },
    env: { type: "string", value: "NAME", says: "an environment of wrangler.toml" },
    role: { type: "string", value: "ROLE", says: "a claim, where the site looks for it" },
    scope: { type: "string", value: "SCOPE", isMany: true, says: "a claim, where the site looks for it" },
  },
  async run({ flags, place, nowSeconds, output }) {
    const { config, missing } = await readConfig(place, flags.env ?? null);
    const { site, issuer, secret } = chooseIssuer(config, flags.site ?? null);
    const absent = missing.find(({ bytes }) => Buffer.from(bytes).equals(secret));
    if (absent !== undefined) {
      throw new Failure(
        "refused",
        `the secret of site ${site.name} is not here: put ${absent.name}=… into ${localState(place).secretsFile}, or into the environment`,
      );
    }
    const ttlSeconds = parseDuration("ttl", flags.ttl ?? DEFAULT_TTL);
    if (ttlSeconds < 1 || ttlSeconds > issuer.maxLifetimeSeconds) {
      throw wrongUsage(`--ttl: site ${site.name} takes tokens of 1 to ${issuer.maxLifetimeSeconds} s`);
    }
    const claims = claimsFor(issuer, { ...flags, nowSeconds, expiresAtSeconds: nowSeconds + ttlSeconds });
    const token = await sign(issuer, secret, claims);
    output.note(
      `For debugging only, and not to be used in production: user ${flags.user} of site ${site.name} until ${shownTime(nowSeconds + ttlSeconds)}.`,
    );
    output.answer({ token, expires_at: nowSeconds + ttlSeconds }, () => [token]);
  },
});

/** The configuration with the secrets of this machine, and stand-ins for what is not here. */
async function readConfig(
  place: Place,
  environment: string | null,
): Promise<{ readonly config: Config; readonly missing: readonly Missing[] }> {
  const { config: file, secretsFile } = localState(place);
  const secrets = secretsIn(secretsFile);
  const missing: Missing[] = [];
  const source = (need: SecretNeed) => {
    const value = process.env[need.name] ?? secrets[need.name];
    if (value !== undefined && value !== "") return value;
    const made = standIn(need);
    if (need.kind === "hmac" && made !== undefined) {
      const encoding = need.encoding === "text" ? "utf8" : need.encoding;
      missing.push({ name: need.name, bytes: Buffer.from(made, encoding) });
    }
    return made;
  };
  try {
    const { bindings, variables } = parsePolicyFile(await readFile(file, "utf8"), environment);
    const loaded = loadConfig({ ...bindings, ...variables }, source);
    if (loaded.ok) return { config: loaded.config, missing };
    throw new Error(["it is not valid", ...issueLines(loaded.issues)].join("\n"));
  } catch (error) {
    throw new Failure("refused", `${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** @throws Failure where the site's issuer signs with a key that is not shared */
function chooseIssuer(
  { sites }: Config,
  name: string | null,
): { readonly site: Site; readonly issuer: JwtIssuer; readonly secret: Uint8Array } {
  const withSecret = sites.flatMap((site) => {
    const found = shared(site);
    return found === null ? [] : [{ site, ...found }];
  });
  if (name === null) {
    const [only, ...others] = withSecret;
    if (only !== undefined && others.length === 0) return only;
    throw wrongUsage(
      only === undefined
        ? "no site shares a secret with its issuer, so no token can be made here"
        : `--site is needed: ${withSecret.map(({ site }) => site.name).join(", ")}`,
    );
  }
  const site = sites.find((one) => one.name === name.toLowerCase());
  if (site === undefined) {
    const names = sites.map((one) => one.name);
    const guess = nearest(name.toLowerCase(), names);
    throw wrongUsage(
      `there is no site ${name}${guess === null ? `; the sites are ${names.join(", ")}` : `; did you mean ${guess}?`}`,
    );
  }
  const found = shared(site);
  if (found !== null) return { site, ...found };
  const [issuer] = site.jwtIssuers;
  throw new Failure(
    "refused",
    issuer === undefined
      ? `site ${site.name} takes no JWTs: it has no [jwt]`
      : `the issuer of site ${site.name} signs with ${issuer.algorithms.join(", ")}: its private key is with the identity provider, and only there tokens can be made`,
  );
}

function shared({ jwtIssuers }: Site): { readonly issuer: JwtIssuer; readonly secret: Uint8Array } | null {
  for (const issuer of jwtIssuers) {
    if (issuer.keys.kind === "secret") return { issuer, secret: issuer.keys.secret };
  }
  return null;
}

interface Wanted {
  readonly user: string;
  readonly role: string | undefined;
  readonly scope: readonly string[];
  readonly nowSeconds: number;
  readonly expiresAtSeconds: number;
}

function claimsFor(issuer: JwtIssuer, wanted: Wanted): Readonly<Record<string, unknown>> {
  const claims: Record<string, unknown> = {
    token_type: "access",
    sub: wanted.user,
    nbf: wanted.nowSeconds,
    exp: wanted.expiresAtSeconds,
  };
  if (issuer.issuer !== null) claims.iss = issuer.issuer;
  if (issuer.audience?.[0] !== undefined) claims.aud = issuer.audience[0];
  for (const [name, value] of issuer.require) claims[name] = value;
  put(claims, issuer.claims.subject, wanted.user);
  if (wanted.role !== undefined) put(claims, issuer.claims.role, wanted.role);
  if (wanted.scope.length > 0) put(claims, issuer.claims.scopes, wanted.scope.join(" "));
  return claims;
}

/** At a dotted path of the claims; nowhere, where the site does not look for it. */
function put(claims: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [name, ...rest] = path;
  if (name === undefined) return;
  if (rest.length === 0) {
    claims[name] = value;
    return;
  }
  const inner: Record<string, unknown> = {};
  put(inner, rest, value);
  claims[name] = inner;
}

async function sign(
  { algorithms, types }: JwtIssuer,
  secret: Uint8Array,
  claims: Readonly<Record<string, unknown>>,
): Promise<string> {
  const alg = algorithms.includes("HS256") ? "HS256" : (algorithms[0] ?? "");
  const typ = types.includes("jwt") || types.length === 0 ? "JWT" : types.find((type) => type !== "");
  const encode = (value: unknown) => base64url.encode(JSON.stringify(value));
  const signed = `${encode({ alg, ...(typ !== undefined && { typ }) })}.${encode(claims)}`;
  const key = await hmacKey(secret, HASHES[alg] ?? "SHA-256");
  const mac = await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(signed));
  return `${signed}.${base64url.encode(new Uint8Array(mac))}`;
}
