// What a client says about itself never reaches an origin as our word. A failure prints the seed to replay.
import fc from "fast-check";
import { decodeJwt } from "jose";
import { describe, expect, it } from "vitest";
import type { Route, Site } from "../../src/config/types.ts";
import type { RequestContext } from "../../src/context.ts";
import { protectedHeaders, stripProtectedHeaders } from "../../src/pipeline/protected-headers.ts";
import { attachUserContext } from "../../src/pipeline/user-context.ts";
import { Problem } from "../../src/problem.ts";
import type { Principal } from "../../src/types.ts";
import { SITE, startGateway } from "../support/worker/gateway.ts";
import { aRoute, aSite, someRules } from "../support/worker/policy.ts";
import { aFullContext, aMatch, aPrincipal, aSigningConfig } from "../support/worker/upstream.ts";

const RUNS = { numRuns: 500 };
const PLAIN = { id: "x-user-id", name: "x-user-name", role: "x-user-role", method: "x-auth-method" };
const FORGED = "forged";

/** An origin that reads header names as CGI and its descendants do, and a little more freely. */
const asOriginFolds = (name: string) => name.toLowerCase().replace(/[^a-z0-9]/g, "-");

function siteWith(plainHeaders: typeof PLAIN | null, changes: Partial<Site> = {}): Site {
  const plain = aSite([]);
  return aSite([], {
    ...changes,
    userContext: { ...plain.userContext, ...changes.userContext, plainHeaders },
  });
}

async function received(
  headers: Headers,
  {
    site = siteWith(null),
    principal = null as Principal | null,
    auth = "required" as Route["auth"],
    method = "GET",
    changes = {} as Partial<RequestContext>,
  } = {},
): Promise<Headers> {
  const request = new Request("https://files.example/x", { headers, method });
  const context = aFullContext(aSigningConfig([site]), request, {}, changes);
  const match = aMatch(site, { route: aRoute("/x", { auth }) });
  return (await attachUserContext(principal, match, context)).headers;
}

function valuesOf(headers: Headers, folded: string): readonly string[] {
  return [...headers].filter(([name]) => asOriginFolds(name) === folded).map(([, value]) => value);
}

/** A name as written, in another case, and with any field-name character that is no letter and no digit for each dash. */
function spellingsOf(name: string): fc.Arbitrary<string> {
  const characters = [...name].map((character) =>
    character === "-"
      ? fc.constantFrom("-", "-", "_", ".", "~", "!", "#", "$", "%", "&", "'", "*", "+", "^", "`", "|")
      : fc.constantFrom(character, character.toUpperCase()),
  );
  return fc.tuple(...characters).map((parts) => parts.join(""));
}

const OURS = ["x-user-context", ...Object.values(PLAIN), "x-request-id"];
const LOCATION = [
  "x-real-ip",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
  "cf-connecting-ip",
];
const NEVER = [
  "forwarded",
  "x-forwarded",
  "x-forwarded-port",
  "x-forwarded-prefix",
  "x-forwarded-uri",
  "x-forwarded-user",
  "x-forwarded-anything-at-all",
  "true-client-ip",
  "x-client-ip",
  "x-cluster-client-ip",
  "x-original-url",
  "x-original-uri",
  "x-original-host",
  "x-rewrite-url",
  "x-host",
  "x-http-method",
  "x-http-method-override",
  "x-method-override",
  "x-middleware-subrequest",
  "x-postern-loop",
  "proxy",
  "proxy-connection",
  "proxy-authorization",
  "keep-alive",
  "te",
  "trailer",
];

const forgery = fc.constantFrom(...OURS, ...LOCATION, ...NEVER).chain((name) =>
  fc.record({
    name: spellingsOf(name),
    value: fc.constantFrom(FORGED, `${FORGED}, twice`, `${FORGED}; a=b`),
  }),
);
const connection = fc.option(
  fc.array(fc.constantFrom(...OURS, ...LOCATION, "close", "X-USER-CONTEXT", "x_user_context", "", " "), {
    maxLength: 4,
  }),
);

