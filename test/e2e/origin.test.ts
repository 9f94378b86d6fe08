// A server that knows nothing of the gateway but its public keys, behind `wrangler dev`: what reaches it, and how its
// answers come back.
import { gunzipSync, gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type GuardedSite, type Handler, type Mint, startGuardedSite } from "../support/node/guarded-site.ts";
import { type Sending, send } from "../support/node/http-client.ts";
import { exchange, rawRequest } from "../support/node/raw-http.ts";

const ZIPPED = gzipSync("some text ".repeat(1_000));
const MANY_BYTES = "h".repeat(12_000);

/** What the origin answers, by the end of the path; anything else tells who asked. */
const ANSWERS: Readonly<Record<string, Handler>> = {
  redirect: (_, response) =>
    response.writeHead(302, { location: "http://127.0.0.1:1/elsewhere?x=1" }).end("moved"),
  gzip: (_, response) =>
    response
      .writeHead(200, {
        "content-encoding": "gzip",
        "content-type": "text/plain",
        "content-length": ZIPPED.length,
      })
      .end(ZIPPED),
  cookies: (_, response) =>
    response.writeHead(200, { "set-cookie": ["a=1; Path=/", "b=2, 3; HttpOnly"] }).end(),
  length: (_, response) => response.writeHead(200, { "content-length": 12_345 }).end(),
  empty: (_, response) => response.writeHead(204, { "x-empty": "yes" }).end(),
  unchanged: (_, response) => response.writeHead(304, { etag: '"abc"' }).end(),
  broken: (_, response) =>
    response.writeHead(500, "Oh No", { "content-type": "text/x-trace", "x-origin": "1" }).end("stack trace"),
  busy: (_, response) => response.writeHead(503, { "retry-after": "77" }).end("busy"),
  unauthorized: (_, response) => response.writeHead(401, { "www-authenticate": 'Basic realm="own"' }).end(),
  teapot: (_, response) => response.writeHead(418, "Short and stout").end(),
  large: (request, response) =>
    response
      .writeHead(200, { "x-large": MANY_BYTES, "x-got": String(request.headers["x-large"]?.length) })
      .end(),
};

const tellWhoAsked: Handler = async (request, response, claims) => {
  let body = "";
  for await (const chunk of request) body += chunk;
  const { method, url, headers } = request;
  response
    .setHeader("content-type", "application/json")
    .end(JSON.stringify({ method, url, headers, body, claims }));
};

let site: GuardedSite;
beforeAll(async () => {
  site = await startGuardedSite((request, response, claims) => {
    const [path = ""] = (request.url ?? "").split("?");
    const answer = ANSWERS[path.split("/").at(-1) ?? ""] ?? tellWhoAsked;
    return answer(request, response, claims);
  });
});
afterAll(async () => {
  await site?.stop();
});

interface WhoAsked {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly claims: Readonly<Record<string, unknown>>;
}

type Headers = Readonly<Record<string, string>>;
type Credentials = (mint: Mint) => Headers | Promise<Headers>;

const bearer = (token: string): Headers => ({ authorization: `Bearer ${token}` });
const ask = (path: string, options?: Sending) => send(`${site.dev.address}${path}`, options);
const askAs = async (credentials: Credentials, path: string, options: Sending = {}) =>
  ask(path, { ...options, headers: { ...options.headers, ...(await credentials(site.mint)) } });

const AS_JWT: Credentials = async (mint) => bearer(await mint.jwt({ sub: "7", jti: "token-1" }));
const AS_USER: Credentials = (mint) => bearer(mint.apiKey.user);
const AS_ADMIN: Credentials = (mint) => bearer(mint.apiKey.admin);
const AS_PAT: Credentials = (mint) => ({ ...bearer(mint.pat), "new-api-user": "7" });
const AS_SESSION: Credentials = (mint) => ({
  cookie: `sid=${mint.session}; theme=dark`,
  "new-api-user": "7",
});
const AS_NOBODY: Credentials = () => ({});

