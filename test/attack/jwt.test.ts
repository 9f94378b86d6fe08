// Tokens as attackers make them, against all verifiers behind `authenticate`: each is one and the same 401.
import fc from "fast-check";
import { CompactEncrypt, exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from "jose";
import { beforeAll, describe, expect, it } from "vitest";
import type { PublicJwk } from "../../src/crypto/public-jwk.ts";
import { authenticate } from "../../src/pipeline/authenticate.ts";
import { createVerifiers } from "../../src/pipeline/verify/verifiers.ts";
import { createJwksSource } from "../../src/records/jwks.ts";
import { aConfig, NOBODY_ASKS } from "../support/worker/policy.ts";
import {
  aCredential,
  aMatch,
  anIssuer,
  aRequestContext,
  fakeRecords,
  GOOD_CLAIMS,
  mint,
  SECRET,
  segment,
  signText,
} from "../unit/pipeline/verify/fixtures.ts";

const JWKS_URL = new URL("https://idp.example/jwks");

let victim: { jwk: PublicJwk; sign: (header?: object, claims?: object) => Promise<string> };
let fetched: string[] = [];

beforeAll(async () => {
  const { publicKey, privateKey } = await generateKeyPair("ES256", { extractable: true });
  victim = {
    jwk: { ...((await exportJWK(publicKey)) as PublicJwk), kid: "k1" },
    sign: (header = {}, claims = {}) =>
      new SignJWT({ ...GOOD_CLAIMS, ...claims })
        .setProtectedHeader({ alg: "ES256", kid: "k1", ...header })
        .sign(privateKey),
  };
});

/** The gateway's answer to a token on a site of one HMAC issuer or one issuer with a key set. */
async function answer(token: string, trust: "secret" | "jwks"): Promise<string> {
  fetched = [];
  const issuer =
    trust === "secret"
      ? anIssuer()
      : anIssuer({ algorithms: ["ES256", "RS256"], keys: { kind: "jwks", url: JWKS_URL } });
  const match = aMatch({ jwtIssuers: [issuer] }, { accept: ["jwt"] });
  const jwks = createJwksSource({
    kv: null,
    nowMs: Date.now,
    fetch: (async (url: URL) => {
      fetched.push(url.href);
      return Response.json({ keys: [victim.jwk] });
    }) as unknown as typeof fetch,
  });
  const verifiers = createVerifiers({
    config: aConfig([match.site]),
    records: fakeRecords(),
    ...NOBODY_ASKS,
    jwks,
  });
  const context = aRequestContext({ verifiers });
  try {
    const principal = await authenticate(aCredential("jwt", token), match, context);
    return principal === null ? "anonymous" : `principal ${principal.id}`;
  } catch (error) {
    const { code, status } = error as { code: string; status: number };
    return `${status} ${code}`;
  }
}

const REFUSED = "401 credential_invalid";
const swap = (token: string, index: number, text: string) =>
  token
    .split(".")
    .map((part, i) => (i === index ? text : part))
    .join(".");

describe("requirement 10: algorithm confusion", () => {
  it("accepts the good tokens that the attacks start from", async () => {
    expect(await answer(await mint(), "secret")).toBe("principal 7");
    expect(await answer(await victim.sign(), "jwks")).toBe("principal 7");
  });

  it.each(["none", "None", "NONE", "nOnE", "none ", "", "\0none", "HS256\0", "hs256", " HS256"])(
    "refuses alg %j, with and without signature (RFC 8725 §3.2)",
    async (alg) => {
      const header = segment(JSON.stringify({ alg, kid: "k1" }));
      for (const token of [await mint(), await victim.sign()]) {
        for (const trust of ["secret", "jwks"] as const) {
          expect(await answer(swap(token, 0, header), trust)).toBe(REFUSED);
          expect(await answer(swap(swap(token, 0, header), 2, ""), trust)).toBe(REFUSED);
        }
      }
    },
  );

  it("refuses an unsecured JWT as jose writes it", async () => {
    const token = new UnsecuredJWT(GOOD_CLAIMS).encode();
    expect(await answer(token, "secret")).toBe(REFUSED);
    expect(await answer(token, "jwks")).toBe(REFUSED);
  });

  it.each(["HS256", "HS384", "HS512"])("refuses %s with anything public as the secret", async (alg) => {
    const { x = "", y = "" } = victim.jwk;
    const secrets = [
      JSON.stringify(victim.jwk),
      JSON.stringify({ keys: [victim.jwk] }),
      x,
      y,
      "k1",
      JWKS_URL.href,
      " ",
    ];
    for (const text of secrets) {
      const header = JSON.stringify({ alg, kid: "k1" });
      const secret = new TextEncoder().encode(text);
      const token = await signText(header, JSON.stringify(GOOD_CLAIMS), secret, `SHA-${alg.slice(2)}`);
      expect(await answer(token, "jwks")).toBe(REFUSED);
    }
  });

  it("refuses another HMAC with the right secret, since it is not on the list", async () => {
    const token = await signText('{"alg":"HS512"}', JSON.stringify(GOOD_CLAIMS), SECRET, "SHA-512");
    expect(await answer(token, "secret")).toBe(REFUSED);
  });
});

describe("requirement 10: key material in the header is ignored, never fetched (CVE-2018-0114, CVE-2026-27962)", () => {
  it.each([
    ["jwk", (jwk: PublicJwk) => ({ jwk })],
    ["jku", () => ({ jku: "https://evil.example/jwks" })],
    ["x5u", () => ({ x5u: "https://evil.example/cert" })],
    ["x5c", () => ({ x5c: ["AAAA"] })],
    ["an inner kid URL", () => ({ kid: "https://evil.example/jwks" })],
  ])("%s", async (_name, extra) => {
    const attacker = await generateKeyPair("ES256", { extractable: true });
    const jwk = (await exportJWK(attacker.publicKey)) as PublicJwk;
    const token = await new SignJWT(GOOD_CLAIMS)
      .setProtectedHeader({ alg: "ES256", kid: "k1", ...extra(jwk) })
      .sign(attacker.privateKey);
    expect(await answer(token, "jwks")).toBe(REFUSED);
    expect(new Set(fetched)).toEqual(new Set([JWKS_URL.href]));
    // The very same members beside the right key change nothing either.
    if (!("kid" in extra(jwk)))
      expect(await answer(await victim.sign(extra(jwk)), "jwks")).toBe("principal 7");
  });

  it.each([
    "../../../../dev/null",
    "k1\0",
    "k1 ",
    "K1",
    "' OR '1'='1",
    "__proto__",
    "constructor",
    "",
    "k".repeat(4_000),
  ])("takes the kid for a name and nothing else: %j", async (kid) => {
    expect(await answer(await victim.sign({ kid }), "jwks")).toBe(REFUSED);
  });
});

describe("requirement 9: forms that are no strict compact JWS", () => {
  it("refuses a JWE to the issuer's public key (sign / encrypt confusion)", async () => {
    const jwe = await new CompactEncrypt(new TextEncoder().encode(JSON.stringify(GOOD_CLAIMS)))
      .setProtectedHeader({ alg: "ECDH-ES", enc: "A128GCM", kid: "k1" })
      .encrypt(victim.jwk);
    expect(await answer(jwe, "jwks")).toBe(REFUSED);
  });

  it("refuses a nested JWT: its payload is no JSON object", async () => {
    const token = await signText('{"alg":"HS256","cty":"JWT"}', await mint());
    expect(await answer(token, "secret")).toBe(REFUSED);
  });

  it.each([
    ["a leading blank", (t: string) => ` ${t}`],
    ["a trailing blank", (t: string) => `${t} `],
    ["a trailing line feed", (t: string) => `${t}\n`],
    ["a trailing dot", (t: string) => `${t}.`],
    ["padding", (t: string) => `${t}=`],
    ["two tokens", (t: string) => `${t},${t}`],
    ["the scheme once more", (t: string) => `Bearer ${t}`],
    ["JSON around it", (t: string) => JSON.stringify(t)],
    ["a megabyte of dots", (t: string) => t + ".".repeat(1_000_000)],
    ["a megabyte in the signature", (t: string) => t + "A".repeat(1_000_000)],
    ["a blank inside the payload", (t: string) => t.replace(".", ". ")],
  ])("refuses %s", async (_name, change) => {
    expect(await answer(change(await mint()), "secret")).toBe(REFUSED);
    expect(await answer(change(await victim.sign()), "jwks")).toBe(REFUSED);
  });

  it("refuses a deep nest of brackets without falling over", async () => {
    const deep = `{"a":${"[".repeat(2_900)}${"]".repeat(2_900)}}`;
    expect(await answer(await signText('{"alg":"HS256"}', deep), "secret")).toBe(REFUSED);
  });

  it("refuses two readings of one claim (RFC 7519 §4)", async () => {
    const text = JSON.stringify(GOOD_CLAIMS);
    const twice = `${text.slice(0, -1)},"sub":"1"}`;
    expect(await answer(await signText('{"alg":"HS256"}', twice), "secret")).toBe(REFUSED);
    const escaped = `${text.slice(0, -1)},"s\\u0075b":"1"}`;
    expect(await answer(await signText('{"alg":"HS256"}', escaped), "secret")).toBe(REFUSED);
  });
});

describe("no spelling of a good token but itself is accepted", () => {
  it("not with any single character changed", async () => {
    const token = await mint();
    const alphabet = "AQgw_-.=+ ";
    for (let i = 0; i < token.length; i++) {
      const character = alphabet[i % alphabet.length] ?? "A";
      if (token[i] === character) continue;
      expect(await answer(token.slice(0, i) + character + token.slice(i + 1), "secret"), `at ${i}`).toBe(
        REFUSED,
      );
    }
  });

  it("not after any random edit", async () => {
    const token = await victim.sign();
    await fc.assert(
      fc.asyncProperty(
        fc.nat(token.length),
        fc.nat(8),
        fc.oneof(fc.string({ maxLength: 8 }), fc.stringMatching(/^[A-Za-z0-9_.-]{0,8}$/)),
        async (index, removed, inserted) => {
          const edited = token.slice(0, index) + inserted + token.slice(index + removed);
          if (edited !== token) expect(await answer(edited, "jwks")).toBe(REFUSED);
        },
      ),
      { numRuns: 150 },
    );
  });

  it("not truncated at any place", async () => {
    const token = await mint();
    for (let length = 0; length < token.length; length++) {
      expect(await answer(token.slice(0, length), "secret")).toBe(REFUSED);
    }
  });

  it("whatever text comes as a token is refused, never an exception", async () => {
    const texts = fc.oneof(
      fc.string(),
      fc.uint8Array().map((bytes) => String.fromCharCode(...bytes)),
      fc.array(fc.string().map(segment), { minLength: 3, maxLength: 3 }).map((parts) => parts.join(".")),
    );
    await fc.assert(
      fc.asyncProperty(texts, async (text) => {
        expect(await answer(text, "secret")).toBe(REFUSED);
      }),
      { numRuns: 60 },
    );
  });

  it("whatever claims a token carries, a signature is all that makes them count", async () => {
    await fc.assert(
      fc.asyncProperty(fc.object({ maxDepth: 1 }), async (claims) => {
        const forged = await signText(
          '{"alg":"HS256"}',
          JSON.stringify({ ...GOOD_CLAIMS, ...claims }),
          new Uint8Array(32).fill(1),
        );
        expect(await answer(forged, "secret")).toBe(REFUSED);
      }),
      { numRuns: 30 },
    );
  });
});
