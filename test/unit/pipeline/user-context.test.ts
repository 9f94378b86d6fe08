import fc from "fast-check";
import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, type JWTPayload, jwtVerify } from "jose";
import { describe, expect, it } from "vitest";
import type { Origin, Site, UserContextSettings } from "../../../src/config/types.ts";
import type { Match } from "../../../src/pipeline/route.ts";
import {
  attachUserContext,
  createContextSigner,
  headerText,
  type Upstream,
} from "../../../src/pipeline/user-context.ts";
import { Problem } from "../../../src/problem.ts";
import type { Principal } from "../../../src/types.ts";
import { aConfig, aRoute, aSite, NOW_SECONDS, someRules } from "../../support/worker/policy.ts";
import {
  aFullContext,
  aMatch,
  aPrincipal,
  aSigningConfig,
  SIGNING_KEYS,
} from "../../support/worker/upstream.ts";

const SECRET = new TextEncoder().encode("0123456789abcdef".repeat(4));

function settings(changes: Partial<UserContextSettings> = {}): UserContextSettings {
  return { ...aSite([]).userContext, ...changes };
}

function siteWith(changes: Partial<UserContextSettings> = {}, site: Partial<Site> = {}): Site {
  return aSite([aRoute("/*")], { userContext: settings(changes), ...site });
}

async function attach(
  site: Site,
  principal: Principal | null,
  request = new Request("https://files.example/x"),
  changes: { match?: Partial<Match>; clientAddress?: string | null; nowSeconds?: number } = {},
): Promise<Upstream> {
  const { match = {}, ...rest } = changes;
  const context = aFullContext(aSigningConfig([site]), request, {}, rest);
  return attachUserContext(principal, aMatch(site, match), context);
}

async function payloadOf(upstream: Upstream, header = "x-user-context"): Promise<JWTPayload> {
  return decodeJwt(upstream.headers.get(header) ?? "");
}

