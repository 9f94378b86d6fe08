// Credentials that are doubled, listed, forged or not quite ours, against the bundle under bare workerd.
import { base64url, decodeJwt, SignJWT } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type AttackTarget, startAttackTarget } from "../support/node/attack-target.ts";
import { rawRequest } from "../support/node/raw-http.ts";
import { valuesOf } from "../support/node/recording-origin.ts";

const SITES = {
  SITE_ANY: { credentials: { authorization: "bearer", headers: ["X-Token"], cookies: [], query: [] } },
  SITE_KEYS: {
    hosts: ["keys.example"],
    jwt: {
      algorithms: ["ES256"],
      jwks: "https://127.0.0.1:1/keys.json", // nobody listens
      issuer: "https://idp.example",
      audience: "api",
    },
  },
};

let target: AttackTarget;
beforeAll(async () => {
  target = await startAttackTarget(SITES);
});
afterAll(async () => {
  await target?.stop();
});

const bearer = (token: string) => `Authorization: Bearer ${token}`;
const send = (headers: readonly string[], requestLine = "GET /public/x HTTP/1.1") =>
  target.strike(rawRequest(requestLine, ["Host: any.example", ...headers]));

describe("requirement 7: one credential a request", () => {
  const asked = (lines: readonly string[], path = "/private/x") => send(lines, `GET ${path} HTTP/1.1`);

  it.each<[string, (token: string, other: string) => readonly string[]]>([
    ["twice", (token) => [bearer(token), bearer(token)]],
    ["two of them", (token, other) => [bearer(token), bearer(other)]],
    ["in a list", (token, other) => [`Authorization: Bearer ${token}, Bearer ${other}`]],
    ["behind another scheme", (token) => ["Authorization: Basic YTpi", bearer(token)]],
    ["before another scheme", (token) => [bearer(token), "Authorization: Basic YTpi"]],
    ["of an unknown scheme", (token) => [`Authorization: Token ${token}`]],
    ["of a scheme that begins like it", (token) => [`Authorization: BearerX ${token}`]],
    ["without its blank", (token) => [`Authorization: Bearer${token}`]],
    ["behind a tab", (token) => [`Authorization: Bearer\t${token}`]],
    ["without a scheme", (token) => [`Authorization: ${token}`]],
    ["with another behind it", (token) => [`${bearer(token)} x`]],
    ["with a NUL in it", (token) => [`${bearer(token)}\x00`]],
    ["with bytes that are no ASCII", (token) => [`${bearer(token)}\xa0`]],
    ["in two places that differ", (token, other) => [bearer(token), `X-Token: ${other}`]],
    ["twice in a header", (token) => [`X-Token: ${token}`, `X-Token: ${token}`]],
    ["empty", () => ["Authorization: Bearer "]],
    ["in the name", (token) => [`Authorization : Bearer ${token}`]],
    ["over 8 KB", (token) => [bearer(`${token}${"a".repeat(9_000)}`)]],
  ])("%s: refused, also where anonymous is permitted", async (_, lines) => {
    for (const path of ["/private/x", "/optional/x"]) {
      const strike = await asked(lines(target.userToken, target.adminToken), path);
      expect([path, strike.arrived]).toEqual([path, []]);
      expect([400, 401]).toContain(strike.status);
    }
  });

  it("another spelling of the header is no credential, and is not forwarded either", async () => {
    const line = `X_Token: ${target.userToken}`;
    expect((await asked([line])).status).toBe(401);
    const { arrived } = await asked([line], "/optional/x");
    expect(arrived.map((one) => valuesOf(one, "x-token"))).toEqual([[]]);
  });

  it.each(["Bearer", "bearer", "BEARER", "bEaReR  "])("the scheme is %s in any case", async (scheme) => {
    const { arrived } = await asked([`Authorization: ${scheme} ${target.userToken}`]);
    expect(arrived).toHaveLength(1);
  });

  it("takes the same one in two places for one, and forwards it nowhere", async () => {
    const { arrived } = await asked([bearer(target.userToken), `X-Token: ${target.userToken}`]);
    expect(arrived).toHaveLength(1);
    expect(arrived[0]?.rawHeaders.join()).not.toContain(target.userToken);
  });

  it.each(["?access_token=", "?token=", "?authorization=Bearer%20", "?x-token="])(
    "nothing in the URL: %s",
    async (query) => {
      const strike = await asked([], `/private/x${query}${target.userToken}`);
      expect([strike.status, strike.arrived]).toEqual([401, []]);
    },
  );
});

