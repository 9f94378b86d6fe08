// The classes of invalid signatures that Project Wycheproof collects for JWS, made here, beside the RFC's own examples.
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { describe, expect, it } from "vitest";
import type { JwtIssuer } from "../../src/config/types.ts";
import type { PublicJwk } from "../../src/crypto/public-jwk.ts";
import {
  anIssuer,
  GOOD_CLAIMS,
  mint,
  NOW_SECONDS,
  rejected,
  segment,
  signText,
  verifyJwt,
} from "../unit/pipeline/verify/fixtures.ts";

const PAYLOAD =
  "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const decode = (text: string) =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (character) =>
    character.charCodeAt(0),
  );

describe("RFC 7515 appendix A", () => {
  const joe = (algorithm: string, keys: JwtIssuer["keys"]): Partial<JwtIssuer> => ({
    algorithms: [algorithm],
    keys,
    issuer: "joe",
    audience: null,
    clockToleranceSeconds: 0,
    claims: { ...anIssuer().claims, subject: ["iss"] },
  });
  const EXAMPLES = [
    {
      name: "A.1 HS256",
      issuer: joe("HS256", {
        kind: "secret",
        secret: decode(
          "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
        ),
      }),
      token: `eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.${PAYLOAD}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk`,
    },
    {
      name: "A.2 RS256",
      issuer: joe("RS256", {
        kind: "static",
        jwks: [
          {
            kty: "RSA",
            n: "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
            e: "AQAB",
          },
        ],
      }),
      token: `eyJhbGciOiJSUzI1NiJ9.${PAYLOAD}.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw`,
    },
    {
      name: "A.3 ES256",
      issuer: joe("ES256", {
        kind: "static",
        jwks: [
          {
            kty: "EC",
            crv: "P-256",
            x: "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            y: "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
          },
        ],
      }),
      token: `eyJhbGciOiJFUzI1NiJ9.${PAYLOAD}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q`,
    },
  ];

  it.each(EXAMPLES)("$name verifies until its exp", async ({ issuer, token }) => {
    const atSeconds = async (nowSeconds: number) => rejected(await verifyJwt(token, { issuer, nowSeconds }));
    expect(await atSeconds(1_300_819_379)).toBe("accepted");
    expect(await atSeconds(1_300_819_380)).toBe("expired");
  });

  it("A.5, unsecured, does not", async () => {
    for (const { issuer } of EXAMPLES) {
      const token = `eyJhbGciOiJub25lIn0.${PAYLOAD}.`;
      expect(rejected(await verifyJwt(token, { issuer, nowSeconds: 1_300_819_379 }))).toBe("malformed");
    }
  });
});

const withSignature = (token: string, signature: Uint8Array) =>
  `${token.slice(0, token.lastIndexOf("."))}.${segment(signature)}`;
const signatureOf = (token: string) => decode(token.slice(token.lastIndexOf(".") + 1));
const bytes = (...parts: (Uint8Array | number[])[]) => new Uint8Array(parts.flatMap((part) => [...part]));
const bigEndian = (value: bigint, length: number) =>
  Uint8Array.from({ length }, (_, i) => Number((value >> BigInt(8 * (length - 1 - i))) & 0xffn));

async function issuerOf(alg: string) {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = (await exportJWK(publicKey)) as PublicJwk;
  const sign = (header = {}) =>
    new SignJWT(GOOD_CLAIMS).setProtectedHeader({ alg, ...header }).sign(privateKey);
  const issuer = { algorithms: [alg], keys: { kind: "static", jwks: [jwk] } } as const;
  return { jwk, sign, issuer, privateKey };
}

describe("HMAC (requirement 9, RFC 7518 §3.2)", () => {
  it.each([
    ["cut to 31 bytes", (mac: Uint8Array) => mac.slice(0, 31)],
    ["cut to half", (mac: Uint8Array) => mac.slice(0, 16)],
    ["cut to one byte", (mac: Uint8Array) => mac.slice(0, 1)],
    ["with a byte more", (mac: Uint8Array) => bytes(mac, [0])],
    ["twice", (mac: Uint8Array) => bytes(mac, mac)],
    ["of zeros", () => new Uint8Array(32)],
    ["of ones", () => new Uint8Array(32).fill(0xff)],
    ["with its first bit flipped", (mac: Uint8Array) => mac.map((byte, i) => (i === 0 ? byte ^ 0x80 : byte))],
    ["with its last bit flipped", (mac: Uint8Array) => mac.map((byte, i) => (i === 31 ? byte ^ 1 : byte))],
    ["with two bytes exchanged", (mac: Uint8Array) => mac.toReversed()],
  ])("rejects a tag %s", async (_name, change) => {
    const token = await mint();
    expect(rejected(await verifyJwt(token))).toBe("accepted");
    expect(rejected(await verifyJwt(withSignature(token, change(signatureOf(token)))))).toBe("signature");
  });

  it("rejects the tag of another hash under the same secret", async () => {
    const other = await signText('{"alg":"HS256"}', JSON.stringify(GOOD_CLAIMS), undefined, "SHA-384");
    expect(rejected(await verifyJwt(other))).toBe("signature");
  });
});

