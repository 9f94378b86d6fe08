// Two keys in one request, of which an origin of either generation of New API might take the other one: whichever decides
// here has to be the only one that it can find.
import { beforeEach, describe, expect, it } from "vitest";
import { nameOfUnknownOwner } from "../../../../src/pipeline/verify/unknown-owner.ts";
import { addPat, emptyStores, type Gateway, startGateway, writes } from "../../../support/worker/gateway.ts";
import { addOwners, KEY, OTHER } from "./keys.ts";
import { GENERATIONS, type Generation, varsOf } from "./sites.ts";

/** To Go's unicode.IsSpace U+0085 is a blank as well. */
const trimmed = (text: string) => text.replace(/^[\s\u0085]+|[\s\u0085]+$/g, "");

/** Pairs that hold a raw semicolon or a bad escape are none to Go. */
function queryKey(url: URL): string {
  const pairs = url.search.slice(1).split("&");
  const read = pairs.filter((pair) => !pair.includes(";")).map((pair) => new URLSearchParams(pair));
  return read.find((pair) => pair.has("key"))?.get("key") ?? "";
}

/** The key that the origin uses, as its middleware reads requests (New API §3.2). */
function keyAtOrigin({ headers, url }: Request, generation: Generation): string {
  const at = new URL(url);
  const path = decodeURIComponent(at.pathname);
  let sent = headers.get("authorization") ?? "";
  const protocols = headers.get("sec-websocket-protocol") ?? "";
  if (protocols !== "") {
    const entries = protocols.split(",").map(trimmed);
    const entry = entries.find((name) => name.startsWith("openai-insecure-api-key"));
    sent = `Bearer ${entry === undefined ? protocols : entry.replace("openai-insecure-api-key.", "")}`;
  }
  const take = (value: string) => {
    if (value !== "") sent = `Bearer ${value}`;
  };
  if (path.includes("/v1/messages") || path.includes("/v1/models")) take(headers.get("x-api-key") ?? "");
  const isGoogle =
    /^\/(?:v1beta\/models|v1beta\/openai\/models|v1\/models\/)/.test(path) ||
    (generation === "new-api-current" && path === "/v1/models");
  if (isGoogle) {
    take(queryKey(at));
    take(headers.get("x-goog-api-key") ?? "");
  }
  const bare = (text: string) => (/^[Bb]earer /.test(text) ? trimmed(text.slice(7)) : text);
  let key = bare(sent);
  if (key === "" || key === "midjourney-proxy") key = bare(headers.get("mj-api-secret") ?? "");
  return `sk-${key.replace(/^sk-/, "").split("-")[0]}`;
}

function subjectOf({ headers }: Request): unknown {
  const [, payload = ""] = (headers.get("x-user-context") ?? "").split(".");
  return JSON.parse(atob(payload.replaceAll("-", "+").replaceAll("_", "/"))).sub;
}

const credential = { kind: "api_key", suffix: null, claimedUserId: null } as const;
const OWNERS: Readonly<Record<string, string>> = { [KEY]: "7", [OTHER]: "8" };
const SUBPROTOCOLS = [
  ["behind an entry without a key", `openai-insecure-api-key., ${OTHER}`],
  ["before an entry without a key", `${OTHER}, openai-insecure-api-key.`],
  ["without sk-, behind an entry without a key", `openai-insecure-api-key.,${OTHER.slice(3)}`],
  ["before an entry with a key", `${OTHER}, openai-insecure-api-key.${KEY}`],
  ["behind a blank that only Go knows", `\u0085${OTHER}`],
  ["behind several such blanks", `\u0085 \u00a0\u0085${OTHER}-12`],
  ["in an entry behind such a blank", `\u0085openai-insecure-api-key.${OTHER}`],
  [
    "in the first of two such entries",
    `\u0085openai-insecure-api-key.${OTHER}, openai-insecure-api-key.${KEY}`,
  ],
  ["in an entry without a dot", `openai-insecure-api-key${OTHER}, openai-insecure-api-key.${KEY}`],
] as const;

