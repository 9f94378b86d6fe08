// Whatever a request holds, a New API behind the gateway finds no other credential than the one that was verified: places are
// filled at random, and what is forwarded is read the way each release reads it (New API §3.2).
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { addCredential, emptyStores, type Gateway, startGateway } from "../../../support/worker/gateway.ts";
import { addOwners, KEY, OTHER } from "./keys.ts";
import { GENERATIONS, type Generation, varsOf } from "./sites.ts";

const PATS = { 7: "abc+/F0123456789abcDEF01234=", 8: "abcDEF0123456789abcDEF0123456789" } as const;
const COOKIE = "MTc1NTE2NTg4MnxEWDhFQVFMX2dBQUJFQUVRQUFBel80QUFBUT09fA==";
const ENTRY = "openai-insecure-api-key";

const GOOD = [KEY, OTHER, KEY.slice(3), OTHER.slice(3), `${OTHER}-12`, ...Object.values(PATS)];
const ODD = [
  `${KEY}-`,
  "",
  "Bearer",
  "Bearer ",
  "midjourney-proxy",
  "sk-",
  "x",
  "Basic eDp5",
  `BEARER ${KEY}`,
];
const values = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.constantFrom(...GOOD, ...GOOD.flatMap((value) => [`Bearer ${value}`, `bearer ${value}`])),
  },
  { weight: 1, arbitrary: fc.constantFrom(...ODD) },
);
const lines = fc.oneof(
  { weight: 12, arbitrary: values.map((value) => [value]) },
  { weight: 1, arbitrary: fc.array(values, { minLength: 2, maxLength: 2 }) },
);
const maybe = <T>(arbitrary: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 3, arbitrary: fc.constant(null) }, { weight: 2, arbitrary });
const protocol = fc.oneof(
  fc.constantFrom("realtime", ENTRY, `${ENTRY}.`, `${ENTRY}X`),
  fc.constantFrom(...GOOD),
  fc.constantFrom(...GOOD).map((value) => `${ENTRY}.${value}`),
);
const requests = fc.record({
  path: fc.constantFrom(
    "/v1/chat/completions",
    "/v1/messages",
    "/v1/models",
    "/v1/models/x",
    "/v1beta/models",
    "/mj/submit/imagine",
    "/v1/videos/1/content",
    "/api/usage/token/",
    "/api/log/token",
    "/api/user/self",
    "/api/token/",
  ),
  query: fc.array(fc.tuple(fc.constantFrom("key", "Key", "%6bey", "k;key"), values), { maxLength: 2 }),
  authorization: maybe(lines),
  "x-api-key": maybe(lines),
  "x-goog-api-key": maybe(lines),
  "mj-api-secret": maybe(lines),
  "sec-websocket-protocol": maybe(
    fc.array(fc.array(protocol, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 2 }),
  ),
  cookie: maybe(
    fc.constantFrom(`session=${COOKIE}`, `a=1; session=${COOKIE}`, `a=b, session=${COOKIE}; c=d`),
  ),
  "new-api-user": maybe(fc.constantFrom("7", "8")),
});

type Sent = typeof requests extends fc.Arbitrary<infer T> ? T : never;

function headersOf(sent: Sent): Headers {
  const headers = new Headers();
  for (const name of ["authorization", "x-api-key", "x-goog-api-key", "mj-api-secret"] as const) {
    for (const line of sent[name] ?? []) headers.append(name, line);
  }
  for (const list of sent["sec-websocket-protocol"] ?? [])
    headers.append("sec-websocket-protocol", list.join(", "));
  if (sent.cookie !== null) headers.set("cookie", sent.cookie);
  if (sent["new-api-user"] !== null) headers.set("new-api-user", sent["new-api-user"]);
  return headers;
}

interface Release {
  readonly takesAnySubprotocol: boolean;
  readonly takesGoogleKeysAtModels: boolean;
  /** A Go server sees the lines of a repeated header, and looks at the first. */
  readonly seesFirstLineOnly: boolean;
}

