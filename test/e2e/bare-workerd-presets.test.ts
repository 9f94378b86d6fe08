// Two presets as they are deployed: the guarding Worker's bundle under bare workerd, struck with raw bytes. No database: keys
// that stand in the configuration, and tokens that stand alone.
import { createHmac, randomBytes } from "node:crypto";
import { SignJWT } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type BareWorkerd, startBareWorkerd } from "../support/node/bare-workerd.ts";
import { exchange, type RawAnswer, rawRequest } from "../support/node/raw-http.ts";
import {
  type Arrived,
  type RecordingOrigin,
  startRecordingOrigin,
  valuesOf,
} from "../support/node/recording-origin.ts";

const ISSUER = "https://auth.example";
const NEKOHUB_SECRET = randomBytes(32).toString("base64url");
const SESSION_SECRET = randomBytes(32).toString("base64url");
const KEY = `nk-${randomBytes(18).toString("base64url")}`;
const NEKO = "neko.example";
const NEW_API = "new-api.example";

let origin: RecordingOrigin;
let gateway: BareWorkerd;
const tokens: Record<string, string> = {};

beforeAll(async () => {
  origin = await startRecordingOrigin();
  const site = {
    origin: `http://127.0.0.1:${origin.port}`,
    users: "none",
    revocation: "none",
    user_context: { algorithm: "HS256", secret: "CONTEXT_SECRET" },
  };
  gateway = await startBareWorkerd({
    entry: "src/edge.ts",
    vars: {
      GATEWAY: { issuer: ISSUER, hosts: ["auth.example"], client_address_header: false },
      SITE_NEKO: {
        ...site,
        hosts: [NEKO],
        preset: "nekohub",
        api_keys: "NEKOHUB_KEYS",
        jwt: { secret: "NEKOHUB_SECRET" },
      },
      SITE_CURRENT: {
        ...site,
        hosts: [NEW_API],
        preset: "new-api-current",
        jwt: { secret: "SESSION_SECRET" },
        user_context: { algorithm: "HS256", secret: "OTHER_CONTEXT_SECRET" },
      },
      NEKOHUB_SECRET,
      NEKOHUB_KEYS: KEY,
      SESSION_SECRET,
      CONTEXT_SECRET: randomBytes(32).toString("base64url"),
      OTHER_CONTEXT_SECRET: randomBytes(32).toString("base64url"),
    },
  });
  const now = Math.floor(Date.now() / 1_000);
  const sign = (claims: Record<string, unknown>, key: Uint8Array) =>
    new SignJWT(claims).setProtectedHeader({ alg: "HS256", typ: "JWT" }).sign(key);
  tokens[NEKO] = await sign(
    { sub: "u1", role: "User", iss: "NekoHub", aud: "NekoHub.Admin", nbf: now, exp: now + 600 },
    new TextEncoder().encode(NEKOHUB_SECRET),
  );
  const times = { iat: now, nbf: now - 5, exp: now + 600 };
  const ids = { sub: "7", sid: crypto.randomUUID(), jti: crypto.randomUUID(), uv: 1, sv: 1 };
  tokens[NEW_API] = await sign(
    { token_use: "access", iss: "new-api", aud: ["new-api-dashboard"], ...ids, ...times },
    createHmac("sha256", SESSION_SECRET).update("new-api/auth/access/v1").digest(),
  );
}, 120_000);
afterAll(async () => {
  await gateway?.stop();
  await origin?.close();
});

async function strike(
  host: string,
  requestLine: string,
  headers: readonly string[] = [],
): Promise<{ readonly answer: RawAnswer | undefined; readonly arrived: readonly Arrived[] }> {
  const before = origin.arrived.length;
  const bytes = rawRequest(`${requestLine} HTTP/1.1`, [`Host: ${host}`, ...headers]);
  const { answers } = await exchange(gateway.port, bytes, { deadlineMs: 10_000 });
  return { answer: answers[0], arrived: origin.arrived.slice(before) };
}

const PRIVATE = { [NEKO]: "/api/v1/assets", [NEW_API]: "/api/user/self" };
const HOSTS = [NEKO, NEW_API] as const;

