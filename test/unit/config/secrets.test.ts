import { describe, expect, it } from "vitest";
import { weakness } from "../../../src/config/secret-strength.ts";
import { decodeBase64Url } from "../../../src/config/secrets.ts";
import {
  base64Url,
  ENV,
  issuesOf,
  loaded,
  privateJwk,
  randomText,
  SITE,
  withEnv,
  withJwt,
} from "./fixtures.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

describe("requirement 13: weak, default, short or missing secrets stop the gateway", () => {
  it.each([
    [
      "31 random bytes",
      crypto.getRandomValues(new Uint8Array(31)),
      "is too short: 32 bytes or more are needed",
    ],
    ["zeros", new Uint8Array(32), "is weak: it uses only a few different bytes"],
    ["one letter", bytes("a".repeat(64)), "is weak: it uses only a few different bytes"],
    [
      "seven different bytes",
      bytes("abcdefgabcdfgeabcdfegabcdgfebcade"),
      "is weak: it uses only a few different bytes",
    ],
    ["hex digits twice", bytes("0123456789abcdef0123456789abcdef"), "is weak: it repeats itself"],
    ["a word again and again", bytes("correct horse ".repeat(3)), "is weak: it repeats itself"],
    ["a count", Uint8Array.from({ length: 32 }, (_, index) => index), "is weak: its bytes are a sequence"],
    [
      "a count down",
      Uint8Array.from({ length: 32 }, (_, index) => 255 - index * 3),
      "is weak: its bytes are a sequence",
    ],
    [
      "a default",
      bytes("Your-256-Bit-Secret, as in the manual"),
      "is weak: it looks like a default or a placeholder",
    ],
    [
      "jwt.io's",
      bytes("a-string-secret-at-least-256-bits-long"),
      "is weak: it looks like a default or a placeholder",
    ],
    [
      "a placeholder",
      bytes("xxx-CHANGE_ME-before-production-xxx"),
      "is weak: it looks like a default or a placeholder",
    ],
  ])("%s", (_, secret, expected) => {
    expect(weakness(secret, 32)).toBe(expected);
  });

  it.each([
    ["32 random bytes", () => crypto.getRandomValues(new Uint8Array(32))],
    ["random bytes as hex", () => bytes(crypto.randomUUID().replaceAll("-", ""))],
    ["a long sentence", () => bytes("nobody else has ever written exactly these words")],
  ])("accepts %s", (_, make) => {
    for (let round = 0; round < 200; round++) expect(weakness(make(), 32)).toBeNull();
  });

  it.each(["POSTERN_TAG_SECRETS", "POSTERN_PEPPERS", "POSTERN_SIGNING_KEYS"])("%s is missing", (name) => {
    for (const value of [undefined, "", " ", 5, {}]) {
      const issues = issuesOf(withEnv({ [name]: value }));
      expect(issues).toHaveLength(1);
      expect(issues[0]).toContain(`${name}: the Worker secret ${name} `);
    }
    expect(issuesOf(withEnv({ [name]: undefined }))[0]).toContain(`npx wrangler secret put ${name}`);
  });

  const good = randomText(32);
  it.each([
    ["no id", good, "entry 1 must be id:value"],
    ["an empty id", `:${good}`, "entry 1 must be id:value"],
    ["a strange id", `a/b:${good}`, "entry 1 must be id:value"],
    ["padding", `a:${good}=`, "entry 1 must have a value in base64url"],
    ["base64 letters", `a:${"+".repeat(43)}`, "entry 1 must have a value in base64url"],
    ["31 bytes", `a:${randomText(31)}`, "entry 1 is too short"],
    ["zeros", `a:${"A".repeat(43)}`, "entry 1 is weak"],
    ["an id twice", `a:${good} a:${randomText(32)}`, "entry 2 has the id of an earlier entry"],
    ["a value twice", `a:${good} b:${good}`, "entry 2 has the value of an earlier entry"],
    ["a bad second one", `a:${good},b:short`, "entry 2 "],
    ["separators alone", " , ", "must hold at least one entry"],
  ])("POSTERN_PEPPERS with %s", (_, value, expected) => {
    const issues = issuesOf(withEnv({ POSTERN_PEPPERS: value }));
    expect(issues[0]).toContain(`POSTERN_PEPPERS: ${expected}`);
    expect(issues.join()).not.toContain(good);
  });

  it("reads lists in their order, separated by blanks, commas or line ends", () => {
    const [a, b, c] = [randomText(32), randomText(48), randomText(32)];
    const { peppers } = loaded(withEnv({ POSTERN_PEPPERS: ` new:${a}, old:${b}\noldest:${c} ` })).secrets;
    expect(peppers.map(({ id, value }) => [id, base64Url(value)])).toEqual([
      ["new", a],
      ["old", b],
      ["oldest", c],
    ]);
  });

  it("refuses a tag secret that is a pepper as well", () => {
    expect(
      issuesOf(withEnv({ POSTERN_PEPPERS: `x:${good}`, POSTERN_TAG_SECRETS: `y:${good}` })),
    ).toHaveLength(1);
  });

  it("checks a secret that is there although nothing needs it", () => {
    const site = { origin: "self", routes: [{ path: "/", auth: "none" }] };
    const open = { SITE_FILES: site, POSTERN_PEPPERS: undefined, POSTERN_TAG_SECRETS: undefined };
    expect(issuesOf(withEnv(open))).toEqual([]);
    expect(issuesOf(withEnv({ ...open, POSTERN_PEPPERS: "a:short" }))).toHaveLength(1);
  });
});

