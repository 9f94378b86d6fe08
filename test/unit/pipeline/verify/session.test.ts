import { describe, expect, it, vi } from "vitest";
import type { Cors } from "../../../../src/config/types.ts";
import { mintSessionCookie } from "../../../../src/crypto/credential-format.ts";
import { storedDigests } from "../../../../src/crypto/digest.ts";
import { createSessionVerifier } from "../../../../src/pipeline/verify/session.ts";
import {
  aCredential,
  aMatch,
  aRecord,
  aRequestContext,
  digestOf,
  fakeRecords,
  PEPPERS,
  rejected,
  SECRETS,
  TAG_SECRETS,
} from "./fixtures.ts";

const CORS: Cors = {
  allowOrigins: ["https://app.example"],
  allowMethods: [],
  allowHeaders: [],
  exposeHeaders: [],
  allowCredentials: true,
  maxAgeSeconds: 0,
};

const COOKIE = await mintSessionCookie("s1", TAG_SECRETS);

async function ask(value: string, request?: Request, cors: Cors | null = null, secrets = SECRETS) {
  const credential = aRecord({ kind: "session", id: "s1", digest: await digestOf(COOKIE.secret) });
  const records = fakeRecords({ credential });
  const verifier = createSessionVerifier({ records, secrets });
  const context = request === undefined ? aRequestContext() : aRequestContext({ request });
  const verdict = await verifier(aCredential("session", value), aMatch({ cors }), context);
  return { reason: rejected(verdict), demands: records.demands };
}

describe("requirement 15: a session cookie is exactly <id>.<secret>", () => {
  it("is looked up by its id", async () => {
    const { reason, demands } = await ask(COOKIE.value);
    expect(reason).toBe("accepted");
    expect(demands).toEqual([
      { lookup: { by: "session", realm: "test", id: "s1" }, bearer: null, freshnessSeconds: 30 },
    ]);
  });

  it("rejects another secret of ours, for this session and for another one", async () => {
    for (const id of ["s1", "s2"]) {
      expect((await ask((await mintSessionCookie(id, TAG_SECRETS)).value)).reason).toBe("unknown");
    }
  });

  it("rejects the secret of one session under the id of another", async () => {
    expect(await ask(`s2.${COOKIE.secret}`)).toEqual({ reason: "tag", demands: [] });
  });

  it.each([
    "",
    ".",
    "s1",
    "s1.",
    ".secret",
    "s1.secret.more",
    "s1.secret ",
    "s 1.secret",
    "s1.sec;ret",
    "s1.sécret",
    "s1.secret\n",
    `${"s".repeat(65)}.secret`,
    `s1.${"s".repeat(257)}`,
  ])("rejects without look-up: %j", async (value) => {
    const { reason, demands } = await ask(value);
    expect(reason).toBe("malformed");
    expect(demands).toEqual([]);
  });

  it("finds the digest under any pepper, so that peppers can be rotated", async () => {
    const added = { id: "p2", value: new Uint8Array(32).fill(2) };
    const reasonWith = async (peppers: typeof PEPPERS) =>
      (await ask(COOKIE.value, undefined, null, { ...SECRETS, peppers })).reason;
    expect(await reasonWith([added, ...PEPPERS])).toBe("accepted");
    expect(await reasonWith([added])).toBe("unknown");
  });

  it("computes nothing for a warm session, and never takes another secret for it", async () => {
    const digest = vi.spyOn(crypto.subtle, "digest");
    const hmac = vi.spyOn(crypto.subtle, "sign");
    const [first] = await storedDigests(COOKIE.secret, PEPPERS);
    const records = fakeRecords({ credential: aRecord({ kind: "session", id: "s1", digest: first ?? "" }) });
    const verifier = createSessionVerifier({ records, secrets: SECRETS });
    const once = async (value: string) =>
      rejected(await verifier(aCredential("session", value), aMatch(), aRequestContext()));
    expect(await once(COOKIE.value)).toBe("accepted");
    digest.mockClear();
    hmac.mockClear();
    expect(await once(COOKIE.value)).toBe("accepted");
    expect(digest).not.toHaveBeenCalled();
    expect(hmac).not.toHaveBeenCalled();
    expect(await once((await mintSessionCookie("s1", TAG_SECRETS)).value)).toBe("unknown");
  });
});