describe("an origin that trusts the signature alone accepts what was allowed (RFC 7515)", () => {
  it.each<[string, Credentials, object]>([
    ["a JWT", AS_JWT, { kind: "jwt", id: "token-1", scopes: [] }],
    ["an API key", AS_USER, { kind: "api_key", id: "key-7", scopes: ["reports.read"] }],
    ["a PAT with New-Api-User", AS_PAT, { kind: "pat", id: "pat-7", scopes: [] }],
    ["a session", AS_SESSION, { kind: "session", id: "session-7", scopes: [] }],
  ])("%s", async (_, credentials, auth) => {
    const answer = await askAs(credentials, "/things/1?a=b&a=%20c", {
      headers: { "x-user-context": "forged" },
    });
    expect(answer.status).toBe(200);
    const { method, url, headers, claims } = JSON.parse(answer.body.toString()) as WhoAsked;
    expect([method, url]).toEqual(["GET", "/things/1?a=b&a=%20c"]);
    expect(claims).toMatchObject({
      sub: "7",
      site: "api",
      user: { id: "7", name: "Ada", role: "user" },
      auth,
    });
    const { iat, exp } = claims as { readonly iat: number; readonly exp: number };
    expect(exp - iat).toBeLessThanOrEqual(60);
    // The credential stays behind, other cookies do not.
    const { authorization, cookie, "new-api-user": userId } = headers;
    expect([authorization, cookie, userId]).toEqual([undefined, cookie && "theme=dark", undefined]);
  });

  it("knows an admin from a user, and nobody from somebody", async () => {
    const admin = JSON.parse((await askAs(AS_ADMIN, "/admin/x")).body.toString()) as WhoAsked;
    expect(admin.claims.user).toMatchObject({ id: "1", role: "admin" });
    for (const path of ["/open/x", "/maybe/x"]) {
      const { claims } = JSON.parse((await ask(path)).body.toString()) as WhoAsked;
      expect(claims).toMatchObject({ anonymous: true });
      expect(claims).not.toHaveProperty("sub");
    }
  });

  it("refuses whoever comes past the gateway", async () => {
    for (const headers of [{}, { "x-user-context": "forged" }, bearer(site.mint.apiKey.admin)]) {
      expect((await send(`${site.origin.address}/admin/x`, { headers })).status).toBe(403);
    }
  });
});

describe("requirement 7: cookies in several lines, which the platform joins by commas", () => {
  const askRaw = async (lines: readonly string[]) => {
    const fixed = [`Host: 127.0.0.1:${site.dev.port}`, "New-Api-User: 7"];
    const { answers } = await exchange(
      site.dev.port,
      rawRequest("GET /things/1 HTTP/1.1", [...fixed, ...lines]),
    );
    return answers[0];
  };

  it("the session is found in any of them, and does not reach the origin", async () => {
    const session = `Cookie: sid=${site.mint.session}`;
    for (const lines of [
      ["Cookie: theme=dark", session],
      [session, "Cookie: theme=dark"],
    ]) {
      const answer = await askRaw(lines);
      expect(answer?.status).toBe(200);
      const { headers, claims } = JSON.parse(answer?.body ?? "") as WhoAsked;
      expect([headers.cookie, claims.sub]).toEqual(["theme=dark", "7"]);
    }
  });

  it("two sessions are one too many", async () => {
    const { session } = site.mint;
    for (const lines of [
      [`Cookie: sid=${session}`, "Cookie: sid=other.x"],
      ["Cookie: sid=other.x", `Cookie: sid=${session}`],
      [`Cookie: sid=${session}, sid=other.x`],
      [`Cookie: sid=${session}; sid=other.x`],
    ]) {
      const before = site.origin.count();
      const answer = await askRaw(lines);
      expect([answer?.status, site.origin.count()]).toEqual([401, before]);
      expect(answer?.body).toContain("credential_conflict");
    }
  });
});

describe("a browser's preflight, on a site without cors", () => {
  const asked = {
    origin: "https://app.example",
    "access-control-request-method": "PUT",
    "access-control-request-headers": "authorization",
  };

  it.each(["/things/1", "/reports/1", "/admin/x", "/maybe/x"])(
    "goes to the origin as nobody's: %s",
    async (path) => {
      const answer = await ask(path, { method: "OPTIONS", headers: asked });
      expect(answer.status).toBe(200);
      const { method, body, claims } = JSON.parse(answer.body.toString()) as WhoAsked;
      expect([method, body, claims.anonymous]).toEqual(["OPTIONS", "", true]);
    },
  );

  it.each<[string, Sending]>([
    ["a body", { body: "x", headers: { "content-length": "1" } }],
    ["a body in chunks", { body: "x", headers: { "transfer-encoding": "chunked" } }],
    ["a key", { headers: { authorization: "Bearer sk-x" } }],
  ])("is a request like others with %s", async (_, { body, headers }) => {
    const count = site.origin.count();
    const answer = await ask("/things/1", {
      method: "OPTIONS",
      headers: { ...asked, ...headers },
      ...(body !== undefined && { body }),
    });
    expect([answer.status, site.origin.count()]).toEqual([401, count]);
  });
});