describe("ECDSA (RFC 8725 §3.4; CVE-2022-21449's class)", () => {
  const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
  const FIELD = 0xffffffff00000001000000000000000000000000ffffffffffffffffffffffffn;
  const edge = [0n, 1n, ORDER - 1n, ORDER, ORDER + 1n, FIELD, FIELD + 1n, 2n ** 256n - 1n];

  it("rejects r and s at every edge of their range", async () => {
    const { sign, issuer } = await issuerOf("ES256");
    const token = await sign();
    expect(rejected(await verifyJwt(token, { issuer }))).toBe("accepted");
    for (const r of edge) {
      for (const s of edge) {
        const signature = bytes(bigEndian(r, 32), bigEndian(s, 32));
        expect(rejected(await verifyJwt(withSignature(token, signature), { issuer })), `${r} ${s}`).toBe(
          "signature",
        );
      }
    }
  });

  it("rejects a right r or s beside a wrong one", async () => {
    const { sign, issuer } = await issuerOf("ES256");
    const token = await sign();
    const [r, s] = [signatureOf(token).slice(0, 32), signatureOf(token).slice(32)];
    for (const value of edge) {
      for (const signature of [bytes(r, bigEndian(value, 32)), bytes(bigEndian(value, 32), s), bytes(s, r)]) {
        expect(rejected(await verifyJwt(withSignature(token, signature), { issuer }))).toBe("signature");
      }
    }
  });

  it.each([
    ["in DER", (r: Uint8Array, s: Uint8Array) => bytes([0x30, 70, 2, 33, 0], r, [2, 33, 0], s)],
    ["with leading zeros", (r: Uint8Array, s: Uint8Array) => bytes([0], r, [0], s)],
    ["with a byte more", (r: Uint8Array, s: Uint8Array) => bytes(r, s, [0])],
    ["with a byte less", (r: Uint8Array, s: Uint8Array) => bytes(r, s.slice(0, 31))],
    ["of r alone", (r: Uint8Array) => r],
    ["of one byte", () => new Uint8Array(1)],
    [
      "of the size of another curve",
      (r: Uint8Array, s: Uint8Array) => bytes(new Uint8Array(16), r, new Uint8Array(16), s),
    ],
  ])("rejects a signature %s", async (_name, change) => {
    const { sign, issuer } = await issuerOf("ES256");
    const token = await sign();
    const [r, s] = [signatureOf(token).slice(0, 32), signatureOf(token).slice(32)];
    expect(rejected(await verifyJwt(withSignature(token, change(r, s)), { issuer }))).toBe("signature");
  });

  it.each([
    ["the point (0, 0)", { x: "A".repeat(43), y: "A".repeat(43) }],
    ["a point off the curve", { x: segment(bigEndian(1n, 32)), y: segment(bigEndian(1n, 32)) }],
    ["a coordinate beyond the field", { x: segment(bigEndian(FIELD, 32)) }],
    ["a coordinate cut short", { x: segment(bigEndian(7n, 16)) }],
  ])("does not use a key of %s", async (_name, change) => {
    const { jwk, sign } = await issuerOf("ES256");
    const issuer = {
      algorithms: ["ES256"],
      keys: { kind: "static", jwks: [{ ...jwk, ...change }] },
    } as const;
    expect(rejected(await verifyJwt(await sign(), { issuer }))).toBe("unknown_key");
  });
});