describe("requirement 5: no header of a client folds to one of ours, on any route and in any auth mode", () => {
  it("leaves exactly one header for each name we set, and it is ours (any forgeries, any route)", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(forgery, { minLength: 1, maxLength: 12 }),
        connection,
        fc.constantFrom<Route["auth"]>("none", "optional", "required"),
        fc.boolean(),
        fc.constantFrom(PLAIN, null),
        async (forgeries, named, auth, isKnown, plainHeaders) => {
          const headers = new Headers();
          for (const { name, value } of forgeries) headers.append(name, value);
          if (named !== null) headers.set("connection", named.join(","));
          const principal = isKnown ? aPrincipal() : null;
          const got = await received(headers, { site: siteWith(plainHeaders), principal, auth });

          expect([...got.values()].join("\n")).not.toContain(FORGED);
          const isPlain = isKnown && plainHeaders !== null;
          for (const name of [...OURS, ...LOCATION]) {
            const isSet = Object.values(PLAIN).includes(name) ? isPlain : true;
            expect([name, valuesOf(got, name).length]).toEqual([name, isSet ? 1 : 0]);
          }
          const { sub, anonymous } = decodeJwt(valuesOf(got, "x-user-context")[0] ?? "");
          expect([sub, anonymous]).toEqual(isKnown ? ["7", undefined] : [undefined, true]);
          if (isPlain) expect(valuesOf(got, "x-user-role")).toEqual(["user"]);
          for (const name of NEVER) expect([name, valuesOf(got, name)]).toEqual([name, []]);
        },
      ),
      RUNS,
    );
  });

  it.each([
    "X-User-Context",
    "x-user-context",
    "X_USER_CONTEXT",
    "X_User-Context",
    "x.user.context",
    "X-User~Context",
  ])("removes %s, however often it is sent", async (name) => {
    const headers = new Headers([
      [name, FORGED],
      [name, FORGED],
    ]);
    const got = await received(headers);
    expect(valuesOf(got, "x-user-context")).toHaveLength(1);
    expect(got.get("x-user-context")).not.toContain(FORGED);
  });

  it("removes the default names where a site has given its own, and the site's own name in every spelling", async () => {
    const site = siteWith(null, { userContext: { ...aSite([]).userContext, header: "x-caller_id" } });
    const got = await received(
      new Headers({
        "x-user-context": FORGED,
        "x-user-id": FORGED,
        x_caller_id: FORGED,
        "x-caller-id": FORGED,
      }),
      { site },
    );
    expect([...got.values()].join()).not.toContain(FORGED);
    expect(got.get("x-caller_id")).not.toBeNull();
    expect(valuesOf(got, "x-caller-id")).toHaveLength(1);
  });

  it.each([
    "Remote-User",
    "Remote_Groups",
    "X-Remote-User",
    "X-WebAuth-User",
    "X-Auth-User",
    "X-Auth-Email",
    "X-Auth-Request-User",
    "X.Auth.Request.Email",
    "X-Authenticated-User",
    "X-Authentik-Username",
    "X-Consumer-Username",
    "X-Consumer-Custom-Id",
    "X-Credential-Identifier",
    "X-Endpoint-API-UserInfo",
    "Cf-Access-Authenticated-User-Email",
    "Cf-Access-Jwt-Assertion",
    "CF-Access-Client-Id",
    "X-Goog-Authenticated-User-Email",
    "X-Goog-Iap-Jwt-Assertion",
    "X-MS-Client-Principal",
    "X-MS-Client-Principal-Id",
    "X-Amzn-Oidc-Identity",
    "X-Amzn-Oidc-Data",
    "SSL-Client-S-DN",
    "X-SSL-Client-Verify",
    "X-Client-Cert",
    "X-Vouch-User",
    "X-Pomerium-Jwt-Assertion",
    "Tailscale-User-Login",
    "WL-Proxy-Client-IP",
    "X-Original-Path",
    "X-Rewrite-URI",
  ])("removes %s, by which other gateways name a caller or a path", async (name) => {
    for (const auth of ["none", "required"] as const) {
      const got = await received(new Headers({ [name]: FORGED }), { auth });
      expect([...got.values()].join()).not.toContain(FORGED);
    }
  });

  it.each(["remotely", "x-authentication-token", "x-consumers", "x-ssl", "cf-ray", "x-stainless-lang", "x-"])(
    "keeps %s, which only begins alike",
    async (name) => {
      expect((await received(new Headers({ [name]: "kept" }))).get(name)).toBe("kept");
    },
  );

  it("such a header passes where the site itself reads credentials from it, in this spelling", async () => {
    const credentials = someRules({ headers: ["cf-access-jwt-assertion"], forwardCredential: true });
    const sent = new Headers({ "cf-access-jwt-assertion": "good", cf_access_jwt_assertion: FORGED });
    const got = await received(sent, { site: siteWith(null, { credentials }), auth: "none" });
    expect(valuesOf(got, "cf-access-jwt-assertion")).toEqual(["good"]);
  });

  it("our own Access credentials take the place of a client's", async () => {
    const originHeaders = [["cf-access-client-id", "ours"]] as const;
    const sent = new Headers({ "cf-access-client-id": FORGED, cf_access_client_id: FORGED });
    const got = await received(sent, { site: siteWith(null, { originHeaders }) });
    expect(valuesOf(got, "cf-access-client-id")).toEqual(["ours"]);
  });

  it.each(["203.0.113.7", FORGED, `203.0.113.7, ${FORGED}`])(
    "the address has one spelling and one value, whatever was there: %s",
    async (value) => {
      for (const connection of ["close", "cf-connecting-ip, x-real-ip"]) {
        const sent = new Headers({ "cf-connecting-ip": value, cf_connecting_ip: FORGED, connection });
        sent.append("X-Real-IP", FORGED);
        sent.append("x.forwarded.for", FORGED);
        const got = await received(sent);
        for (const name of ["cf-connecting-ip", "x-real-ip", "x-forwarded-for"]) {
          expect([name, ...valuesOf(got, name)]).toEqual([name, "203.0.113.7"]);
        }
      }
    },
  );

  it("where no address is known, none of a client's passes", async () => {
    const names = ["cf-connecting-ip", "x-real-ip", "x-forwarded-for", "cf_connecting_ip"];
    const sent = new Headers(names.map((name) => [name, FORGED]));
    const got = await received(sent, { changes: { clientAddress: null } });
    for (const name of names) expect([name, got.get(name)]).toEqual([name, null]);
  });

  it("removes what the site's list adds, in every spelling, and nothing like it", async () => {
    const site = siteWith(null, { stripHeaders: ["x-tenant"] });
    const got = await received(new Headers({ "x-tenant": FORGED, X_Tenant: FORGED, "x-tenants": "kept" }), {
      site,
    });
    expect(valuesOf(got, "x-tenant")).toEqual([]);
    expect(got.get("x-tenants")).toBe("kept");
  });

  it("removes client copies of what the origin demands of us", async () => {
    const site = siteWith(null, { originHeaders: [["x-origin-key", "ours"]] });
    const got = await received(new Headers({ "x-origin-key": FORGED, "x.origin.key": FORGED }), { site });
    expect(valuesOf(got, "x-origin-key")).toEqual(["ours"]);
  });

  it("removes second spellings of credentials and framing, since origins may read the wrong one", async () => {
    const credentials = someRules({
      headers: ["x-api-key"],
      userHeader: "new-api-user",
      forwardCredential: true,
    });
    const site = siteWith(null, { credentials });
    const got = await received(
      new Headers({
        "x-api-key": "good",
        x_api_key: FORGED,
        "new-api-user": "7",
        new_api_user: FORGED,
        "content-type": "text/plain",
        content_type: FORGED,
        content_length: FORGED,
        "transfer.encoding": FORGED,
      }),
      { site, auth: "none" },
    );
    expect([...got.values()].join()).not.toContain(FORGED);
    expect([got.get("x-api-key"), got.get("new-api-user"), got.get("content-type")]).toEqual([
      "good",
      "7",
      "text/plain",
    ]);
  });

  it("keeps a credential header whose own name has an underscore", async () => {
    const credentials = someRules({ headers: ["x_api_key"], forwardCredential: true });
    const got = await received(new Headers({ x_api_key: "good", "x.api.key": FORGED }), {
      site: siteWith(null, { credentials }),
      auth: "none",
    });
    expect(valuesOf(got, "x-api-key")).toEqual(["good"]);
  });

  it("passes everything else unchanged (any other headers)", async () => {
    const name = fc
      .stringMatching(/^[a-z][a-z0-9_-]{0,20}$/)
      .filter(
        (text) =>
          !/^(proxy|x-|cf-|te$|content|transfer|host|cookie|auth|connection|upgrade|forward|keep|trailer|client|true|fastly|http2|remote|ssl-|tailscale-|wl-)/.test(
            text,
          ),
      );
    const value = fc.stringMatching(/^[!-~]([ -~]{0,20}[!-~])?$/);
    await fc.assert(
      fc.asyncProperty(fc.dictionary(name, value, { maxKeys: 8 }), async (sent) => {
        const got = await received(new Headers(sent));
        for (const [key, text] of Object.entries(sent)) expect(got.get(key)).toBe(text);
      }),
      RUNS,
    );
  });
});