describe("requirement 13: ADMIN_TOKEN", () => {
  const withToken = (token: unknown) => withEnv({ ADMIN_TOKEN: token });
  const token = randomText(32);

  it("is nobody's need: without one there is none", () => {
    for (const none of [undefined, null, ""]) {
      expect(loaded(withToken(none)).secrets.adminToken).toBeNull();
    }
  });

  it("is kept as its bytes", () => {
    expect(loaded(withToken(token)).secrets.adminToken).toEqual(bytes(token));
  });

  it.each([
    ["blanks", "  ", "must be a text that is not empty"],
    ["no text", 5, "must be a text that is not empty"],
    ["a line end", `${token}\n`, "must be visible ASCII without blanks"],
    ["a blank", `${token} x`, "must be visible ASCII without blanks"],
    ["a letter beyond ASCII", `${token}é`, "must be visible ASCII without blanks"],
    ["31 characters", token.slice(0, 31), "is too short: 32 bytes or more are needed"],
    ["a word again and again", "staplehorse".repeat(3), "is weak: it repeats itself"],
    ["a placeholder", "change-me-before-production-0123456789", "is weak: it looks like a default"],
  ])("is refused with %s", (_, value, expected) => {
    const issues = issuesOf(withToken(value));
    expect(issues).toHaveLength(1);
    expect(issues[0]).toMatch(/^ADMIN_TOKEN: /);
    expect(issues[0]).toContain(expected);
    expect(issues.join()).not.toContain(token.slice(0, 31));
  });

  it.each(["POSTERN_PEPPERS", "POSTERN_TAG_SECRETS", "FILES_JWT", "ORIGIN_ID"])(
    "is refused with the value of %s, whoever else knows that",
    (name) => {
      const value = name.startsWith("POSTERN_") ? `new:${randomText(32)} old:${token}` : token;
      const site = { ...SITE, origin_headers: { "X-Pass": "secret:ORIGIN_ID" } };
      const env = { ...withToken(token), SITE_FILES: site, ORIGIN_ID: "id", [name]: value };
      expect(issuesOf(env)).toEqual([
        `ADMIN_TOKEN: is also the secret ${name}, which others may know: make another one`,
      ]);
      expect(issuesOf({ ...env, ADMIN_TOKEN: randomText(32) })).toEqual([]);
    },
  );
});

