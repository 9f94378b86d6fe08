import { exportJWK, exportSPKI, generateKeyPair, SignJWT } from "jose";
import { describe, expect, it } from "vitest";
import type { PublicJwk } from "../../../../src/crypto/public-jwk.ts";
import { anIssuer, GOOD_CLAIMS, mint, rejected, SECRET, signText, verifyJwt } from "./fixtures.ts";

describe("requirement 10: the algorithm comes from the configuration", () => {
  it.each([
    ["HS256", "SHA-256"],
    ["HS384", "SHA-384"],
    ["HS512", "SHA-512"],
  ])("verifies %s", async (alg, hash) => {
    const secret = new Uint8Array(64).fill(7);
    const token = await signText(JSON.stringify({ alg }), JSON.stringify(GOOD_CLAIMS), secret, hash);
    const keys = { kind: "secret", secret } as const;
    expect(rejected(await verifyJwt(token, { issuer: { algorithms: [alg], keys } }))).toBe("accepted");
    expect(rejected(await verifyJwt(token, { issuer: { algorithms: ["HS257"], keys } }))).toBe("algorithm");
    const other = { kind: "secret", secret: new Uint8Array(64).fill(8) } as const;
    expect(rejected(await verifyJwt(token, { issuer: { algorithms: [alg], keys: other } }))).toBe(
      "signature",
    );
  });

  it.each(["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"])(
    "verifies %s with a static public key, and no other algorithm with it",
    async (alg) => {
      const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
      const jwk = (await exportJWK(publicKey)) as PublicJwk;
      const token = await new SignJWT(GOOD_CLAIMS).setProtectedHeader({ alg, kid: "any" }).sign(privateKey);
      const keys = { kind: "static", jwks: [jwk] } as const;
      expect(rejected(await verifyJwt(token, { issuer: { algorithms: [alg], keys } }))).toBe("accepted");
      const restricted = {
        kind: "static",
        jwks: [{ ...jwk, alg: alg === "ES256" ? "ES384" : "ES256" }],
      } as const;
      expect(rejected(await verifyJwt(token, { issuer: { algorithms: [alg], keys: restricted } }))).toBe(
        "unknown_key",
      );
      const tampered = `${token.slice(0, -8)}${token.at(-8) === "A" ? "B" : "A"}${token.slice(-7)}`;
      expect(rejected(await verifyJwt(tampered, { issuer: { algorithms: [alg], keys } }))).toBe("signature");
    },
  );

  it("rejects an HMAC made with the text of a public key, whatever the list says", async () => {
    const { publicKey } = await generateKeyPair("RS256", { extractable: true });
    const pem = await exportSPKI(publicKey);
    const jwk = (await exportJWK(publicKey)) as PublicJwk;
    const keys = { kind: "static", jwks: [jwk] } as const;
    for (const secret of [pem, pem.trim(), JSON.stringify(jwk), jwk.n ?? ""]) {
      const token = await signText(
        '{"alg":"HS256"}',
        JSON.stringify(GOOD_CLAIMS),
        new TextEncoder().encode(secret),
      );
      expect(rejected(await verifyJwt(token, { issuer: { algorithms: ["RS256"], keys } }))).toBe("algorithm");
      expect(rejected(await verifyJwt(token, { issuer: { algorithms: ["HS256", "RS256"], keys } }))).toBe(
        "unknown_key",
      );
    }
  });

  it("uses a key that names no algorithm for one alone: the first of the list that it can do", async () => {
    const { publicKey, privateKey } = await generateKeyPair("RS256", { extractable: true });
    const jwk = (await exportJWK(publicKey)) as PublicJwk;
    const pkcs8 = (await crypto.subtle.exportKey("pkcs8", privateKey as CryptoKey)) as ArrayBuffer;
    const pss = { name: "RSA-PSS", hash: "SHA-256" };
    const pssKey = await crypto.subtle.importKey("pkcs8", pkcs8, pss, false, ["sign"]);
    const issuer = { algorithms: ["RS256", "PS256"], keys: { kind: "static", jwks: [jwk] } } as const;
    const first = await new SignJWT(GOOD_CLAIMS).setProtectedHeader({ alg: "RS256" }).sign(privateKey);
    const second = await new SignJWT(GOOD_CLAIMS).setProtectedHeader({ alg: "PS256" }).sign(pssKey);
    expect(rejected(await verifyJwt(first, { issuer }))).toBe("accepted");
    expect(rejected(await verifyJwt(second, { issuer }))).toBe("unknown_key");
    const reversed = { ...issuer, algorithms: ["PS256", "RS256"] };
    expect(rejected(await verifyJwt(second, { issuer: reversed }))).toBe("accepted");
  });

  it("never uses a shared secret for a public-key algorithm", async () => {
    const { privateKey } = await generateKeyPair("ES256");
    const token = await new SignJWT(GOOD_CLAIMS).setProtectedHeader({ alg: "ES256" }).sign(privateKey);
    expect(rejected(await verifyJwt(token, { issuer: { algorithms: ["ES256"] } }))).toBe("unknown_key");
  });

  it("drops a symmetric key from a static set", async () => {
    const token = await mint();
    const jwks = [{ kty: "oct", k: btoa(String.fromCharCode(...SECRET)).replaceAll("=", "") }];
    expect(rejected(await verifyJwt(token, { issuer: { keys: { kind: "static", jwks } } }))).toBe(
      "unknown_key",
    );
  });

  it("takes a key that cannot be imported for no key", async () => {
    const { privateKey } = await generateKeyPair("ES256");
    const token = await new SignJWT(GOOD_CLAIMS).setProtectedHeader({ alg: "ES256" }).sign(privateKey);
    const x = "A".repeat(43);
    const keys = { kind: "static", jwks: [{ kty: "EC", crv: "P-256", x, y: x }] } as const;
    expect(rejected(await verifyJwt(token, { issuer: { algorithms: ["ES256"], keys } }))).toBe("unknown_key");
  });
});

describe("several issuers", () => {
  const other = new TextEncoder().encode("another secret of at least thirty-two bytes");
  const first = anIssuer();
  const second = anIssuer({
    id: "test/1",
    issuer: "https://other.example",
    keys: { kind: "secret", secret: other },
  });
  const site = { jwtIssuers: [first, second] };
  const signed = (iss: string | undefined, secret: Uint8Array) =>
    signText('{"alg":"HS256"}', JSON.stringify({ ...GOOD_CLAIMS, iss }), secret);

  it("are told apart by iss", async () => {
    expect(rejected(await verifyJwt(await signed("https://idp.example", SECRET), { site }))).toBe("accepted");
    expect(rejected(await verifyJwt(await signed("https://other.example", other), { site }))).toBe(
      "accepted",
    );
  });

  it("cannot speak for each other (RFC 8725 §3.8)", async () => {
    expect(rejected(await verifyJwt(await signed("https://idp.example", other), { site }))).toBe("signature");
    expect(rejected(await verifyJwt(await signed("https://other.example", SECRET), { site }))).toBe(
      "signature",
    );
  });

  it("are all refused for an unknown or missing iss", async () => {
    for (const iss of ["https://third.example", "https://idp.example/", "", undefined]) {
      expect(rejected(await verifyJwt(await signed(iss, SECRET), { site }))).toBe("issuer");
    }
  });

  it("are refused where the site has none", async () => {
    expect(rejected(await verifyJwt(await mint(), { site: { jwtIssuers: [] } }))).toBe("issuer");
  });
});