describe.each(HOSTS)("%s", (host) => {
  const path = PRIVATE[host] ?? "";
  const bearer = (value = tokens[host]) => `Authorization: Bearer ${value}`;

  it("lets its own token in, in one line, and nothing else with it", async () => {
    const forged = ["x-user-context: forged", "X_User_Context: forged", "Connection: X-User-Context, close"];
    const { answer, arrived } = await strike(host, `GET ${path}`, [bearer(), ...forged]);
    expect(answer?.status).toBe(200);
    expect(arrived).toHaveLength(1);
    const [one] = arrived;
    if (one === undefined) throw new Error("nothing arrived");
    expect(valuesOf(one, "authorization")).toEqual([`Bearer ${tokens[host]}`]);
    expect(valuesOf(one, "x-user-context")).toEqual([expect.stringMatching(/^eyJ[^.]*\.[^.]*\.[^.]*$/)]);
    expect(one.rawHeaders.join()).not.toContain("forged");
  });

  it.each<[string, (host: string) => readonly string[]]>([
    ["nothing", () => []],
    ["the same twice", () => [bearer(), bearer()]],
    ["a key behind it", () => [bearer(), bearer(KEY)]],
    ["a key before it", () => [bearer(KEY), bearer()]],
    ["a list", () => [`${bearer()}, Bearer ${tokens[host]}`]],
    ["another scheme behind it", () => [bearer(), "Authorization: Basic YTpi"]],
    ["another scheme before it", () => ["Authorization: Basic YTpi", bearer()]],
    ["a word behind it", () => [`${bearer()} x`]],
    ["bytes that are no ASCII", () => [`${bearer()}\xa0`]],
    ["a NUL", () => [`${bearer()}\x00`]],
    ["another spelling of the header", () => [bearer().replace("Authorization", "Author_ization")]],
    ["the other system's token", () => [bearer(tokens[HOSTS.find((other) => other !== host) ?? ""])]],
    ["over 8 KB", () => [bearer("a".repeat(9_000))]],
  ])("%s is no credential", async (_what, lines) => {
    const { answer, arrived } = await strike(host, `GET ${path}`, lines(host));
    expect(arrived).toEqual([]);
    expect([400, 401]).toContain(answer?.status);
  });

  it.each([
    ["dot segments", `GET /content/..${path}`],
    ["escaped dot segments", `GET /content/%2e%2E${path}`],
    ["half escaped dot segments", `GET /content/.%2e${path}`],
    ["a letter escaped", `GET ${path.replace("a", "%61")}`],
    ["an empty segment", `GET /${path}`],
    ["a backslash", `GET ${path.replace("/api/", "/api\\")}`],
    ["an escaped backslash", `GET ${path.replace("/api/", "/api%5c")}`],
    ["an escaped slash", `GET ${path.replace("/api/", "/api%2f")}`],
    ["a parameter", `GET ${path};x`],
    ["a slash at the end", `GET ${path}/`],
    ["the absolute form", `GET http://${host}${path}`],
    ["the absolute form of another host", `GET http://evil.example${path}`],
    ["a method of its own", `PROPFIND ${path}`],
    ["OPTIONS", `OPTIONS ${path}`],
    ["TRACE", `TRACE ${path}`],
  ])("%s opens nothing", async (_what, requestLine) => {
    const { answer, arrived } = await strike(host, requestLine);
    expect(arrived).toEqual([]);
    expect([undefined, 400, 401, 404, 405, 501]).toContain(answer?.status);
  });
});

describe("what each says", () => {
  it("NekoHub: a missing key with a challenge, in its own words", async () => {
    const { answer } = await strike(NEKO, "GET /API/V1/Assets/");
    expect(answer?.headers.get("www-authenticate")).toBe('Bearer realm="NekoHub"');
    expect(answer?.body).toContain('"code":"api_key_missing"');
    const list = await strike(NEKO, "GET /api/v1/assets", [
      `Authorization: Bearer ${tokens[NEKO]}`,
      `Authorization: Bearer ${KEY}`,
    ]);
    expect(list.answer?.body).toContain('"code":"api_key_invalid"');
  });

  it("NekoHub: the key on one line passes, at /mcp as well", async () => {
    for (const path of ["/api/v1/assets", "/mcp"]) {
      const { answer, arrived } = await strike(NEKO, `GET ${path}`, [`authorization: bEaReR ${KEY}`]);
      expect([answer?.status, arrived.length]).toEqual([200, 1]);
    }
  });

  it("New API: one code, and another case of the path is another path", async () => {
    const { answer } = await strike(NEW_API, "GET /api/user/self");
    expect(answer?.body).toBe(
      '{"code":"AUTH_UNAUTHORIZED","message":"Unauthorized, invalid access token","success":false}',
    );
    const other = await strike(NEW_API, "GET /api/User/self", [`Authorization: ${tokens[NEW_API]}`]);
    expect(other.answer?.status).toBe(404);
    expect(other.arrived).toEqual([]);
  });
});