describe("what is refused never reaches the origin", () => {
  it.each<[string, Credentials, string]>([
    ["nothing", AS_NOBODY, "credential_missing"],
    ["garbage", () => bearer("garbage"), "credential_invalid"],
    ["an API key of nobody", (mint) => bearer(mint.unknownKey), "credential_invalid"],
    ["an API key cut short", (mint) => bearer(mint.apiKey.user.slice(0, -1)), "credential_invalid"],
    ["a disabled key", (mint) => bearer(mint.apiKey.disabled), "credential_invalid"],
    ["an expired key", (mint) => bearer(mint.apiKey.expired), "credential_invalid"],
    ["the key of a banned user", (mint) => bearer(mint.apiKey.banned), "credential_invalid"],
    ["a PAT without New-Api-User", (mint) => bearer(mint.pat), "credential_invalid"],
    ["a PAT of another", (mint) => ({ ...bearer(mint.pat), "new-api-user": "1" }), "credential_invalid"],
    ["a PAT of 07", (mint) => ({ ...bearer(mint.pat), "new-api-user": "07" }), "credential_invalid"],
    ["an expired JWT", async (mint) => bearer(await mint.jwt({ sub: "7", exp: 1 })), "credential_invalid"],
    [
      "a JWT that never expires",
      async (mint) => bearer(await mint.jwt({ sub: "7", exp: undefined })),
      "credential_invalid",
    ],
    [
      "a JWT for others",
      async (mint) => bearer(await mint.jwt({ sub: "7", aud: "other" })),
      "credential_invalid",
    ],
    [
      "a JWT of another issuer",
      async (mint) => bearer(await mint.jwt({ sub: "7", iss: "https://x.example" })),
      "credential_invalid",
    ],
    ["a JWT of a banned user", async (mint) => bearer(await mint.jwt({ sub: "13" })), "credential_invalid"],
    ["a JWT of nobody", async (mint) => bearer(await mint.jwt({ sub: "99" })), "credential_invalid"],
    [
      "two credentials",
      (mint) => ({ ...bearer(mint.apiKey.user), cookie: `sid=${mint.session}` }),
      "credential_conflict",
    ],
  ])("requirement 15: %s is 401, and says no more than that", async (_, credentials, code) => {
    const before = site.origin.count();
    const answer = await askAs(credentials, "/things/1");
    const { requestId, title, ...problem } = JSON.parse(answer.body.toString()) as Record<string, unknown>;
    expect(problem).toEqual({ type: `urn:postern:problem:${code}`, status: 401, code });
    expect([answer.status, answer.headers["x-request-id"], typeof title]).toEqual([401, requestId, "string"]);
    const errors = { credential_missing: "", credential_invalid: ', error="invalid_token"' };
    const error = errors[code as keyof typeof errors] ?? ', error="invalid_request"';
    expect(answer.headers["www-authenticate"]).toBe(`Bearer realm="api"${error}`);
    expect(answer.headers["cache-control"]).toBe("no-store");
    expect(site.origin.count()).toBe(before);
  });

  it.each<[string, Credentials, string, Sending, number, string]>([
    ["a user is no admin", AS_USER, "/admin/x", {}, 403, "role_insufficient"],
    ["a key without the scope", AS_ADMIN, "/reports/1", {}, 403, "scope_insufficient"],
    ["no such route", AS_ADMIN, "/nothing", {}, 404, "route_not_found"],
    ["no such method", AS_USER, "/reports/1", { method: "DELETE" }, 405, "method_not_allowed"],
    ["an ambiguous path", AS_ADMIN, "/things/%2fadmin", {}, 400, "path_ambiguous"],
  ])("%s: %s", async (_, credentials, path, options, status, code) => {
    const before = site.origin.count();
    const answer = await askAs(credentials, path, options);
    expect([answer.status, JSON.parse(answer.body.toString())]).toEqual([
      status,
      expect.objectContaining({ status, code }),
    ]);
    expect(answer.headers["content-type"]).toBe("application/problem+json");
    if (status === 405) expect(answer.headers.allow).toBe("GET, HEAD, PUT");
    if (code === "scope_insufficient") {
      expect(answer.headers["www-authenticate"]).toContain(
        'error="insufficient_scope", scope="reports.read"',
      );
    }
    expect(site.origin.count()).toBe(before);
  });

  it("requirement 20: an origin that is down is 502, and nobody's answer", async () => {
    const answer = await ask("/down/x");
    expect([answer.status, JSON.parse(answer.body.toString())]).toEqual([
      502,
      expect.objectContaining({ code: "origin_unreachable" }),
    ]);
  });

  it("HEAD of what is refused has no body (RFC 9110 §9.3.2)", async () => {
    const answer = await ask("/things/1", { method: "HEAD" });
    expect([answer.status, answer.body.length]).toEqual([401, 0]);
  });
});