describe("createContextSigner", () => {
  const claims = JSON.stringify({ iss: "https://gateway.example", aud: "test", sub: "7" });

  it.each([
    ["ES256", "e1"],
    ["EdDSA", "d1"],
  ] as const)(
    "signs %s with the first key of that algorithm, verifiable by its published half",
    async (algorithm, kid) => {
      const site = siteWith({ algorithm });
      const signer = createContextSigner(aSigningConfig([site]));
      const token = await signer.sign(claims, site, null, NOW_SECONDS);
      expect(decodeProtectedHeader(token)).toEqual({ alg: algorithm, kid, typ: "user-context+jwt" });
      const { payload } = await jwtVerify(
        token,
        createLocalJWKSet({ keys: [...signer.publicJwks.keys] as never }),
        {
          algorithms: [algorithm],
          typ: "user-context+jwt",
          issuer: "https://gateway.example",
          audience: "test",
          currentDate: new Date(NOW_SECONDS * 1000),
        },
      );
      expect(payload).toEqual({ ...JSON.parse(claims), iat: NOW_SECONDS, exp: NOW_SECONDS + 60 });
    },
  );

  it.each(["HS256", "HS384", "HS512"] as const)(
    "signs %s with the site's own secret, without a kid",
    async (algorithm) => {
      const site = siteWith({ algorithm, secret: SECRET });
      const token = await createContextSigner(aConfig([site])).sign(claims, site, null, NOW_SECONDS);
      expect(decodeProtectedHeader(token)).toEqual({ alg: algorithm, typ: "user-context+jwt" });
      await jwtVerify(token, SECRET, { algorithms: [algorithm], currentDate: new Date(NOW_SECONDS * 1000) });
      const other = Uint8Array.from(SECRET, (byte) => byte ^ 1);
      await expect(jwtVerify(token, other, { algorithms: [algorithm] })).rejects.toThrow();
    },
  );

  it("publishes every key for the overlap of a rotation, current first, and public members only", () => {
    const { keys } = createContextSigner(aSigningConfig([])).publicJwks;
    expect(keys.map(({ kid, alg, use }) => [kid, alg, use])).toEqual([
      ["e1", "ES256", "sig"],
      ["d1", "EdDSA", "sig"],
      ["e2", "ES256", "sig"],
      ["d2", "EdDSA", "sig"],
    ]);
    for (const key of keys) {
      const members = ["alg", "crv", "kid", "kty", "use", "x", ...(key.kty === "EC" ? ["y"] : [])];
      expect(Object.keys(key).sort()).toEqual(members.sort());
    }
    const published = JSON.stringify(keys);
    for (const { d } of SIGNING_KEYS) expect(published).not.toContain(d);
  });

  it.each([
    ["ES256 without a key", { algorithm: "ES256" }],
    ["EdDSA without a key", { algorithm: "EdDSA" }],
    ["HS256 without a secret", { algorithm: "HS256", secret: null }],
  ] as const)("refuses %s as config_invalid, so nothing goes out unsigned", async (_name, changes) => {
    const site = siteWith(changes);
    const signing = createContextSigner(aConfig([site])).sign(claims, site, null, NOW_SECONDS);
    await expect(signing).rejects.toSatisfy(
      (error) => error instanceof Problem && error.code === "config_invalid",
    );
  });

  it("does not sign EdDSA with an ES256 key", async () => {
    const site = siteWith({ algorithm: "EdDSA" });
    const config = {
      ...aConfig([site]),
      secrets: { tagSecrets: [], peppers: [], signingKeys: SIGNING_KEYS.slice(0, 1), adminToken: null },
    };
    await expect(createContextSigner(config).sign(claims, site, null, NOW_SECONDS)).rejects.toThrow(
      "config_invalid",
    );
  });

  it.each([
    ["60 s, when the credential does not expire", null, 60],
    ["60 s, when the credential expires later", NOW_SECONDS + 61, 60],
    ["59 s, when the credential expires in 59 s", NOW_SECONDS + 59, 59],
    ["1 s, when the credential expires in 1 s", NOW_SECONDS + 1, 1],
    ["nothing, when the credential is in its tolerance after expiry", NOW_SECONDS - 5, -5],
  ])("requirement 6: lives %s", async (_name, expiresAtSeconds, life) => {
    const site = siteWith();
    const token = await createContextSigner(aSigningConfig([site])).sign(
      claims,
      site,
      expiresAtSeconds,
      NOW_SECONDS,
    );
    expect(decodeJwt(token).exp).toBe(NOW_SECONDS + life);
  });

  describe("reuse", () => {
    const sites = [siteWith(), siteWith({}, { name: "other" })] as const;
    const [site, otherSite] = sites;
    const signer = () => createContextSigner(aSigningConfig(sites));

    it.each([
      ["at once", null, 0, true],
      ["one second before half its life", null, 29, true],
      ["at half its life", null, 30, false],
      ["of a credential with 10 s left, after 4 s", NOW_SECONDS + 10, 4, true],
      ["of a credential with 10 s left, after 5 s", NOW_SECONDS + 10, 5, false],
      ["of an expired credential, at once", NOW_SECONDS, 0, false],
    ])("of a signature %s", async (_name, expiresAtSeconds, laterSeconds, isReused) => {
      const { sign } = signer();
      const first = await sign(claims, site, expiresAtSeconds, NOW_SECONDS);
      const second = await sign(claims, site, expiresAtSeconds, NOW_SECONDS + laterSeconds);
      // ES256 is randomized, so equal means not signed again.
      expect(second === first).toBe(isReused);
    });

    it("never crosses sites, expiries or claims", async () => {
      const { sign } = signer();
      const first = await sign(claims, site, null, NOW_SECONDS);
      const others = [
        await sign(claims, otherSite, null, NOW_SECONDS),
        await sign(claims, site, NOW_SECONDS + 20, NOW_SECONDS),
        await sign(claims.replace('"7"', '"8"'), site, null, NOW_SECONDS),
      ];
      expect(new Set([first, ...others]).size).toBe(4);
      expect(decodeJwt(others[1] ?? "").exp).toBe(NOW_SECONDS + 20);
    });

    it("does not happen where the context is bound to the request", async () => {
      const bound = siteWith({ bind: "request" });
      const { sign } = signer();
      expect(await sign(claims, bound, null, NOW_SECONDS)).not.toBe(
        await sign(claims, bound, null, NOW_SECONDS),
      );
    });

    it("is bounded: thousands of others push a signature out", async () => {
      const hmac = siteWith({ algorithm: "HS256", secret: SECRET });
      const { sign } = signer();
      const first = await sign(claims, hmac, null, NOW_SECONDS);
      for (let at = 0; at < 5000; at++) await sign(`{"sub":"${at}"}`, hmac, null, NOW_SECONDS);
      expect(decodeJwt(await sign(claims, hmac, null, NOW_SECONDS + 1)).iat).toBe(NOW_SECONDS + 1);
      expect(decodeJwt(first).iat).toBe(NOW_SECONDS);
    });

    it("takes no signature of one principal for another, whatever differs (any two principals)", async () => {
      const { sign } = signer();
      const context = aFullContext(aSigningConfig([site]), new Request("https://files.example/x"), {
        signer: { sign, publicJwks: { keys: [] } },
      });
      const word = fc.constantFrom("a", "b", 'a","b', "a b", "");
      const principals = fc.record({
        id: word,
        name: fc.option(word),
        role: word,
        permissions: fc.array(word, { maxLength: 2 }),
        credential: fc.record({
          kind: fc.constantFrom("jwt", "pat"),
          id: fc.option(word),
          scopes: fc.array(word, { maxLength: 2 }),
          expiresAtSeconds: fc.constantFrom(null, NOW_SECONDS + 10, NOW_SECONDS + 100),
        }),
      });
      await fc.assert(
        fc.asyncProperty(principals, async ({ credential, ...rest }) => {
          const upstream = await attachUserContext(aPrincipal(rest, credential), aMatch(site), context);
          const { sub, user, auth, exp } = await payloadOf(upstream);
          expect(sub).toBe(rest.id);
          expect(user).toEqual(rest);
          expect(auth).toEqual({ kind: credential.kind, id: credential.id, scopes: credential.scopes });
          expect(exp).toBe(Math.min(credential.expiresAtSeconds ?? Infinity, NOW_SECONDS + 60));
        }),
        { numRuns: 300 },
      );
    });
  });
});

