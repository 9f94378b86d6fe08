// What an operator can get wrong with the preset, and what is read of its secrets.
import { describe, expect, it } from "vitest";
import { loadConfig } from "../../../../src/config/load.ts";
import { GATEWAY, secrets } from "../../../support/worker/gateway.ts";
import { KEY, OTHER_KEY, SECRET } from "./stand-in.ts";

const SITE_KEYS = "SITE_TEST.api_keys";

function load(site: Readonly<Record<string, unknown>>, vars: Readonly<Record<string, unknown>> = {}) {
  return loadConfig({
    ...secrets,
    GATEWAY: { ...GATEWAY, realms: {} },
    SITE_TEST: {
      hosts: ["api.example.com"],
      origin: "https://nekohub.internal",
      preset: "nekohub",
      jwt: { secret: "NEKOHUB_SECRET" },
      ...site,
    },
    NEKOHUB_SECRET: SECRET,
    DB: { prepare: () => {} },
    ...vars,
  });
}

function issuesOf(site: Readonly<Record<string, unknown>>, vars: Readonly<Record<string, unknown>> = {}) {
  const loaded = load(site, vars);
  return loaded.ok ? [] : loaded.issues.map(({ key, message }) => `${key} ${message}`);
}

describe("API keys of the configuration", () => {
  const read = (NEKOHUB_KEYS: unknown) => issuesOf({ api_keys: "NEKOHUB_KEYS" }, { NEKOHUB_KEYS });

  it("are kept as digests, and by commas or line breaks apart", async () => {
    const loaded = load(
      { api_keys: "NEKOHUB_KEYS" },
      { NEKOHUB_KEYS: `\r\n ${KEY} ,, \n\t${OTHER_KEY}\r\n${KEY}` },
    );
    if (!loaded.ok) throw new Error(JSON.stringify(loaded.issues));
    const { configuredKeys } = loaded.config.sites[0]?.preset ?? {};
    expect([...(configuredKeys ?? [])]).toEqual([await sha256(KEY), await sha256(OTHER_KEY)]);
    // Not the source of secrets, which is the environment itself, but all that was made of it.
    const kept = JSON.stringify(loaded.config, (_, value) => (value instanceof Set ? [...value] : value));
    expect(kept).not.toContain(KEY);
    expect(kept).not.toContain(OTHER_KEY);
  });

  it.each([
    ["too short", "Zq8vR2mX5tLw9cB", "key 1 is too short: 16 bytes or more are needed"],
    [
      "a placeholder",
      "your-strong-random-api-key-password",
      "key 1 is weak: it looks like a default or a placeholder",
    ],
    ["one letter", "aaaaaaaaaaaaaaaaaaaaaaaa", "key 1 is weak: it uses only a few different bytes"],
    [
      "two dots",
      `${KEY}\na.b.cZq8vR2mX5tLw9`,
      "key 2 has exactly two dots, which makes it a JWT: no request could use it",
    ],
    [
      "a blank inside",
      `${KEY} ${OTHER_KEY}`,
      "key 1 must be visible ASCII without blanks: it is sent in a header",
    ],
    [
      "other letters",
      "schlüssel-Zq8vR2mX5tLw9",
      "key 1 must be visible ASCII without blanks: it is sent in a header",
    ],
  ])("%s is an issue that does not repeat it", (_, text, issue) => {
    const issues = read(text);
    expect(issues).toEqual([`${SITE_KEYS} the Worker secret NEKOHUB_KEYS: ${issue}`]);
    for (const key of text.split("\n")) expect(issues[0]).not.toContain(key);
  });

  it.each([
    ["missing", undefined, "is missing"],
    ["blank", "  ", "must be a text that is not empty"],
    ["only commas", ",\n,", "holds no key"],
  ])("%s is an issue", (_, text, issue) => {
    expect(read(text)).toEqual([
      expect.stringMatching(`^${SITE_KEYS} the Worker secret NEKOHUB_KEYS .*${issue}`),
    ]);
  });

  it("may have one dot, or three", () => {
    expect(read("nk.Zq8vR2mX5tLw9cB4, nk.Zq8.vR2.mX5tLw9cB4")).toEqual([]);
  });

  it("are not the gateway's own secrets", () => {
    for (const api_keys of ["ADMIN_TOKEN", "POSTERN_PEPPERS"]) {
      expect(issuesOf({ api_keys })).toEqual([
        expect.stringContaining(`${SITE_KEYS} must not be ${api_keys}`),
      ]);
    }
    const shared = issuesOf({ api_keys: "NEKOHUB_KEYS" }, { NEKOHUB_KEYS: `${KEY}\n${secrets.ADMIN_TOKEN}` });
    expect(shared).toEqual([expect.stringMatching("^ADMIN_TOKEN is also the secret NEKOHUB_KEYS")]);
  });
});

describe("the site", () => {
  it("is one line and a jwt table", () => {
    expect(issuesOf({})).toEqual([]);
  });

  it.each([
    [{ jwt: undefined }, "SITE_TEST.jwt is required with the preset nekohub"],
    [
      { jwt: { secret: "NEKOHUB_SECRET", algorithms: ["HS256", "RS256"] } },
      "SITE_TEST.jwt.algorithms is HS256 with the preset nekohub",
    ],
    [{ issue: true, users: "none" }, 'SITE_TEST.users must be "required"'],
    [
      { credentials: { authorization: "bearer_or_raw" } },
      "SITE_TEST.credentials is what the preset nekohub says itself",
    ],
  ])("%j is an issue", (site, issue) => {
    expect(issuesOf(site)).toEqual([expect.stringContaining(issue)]);
  });

  it("has a secret of 32 bytes at least", () => {
    const issues = issuesOf({}, { NEKOHUB_SECRET: "short-Zq8vR2mX5tLw9c" });
    expect(issues).toEqual([expect.stringMatching(/^SITE_TEST\.jwt\.secret .* too short: 32 bytes/)]);
  });

  it("gives its realm a sign-in of 15 minutes and 30 days where it issues", () => {
    const loaded = load({ issue: true });
    if (!loaded.ok) throw new Error(JSON.stringify(loaded.issues));
    const { signIn, roles } = loaded.config.realms.get("test") ?? {};
    expect(signIn).toMatchObject({
      accessSeconds: 900,
      idleSeconds: 30 * 86_400,
      sessionSeconds: 365 * 86_400,
    });
    expect(roles).toEqual(["user", "admin", "super_admin"]);
  });
});

async function sha256(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
