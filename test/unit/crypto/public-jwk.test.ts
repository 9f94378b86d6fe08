import { describe, expect, it } from "vitest";
import { algorithmOfKey, readPublicJwk } from "../../../src/crypto/public-jwk.ts";

const rsaBits = (bits: number) => {
  const bytes = new Uint8Array(Math.ceil(bits / 8)).fill(0xff);
  bytes[0] = 0xff >> (bytes.length * 8 - bits);
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
};
const RSA = { kty: "RSA", n: rsaBits(2048), e: "AQAB" };
const EC = { kty: "EC", crv: "P-256", x: "AAAA", y: "BBBB" };
const OKP = { kty: "OKP", crv: "Ed25519", x: "AAAA" };

describe("requirement 10: only asymmetric public keys for signatures come out of a key set", () => {
  it.each([
    ["RSA of 2048 bits", RSA],
    ["EC on P-256", EC],
    ["EC on P-384", { ...EC, crv: "P-384" }],
    ["EC on P-521", { ...EC, crv: "P-521" }],
    ["Ed25519", OKP],
    ["a key for signatures", { ...EC, use: "sig", key_ops: ["verify"], alg: "ES256", kid: "1" }],
  ])("accepts %s", (_name, jwk) => {
    expect(readPublicJwk(jwk)).toMatchObject({ kty: jwk.kty });
  });

  it.each([
    ["no object", "key"],
    ["null", null],
    ["an array", [EC]],
    ["a symmetric key", { kty: "oct", k: "AAAA" }],
    ["a symmetric key in disguise", { ...EC, k: "AAAA" }],
    ["a private EC key (its owner published it)", { ...EC, d: "AAAA" }],
    ["a private RSA key", { ...RSA, d: "AAAA", p: "AAAA" }],
    ["an encryption key", { ...RSA, use: "enc" }],
    ["a key of an unknown use", { ...RSA, use: 1 }],
    ["a key whose operations do not include verify", { ...EC, key_ops: ["deriveKey"] }],
    ["an encryption algorithm", { ...RSA, alg: "RSA-OAEP" }],
    ["an HMAC algorithm on an RSA key", { ...RSA, alg: "HS256" }],
    ["alg none", { ...RSA, alg: "none" }],
    ["an algorithm of another curve", { ...EC, alg: "ES384" }],
    ["an unknown curve", { ...EC, crv: "secp256k1" }],
    ["a key-agreement curve", { ...OKP, crv: "X25519" }],
    ["a curve that is a property of every object", { ...EC, crv: "__proto__" }],
    ["EC without y", { kty: "EC", crv: "P-256", x: "AAAA" }],
    ["an RSA key without exponent", { kty: "RSA", n: RSA.n }],
    ["a modulus that is not base64url", { ...RSA, n: `${RSA.n}=` }],
    ["a kid that is no string", { ...EC, kid: 7 }],
    ["an endless kid", { ...EC, kid: "k".repeat(257) }],
    ["an unknown key type", { kty: "AKP", pub: "AAAA" }],
  ])("drops %s", (_name, value) => {
    expect(readPublicJwk(value)).toBeNull();
  });

  it("keeps no member that is not needed to verify: certificates and URLs among them", () => {
    const read = readPublicJwk({
      ...EC,
      kid: "1",
      alg: "ES256",
      x5u: "https://evil.example",
      x5c: ["AA"],
      more: 1,
    });
    expect(read).toEqual({ ...EC, kid: "1", alg: "ES256" });
  });
});

describe("requirement 13: RSA under 2048 bits is not used", () => {
  it.each([
    [2047, false],
    [2048, true],
    [1024, false],
    [8192, true],
    [8200, false],
  ])("%s bits: %s", (bits, isFit) => {
    expect(readPublicJwk({ ...RSA, n: rsaBits(bits) }) !== null).toBe(isFit);
  });

  it("counts no leading zeros", () => {
    const padded = new Uint8Array(256).fill(0xff, 128);
    const n = btoa(String.fromCharCode(...padded))
      .replaceAll("/", "_")
      .replaceAll("+", "-")
      .replaceAll("=", "");
    expect(readPublicJwk({ ...RSA, n })).toBeNull();
    expect(readPublicJwk({ ...RSA, n: "A".repeat(400) })).toBeNull();
  });
});

describe("requirement 10: one algorithm per key (RFC 8725 §3.1)", () => {
  it.each([
    ["its own", { ...RSA, alg: "PS256" }, ["RS256", "PS256"], "PS256"],
    ["none, when its own is not allowed", { ...RSA, alg: "PS256" }, ["RS256"], null],
    ["without its own, the first allowed that it can do", RSA, ["ES256", "PS256", "RS256"], "PS256"],
    ["the one of its curve", EC, ["ES384", "ES256"], "ES256"],
    ["none, when its curve's is not allowed", EC, ["ES384", "RS256"], null],
    ["EdDSA for Ed25519", OKP, ["EdDSA"], "EdDSA"],
    ["never an HMAC algorithm", RSA, ["HS256"], null],
    ["never none", EC, ["none"], null],
  ])("%s", (_name, key, allowed, expected) => {
    expect(algorithmOfKey(key, allowed)).toBe(expected);
  });
});