describe("requirement 15: a cookie that was not minted here costs no look-up", () => {
  const { value } = COOKIE;
  const other = (character: string | undefined) => (character === "A" ? "B" : "A");

  it("rejects every truncation of it", async () => {
    for (let length = 1; length < value.length; length++) {
      for (const part of [value.slice(0, length), value.slice(length)]) {
        const { reason, demands } = await ask(part);
        expect(["malformed", "tag"], part).toContain(reason);
        expect(demands, part).toEqual([]);
      }
    }
  });

  it("rejects every change of a single character, and every one put in", async () => {
    for (let i = 0; i <= value.length; i++) {
      const character = other(value[i]);
      for (const changed of [
        value.slice(0, i) + character + value.slice(i + 1),
        `${value.slice(0, i)}${character}${value.slice(i)}`,
      ]) {
        const { reason, demands } = await ask(changed);
        expect(["malformed", "tag"], changed).toContain(reason);
        expect(demands, changed).toEqual([]);
      }
    }
  });

  it("rejects what is of the right length, but not of the alphabet", async () => {
    for (const character of ["-", "_"]) {
      expect(await ask(character + value.slice(1))).toEqual({ reason: "tag", demands: [] });
      expect(await ask(value.slice(0, -1) + character)).toEqual({ reason: "tag", demands: [] });
    }
  });

  it("takes the tag of any tag secret of the list, so that they can be rotated", async () => {
    const added = { id: "t2", value: new Uint8Array(32).fill(2) };
    const askWith = (tagSecrets: typeof TAG_SECRETS) =>
      ask(value, undefined, null, { ...SECRETS, tagSecrets });
    expect((await askWith([added, ...TAG_SECRETS])).reason).toBe("accepted");
    expect(await askWith([added])).toEqual({ reason: "tag", demands: [] });
    expect(await askWith([])).toEqual({ reason: "tag", demands: [] });
  });
});

describe("cross-site requests with a session cookie (CVE-2026-44342's class)", () => {
  const request = (method: string, headers: Record<string, string>) =>
    new Request("https://api.example/thing", { method, headers });
  const reasonOf = async (method: string, headers: Record<string, string>, cors: Cors | null = null) =>
    (await ask(COOKIE.value, request(method, headers), cors)).reason;

  it.each(["GET", "HEAD", "OPTIONS"])("a safe method needs nothing: %s", async (method) => {
    expect(await reasonOf(method, {})).toBe("accepted");
    expect(await reasonOf(method, { "sec-fetch-site": "cross-site", origin: "https://evil.example" })).toBe(
      "accepted",
    );
  });

  it.each(["POST", "PUT", "PATCH", "DELETE", "PROPFIND"])(
    "an unsafe or unknown one needs a header that says so: %s",
    async (method) => {
      expect(await reasonOf(method, {})).toBe("cross_site");
      expect(await reasonOf(method, { "sec-fetch-site": "same-origin" })).toBe("accepted");
    },
  );

  it.each([
    ["Sec-Fetch-Site: none, the user's own doing", { "sec-fetch-site": "none" }, "accepted"],
    ["our origin, from a browser without fetch metadata", { origin: "https://api.example" }, "accepted"],
    [
      "our origin and same-origin",
      { origin: "https://api.example", "sec-fetch-site": "same-origin" },
      "accepted",
    ],
    ["Sec-Fetch-Site: same-site", { "sec-fetch-site": "same-site" }, "cross_site"],
    ["Sec-Fetch-Site: cross-site", { "sec-fetch-site": "cross-site" }, "cross_site"],
    ["an unknown Sec-Fetch-Site", { "sec-fetch-site": "same-origin, none" }, "cross_site"],
    ["an empty Sec-Fetch-Site", { "sec-fetch-site": "" }, "cross_site"],
    ["Origin: null, as sandboxed frames send", { origin: "null" }, "cross_site"],
    ["another origin", { origin: "https://evil.example" }, "cross_site"],
    [
      "another origin that says it is ours",
      { origin: "https://evil.example", "sec-fetch-site": "same-origin" },
      "cross_site",
    ],
    [
      "our origin after a detour over another site",
      { origin: "https://api.example", "sec-fetch-site": "cross-site" },
      "cross_site",
    ],
    ["our host with another scheme", { origin: "http://api.example" }, "cross_site"],
    ["our host with another port", { origin: "https://api.example:8443" }, "cross_site"],
    ["a host that begins like ours", { origin: "https://api.example.evil.example" }, "cross_site"],
    ["a host that ends like ours", { origin: "https://evilapi.example" }, "cross_site"],
    ["Referer alone", { referer: "https://api.example/" }, "cross_site"],
  ])("%s", async (_name, headers, expected) => {
    expect(await reasonOf("POST", headers)).toBe(expected);
  });

  it.each([
    ["an origin of the list", "https://app.example", CORS, "accepted"],
    ["another origin", "https://app2.example", CORS, "cross_site"],
    [
      "an origin of a list without credentials",
      "https://app.example",
      { ...CORS, allowCredentials: false },
      "cross_site",
    ],
    [
      "any origin where the list says any",
      "https://app.example",
      { ...CORS, allowOrigins: ["*"] },
      "cross_site",
    ],
    ["the star itself", "*", { ...CORS, allowOrigins: ["*"] }, "cross_site"],
  ])("follows the site's CORS rules: %s", async (_name, origin, cors, expected) => {
    expect(await reasonOf("POST", { origin, "sec-fetch-site": "cross-site" }, cors)).toBe(expected);
  });

  it("takes an upgrade for unsafe, whatever its method: any page may open a WebSocket", async () => {
    for (const upgrade of ["websocket", "WebSocket"]) {
      expect(await reasonOf("GET", { upgrade })).toBe("cross_site");
      expect(await reasonOf("GET", { upgrade, origin: "https://evil.example" })).toBe("cross_site");
      expect(await reasonOf("GET", { upgrade, origin: "https://api.example" })).toBe("accepted");
    }
  });

  it("costs no look-up when refused", async () => {
    const { demands } = await ask(COOKIE.value, request("POST", {}));
    expect(demands).toEqual([]);
  });
});
