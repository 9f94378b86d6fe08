// A gateway under bare workerd that is struck with raw bytes; after every strike, what the origin got is held against
// the policy by a reading of paths that shares nothing with the gateway's own.
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify, SignJWT } from "jose";
import { expect } from "vitest";
import { ensureLocalSecrets } from "../../../cli/local-secrets.ts";
import type { RequestLine } from "../../../src/log.ts";
import { type BareWorkerd, startBareWorkerd } from "./bare-workerd.ts";
import { exchange, type RawExchange, type RawOptions, rawRequest } from "./raw-http.ts";
import { type Area, areaOf, readings } from "./readings.ts";
import { type Arrived, type RecordingOrigin, startRecordingOrigin, valuesOf } from "./recording-origin.ts";
import { makeScratch } from "./scratch.ts";

const ISSUER = "https://auth.example";
/** What attackers write into headers; nothing with it in its value may come through. */
export const FORGED = "forged";

/** Rows whose names say what they ask for. */
export const ROUTES = [
  { path: "/public/*", auth: "none" },
  { path: "/optional/*", auth: "optional" },
  { path: "/private/*", auth: "required" },
  { path: "/admin/*", auth: "required", role: "admin" },
] as const;

export interface Strike {
  readonly exchange: RawExchange;
  /** Status of the first answer; `null` when the connection ended, or nothing was said, without one. */
  readonly status: number | null;
  /** What the origin got of it, already checked. */
  readonly arrived: readonly Arrived[];
  /** What the gateway logged of those. */
  readonly logged: readonly RequestLine[];
}

export interface AttackTarget {
  readonly gateway: BareWorkerd;
  readonly userToken: string;
  readonly adminToken: string;
  /**
   * Sends the bytes and waits until nothing of them can still be on its way. Fails unless every request that reached
   * the origin is one the policy permits, spelled as the gateway matched it, with one user context, valid and ours.
   */
  strike(bytes: Buffer, options?: RawOptions): Promise<Strike>;
  /** `strike` with a well-formed request but for its target and further headers. */
  get(target: string, headers?: readonly string[], host?: string): Promise<Strike>;
  stop(): Promise<void>;
}

/** @param sites further `SITE_…` tables; `service:ORIGIN` is the recording origin */
export async function startAttackTarget(
  sites: Readonly<Record<string, object>>,
  entry = "src/index.ts",
): Promise<AttackTarget> {
  const origin = await startRecordingOrigin();
  const vars = { ...(await secrets()), GATEWAY, ...sitesWithDefaults(sites, origin) };
  const gateway = await startBareWorkerd({ entry, vars, services: { ORIGIN: origin.port } }).catch(
    async (error) => {
      await origin.close();
      throw error;
    },
  );
  const jwks = createLocalJWKSet(await publicKeys(gateway.port));
  const userToken = await tokenOf(vars.DEMO_JWT_SECRET, { sub: "7", role: "user" });
  const adminToken = await tokenOf(vars.DEMO_JWT_SECRET, { sub: "1", role: "admin" });

  async function strike(bytes: Buffer, options?: RawOptions): Promise<Strike> {
    const before = origin.arrived.length;
    const done = await exchange(gateway.port, bytes, options);
    await passBarrier(gateway.port);
    const arrived = origin.arrived.slice(before).filter(({ target }) => target !== BARRIER);
    const logged: RequestLine[] = [];
    for (const one of arrived) logged.push(await check(one, gateway, jwks));
    return { exchange: done, status: done.answers[0]?.status ?? null, arrived, logged };
  }

  return {
    gateway,
    userToken,
    adminToken,
    strike,
    get: (target, headers = [], host = "any.example") =>
      strike(rawRequest(`GET ${target} HTTP/1.1`, [`Host: ${host}`, ...headers])),
    async stop() {
      await gateway.stop();
      await origin.close();
    },
  };
}

const GATEWAY = {
  issuer: ISSUER,
  hosts: ["auth.example"],
  client_address_header: false,
  user_context: { bind: "request" },
};