describe("EdDSA (RFC 8032 §5.1.7)", () => {
  const ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;
  const littleEndian = (value: bigint) => bigEndian(value, 32).toReversed();
  const toBigInt = (little: Uint8Array) => little.reduceRight((sum, byte) => sum * 256n + BigInt(byte), 0n);

  it("rejects s + L, which is the same signature in another spelling", async () => {
    const { sign, issuer } = await issuerOf("EdDSA");
    const token = await sign();
    expect(rejected(await verifyJwt(token, { issuer }))).toBe("accepted");
    const [r, s] = [signatureOf(token).slice(0, 32), signatureOf(token).slice(32)];
    const signature = bytes(r, littleEndian(toBigInt(s) + ORDER));
    expect(rejected(await verifyJwt(withSignature(token, signature), { issuer }))).toBe("signature");
  });

  it.each([
    ["of zeros", () => new Uint8Array(64)],
    ["of ones", () => new Uint8Array(64).fill(0xff)],
    ["cut short", (signature: Uint8Array) => signature.slice(0, 63)],
    ["with a byte more", (signature: Uint8Array) => bytes(signature, [0])],
    ["with s of zero", (signature: Uint8Array) => bytes(signature.slice(0, 32), new Uint8Array(32))],
  ])("rejects a signature %s", async (_name, change) => {
    const { sign, issuer } = await issuerOf("EdDSA");
    const token = await sign();
    expect(rejected(await verifyJwt(withSignature(token, change(signatureOf(token))), { issuer }))).toBe(
      "signature",
    );
  });
});

describe("RSA (RFC 8017 §8)", () => {
  it("rejects a signature of the other padding or another hash, and the edges of its range", async () => {
    const { jwk, sign, issuer, privateKey } = await issuerOf("RS256");
    const token = await sign();
    expect(rejected(await verifyJwt(token, { issuer }))).toBe("accepted");
    const modulus = decode(jwk.n ?? "");
    const pkcs8 = await crypto.subtle.exportKey("pkcs8", privateKey as CryptoKey);
    const input = new TextEncoder().encode(token.slice(0, token.lastIndexOf(".")));
    const foreign = async (name: string, hash: string) => {
      const key = await crypto.subtle.importKey("pkcs8", pkcs8 as ArrayBuffer, { name, hash }, false, [
        "sign",
      ]);
      return new Uint8Array(await crypto.subtle.sign({ name, saltLength: 32 }, key, input));
    };
    const signatures = [
      await foreign("RSA-PSS", "SHA-256"),
      await foreign("RSASSA-PKCS1-v1_5", "SHA-384"),
      await foreign("RSASSA-PKCS1-v1_5", "SHA-1"),
      new Uint8Array(256),
      bytes(new Uint8Array(255), [1]),
      modulus,
      modulus.map((byte, i) => (i === 255 ? byte - 1 : byte)),
      new Uint8Array(256).fill(0xff),
      signatureOf(token).slice(0, 255),
      bytes([0], signatureOf(token)),
      bytes(signatureOf(token), [0]),
      input.slice(0, 32),
    ];
    for (const [index, signature] of signatures.entries()) {
      expect(rejected(await verifyJwt(withSignature(token, signature), { issuer })), `${index}`).toBe(
        "signature",
      );
    }
  });

  it("rejects a PSS signature with another salt length (RFC 7518 §3.5)", async () => {
    const { sign, issuer, privateKey } = await issuerOf("PS256");
    const token = await sign();
    expect(rejected(await verifyJwt(token, { issuer }))).toBe("accepted");
    const input = new TextEncoder().encode(token.slice(0, token.lastIndexOf(".")));
    for (const saltLength of [0, 20, 64]) {
      const signature = new Uint8Array(
        await crypto.subtle.sign({ name: "RSA-PSS", saltLength }, privateKey as CryptoKey, input),
      );
      expect(rejected(await verifyJwt(withSignature(token, signature), { issuer }))).toBe("signature");
    }
  });
});

describe("what a key is for (RFC 7517 §4)", () => {
  it.each([
    ["use = enc", { use: "enc" }],
    ["key_ops without verify", { key_ops: ["encrypt"] }],
    ["another alg", { alg: "ES384" }],
    ["an alg of another family", { alg: "RS256" }],
  ])("a key with %s verifies nothing", async (_name, change) => {
    const { jwk, sign } = await issuerOf("ES256");
    const issuer = {
      algorithms: ["ES256"],
      keys: { kind: "static", jwks: [{ ...jwk, ...change }] },
    } as const;
    expect(rejected(await verifyJwt(await sign(), { issuer, nowSeconds: NOW_SECONDS }))).toBe("unknown_key");
  });
});
