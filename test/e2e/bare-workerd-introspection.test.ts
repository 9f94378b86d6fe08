// A New API that is a real HTTP server, asked by the guarding bundle under bare workerd, without D1: nothing but isolate
// memory holds what it says. Clients leave, origins hang and break off.
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ensureLocalSecrets } from "../../cli/local-secrets.ts";
import { type BareWorkerd, startBareWorkerd } from "../support/node/bare-workerd.ts";
import { close, listen } from "../support/node/recording-origin.ts";
import { makeScratch } from "../support/node/scratch.ts";

const SELF = "/api/user/self";
const freshPat = () => randomBytes(24).toString("base64");

interface Question {
  readonly pat: string;
  readonly url: string;
  readonly names: readonly string[];
}

type Answer = "known" | "unknown" | "hangs" | "breaks off" | "redirects" | "never ends" | "fails";
let answers: Answer = "known";
let asked: Question[] = [];
let passed: string[] = [];
let gateway: BareWorkerd;
let stopOrigin: () => Promise<void>;

beforeAll(async () => {
  const origin = await listen(async (request, response) => {
    const context = String(request.headers["x-user-context"]).split(".")[1] ?? "";
    const isQuestion = JSON.parse(Buffer.from(context, "base64url").toString()).anonymous === true;
    if (!isQuestion) {
      passed.push(request.url ?? "");
      response.end("from the origin");
      return;
    }
    const pat = String(request.headers.authorization).replace("Bearer ", "");
    asked.push({ pat, url: request.url ?? "", names: Object.keys(request.headers) });
    // Long enough for others to come meanwhile.
    await new Promise((resolve) => setTimeout(resolve, 150));
    const json = (status: number, body: object) => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify(body));
    };
    switch (answers) {
      case "known":
        return json(200, { success: true, data: { id: 7, username: "alice", role: 1, status: 1 } });
      case "unknown":
        return json(401, { success: false, code: "AUTH_UNAUTHORIZED", message: "x" });
      case "fails":
        return json(500, { success: false });
      case "redirects":
        response.writeHead(302, { location: "/elsewhere" }).end();
        return;
      case "breaks off":
        response.writeHead(200, { "content-length": "1000" });
        response.write('{"success":true');
        response.destroy();
        return;
      case "never ends":
        response.writeHead(200, { "content-type": "application/json" });
        for (const chunk of Array(100).fill(" ".repeat(8_192))) response.write(chunk);
        return;
      case "hangs":
    }
  });
  stopOrigin = () => close(origin.server);
  const { directory, remove } = makeScratch("introspection");
  const { secrets } = await ensureLocalSecrets(join(directory, ".dev.vars"));
  remove();
  gateway = await startBareWorkerd({
    entry: "src/edge.ts",
    vars: {
      ...secrets,
      GATEWAY: { issuer: "https://auth.example", environment: "development", freshness_seconds: 3 },
      SITE_LLM: {
        origin: `http://127.0.0.1:${origin.port}`,
        preset: "new-api-current",
        introspect: true,
        users: "none",
        revocation: "none",
        jwt: { secret: "SESSION_SECRET" },
        routes: [{ path: "/api/log/self", freshness_seconds: 0 }],
      },
      SESSION_SECRET: randomBytes(32).toString("base64url"),
    },
  });
}, 120_000);
afterAll(async () => {
  await gateway?.stop();
  await stopOrigin?.();
});
beforeEach(() => {
  answers = "known";
  asked = [];
  passed = [];
});

const call = (pat: string, path = "/api/token/", signal?: AbortSignal) =>
  fetch(`http://127.0.0.1:${gateway.port}${path}`, {
    headers: { authorization: `Bearer ${pat}` },
    ...(signal !== undefined && { signal }),
  });
const statusOf = async (response: Promise<Response>) => {
  const { status, headers } = await response;
  return status === 503 ? `503 ${headers.get("retry-after")}` : String(status);
};

describe("one question", () => {
  it("for a hundred requests at once, and for those after them", async () => {
    const pat = freshPat();
    const first = await Promise.all(Array.from({ length: 100 }, () => statusOf(call(pat))));
    expect(new Set(first)).toEqual(new Set(["200"]));
    expect(await statusOf(call(pat, SELF))).toBe("200");
    expect(asked.map((one) => [one.pat, one.url])).toEqual([[pat, SELF]]);
    expect(passed).toHaveLength(101);
    expect(asked[0]?.names).not.toContain("accept-language");
  });

  it("is answered although the client who caused it has left, and the others are served", async () => {
    const pat = freshPat();
    const gone = new AbortController();
    const left = call(pat, "/api/token/", gone.signal).catch((error: Error) => error.name);
    await expect.poll(() => asked.length).toBe(1);
    const others = Array.from({ length: 5 }, () => statusOf(call(pat)));
    gone.abort();
    expect(await left).toBe("AbortError");
    expect(await Promise.all(others)).toEqual(Array(5).fill("200"));
    expect(asked).toHaveLength(1);
  });

  it("is asked anew at the bound: what the origin revoked is refused then", async () => {
    const pat = freshPat();
    expect(await statusOf(call(pat))).toBe("200");
    answers = "unknown";
    await expect.poll(() => statusOf(call(pat)), { timeout: 10_000, interval: 200 }).toBe("401");
  });

  it("goes with every request where freshness is 0", async () => {
    const pat = freshPat();
    expect(await statusOf(call(pat, "/api/log/self"))).toBe("200");
    answers = "unknown";
    expect(await statusOf(call(pat, "/api/log/self"))).toBe("401");
    expect(asked).toHaveLength(2);
  });
});

describe("no answer", () => {
  it.each(["hangs", "breaks off", "redirects", "never ends", "fails"] as const)(
    "an origin that %s is 503 for all who wait, lets nothing pass, and is asked again",
    async (fault) => {
      answers = fault;
      const pat = freshPat();
      const sentAt = performance.now();
      const all = await Promise.all(Array.from({ length: 10 }, () => statusOf(call(pat))));
      expect(new Set(all)).toEqual(new Set(["503 5"]));
      expect(performance.now() - sentAt).toBeLessThan(6_000);
      expect(passed).toEqual([]);
      answers = "known";
      expect(await statusOf(call(pat))).toBe("200");
    },
    20_000,
  );
});