const JWT = {
  algorithms: ["HS256"],
  secret: "DEMO_JWT_SECRET",
  issuer: "https://idp.example",
  audience: "api",
};

/** Stand-alone: JWTs alone decide, so that no site needs a database. */
function sitesWithDefaults(
  sites: Readonly<Record<string, object>>,
  { port }: RecordingOrigin,
): Readonly<Record<string, object>> {
  const defaults = {
    origin: `http://127.0.0.1:${port}`,
    users: "none",
    revocation: "none",
    jwt: JWT,
    routes: ROUTES,
  };
  return Object.fromEntries(Object.entries(sites).map(([name, site]) => [name, { ...defaults, ...site }]));
}

async function secrets(): Promise<Readonly<Record<string, string>> & { readonly DEMO_JWT_SECRET: string }> {
  const { directory, remove } = makeScratch("secrets");
  try {
    const made = await ensureLocalSecrets(join(directory, ".dev.vars"));
    return { DEMO_JWT_SECRET: randomBytes(32).toString("hex"), ...made.secrets };
  } finally {
    remove();
  }
}

const tokenOf = (secret: string, claims: Readonly<Record<string, string>>) =>
  new SignJWT({ ...claims })
    .setProtectedHeader({ alg: "HS256", typ: "JWT" })
    .setIssuer(JWT.issuer)
    .setAudience(JWT.audience)
    .setIssuedAt()
    .setExpirationTime("1h")
    .sign(new TextEncoder().encode(secret));

async function publicKeys(port: number): Promise<JSONWebKeySet> {
  const bytes = rawRequest("GET /_gateway/jwks.json HTTP/1.1", ["Host: auth.example"]);
  const { answers } = await exchange(port, bytes, { deadlineMs: 30_000 });
  return JSON.parse(answers[0]?.body ?? "null") as JSONWebKeySet;
}

const BARRIER = "/public/barrier";

/** Whatever was forwarded before this request has reached the origin when this one has been answered. */
async function passBarrier(port: number): Promise<void> {
  const bytes = rawRequest(`GET ${BARRIER} HTTP/1.1`, ["Host: any.example"]);
  const { answers } = await exchange(port, bytes, { deadlineMs: 30_000 });
  if (answers[0]?.status !== 200) throw new Error("the gateway no longer answers");
}

const CLAIMS: Readonly<Record<Area, object>> = {
  public: { anonymous: true },
  optional: {},
  private: { sub: expect.any(String) },
  admin: { user: { role: "admin" } },
  elsewhere: { unmatched: "must be refused" },
};

async function check(
  arrived: Arrived,
  gateway: BareWorkerd,
  jwks: ReturnType<typeof createLocalJWKSet>,
): Promise<RequestLine> {
  const { method, target } = arrived;
  const [path = ""] = target.split("?", 1);
  const [requestId = "", ...otherIds] = valuesOf(arrived, "x-request-id");
  expect(otherIds).toEqual([]);
  const line = await gateway.logged(requestId);

  // What was matched is what was sent, however lax its reader is.
  expect({ outcome: line.outcome, method: line.method, path: line.path.slice(0, 200) }).toEqual({
    outcome: "forwarded",
    method,
    path: path.slice(0, 200),
  });
  const area = areaOf(path);
  expect(line.route).toMatch(
    new RegExp(`\\.routes\\[${ROUTES.findIndex((row) => row.path === `/${area}/*`)}\\]$`),
  );
  for (const reading of readings(path))
    expect([path, reading, areaOf(reading)]).toEqual([path, reading, area]);

  // One user context, ours, of this very request.
  const contexts = valuesOf(arrived, "x-user-context");
  expect(contexts).toHaveLength(1);
  const { payload } = await jwtVerify(contexts[0] ?? "", jwks, {
    issuer: ISSUER,
    audience: line.site ?? "none",
    typ: "user-context+jwt",
    algorithms: ["ES256"],
  });
  expect(payload).toMatchObject({ method, path, ...CLAIMS[area] });

  expect(arrived.rawHeaders.join("\n")).not.toContain(FORGED);
  return line;
}