/** Whose credential a New API finds in what it is sent: `null`: nobody's that it would accept. */
function foundBy(received: Request, generation: Generation, release: Release): string | null {
  const { pathname: path, searchParams } = new URL(received.url);
  const header = (name: string): string => {
    const value = received.headers.get(name) ?? "";
    const isList = name === "sec-websocket-protocol";
    return (release.seesFirstLineOnly && !isList ? (value.split(", ")[0] ?? "") : value).trim();
  };
  const isManagement = path.startsWith("/api/user/") || path === "/api/token/";
  const hasSession =
    generation === "new-api" && /(?:^|[;, ])session=[^;, ]/.test(received.headers.get("cookie") ?? "");
  if (hasSession && (isManagement || path.endsWith("/content"))) return "whoever the cookie is of";
  if (isManagement) {
    const value =
      generation === "new-api"
        ? header("authorization").replace("Bearer ", "")
        : header("authorization").replace(/^bearer +/i, "");
    return value === PATS[7] ? "7" : value === PATS[8] ? "8" : null;
  }
  let authorization = header("authorization");
  if (!path.startsWith("/api/")) {
    const protocols = header("sec-websocket-protocol");
    const entry = protocols
      .split(",")
      .map((part) => part.trim())
      .find((part) => part.startsWith(ENTRY));
    if (entry !== undefined)
      authorization = `Bearer ${entry.startsWith(`${ENTRY}.`) ? entry.slice(ENTRY.length + 1) : entry}`;
    else if (protocols !== "" && release.takesAnySubprotocol) authorization = `Bearer ${protocols}`;
    const take = (value: string) => {
      if (value !== "") authorization = `Bearer ${value}`;
    };
    if (path.includes("/v1/messages") || path.includes("/v1/models")) take(header("x-api-key"));
    const isGoogle = /^\/v1beta\/(openai\/)?models|^\/v1\/models\//.test(path);
    if (isGoogle || (release.takesGoogleKeysAtModels && path === "/v1/models")) {
      take(searchParams.get("key") ?? "");
      take(header("x-goog-api-key"));
    }
  }
  const bare = (text: string) => (/^[Bb]earer /.test(text) ? text.slice(7).trim() : text);
  let key = bare(authorization);
  if (!path.startsWith("/api/") && (key === "" || key === "midjourney-proxy"))
    key = bare(header("mj-api-secret"));
  const [first] = key.replace(/^sk-/, "").split("-");
  return first === KEY.slice(3) ? "7" : first === OTHER.slice(3) ? "8" : null;
}

const RELEASES: Readonly<Record<Generation, readonly Release[]>> = {
  "new-api": [
    { takesAnySubprotocol: true, takesGoogleKeysAtModels: false, seesFirstLineOnly: true },
    { takesAnySubprotocol: true, takesGoogleKeysAtModels: false, seesFirstLineOnly: false },
  ],
  "new-api-current": [
    { takesAnySubprotocol: true, takesGoogleKeysAtModels: false, seesFirstLineOnly: true },
    { takesAnySubprotocol: true, takesGoogleKeysAtModels: true, seesFirstLineOnly: true },
    { takesAnySubprotocol: false, takesGoogleKeysAtModels: true, seesFirstLineOnly: true },
    { takesAnySubprotocol: false, takesGoogleKeysAtModels: true, seesFirstLineOnly: false },
  ],
};

function verifiedIn(received: Request): string {
  const [, payload = ""] = (received.headers.get("x-user-context") ?? "").split(".");
  return JSON.parse(atob(payload.replaceAll("-", "+").replaceAll("_", "/"))).sub;
}

describe.each(GENERATIONS)("%s", (generation) => {
  let gateway: Gateway;
  beforeAll(async () => {
    await emptyStores();
    await addOwners();
    for (const [userId, token] of Object.entries(PATS))
      await addCredential("pat", `pat_${userId}`, token, { userId });
    gateway = startGateway({ vars: varsOf(generation) });
  });

  it("the origin finds the credential that was verified, or none", async () => {
    let passed = 0;
    await fc.assert(
      fc.asyncProperty(requests, async (sent) => {
        const query = sent.query.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&");
        const before = gateway.received.length;
        const method = sent.path.endsWith("/content") || sent.path.startsWith("/api/") ? "GET" : "POST";
        await gateway.fetch(`${sent.path}?${query}`, { method, headers: headersOf(sent) });
        const received = gateway.received[before];
        if (received === undefined) return;
        passed += 1;
        const verified = verifiedIn(received);
        for (const release of RELEASES[generation]) {
          const found = foundBy(received, generation, release);
          expect([release, found ?? verified]).toEqual([release, verified]);
        }
      }),
      { numRuns: 4_000 },
    );
    expect(passed).toBeGreaterThan(500);
  }, 120_000);
});