describe("attachUserContext: what is signed", () => {
  it("names issuer, audience, subject, user and credential", async () => {
    const payload = await payloadOf(await attach(siteWith(), aPrincipal()));
    expect(payload).toEqual({
      iss: "https://gateway.example",
      aud: "test",
      sub: "7",
      site: "test",
      user: { id: "7", name: "alice", role: "user", permissions: ["files.share"] },
      auth: { kind: "api_key", id: "k1", scopes: ["files.read"] },
      iat: NOW_SECONDS,
      exp: NOW_SECONDS + 60,
    });
  });

  it("tells the origin that a caller is anonymous, without a subject", async () => {
    const payload = await payloadOf(await attach(siteWith(), null));
    expect(payload).toEqual({
      iss: "https://gateway.example",
      aud: "test",
      site: "test",
      anonymous: true,
      iat: NOW_SECONDS,
      exp: NOW_SECONDS + 60,
    });
  });

  it("adds method and forwarded path where it is bound to the request", async () => {
    const site = siteWith({ bind: "request" });
    const request = new Request("https://files.example/base/x?q=1", { method: "DELETE" });
    for (const principal of [aPrincipal(), null]) {
      const payload = await payloadOf(
        await attach(site, principal, request, { match: { forwardPath: "/x" } }),
      );
      expect(payload).toMatchObject({ method: "DELETE", path: "/x" });
    }
  });

  it("carries the attributes that the site names, and no others", async () => {
    const site = siteWith({ attributes: ["group", "missing", "toString", "__proto__"] });
    const principal = aPrincipal({ attributes: { group: { id: 3 }, quota: 10 } });
    expect((await payloadOf(await attach(site, principal))).user).toMatchObject({
      attributes: { group: { id: 3 } },
    });
    const { user } = (await payloadOf(await attach(site, principal))) as { user: { attributes: object } };
    expect(Object.keys(user.attributes)).toEqual(["group"]);
  });

  it("survives names in any script", async () => {
    const { user } = await payloadOf(
      await attach(siteWith(), aPrincipal({ name: 'Łukasz "名" 🦊\r\nX: y' })),
    );
    expect(user).toMatchObject({ name: 'Łukasz "名" 🦊\r\nX: y' });
  });
});