describe("requirements 8 to 12: tokens that are not quite ours", () => {
  const part = (value: object) => base64url.encode(JSON.stringify(value));
  const claims = () => decodeJwt(target.adminToken);
  const [NONE, WRONG_SECRET] = [{ alg: "none" }, new TextEncoder().encode("w".repeat(43))];
  const resigned = (changes: object) =>
    new SignJWT({ ...claims(), ...changes }).setProtectedHeader({ alg: "HS256" }).sign(WRONG_SECRET);

  it.each<[string, () => string | Promise<string>]>([
    ["alg none", () => `${part(NONE)}.${part(claims())}.`],
    [
      "alg None with a signature",
      () => `${part({ alg: "None" })}.${target.adminToken.split(".").slice(1).join(".")}`,
    ],
    ["signed with another secret", () => resigned({})],
    [
      "its own key in the header",
      () => `${part({ alg: "HS256", jwk: { kty: "oct", k: "AA" } })}.${part(claims())}.AA`,
    ],
    ["without a signature", () => target.adminToken.replace(/[^.]*$/, "")],
    [
      "with a changed claim",
      () => target.adminToken.replace(/\.[^.]*\./, `.${part({ ...claims(), sub: "2" })}.`),
    ],
    ["padded", () => `${target.adminToken}=`],
    ["cut by one character", () => target.adminToken.slice(0, -1)],
    ["four parts", () => `${target.adminToken}.x`],
    ["five parts, as a JWE", () => `${target.adminToken}.x.y`],
    ["JSON serialization", () => JSON.stringify({ payload: part(claims()), signatures: [] })],
    ["one part", () => "x"],
  ])("%s: 401 on required and optional routes", async (_, make) => {
    const token = await make();
    for (const path of ["/admin/x", "/optional/x"]) {
      const strike = await send([bearer(token)], `GET ${path} HTTP/1.1`);
      expect([path, strike.status, strike.arrived]).toEqual([path, 401, []]);
    }
  });

  it("what we sign for origins is no credential", async () => {
    const { arrived } = await send([bearer(target.adminToken)], "GET /admin/x HTTP/1.1");
    const [context = ""] = arrived.flatMap((one) => valuesOf(one, "x-user-context"));
    expect(decodeJwt(context).sub).toBe("1");
    for (const headers of [[bearer(context)], [`X-User-Context: ${context}`], [`X-Token: ${context}`]]) {
      const strike = await send(headers, "GET /admin/x HTTP/1.1");
      expect([strike.status, strike.arrived]).toEqual([401, []]);
    }
  });
});

describe("requirement 20: closed when in doubt, silent about why", () => {
  it("503 when the issuer's keys cannot be had, and anonymous where nobody is asked", async () => {
    const asked = (path: string, lines: readonly string[]) => target.get(path, lines, "keys.example");
    const es256 = `${base64url.encode('{"alg":"ES256","kid":"k"}')}.${target.adminToken.split(".")[1]}.${"A".repeat(86)}`;
    for (const path of ["/admin/x", "/optional/x"]) {
      const strike = await asked(path, [bearer(es256)]);
      expect([path, strike.status, strike.arrived]).toEqual([path, 503, []]);
      expect(strike.exchange.answers[0]?.headers.get("retry-after")).toMatch(/^[1-9]/);
    }
    expect((await asked("/admin/x", [])).status).toBe(401);
    expect((await asked("/optional/x", [])).status).toBe(200);
  });

  it("refusals are not stored, repeat nothing, and name no reason", async () => {
    const marks = ["mark-path", "mark-query", "mark-token", "mark-header"];
    const strike = await send(
      ["Authorization: Bearer mark-token", "X-Mark: mark-header"],
      "GET /private/mark-path?mark-query HTTP/1.1",
    );
    const [answer] = strike.exchange.answers;
    expect(answer?.headers.get("cache-control")).toBe("no-store");
    expect(answer?.headers.get("content-type")).toBe("application/problem+json");
    const { requestId, ...problem } = JSON.parse(answer?.body ?? "") as Record<string, unknown>;
    expect(requestId).toBe(answer?.headers.get("x-request-id"));
    expect(problem).toEqual({
      type: "urn:postern:problem:credential_invalid",
      title: "The credential was not accepted",
      status: 401,
      code: "credential_invalid",
    });
    const all = JSON.stringify([...(answer?.headers ?? [])]) + answer?.body;
    for (const mark of marks) expect(all).not.toContain(mark);
  });

  it("the log has a line for it, and no credential", async () => {
    const query = `?access_token=${target.userToken}`;
    const { arrived, logged } = await send([bearer(target.userToken)], `GET /private/x${query} HTTP/1.1`);
    expect(arrived).toHaveLength(1);
    expect(logged[0]).toMatchObject({ status: 200, principalId: "7", credentialKind: "jwt" });
    const printed = target.gateway.process.output();
    for (const secret of [target.userToken, target.adminToken, ...target.userToken.split(".").slice(1)]) {
      expect(printed).not.toContain(secret);
    }
  });
});
