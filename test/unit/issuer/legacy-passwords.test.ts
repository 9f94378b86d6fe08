// Digests of other systems. None was made by the code under test: bcrypt ones come from libxcrypt, the others from Python's
// hashlib, but for those that are published with their systems, which say so.
import { describe, expect, it } from "vitest";
import { legacyCheck, legacyHashProblem } from "../../../src/issuer/legacy-passwords.ts";

type Scheme = Parameters<typeof legacyCheck>[0];

const PASSWORD = "my password";
const BCRYPT_SALT = "abcdefghijklmnopqrstuu";
const CLOUDREVE_SALT = "0123456789abcdefghijklmnopqrstuv";

const DIGESTS: readonly (readonly [string, Scheme, string, string])[] = [
  ["bcrypt $2a$", "bcrypt", `$2a$05$${BCRYPT_SALT}3F58TMR3T5heUT7a5uNIipGppqvc3lW`, PASSWORD],
  ["bcrypt $2b$", "bcrypt", `$2b$05$${BCRYPT_SALT}3F58TMR3T5heUT7a5uNIipGppqvc3lW`, PASSWORD],
  ["bcrypt $2y$", "bcrypt", `$2y$05$${BCRYPT_SALT}3F58TMR3T5heUT7a5uNIipGppqvc3lW`, PASSWORD],
  ["bcrypt beyond ASCII", "bcrypt", `$2b$05$${BCRYPT_SALT}fq2rBLpWEs70P4qdavrkcxOkRWHFUo6`, "café 😀"],
  // crypt_blowfish's own vector.
  ["bcrypt of U*U", "bcrypt", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"],
  [
    "cloudreve 4 (SHA-256)",
    "cloudreve",
    `${CLOUDREVE_SALT}:38a7e3f40b908fb63044426b0b13cb50a51333e0fde7f9c09c4b1ea7cf604e54`,
    PASSWORD,
  ],
  [
    "cloudreve 3 (SHA-1)",
    "cloudreve",
    `${CLOUDREVE_SALT}:a76f50eb1b4f858c585baa6f6abbd301d603fc55`,
    PASSWORD,
  ],
  ["cloudreve 2 (MD5)", "cloudreve", "md5:aebe7530f3098722bdd397fd38f0a463:a1b2c3", PASSWORD],
  // Of the tests of ASP.NET Core Identity.
  [
    "aspnet-identity 2",
    "aspnet-identity",
    "ANXrDknc7fGPpigibZXXZFMX4aoqz44JveK6jQuwY3eH/UyPhvr5xTPeGYEckLxz9A==",
    PASSWORD,
  ],
  [
    "aspnet-identity 3, SHA-256, 10,000 iterations",
    "aspnet-identity",
    "AQAAAAEAACcQAAAAEAABAgMEBQYHCAkKCwwNDg+yWU7rLgUwPZb1Itsmra7cbxw2EFpwpVFIEtP+JIuUEw==",
    PASSWORD,
  ],
  [
    "aspnet-identity 3, SHA-1",
    "aspnet-identity",
    "AQAAAAAAAAPoAAAAEAABAgMEBQYHCAkKCwwNDg+ukCEMDf0yyQ29NYubggHIVY0sdEUfdyeM+E1LtH1uJg==",
    PASSWORD,
  ],
  [
    "aspnet-identity 3, SHA-512, 100,000 iterations",
    "aspnet-identity",
    "AQAAAAIAAYagAAAAEAABAgMEBQYHCAkKCwwNDg/Q8A0WMKbtHQJQ2DHCdoEeeFBrgNlldq6vH4qX/CGqGQ==",
    PASSWORD,
  ],
];

const isVerified = async (scheme: Scheme, hash: string, password: string) =>
  (await legacyCheck(scheme, hash))(password);

describe.each(DIGESTS)("%s", (_name, scheme, hash, password) => {
  it("verifies the password and none that is like it", async () => {
    expect(legacyHashProblem(scheme, hash)).toBeNull();
    expect(await isVerified(scheme, hash, password)).toBe(true);
    for (const wrong of ["", `${password} `, password.slice(0, -1), `${password}${password}`]) {
      expect(await isVerified(scheme, hash, wrong)).toBe(false);
    }
  });

  it("verifies nothing when it is cut off anywhere, and does not throw", async () => {
    // Cut where the salt stands last, or to the length of a SHA-1, it has the form of another digest.
    const canBeAnothers = (cut: string) => hash.startsWith("md5:") || cut.split(":")[1]?.length === 40;
    const dear = scheme === "bcrypt" || hash.startsWith("AQAAAAIAAYag");
    for (let length = 0; length < hash.length; length++) {
      const cut = hash.slice(0, length);
      if (!canBeAnothers(cut)) expect.soft(legacyHashProblem(scheme, cut), cut).not.toBeNull();
      if (!dear || length % 7 === 0) expect(await isVerified(scheme, cut, password)).toBe(false);
    }
  });

  it("verifies nothing when something stands before or behind it", async () => {
    for (const spoilt of [` ${hash}`, `${hash} `, `${hash}\n`, `${hash}:x`, `${hash}=`, `x:${hash}`]) {
      expect(await isVerified(scheme, spoilt, password)).toBe(false);
    }
  });
});

it("takes the first 72 bytes of a password for the whole with bcrypt, as every bcrypt does", async () => {
  const hash = `$2b$05$${BCRYPT_SALT}GUnCqbfgs3htOkLrFduUjAyLBw1Rq/u`; // of 80 times "a"
  expect(await isVerified("bcrypt", hash, "a".repeat(80))).toBe(true);
  expect(await isVerified("bcrypt", hash, `${"a".repeat(72)}something else`)).toBe(true);
  expect(await isVerified("bcrypt", hash, "a".repeat(71))).toBe(false);
  expect(await isVerified("bcrypt", hash, `${"a".repeat(71)}b`)).toBe(false);
});

it("verifies passwords as they were typed, without normalizing them, as those systems do", async () => {
  const [, , hash = ""] = DIGESTS.find(([name]) => name === "bcrypt beyond ASCII") ?? [];
  expect(await isVerified("bcrypt", hash, "cafe\u0301 😀")).toBe(false);
});

describe("what cannot be verified here is named before it is stored", () => {
  it.each([
    ["bcrypt", `$2b$14$${BCRYPT_SALT}fJwLnhH2QCjEjPIochp1Rk3j8NrqmNi`, "cost of 14"],
    ["bcrypt", `$2b$03$${BCRYPT_SALT}fJwLnhH2QCjEjPIochp1Rk3j8NrqmNi`, "cost of 3"],
    ["bcrypt", `$2x$05$${BCRYPT_SALT}3F58TMR3T5heUT7a5uNIipGppqvc3lW`, "$2a$, $2b$ or $2y$"],
    ["bcrypt", `$2$05$${BCRYPT_SALT}3F58TMR3T5heUT7a5uNIipGppqvc3lW`, "$2a$, $2b$ or $2y$"],
    ["cloudreve", `:${"a".repeat(64)}`, "salt:digest"],
    ["cloudreve", `salt:${"A".repeat(64)}`, "lower-case hex"],
    ["cloudreve", `salt:${"a".repeat(32)}`, "salt:digest"],
    ["cloudreve", `sha:${"a".repeat(32)}:salt`, "md5:digest:salt"],
    ["cloudreve", `md5:${"a".repeat(32)}:`, "md5:digest:salt"],
    ["cloudreve", `md5:${"a".repeat(32)}:salt:more`, "md5:digest:salt"],
    // Of the tests of ASP.NET Core Identity: its key is of 16 bytes only.
    ["aspnet-identity", "AQAAAAIAAAAyAAAAEOMwvh3+FZxqkdMBz2ekgGhwQ4B6pZWND6zgESBuWiHw", "ASP.NET Identity"],
    [
      "aspnet-identity",
      "AQAAAAIAAYahAAAAEAABAgMEBQYHCAkKCwwNDg8D9LlFckJ5qSx49kvunPijLQzKUcT8wTHBop9xVQcBAQ==",
      "100001 PBKDF2 iterations",
    ],
    ["aspnet-identity", aspNet({ prf: 3 }), "names a function"],
    ["aspnet-identity", aspNet({ iterations: 0 }), "names a function, iterations"],
    ["aspnet-identity", aspNet({ iterations: 2 ** 32 - 1 }), "4294967295 PBKDF2 iterations"],
    ["aspnet-identity", aspNet({ saltBytes: 48 }), "a salt"],
    ["aspnet-identity", aspNet({ version: 2 }), "version 2 or 3"],
    ["scrypt", "$scrypt$ln=14,r=8,p=5$AAECAwQFBgcICQoLDA0ODw$short", "32 bytes"],
  ] as const)("%s %s", async (scheme, hash, problem) => {
    expect(legacyHashProblem(scheme, hash)).toContain(problem);
    expect(legacyHashProblem(scheme, hash)).not.toContain(hash);
    if (scheme !== "scrypt") expect(await isVerified(scheme, hash, PASSWORD)).toBe(false);
  });

  it("takes a scrypt digest of a gateway of this kind", () => {
    const key = "D7lSJtJDGLLVcrxL7dWjkoRxbs+pMvcVYIJ+gbuyltk";
    expect(legacyHashProblem("scrypt", `$scrypt$ln=14,r=8,p=5$AAECAwQFBgcICQoLDA0ODw$${key}`)).toBeNull();
  });
});

/** A digest of version 3 with the header given, of zeros beside. */
function aspNet({ version = 1, prf = 1, iterations = 1_000, saltBytes = 16 }): string {
  const bytes = new Uint8Array(61);
  const header = new DataView(bytes.buffer);
  header.setUint8(0, version);
  header.setUint32(1, prf);
  header.setUint32(5, iterations);
  header.setUint32(9, saltBytes);
  return btoa(String.fromCharCode(...bytes));
}