describe("requirement 6: hop-by-hop tricks cannot remove what we set (RFC 9110 §7.6.1)", () => {
  it.each([
    "x-user-context",
    "X-User-Context",
    "close, X-User-Context , te",
    "x-user-context, x-request-id,x-real-ip",
  ])("Connection: %s", async (value) => {
    const got = await received(new Headers({ connection: value, "x-user-context": FORGED }), {
      principal: aPrincipal(),
    });
    expect(decodeJwt(got.get("x-user-context") ?? "").sub).toBe("7");
    expect(got.get("x-request-id")).toBe("request-1");
    expect(got.get("x-real-ip")).toBe("203.0.113.7");
    expect(got.has("connection")).toBe(false);
  });

  it("removes what Connection names, and no more", async () => {
    const got = await received(
      new Headers({ connection: "X-Hop,, x-other , bad name", "x-hop": "1", "x-end": "2" }),
    );
    expect(got.has("x-hop")).toBe(false);
    expect(got.get("x-end")).toBe("2");
  });

  it("lets Connection take away neither the framing nor the mark against loops", async () => {
    const got = await received(
      new Headers({
        connection: "content-length, cdn-loop, host",
        "content-length": "0",
        "cdn-loop": "cloudflare",
      }),
    );
    expect(got.get("cdn-loop")).toBe("cloudflare");
    expect(got.get("content-length")).toBe("0");
  });
});

