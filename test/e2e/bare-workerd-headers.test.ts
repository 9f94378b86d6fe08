// Headers, methods and framing as attackers write them, against the bundle under bare workerd.
import { decodeJwt } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type AttackTarget, FORGED, type Strike, startAttackTarget } from "../support/node/attack-target.ts";
import { rawRequest } from "../support/node/raw-http.ts";
import { valuesOf } from "../support/node/recording-origin.ts";

let target: AttackTarget;
beforeAll(async () => {
  target = await startAttackTarget({ SITE_ANY: {} });
});
afterAll(async () => {
  await target?.stop();
});

const bearer = (token: string) => `Authorization: Bearer ${token}`;
const send = (headers: readonly string[], requestLine = "GET /public/x HTTP/1.1") =>
  target.strike(rawRequest(requestLine, ["Host: any.example", ...headers]));

/** Refused or cut off, or else forwarded with nothing forged in it, which every strike checks. */
function expectHarmless({ status, exchange, arrived }: Strike): void {
  if (arrived.length > 0) expect(status).toBe(200);
  else if (status === null) expect(exchange.end).toBe("closed");
  else expect([400, 401, 413, 431, 501]).toContain(status);
}

describe("requirement 5: what a client says of itself never reaches the origin", () => {
  const names = [
    "X-User-Context",
    "x-user-context",
    "X_User_Context",
    "X.User.Context",
    "x-USER_context",
    "X-User~Context",
    "X|User|Context",
    "X-User-Id",
    "X_USER_ROLE",
    "X-Auth-Method",
    "X-Request-Id",
    "X_Request_Id",
    "X-Real-IP",
    "X-Forwarded-For",
    "X_Forwarded_For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Uri",
    "X-Forwarded-Prefix",
    "X-Forwarded-User",
    "X-Forwarded",
    "Forwarded",
    "CF-Connecting-IP",
    "True-Client-IP",
    "X-Client-IP",
    "X-Original-URL",
    "X-Original-Method",
    "X-Rewrite-URL",
    "X-HTTP-Method-Override",
    "X_HTTP_Method_Override",
    "X-Method-Override",
    "X-Middleware-Subrequest",
    "Proxy-Authorization",
    "Proxy",
    "X-Postern-Loop",
    "Keep-Alive",
    "TE",
    "Trailer",
    "HTTP2-Settings",
  ];

  it.each(names)("%s, once, twice and in a list", async (name) => {
    const forged = `${name}: ${FORGED}`;
    for (const [path, token] of [
      ["/public/x", null],
      ["/optional/x", null],
      ["/optional/x", target.userToken],
      ["/admin/x", target.adminToken],
    ] as const) {
      const credential = token === null ? [] : [bearer(token)];
      const headers = [forged, ...credential, forged, `${name}: 127.0.0.1, ${FORGED}`];
      const { arrived, status } = await send(headers, `GET ${path} HTTP/1.1`);
      expect([path, status, arrived.length]).toEqual([path, 200, 1]);
    }
  });

  it.each([
    "X-User-Context : forged",
    "X-User-Context\t: forged",
    " X-User-Context: forged",
    "X-User-Context\r: forged",
    "X-User-Context\x0b: forged",
    "X-User-Context\xa0: forged",
    "X-User-Context\x00: forged",
    "X-User\x00-Context: forged",
    "X User Context: forged",
    "X-User-Context",
    ": forged",
    "X-A: 1\r\n X-User-Context: forged",
    "X-A: 1\r\n\tforged",
    "X-A: 1\rX-User-Context: forged",
    "X-A: 1\nX-User-Context: forged",
    "X-A: \x00forged",
    "X-User-Context:\r\n forged",
    "X-User-Context: \x01forged",
    "X-\xc3\x9cser-Context: forged",
    "X-User-Context\xff: forged",
  ])("the line %j", async (line) => {
    expectHarmless(await send([line]));
    expectHarmless(await send([line, "X-B: 2"], "GET /admin/x HTTP/1.1"));
    expectHarmless(await send([bearer(target.adminToken), line, "X-B: 2"], "GET /admin/x HTTP/1.1"));
  });

  it("passes on what is none of this, bytes that are no UTF-8 included", async () => {
    const { arrived } = await send(["X-Odd: \xff\xfe\xe9", "X-User: 1", "Accept: text/plain", "Cookie: a=b"]);
    const [one] = arrived;
    if (one === undefined) throw new Error("nothing arrived");
    expect(["x-odd", "x-user", "accept", "cookie"].map((name) => valuesOf(one, name))).toEqual([
      ["\xff\xfe\xe9"],
      ["1"],
      ["text/plain"],
      ["a=b"],
    ]);
  });

  it.each([16, 64, 127, 129, 300])("%d KB of headers pass whole, or are refused", async (kilobytes) => {
    const filler = Array.from({ length: kilobytes }, (_, at) => `X-Fill-${at}: ${"f".repeat(1_000)}`);
    const strike = await send([...filler, `X-User-Context: ${FORGED}`]);
    expectHarmless(strike);
    for (const one of strike.arrived) {
      const kept = one.rawHeaders.filter((text) => text.toLowerCase().startsWith("x-fill-"));
      expect(kept).toHaveLength(kilobytes);
    }
    if (kilobytes <= 16) expect(strike.arrived).toHaveLength(1);
  });
});