describe("the origin's answers pass as they are", () => {
  const get = (name: string, options?: Sending) => askAs(AS_USER, `/things/${name}`, options);

  it("redirects are returned, not followed", async () => {
    const { status, headers, body } = await get("redirect");
    expect([status, headers.location, body.toString()]).toEqual([
      302,
      "http://127.0.0.1:1/elsewhere?x=1",
      "moved",
    ]);
  });

  it("encoded bodies stay encoded, byte for byte", async () => {
    const { headers, body } = await get("gzip", { headers: { "accept-encoding": "gzip" } });
    expect(headers["content-encoding"]).toBe("gzip");
    expect(body.equals(ZIPPED)).toBe(true);
    expect(gunzipSync(body).length).toBe(10_000);
  });

  it("two cookies stay two", async () => {
    expect((await get("cookies")).headers["set-cookie"]).toEqual(["a=1; Path=/", "b=2, 3; HttpOnly"]);
  });

  it("HEAD keeps the length and has no body", async () => {
    const { status, headers, body } = await get("length", { method: "HEAD" });
    expect([status, headers["content-length"], body.length]).toEqual([200, "12345", 0]);
  });

  it("204 and 304 have no body", async () => {
    const empty = await get("empty");
    expect([empty.status, empty.headers["x-empty"], empty.body.length]).toEqual([204, "yes", 0]);
    const unchanged = await get("unchanged", { headers: { "if-none-match": '"abc"' } });
    expect([unchanged.status, unchanged.headers.etag, unchanged.body.length]).toEqual([304, '"abc"', 0]);
  });

  it("failures of the origin are its own", async () => {
    const broken = await get("broken");
    expect([broken.status, broken.headers["content-type"], broken.headers["x-origin"]]).toEqual([
      500,
      "text/x-trace",
      "1",
    ]);
    expect(broken.body.toString()).toBe("stack trace");
    const busy = await get("busy");
    expect([busy.status, busy.headers["retry-after"], busy.body.toString()]).toEqual([503, "77", "busy"]);
    const unauthorized = await get("unauthorized");
    expect([unauthorized.status, unauthorized.headers["www-authenticate"]]).toEqual([
      401,
      'Basic realm="own"',
    ]);
    const teapot = await get("teapot");
    expect([teapot.status, teapot.statusText]).toEqual([418, "Short and stout"]);
  });

  it("large headers pass both ways", async () => {
    const { headers } = await get("large", { headers: { "x-large": MANY_BYTES } });
    expect([headers["x-large"], headers["x-got"]]).toEqual([MANY_BYTES, String(MANY_BYTES.length)]);
  });

  it.each(["GET", "DELETE", "HEAD", "OPTIONS"])("%s with an empty body is one without", async (method) => {
    for (const headers of [{ "content-length": "0" }, { "transfer-encoding": "chunked" }] as const) {
      expect([headers, (await get("1", { method, headers })).status]).toEqual([headers, 200]);
    }
  });

  it.each(["GET", "DELETE", "POST", "PUT", "PATCH", "PROPFIND"])(
    "%s with a body keeps it",
    async (method) => {
      const body = `${method} é`;
      const headers = {
        "content-type": "text/plain; charset=utf-8",
        "content-length": String(Buffer.byteLength(body)),
      };
      const answer = await get("1", { method, headers, body });
      expect(JSON.parse(answer.body.toString())).toMatchObject({ method, body, headers });
    },
  );

  it("OPTIONS is a request like any other, and wants a credential like any other", async () => {
    expect((await ask("/things/1", { method: "OPTIONS" })).status).toBe(401);
    const answer = await get("1", { method: "OPTIONS" });
    expect(JSON.parse(answer.body.toString())).toMatchObject({ method: "OPTIONS" });
  });
});