describe("requirement 13: signing keys", () => {
  const set = (...keys: readonly unknown[]) => withEnv({ POSTERN_SIGNING_KEYS: JSON.stringify({ keys }) });

  it("keeps the order, and of each key the members that matter", async () => {
    const [first, second] = [await privateJwk("ES256", "a"), await privateJwk("EdDSA", "b")];
    const { signingKeys } = loaded(
      set({ ...first, use: "sig", ext: true, x5u: "https://x" }, { ...second, alg: "Ed25519" }),
    ).secrets;
    expect(signingKeys).toEqual([first, second]);
  });

  it.each([
    ["no JSON", "{"],
    ["a bare key", '{"kty":"EC"}'],
    ["no keys", '{"keys":[]}'],
    ["a list", "[]"],
    ["a text", '"x"'],
  ])("refuses %s", (_, text) => {
    expect(issuesOf(withEnv({ POSTERN_SIGNING_KEYS: text }))).toEqual([
      'POSTERN_SIGNING_KEYS: must be a private JWK set as JSON: {"keys":[…]}',
    ]);
  });

  it.each([
    ["no kid", { kid: undefined }, "needs a kid"],
    ["an empty kid", { kid: "" }, "needs a kid"],
    ["no alg", { alg: undefined }, "must be an ES256 key"],
    ["alg none", { alg: "none" }, "must be an ES256 key"],
    ["another curve", { crv: "P-384" }, "must be an ES256 key"],
    ["alg of another type", { alg: "EdDSA" }, "must be an ES256 key"],
    ["a symmetric key", { kty: "oct" }, "must be an ES256 key"],
    ["use enc", { use: "enc" }, 'must have use "sig"'],
    ["a public key", { d: undefined }, "must be a private key"],
    ["a short d", { d: "AAAA" }, "must be a private key"],
    ["a d of zeros", { d: "A".repeat(43) }, "is weak"],
    ["no x", { x: undefined }, "has no valid public part x"],
    ["no y", { y: undefined }, "has no valid public part y"],
  ])("refuses a key with %s", async (_, changes, expected) => {
    const key = { ...(await privateJwk("ES256", "a")), ...changes };
    const issues = issuesOf(set(key));
    expect(issues[0]).toContain(`POSTERN_SIGNING_KEYS: key 1 ${expected}`);
    expect(issues.join()).not.toContain((await privateJwk("ES256", "a")).d);
  });

  it("refuses two keys of one kid", async () => {
    const issues = issuesOf(set(await privateJwk("ES256", "a"), await privateJwk("ES256", "a")));
    expect(issues).toEqual(["POSTERN_SIGNING_KEYS: key 2 has the kid of an earlier key"]);
  });

  it("needs a key of every algorithm that a site signs with", async () => {
    const issues = issuesOf(set(await privateJwk("EdDSA", "a")));
    expect(issues[0]).toContain("holds no ES256 key");
  });
});