describe.each(GENERATIONS)("%s", (generation) => {
  let gateway: Gateway;

  beforeEach(async () => {
    await emptyStores();
    gateway = startGateway({ vars: varsOf(generation) });
    await addOwners();
  });

  /** In front of an origin to which every key is good. */
  const startAsking = () =>
    startGateway({
      vars: varsOf(generation, { introspect: true, users: "none" }),
      origin: ({ url }) =>
        url.endsWith("/v1/models/introspection")
          ? Response.json({ error: { code: "model_not_found", type: "invalid_request_error" } })
          : new Response("from the origin"),
    });

  /** `null`: refused. */
  const usedFor = async (path: string, headers: Record<string, string>) => {
    const { status } = await gateway.fetch(path, { headers });
    const [request] = gateway.received.splice(0);
    if (request === undefined) return { status, subject: null, used: null };
    return { status, subject: subjectOf(request), used: OWNERS[keyAtOrigin(request, generation)] ?? null };
  };

  it.each(SUBPROTOCOLS)("a second key as a subprotocol, %s (New API §3.2)", async (_what, protocols) => {
    const list = { "sec-websocket-protocol": protocols };
    for (const [path, more] of [
      ["/v1/realtime", { authorization: `Bearer ${KEY}` }],
      ["/v1/realtime", { "mj-api-secret": KEY }],
      ["/v1/messages", { "x-api-key": KEY }],
      ["/v1beta/models/g", { "x-goog-api-key": KEY }],
      [`/v1beta/models/g?key=${KEY}`, {}],
      ["/v1/realtime", {}],
    ] as const) {
      const { status, subject, used } = await usedFor(path, { ...list, ...more });
      expect([path, more, status, used]).toEqual([path, more, subject === null ? 401 : 200, used && subject]);
    }
  });

  it.each([
    `key=${KEY}-;&key=${OTHER}`,
    `key=${KEY}-%ff&key=${OTHER}`,
    `key=${KEY}-%zz&key=${OTHER}`,
    `a=1;key=${OTHER}&key=${KEY}`,
    `key=${KEY}&key=${OTHER}`,
    `key=&key=${OTHER}`,
    `ke%zzy=${OTHER}&key=${KEY}`,
    `key[]=${OTHER}&key=${KEY}`,
    `key=${KEY}&k%65y=${OTHER}`,
    `key=${KEY}%20&key=${OTHER}`,
  ])("a second key in the query: %s (New API §3.2)", async (query) => {
    gateway = startAsking(); // Nobody here knows the owners, so channels are the origin's business.
    for (const more of [{}, { authorization: KEY }, { "x-goog-api-key": KEY }]) {
      await gateway.fetch(`/v1beta/models/g?${query}`, { headers: more });
      const request = gateway.received.splice(0).find(({ url }) => url.includes("/v1beta/"));
      if (request === undefined) continue;
      const key = keyAtOrigin(request, generation);
      const names = OWNERS[key] === undefined ? [] : [nameOfUnknownOwner({ ...credential, value: key })];
      expect([more, ...names]).toEqual([more, ...names.map(() => subjectOf(request))]);
    }
  });

  it.each<[string, string, Record<string, string>, Record<string, string>]>([
    ["/v1/messages", "", { authorization: `Bearer ${KEY}` }, { "x-api-key": OTHER }],
    [
      "/v1/realtime",
      "",
      { authorization: KEY },
      { "sec-websocket-protocol": `openai-insecure-api-key.${OTHER}` },
    ],
    ["/v1beta/models/g", `?key=${OTHER}`, { authorization: KEY }, {}],
    ["/v1beta/models/g", "", { authorization: KEY }, { "x-goog-api-key": OTHER }],
  ])(
    "a row of the site's own for %s%s leaves no second key, whatever kinds it takes",
    async (path, query, ...sent) => {
      for (const accept of [undefined, ["api_key"], ["pat", "api_key"]]) {
        const row = { path, ...(accept !== undefined && { accept }), freshness_seconds: 5 };
        gateway = startGateway({ vars: varsOf(generation, { routes: [row] }) });
        const { subject, used } = await usedFor(path + query, { ...sent[0], ...sent[1] });
        expect([accept, used]).toEqual([accept, used && subject]);
      }
    },
  );

  it("a row of the site's own for a relayed path takes keys from where the origin does, and PATs no more than it does", async () => {
    gateway = startGateway({ vars: varsOf(generation, { routes: [{ path: "/v1/messages" }] }) });
    expect(await usedFor("/v1/messages", { "x-api-key": KEY })).toEqual({
      status: 200,
      subject: "7",
      used: "7",
    });
    const pat = { authorization: `Bearer ${await addPat("pat_1")}`, "new-api-user": "7" };
    expect((await usedFor("/v1/messages", pat)).status).toBe(401);
    for (const [path, place] of [
      ["/v1/messages", { "x-api-key": OTHER }],
      ["/somewhere", { "sec-websocket-protocol": `openai-insecure-api-key.${OTHER}` }],
    ] as const) {
      gateway = startGateway({ vars: varsOf(generation, { routes: [{ path, accept: ["pat"] }] }) });
      expect([path, await usedFor(path, { ...pat, ...place })]).toMatchObject([
        path,
        { subject: "7", used: null },
      ]);
    }
  });

  it("a key in other letters, which an origin's database finds as well, is no other key to a revocation", async () => {
    gateway = startAsking();
    const statusOf = async (key: string) =>
      (await gateway.fetch("/v1/models", { headers: { authorization: `Bearer ${key}` } })).status;
    expect(await statusOf(KEY.toLowerCase())).toBe(200);
    const subject = { kind: "subject", value: nameOfUnknownOwner({ ...credential, value: KEY }) } as const;
    const now = Math.floor(Date.now() / 1_000);
    await writes.revoke(
      { realm: "main", ...subject, issuedBeforeSeconds: null, expiresAtSeconds: null },
      now,
    );
    gateway = startAsking();
    for (const key of [KEY, KEY.toLowerCase(), `sk-${KEY.slice(3).toUpperCase()}`, KEY.replace("B", "b")]) {
      expect([key, await statusOf(key)]).toEqual([key, 401]);
    }
    expect(await statusOf(OTHER)).toBe(200);
  });
});