describe("attachUserContext: the origin's URL (requirement 4)", () => {
  const binding = {} as Fetcher;
  const url = new URL("https://origin.internal:8443");
  it.each<[string, Origin, string]>([
    ["url", { kind: "url", url }, "https://origin.internal:8443/x/y?q=%2e%2E&r=a+b"],
    [
      "mtls",
      { kind: "mtls", binding, bindingName: "M", url },
      "https://origin.internal:8443/x/y?q=%2e%2E&r=a+b",
    ],
    [
      "service",
      { kind: "service", binding, bindingName: "S" },
      "https://files.example:444/x/y?q=%2e%2E&r=a+b",
    ],
    ["self", { kind: "self" }, "https://files.example:444/x/y?q=%2e%2E&r=a+b"],
    ["echo", { kind: "echo" }, "https://files.example:444/x/y?q=%2e%2E&r=a+b"],
  ])("%s: origin, canonical path, the query byte for byte", async (_kind, origin, expected) => {
    const request = new Request("https://files.example:444/base/x/y?q=%2e%2E&r=a+b");
    const upstream = await attach(siteWith({}, { origin }), null, request, {
      match: { forwardPath: "/x/y" },
    });
    expect(upstream.url).toBe(expected);
  });

  it.each([
    "//evil.example/x",
    "/@evil.example",
    "/\\evil.example",
    "/https://evil.example/",
    "/:80/",
    "/.evil.example",
  ])("never leaves the configured host: %s", async (forwardPath) => {
    const upstream = await attach(siteWith(), null, undefined, { match: { forwardPath } });
    expect(new URL(upstream.url).origin).toBe("https://origin.internal");
  });

  it("keeps method and body, for a body the client streams", async () => {
    const request = new Request("https://files.example/x", { method: "PROPFIND", body: "hello" });
    const upstream = await attach(siteWith(), aPrincipal(), request);
    expect(upstream.method).toBe("PROPFIND");
    expect(await new Response(upstream.body).text()).toBe("hello");
  });

  it.each([
    ["OPTIONS", "0", null],
    ["OPTIONS", "5", "hello"],
    ["POST", "0", "hello"],
  ])("of %s, declared to be %s long, sends %s", async (method, length, sent) => {
    const headers = { "content-length": length };
    const request = new Request("https://files.example/x", { method, headers, body: "hello" });
    const { body } = await attach(siteWith(), null, request);
    expect(body === null ? null : await new Response(body).text()).toBe(sent);
  });

  it("takes a credential out of the query where a site reads it there, and keeps the body then, too", async () => {
    const site = siteWith({}, { credentials: someRules({ query: ["key"] }) });
    const request = new Request("https://files.example/x?a=1&key=sk-secret&b=2", {
      method: "POST",
      body: "hello",
    });
    const upstream = await attach(site, aPrincipal(), request);
    expect(upstream.url).toBe("https://origin.internal/x?a=1&b=2");
    expect(await new Response(upstream.body).text()).toBe("hello");
    expect(upstream.headers.get("x-user-context")).not.toBeNull();
  });
});

