import { beforeAll, describe, expect, it } from "vitest";
import { base64Url, issuesOf, loaded, type Table, withSite } from "./fixtures.ts";

const KINDS = {
  RS256: {
    name: "RSASSA-PKCS1-v1_5",
    modulusLength: 2048,
    publicExponent: new Uint8Array([1, 0, 1]),
    hash: "SHA-256",
  },
  ES256: { name: "ECDSA", namedCurve: "P-256" },
  ES384: { name: "ECDSA", namedCurve: "P-384" },
  ES512: { name: "ECDSA", namedCurve: "P-521" },
  EdDSA: { name: "Ed25519" },
} as const;
type Kind = keyof typeof KINDS;

interface Pair {
  readonly publicJwk: Table;
  readonly privateJwk: Table;
  readonly publicPem: string;
  readonly privatePem: string;
}

const pairs = new Map<Kind, Pair>();

function pairOf(kind: Kind): Pair {
  const pair = pairs.get(kind);
  if (pair === undefined) throw new Error("made in beforeAll");
  return pair;
}

async function makePair(kind: Kind): Promise<Pair> {
  const pair = (await crypto.subtle.generateKey(KINDS[kind], true, ["sign", "verify"])) as CryptoKeyPair;
  const { kty, crv, x, y, n, e } = (await crypto.subtle.exportKey("jwk", pair.publicKey)) as JsonWebKey;
  return {
    publicJwk: JSON.parse(JSON.stringify({ kty, crv, x, y, n, e })) as Table,
    privateJwk: (await crypto.subtle.exportKey("jwk", pair.privateKey)) as unknown as Table,
    publicPem: pem("PUBLIC KEY", (await crypto.subtle.exportKey("spki", pair.publicKey)) as ArrayBuffer),
    privatePem: pem("PRIVATE KEY", (await crypto.subtle.exportKey("pkcs8", pair.privateKey)) as ArrayBuffer),
  };
}