describe("requirement 4: no header changes path or method for policy or origin", () => {
  it.each([
    ["X-Original-URL", "/public/x"],
    ["X-Rewrite-URL", "/public/x"],
    ["X-Forwarded-Uri", "/public/x"],
    ["X-Forwarded-Prefix", "/public"],
    ["X-HTTP-Method-Override", "OPTIONS"],
    ["X-Forwarded-Host", "other.example"],
    ["X-Middleware-Subrequest", "middleware:middleware"],
    ["User-Agent", "kube-probe/1.29"],
    ["X-Forwarded-For", "127.0.0.1"],
    ["CF-Worker", "any.example"],
    ["Upgrade", "websocket"],
  ])("%s: %s does not open /admin/x", async (name, value) => {
    const strike = await send([`${name}: ${value}`], "POST /admin/x HTTP/1.1");
    expect([strike.status, strike.arrived]).toEqual([401, []]);
  });

  it.each(["OPTIONS", "POST", "HEAD", "DELETE"])(
    "%s with Upgrade: websocket does not arrive as GET",
    async (method) => {
      const preflight = ["Origin: https://evil.example", "Access-Control-Request-Method: GET"];
      for (const path of ["/admin/x", "/public/x"]) {
        for (const more of [[], preflight]) {
          const headers = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", ...more];
          const { arrived } = await send(headers, `${method} ${path} HTTP/1.1`);
          for (const one of arrived) expect([path, one.method]).toEqual(["/public/x", method]);
        }
      }
    },
  );

  it("CONNECT is the platform's to refuse", async () => {
    for (const path of ["/public/x", "any.example:443"]) {
      const { status, arrived } = await send([bearer(target.adminToken)], `CONNECT ${path} HTTP/1.1`);
      expect(status ?? 500).toBeGreaterThanOrEqual(400);
      expect(arrived).toEqual([]);
    }
  });

  it.each(["TRACE", "TRACK", "get", "G%45T", "G\tET", "GET\x00", ""])(
    "the method %j opens nothing, and none is read as another",
    async (method) => {
      for (const path of ["/admin/x", "/public/x"]) {
        const { status, arrived, exchange } = await send([], `${method} ${path} HTTP/1.1`);
        expect(arrived).toEqual([]);
        if (status === null) expect(exchange.end).toBe("closed");
        else expect([400, 401, 404, 405, 501]).toContain(status);
      }
    },
  );

  it.each(["OPTIONS", "HEAD", "PROPFIND", "PURGE"])(
    "%s of an admin path wants a credential",
    async (method) => {
      const strike = await send([], `${method} /admin/x HTTP/1.1`);
      expect([strike.status ?? "closed", strike.arrived]).not.toContain(200);
      expect(strike.arrived).toEqual([]);
    },
  );
});