describe("attachUserContext: headers for the origin", () => {
  it("says where the request came from, over whatever the client said", async () => {
    const request = new Request("https://files.example:444/x", {
      headers: {
        "x-forwarded-for": "6.6.6.6",
        "x-real-ip": "6.6.6.6",
        "x-forwarded-proto": "gopher",
        "x-forwarded-host": "evil.example",
        "x-forwarded-port": "1",
        "x-request-id": "mine",
        "cf-connecting-ip": "203.0.113.7",
        "true-client-ip": "6.6.6.6",
      },
    });
    const { headers } = await attach(siteWith(), aPrincipal(), request);
    expect(Object.fromEntries(headers)).toEqual({
      "x-request-id": "request-1",
      "x-forwarded-proto": "https",
      "x-forwarded-host": "files.example:444",
      "x-real-ip": "203.0.113.7",
      "x-forwarded-for": "203.0.113.7",
      "cf-connecting-ip": "203.0.113.7",
      "x-user-context": headers.get("x-user-context"),
    });
  });

  it("says nothing about an address it does not know", async () => {
    const request = new Request("https://files.example/x", { headers: { "cf-connecting-ip": "6.6.6.6" } });
    const { headers } = await attach(siteWith(), aPrincipal(), request, { clientAddress: null });
    for (const name of ["x-real-ip", "x-forwarded-for", "cf-connecting-ip"])
      expect(headers.has(name)).toBe(false);
  });

  it("removes the credential, and leaves everything that is the client's", async () => {
    const request = new Request("https://files.example/x", {
      headers: {
        authorization: "Bearer sk-secret",
        cookie: "a=b",
        "content-type": "text/plain",
        "x-custom": "1",
      },
    });
    const { headers } = await attach(siteWith(), aPrincipal(), request);
    expect(headers.has("authorization")).toBe(false);
    expect(headers.get("cookie")).toBe("a=b");
    expect(headers.get("content-type")).toBe("text/plain");
    expect(headers.get("x-custom")).toBe("1");
  });

  it("carries the headers the origin demands, over the client's", async () => {
    const site = siteWith({}, { originHeaders: [["cf-access-client-id", "ours"]] });
    const request = new Request("https://files.example/x", {
      headers: { "cf-access-client-id": "theirs", cf_access_client_id: "theirs" },
    });
    const { headers } = await attach(site, null, request);
    expect(headers.get("cf-access-client-id")).toBe("ours");
    expect(headers.has("cf_access_client_id")).toBe(false);
  });

  it("speaks through the header that the site names, and through no other", async () => {
    const { headers } = await attach(siteWith({ header: "x-caller" }), aPrincipal());
    expect(headers.has("x-user-context")).toBe(false);
    expect(decodeJwt(headers.get("x-caller") ?? "").sub).toBe("7");
  });

  const plainHeaders = { id: "x-user-id", name: "x-user-name", role: "x-user-role", method: "x-auth-method" };
  const plainOf = ({ headers }: Upstream) => Object.values(plainHeaders).map((name) => headers.get(name));

  it("adds plain headers only where the site asks for them", async () => {
    expect(plainOf(await attach(siteWith({ plainHeaders }), aPrincipal()))).toEqual([
      "7",
      "alice",
      "user",
      "api_key",
    ]);
    expect(plainOf(await attach(siteWith(), aPrincipal()))).toEqual([null, null, null, null]);
    expect(plainOf(await attach(siteWith({ plainHeaders }), null))).toEqual([null, null, null, null]);
    expect(plainOf(await attach(siteWith({ plainHeaders }), aPrincipal({ name: null })))).toEqual([
      "7",
      null,
      "user",
      "api_key",
    ]);
  });

  it("cannot be made to break a plain header (response splitting, RFC 9110 §5.5)", async () => {
    const upstream = await attach(
      siteWith({ plainHeaders }),
      aPrincipal({ name: "a\r\nX-User-Role: root", id: " é%41 " }),
    );
    expect(plainOf(upstream)).toEqual(["%20%C3%A9%2541%20", "a%0D%0AX-User-Role: root", "user", "api_key"]);
  });
});

describe("headerText", () => {
  it("is printable ASCII without outer blanks, and decodes to the very text (any text)", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        fc.pre(text.isWellFormed());
        const value = headerText(text);
        expect(value).toMatch(/^([\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?)?$/);
        expect(decodeURIComponent(value)).toBe(text);
      }),
      { numRuns: 500 },
    );
  });

  it.each([
    ["alice", "alice"],
    ["Alice B. Cooper", "Alice B. Cooper"],
    ["100%", "100%25"],
    ["\0\x7f\t", "%00%7F%09"],
    ["", ""],
    [" ", "%20"],
  ])("%j becomes %j", (text, value) => {
    expect(headerText(text)).toBe(value);
  });
});