function pem(label: string, der: ArrayBuffer): string {
  const lines = btoa(String.fromCharCode(...new Uint8Array(der))).match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

function withKey(publicKey: unknown, algorithms: readonly string[]): Table {
  return withSite({ jwt: { algorithms, public_key: publicKey, issuer: "i", audience: "a" } });
}

function keysOf(env: Table): readonly JsonWebKey[] {
  const keys = loaded(env).sites[0]?.jwtIssuers[0]?.keys;
  return keys?.kind === "static" ? keys.jwks : [];
}

beforeAll(async () => {
  for (const kind of Object.keys(KINDS) as Kind[]) pairs.set(kind, await makePair(kind));
});

describe("public keys in the configuration", () => {
  it.each(Object.keys(KINDS) as Kind[])(
    "reads %s as PEM, JWK, JSON and set, and pins its algorithm",
    (kind) => {
      const { publicJwk, publicPem } = pairOf(kind);
      const pinned = { ...publicJwk, alg: kind };
      for (const given of [
        publicPem,
        publicPem.replaceAll("\n", "\\n"),
        publicJwk,
        JSON.stringify(publicJwk),
      ]) {
        expect(keysOf(withKey(given, [kind]))).toEqual([pinned]);
      }
      expect(keysOf(withKey({ keys: [{ ...publicJwk, kid: "1" }] }, [kind]))).toEqual([
        { ...pinned, kid: "1" },
      ]);
      expect(keysOf({ ...withKey("secret:PUBLIC", [kind]), PUBLIC: publicPem })).toEqual([pinned]);
    },
  );

  it("leaves out everything but public members", () => {
    const { publicJwk } = pairOf("ES256");
    const given = {
      ...publicJwk,
      kid: "1",
      use: "sig",
      key_ops: ["verify"],
      x5u: "https://x",
      x5c: ["x"],
      ext: true,
    };
    expect(keysOf(withKey(given, ["ES256"]))).toEqual([{ ...publicJwk, alg: "ES256", kid: "1" }]);
  });

  it("takes several keys of several algorithms when each is for exactly one", () => {
    const keys = [
      { ...pairOf("RS256").publicJwk, kid: "r", alg: "PS256" },
      { ...pairOf("ES256").publicJwk, kid: "e" },
    ];
    expect(keysOf(withKey({ keys }, ["RS256", "PS256", "ES256"])).map(({ alg }) => alg)).toEqual([
      "PS256",
      "ES256",
    ]);
  });
});

describe("requirement 10: one algorithm per key, asymmetric only", () => {
  it.each<[string, () => unknown, readonly string[], string]>([
    [
      "an RSA key that fits two algorithms",
      () => pairOf("RS256").publicJwk,
      ["RS256", "PS256"],
      "fits RS256 and PS256",
    ],
    ["a key that fits none", () => pairOf("ES256").publicJwk, ["RS256"], "does not fit any of algorithms"],
    [
      "an alg off the list",
      () => ({ ...pairOf("RS256").publicJwk, alg: "RS512" }),
      ["RS256"],
      "does not fit any",
    ],
    [
      "an alg of another type",
      () => ({ ...pairOf("ES256").publicJwk, alg: "RS256" }),
      ["RS256"],
      "does not fit any",
    ],
    ["a private JWK", () => pairOf("ES256").privateJwk, ["ES256"], "is a private key"],
    ["a private RSA JWK", () => pairOf("RS256").privateJwk, ["RS256"], "is a private key"],
    ["a private PEM", () => pairOf("ES256").privatePem, ["ES256"], "is a private key"],
    [
      "an old private PEM",
      () => "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----",
      ["RS256"],
      "is a private key",
    ],
    [
      "a certificate",
      () => "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
      ["RS256"],
      "must be a PEM of type PUBLIC KEY",
    ],
    [
      "a broken PEM",
      () => "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
      ["RS256"],
      "is not a public key in PEM",
    ],
    [
      "two PEM keys",
      () => pairOf("ES256").publicPem + pairOf("ES256").publicPem,
      ["ES256"],
      "must be one PEM key",
    ],
    ["a symmetric key", () => ({ kty: "oct", k: "AAAA" }), ["RS256"], "is a symmetric key"],
    [
      "a symmetric key in a set",
      () => ({ keys: [{ kty: "oct", k: "AAAA", kid: "1" }] }),
      ["RS256"],
      "is a symmetric key",
    ],
    ["use enc", () => ({ ...pairOf("ES256").publicJwk, use: "enc" }), ["ES256"], 'must have use "sig"'],
    [
      "key_ops without verify",
      () => ({ ...pairOf("ES256").publicJwk, key_ops: ["encrypt"] }),
      ["ES256"],
      "must permit verify",
    ],
    [
      "key_ops as a text",
      () => ({ ...pairOf("ES256").publicJwk, key_ops: "verify" }),
      ["ES256"],
      "must permit verify",
    ],
    [
      "a kid that is a number",
      () => ({ ...pairOf("ES256").publicJwk, kid: 1 }),
      ["ES256"],
      "must have a kid",
    ],
    [
      "an unknown curve",
      () => ({ ...pairOf("ES256").publicJwk, crv: "secp256k1" }),
      ["ES256"],
      "must be an RSA key",
    ],
    [
      "a curve named like a prototype member",
      () => ({ ...pairOf("ES256").publicJwk, crv: "constructor" }),
      ["ES256"],
      "must be an RSA key",
    ],
    [
      "a point off its curve",
      () => ({ ...pairOf("ES256").publicJwk, y: pairOf("ES256").publicJwk.x }),
      ["ES256"],
      "is not a valid public key",
    ],
    ["no keys", () => ({ keys: [] }), ["ES256"], "must be a JWK set that holds keys"],
    ["nonsense", () => "hello", ["ES256"], "must be a public key in PEM, a JWK, or a JWK set"],
    [
      "several without kid",
      () => ({ keys: [pairOf("ES256").publicJwk, pairOf("ES256").publicJwk] }),
      ["ES256"],
      "key 1 needs a kid",
    ],
    [
      "several of one kid",
      () => ({ keys: [1, 2].map(() => ({ ...pairOf("ES256").publicJwk, kid: "k" })) }),
      ["ES256"],
      "key 2 has the kid",
    ],
  ])("refuses %s", (_, key, algorithms, expected) => {
    expect(issuesOf(withKey(key(), algorithms)).join("\n")).toContain(
      `SITE_FILES.jwt.public_key: ${expected}`,
    );
  });
});

describe("requirement 13: RSA under 2048 bits stops the gateway", () => {
  const rsa = (bits: number) => {
    const modulus = crypto.getRandomValues(new Uint8Array(Math.ceil(bits / 8)));
    modulus[0] = 1 << ((bits - 1) % 8);
    modulus[modulus.length - 1] = (modulus.at(-1) ?? 0) | 1;
    return { kty: "RSA", n: base64Url(modulus), e: "AQAB" };
  };

  it.each([512, 1024, 2047])("%d bits", (bits) => {
    expect(issuesOf(withKey(rsa(bits), ["RS256"]))).toEqual([
      `SITE_FILES.jwt.public_key: has ${bits} bits: RSA keys need 2048 to 8192`,
    ]);
  });

  it("leading zeros do not count", () => {
    const short = rsa(1024);
    const padded = base64Url(Uint8Array.from([...new Uint8Array(128), ...atobBytes(short.n)]));
    expect(issuesOf(withKey({ ...short, n: padded }, ["RS256"])).join()).toContain("has 1024 bits");
  });

  it("accepts 2048 bits", () => {
    expect(issuesOf(withKey(rsa(2048), ["RS256"]))).toEqual([]);
  });
});

function atobBytes(text: string): Uint8Array {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (character) =>
    character.charCodeAt(0),
  );
}