describe("upgrades (RFC 9110 §7.8)", () => {
  const upgrade = (protocol: string) =>
    received(
      new Headers({
        connection: "Upgrade",
        upgrade: protocol,
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-version": "13",
        "sec-websocket-protocol": "chat",
        "http2-settings": "AAMAAABkAARAAAAAAAIAAAAA",
      }),
    );

  it.each(["websocket", "WebSocket", " websocket "])("passes a WebSocket's: %j", async (protocol) => {
    const got = await upgrade(protocol);
    expect(got.get("upgrade")?.trim().toLowerCase()).toBe("websocket");
    expect(got.get("sec-websocket-key")).toBe("dGhlIHNhbXBsZSBub25jZQ==");
    expect(got.get("sec-websocket-protocol")).toBe("chat");
  });

  it.each(["h2c", "websocket, h2c", "TLS/1.0", ""])(
    "passes no other: %j (h2c smuggling)",
    async (protocol) => {
      const got = await upgrade(protocol);
      expect(got.has("upgrade")).toBe(false);
      expect(got.has("http2-settings")).toBe(false);
    },
  );

  it.each(["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "PROPFIND"])(
    "requirement 4: passes none on %s, which the platform would send as GET",
    async (method) => {
      const sent = new Headers({ connection: "Upgrade", upgrade: "websocket" });
      for (const auth of ["none", "optional", "required"] as const) {
        expect((await received(sent, { method, auth })).has("upgrade")).toBe(false);
      }
    },
  );
});

describe("requirement 4: a request with Upgrade does not meet the policy of another method", () => {
  const upgrade = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13" };

  it.each(["websocket", "WebSocket", "h2c", ""])(
    "what asks for an upgrade (%j) is no preflight that goes on unasked",
    async (protocol) => {
      const gateway = startGateway();
      const preflight = { origin: "https://evil.example", "access-control-request-method": "GET" };
      const headers = { ...preflight, ...upgrade, upgrade: protocol };
      const { status } = await gateway.fetch("/admin/x", { method: "OPTIONS", headers });
      expect([status, gateway.received.length]).toEqual([401, 0]);
    },
  );

  it.each(["POST", "DELETE", "HEAD", "OPTIONS"])("a row for %s does not let it through", async (method) => {
    const routes = [
      { path: "/x", methods: ["POST", "DELETE", "OPTIONS"], auth: "none" },
      { path: "/x", methods: ["HEAD"], auth: "none" },
    ];
    const gateway = startGateway({ vars: { SITE_TEST: { ...SITE, routes } } });
    await gateway.fetch("/x", { method, headers: upgrade });
    expect(gateway.received.map(({ headers }) => headers.get("upgrade"))).toEqual([null]);
  });
});

describe("names that are no field names (RFC 9110 §5.1)", () => {
  it.each([
    "x-user-context ",
    "x-user-context\t",
    " x-user-context",
    "x user context",
    "x-usér-context",
    "x-a\r",
  ])("refuses %j, which one release of the platform lets in", (name) => {
    const headers = {
      keys: () => ["accept", name].values(),
      get: () => null,
      delete: () => {},
    } as unknown as Headers;
    const strip = () => stripProtectedHeaders(headers, protectedHeaders(siteWith(null), null), "GET");
    expect(strip).toThrow(Problem);
    expect(strip).toThrow("request_malformed");
  });
});