describe("requirement 6: hop-by-hop tricks do not remove what we set (RFC 9110 §7.6.1)", () => {
  it.each([
    ["Connection: x-user-context"],
    ["Connection: X-User-Context"],
    ["Connection: close, X-USER-CONTEXT, x-request-id"],
    ["Connection: x-user-context", "Connection: X-Request-Id"],
    ["connection: keep-alive", "CONNECTION: x_user_context,x-user-context"],
    ["Connection: authorization"],
    ["Connection: host, content-length, transfer-encoding"],
    ["Connection: ,, ;x-user-context"],
    ["Proxy-Connection: x-user-context"],
    ["Keep-Alive: x-user-context"],
  ])("%s", async (...lines) => {
    const { arrived } = await send([...lines, bearer(target.userToken)], "GET /private/x HTTP/1.1");
    const subjects = arrived.map((one) => decodeJwt(valuesOf(one, "x-user-context")[0] ?? "").sub);
    expect(subjects).toEqual(["7"]);
  });
});

describe("requests within requests (RFC 9112 §6.3)", () => {
  const inner = `GET /admin/x HTTP/1.1\r\nHost: any.example\r\nX-User-Context: ${FORGED}\r\n\r\n`;
  const chunked = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`;
  const post = (headers: readonly string[], body: string) =>
    target.strike(rawRequest("POST /public/x HTTP/1.1", ["Host: any.example", ...headers], body), {
      answers: 2,
      deadlineMs: 700, // one answer is all that comes of most
    });

  it.each<[string, readonly string[], string]>([
    ["CL.TE", ["Content-Length: 4", "Transfer-Encoding: chunked"], `0\r\n\r\n${inner}`],
    ["TE.CL", ["Transfer-Encoding: chunked", `Content-Length: ${inner.length}`], `0\r\n\r\n${inner}`],
    ["two lengths", ["Content-Length: 0", `Content-Length: ${inner.length}`], inner],
    ["a list of lengths", [`Content-Length: 0, ${inner.length}`], inner],
    ["a signed length", ["Content-Length: +0"], inner],
    ["a negative length", ["Content-Length: -1"], inner],
    ["a length in hex", [`Content-Length: 0x${inner.length.toString(16)}`], inner],
    ["a length in another spelling", ["Content_Length: 0", `Content-Length: ${inner.length}`], inner],
    ["chunked twice", ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], chunked(inner)],
    ["chunked not last", ["Transfer-Encoding: chunked, identity"], chunked(inner)],
    ["xchunked", ["Transfer-Encoding: xchunked"], `0\r\n\r\n${inner}`],
    ["a blank before the colon", ["Transfer-Encoding : chunked"], `0\r\n\r\n${inner}`],
    ["in another spelling", ["Transfer_Encoding: chunked", "Content-Length: 5"], `0\r\n\r\n${inner}`],
    ["behind a vertical tab", ["Transfer-Encoding: \x0bchunked"], `0\r\n\r\n${inner}`],
    ["a chunk size with a sign", ["Transfer-Encoding: chunked"], `+0\r\n\r\n${inner}`],
    ["a chunk size too big for anything", ["Transfer-Encoding: chunked"], `fffffffffffffffff\r\n${inner}`],
    ["a chunk extension with a line feed", ["Transfer-Encoding: chunked"], `0;a\n\r\n\r\n${inner}`],
    ["pipelined", ["Content-Length: 0"], inner],
  ])("%s: no admin path, nothing forged", async (_, headers, body) => {
    const { arrived } = await post(headers, body);
    expect(arrived.filter(({ target: path }) => path !== "/public/x")).toEqual([]);
    expect(arrived.length).toBeLessThanOrEqual(1);
  });

  it("a body is a body, whatever it looks like", async () => {
    const { arrived } = await post([`Content-Length: ${inner.length}`], inner);
    expect(arrived.map(({ target: path, body }) => [path, body])).toEqual([["/public/x", inner]]);
  });
});