describe("requirement 13: shared secrets of JWT issuers (RFC 7518 section 3.2)", () => {
  it.each([
    ["HS256", 32],
    ["HS384", 48],
    ["HS512", 64],
  ])("%s needs %d bytes", (algorithm, least) => {
    const secret = (length: number) => ({
      ...withJwt({ algorithms: [algorithm] }),
      FILES_JWT: randomText(64).slice(0, length),
    });
    expect(issuesOf(secret(least - 1))).toEqual([
      `SITE_FILES.jwt.secret: the Worker secret FILES_JWT is too short: ${least} bytes or more are needed; a new one: openssl rand -base64 48`,
    ]);
    expect(issuesOf(secret(least))).toEqual([]);
  });

  it("the longest of several algorithms counts", () => {
    const env = { ...withJwt({ algorithms: ["HS256", "HS512"] }), FILES_JWT: randomText(64).slice(0, 63) };
    expect(issuesOf(env)).toHaveLength(1);
  });

  it.each([
    ["a line end at its end", `${randomText(32)}\n`, {}, "white space"],
    ["bytes that are not hex", randomText(32), { secret_encoding: "hex" }, "is not hex"],
    [
      "31 bytes as hex",
      "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1",
      { secret_encoding: "hex" },
      "too short",
    ],
    ["base64url as base64", `-_${randomText(32)}`, { secret_encoding: "base64" }, "is not base64"],
  ])("refuses %s", (_, value, changes, expected) => {
    const issues = issuesOf({ ...withJwt(changes), FILES_JWT: value });
    expect(issues).toHaveLength(1);
    expect(issues[0]).toContain(expected);
    expect(issues.join()).not.toContain(value.trim());
  });

  it.each(["base64", "base64url", "hex"] as const)("decodes %s", (encoding) => {
    const secret = crypto.getRandomValues(new Uint8Array(32));
    const texts = {
      base64: btoa(String.fromCharCode(...secret)),
      base64url: base64Url(secret),
      hex: Array.from(secret, (byte) => byte.toString(16).padStart(2, "0")).join(""),
    };
    const env = { ...withJwt({ secret_encoding: encoding }), FILES_JWT: texts[encoding] };
    expect(loaded(env).sites[0]?.jwtIssuers[0]?.keys).toEqual({ kind: "secret", secret });
  });

  it("never repeats what was put in place of a name", () => {
    const issues = issuesOf(withJwt({ secret: ENV.FILES_JWT }));
    expect(issues[0]).toContain("must be the NAME of a Worker secret");
    expect(issues.join()).not.toContain(ENV.FILES_JWT);
  });
});

describe("requirement 20: no message repeats a secret", () => {
  it("whatever key it was written to", () => {
    const leak = `Leak/${randomText(24)}`;
    const site: Record<string, unknown> = { hosts: ["x.example.com"], origin: "self", routes: [] };
    const places = [
      ...["origin", "base_path", "realm", "users", "user_header", "request_id", "hosts"].map((key) => ({
        ...site,
        [key]: leak,
      })),
      { ...site, origin: `https://user:${leak}@x.internal` },
      { ...site, origin_headers: { "X-A": `secret:${leak}` } },
      { ...site, origin_headers: { "X-A": `${leak}\n` } },
      { ...site, jwt: { algorithms: ["RS256"], public_key: leak, issuer: "i", audience: "a" } },
      {
        ...site,
        jwt: { algorithms: ["RS256"], public_key: JSON.stringify(leak), issuer: "i", audience: "a" },
      },
      {
        ...site,
        jwt: {
          algorithms: [leak],
          secret: leak,
          jwks: leak,
          issuer: 1,
          audience: 2,
          claims: { role: `${leak}..` },
        },
      },
      { ...site, user_context: { algorithm: leak, secret: leak } },
      { ...site, credentials: { headers: [`${leak}:`], authorization: leak } },
      {
        ...site,
        routes: [{ path: leak, auth: leak, role: leak, methods: [leak], limit: { binding: leak } }],
      },
      leak,
    ];
    for (const place of places) {
      const issues = issuesOf(withEnv({ SITE_LEAK: place }));
      expect(issues.length).toBeGreaterThan(0);
      expect(issues.join()).not.toContain(leak);
    }
  });
});

describe("strict base64url (RFC 7515 section 2)", () => {
  it.each(["", "A", "AAAAA", "AA=", "A A", "AA\n", "A+", "A/", "AB", "AAB"])("refuses %j", (text) => {
    expect(decodeBase64Url(text)).toBeNull();
  });

  it("decodes every length", () => {
    for (let length = 1; length < 70; length++) {
      const value = crypto.getRandomValues(new Uint8Array(length));
      expect(decodeBase64Url(base64Url(value))).toEqual(value);
    }
  });
});
