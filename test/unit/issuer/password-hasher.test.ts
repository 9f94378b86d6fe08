// Digests of passwords. The known ones were made by Python's hashlib.scrypt (OpenSSL).
import { describe, expect, it } from "vitest";
import { createPasswordHasher, type HasherTools } from "../../../src/issuer/password-hasher.ts";

const SALT = "AAECAwQFBgcICQoLDA0ODw"; // bytes 0 to 15
const PASSWORD = "correct horse battery staple";
const KEY = "D7lSJtJDGLLVcrxL7dWjkoRxbs+pMvcVYIJ+gbuyltk";
const scrypt = (hash: string) => ({ scheme: "scrypt", hash }) as const;
const STORED = scrypt(`$scrypt$ln=14,r=8,p=5$${SALT}$${KEY}`);

/** A hasher whose scrypt is quick, and that says what it was asked to compute. */
function quickHasher() {
  const asked: { readonly password: string; readonly costLog2: number }[] = [];
  const tools: HasherTools = {
    nowMs: () => asked.length * 1_000,
    wait: async () => {},
    scrypt(password, salt, { costLog2 }) {
      asked.push({ password: new TextDecoder().decode(password), costLog2 });
      // No digest, but each byte of the input tells.
      const key = new Uint8Array(32);
      let state = 2_166_136_261;
      for (const byte of [...password, 256, ...salt, costLog2]) {
        state = Math.imul(state ^ byte, 16_777_619) >>> 0;
        key[state % 32] = (key[state % 32] ?? 0) ^ (state >>> 24);
      }
      return key;
    },
  };
  return { hasher: createPasswordHasher(tools), asked };
}

describe("scrypt as the platform computes it", () => {
  const hasher = createPasswordHasher();

  it.each([
    [PASSWORD, KEY],
    ["café 😀", "AbnoEyLlQLhlHJ+QJ7OQTwccOF2/tojqw2jp+1bNwOY"],
    ["cafe\u0301 😀", "AbnoEyLlQLhlHJ+QJ7OQTwccOF2/tojqw2jp+1bNwOY"],
  ])("agrees with another implementation on %j", async (password, key) => {
    expect(await hasher.verify(password, scrypt(`$scrypt$ln=14,r=8,p=5$${SALT}$${key}`))).toBe(true);
  });

  it("verifies what it made, with another salt each time, as a PHC string", async () => {
    const [first, second] = [await hasher.hash(PASSWORD), await hasher.hash(PASSWORD)];
    expect(first.scheme).toBe("scrypt");
    expect(first.hash).toMatch(/^\$scrypt\$ln=14,r=8,p=5\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
    expect(second.hash).not.toBe(first.hash);
    expect(await hasher.verify(PASSWORD, first)).toBe(true);
    expect(await hasher.verify(`${PASSWORD}!`, first)).toBe(false);
  });

  it("reads the parameters from the row", async () => {
    const stored = scrypt(`$scrypt$ln=10,r=8,p=1$${SALT}$Z00UYSKKcxfXL+wtJ82+yLQ0HRbN115ky9cDXLD/g2c`);
    expect(await hasher.verify("pw", stored)).toBe(true);
    expect(await hasher.verify("pw2", stored)).toBe(false);
    expect(hasher.isOutdated(stored)).toBe(true);
  });
});

describe("the whole password counts", () => {
  it.each([
    ["white space around it", " blank ", ["blank", " blank", "blank "]],
    ["case", "MixedCase", ["mixedcase", "MIXEDCASE"]],
    ["the last of 1,024 bytes", "a".repeat(1_024), ["a".repeat(1_023), `${"a".repeat(1_023)}b`]],
    ["characters beyond the basic plane", "😀😀", ["😀", "😀😁", "\u{1F600}"]],
    ["compatibility characters", "ﬁve", ["five"]],
  ])("%s", async (_name, password, others) => {
    const { hasher, asked } = quickHasher();
    const stored = await hasher.hash(password);
    expect(asked[0]?.password).toBe(password);
    expect(await hasher.verify(password, stored)).toBe(true);
    for (const other of others) expect(await hasher.verify(other, stored), other).toBe(false);
  });

  it("in composed and decomposed spelling alike (NFC)", async () => {
    const { hasher } = quickHasher();
    const stored = await hasher.hash("Å\u0323 Ångström");
    expect(await hasher.verify("Å\u0323 Ångström".normalize("NFD"), stored)).toBe(true);
    expect(await hasher.verify("\u212b\u0323 \u212bngström", stored)).toBe(true); // the sign for the unit
  });
});

describe("what no password can be is refused before any work", () => {
  it.each([
    ["1,025 bytes", "a".repeat(1_025)],
    ["1,026 bytes in 513 characters", "é".repeat(513)],
    ["a megabyte", "a".repeat(1_048_576)],
    ["half a surrogate pair", "pass\ud83dword"],
    ["a NUL, which HMAC adds to every short key by itself (RFC 2104 §2)", "password\0\0\0\0\0\0\0"],
    ["a NUL in the middle", "pass\0word"],
  ])("%s", async (_name, password) => {
    const { hasher, asked } = quickHasher();
    await expect(hasher.hash(password)).rejects.toThrow(RangeError);
    await expect(hasher.hash(password)).rejects.not.toThrow(password);
    for (const stored of [null, STORED]) expect(await hasher.verify(password, stored)).toBe(false);
    expect(asked).toEqual([]);
  });

  it("but 1,024 bytes are taken", async () => {
    const { hasher, asked } = quickHasher();
    const password = "é".repeat(512);
    expect(await hasher.verify(password, await hasher.hash(password))).toBe(true);
    expect(asked).toHaveLength(2);
  });
});

describe("requirement 18: the same work for an account that is there and one that is not", () => {
  it.each([
    ["no account, or one without a password", null],
    ["a wrong password", STORED],
    ["a digest that cannot be read", scrypt("$scrypt$ln=14,r=8,p=5$$")],
    ["a wrong password against cloudreve", { scheme: "cloudreve", hash: `salt:${"a".repeat(64)}` }],
    ["an unreadable bcrypt digest", { scheme: "bcrypt", hash: "$2b$10$" }],
    ["an unreadable digest of ASP.NET Identity", { scheme: "aspnet-identity", hash: "AQ==" }],
  ] as const)("%s costs one scrypt with the parameters of new digests", async (_name, stored) => {
    const { hasher, asked } = quickHasher();
    expect(await hasher.verify("x".repeat(20), stored)).toBe(false);
    expect(asked).toEqual([{ password: "x".repeat(20), costLog2: 14 }]);
  });

  it("no password is nobody's, whatever key comes out of it", async () => {
    for (const byte of [0, 1, 255]) {
      const scrypt = () => new Uint8Array(32).fill(byte);
      const hasher = createPasswordHasher({ nowMs: () => 0, wait: async () => {}, scrypt });
      for (const password of ["", "A", "password"]) expect(await hasher.verify(password, null)).toBe(false);
    }
  });
});

describe("a stored digest is not believed", () => {
  it("cut off anywhere it matches nothing, as the beginning of a key verifies like the whole", async () => {
    const { hasher } = quickHasher();
    const stored = await hasher.hash(PASSWORD);
    for (let length = 0; length < stored.hash.length; length++) {
      expect(await hasher.verify(PASSWORD, scrypt(stored.hash.slice(0, length)))).toBe(false);
    }
    expect(await hasher.verify(PASSWORD, stored)).toBe(true);
  });

  it.each([
    "$scrypt$ln=30,r=8,p=1", // 1 TiB
    "$scrypt$ln=17,r=8,p=2", // more than the platform computes
    "$scrypt$ln=17,r=8,p=1", // 128 MiB, all of the isolate's
    "$scrypt$ln=14,r=8,p=9",
    "$scrypt$ln=1,r=99,p=99999",
    "$scrypt$ln=0,r=8,p=1",
    "$scrypt$ln=-1,r=8,p=1",
    "$scrypt$ln=1e1,r=8,p=1",
    "$scrypt$ln=14,r=0,p=5",
    "$scrypt$ln=14,r=8",
    "$scrypt$r=8,ln=14,p=5",
    "$SCRYPT$ln=14,r=8,p=5",
    "$argon2id$ln=14,r=8,p=5",
  ])("%s is not computed", async (parameters) => {
    const { hasher, asked } = quickHasher();
    expect(await hasher.verify(PASSWORD, scrypt(`${parameters}$${SALT}$${KEY}`))).toBe(false);
    expect(asked).toEqual([{ password: PASSWORD, costLog2: 14 }]);
    expect(hasher.isOutdated(scrypt(`${parameters}$${SALT}$${KEY}`))).toBe(true);
  });
});

it("an imported digest is verified, and outdated; a current one is not", async () => {
  const { hasher, asked } = quickHasher();
  const hash = "$2b$05$abcdefghijklmnopqrstuu3F58TMR3T5heUT7a5uNIipGppqvc3lW"; // by libxcrypt
  const stored = { scheme: "bcrypt", hash } as const;
  expect(await hasher.verify("my password", stored)).toBe(true);
  expect(asked).toEqual([]); // what replaces it costs that work
  expect(await hasher.verify("my passwore", stored)).toBe(false);
  expect(hasher.isOutdated(stored)).toBe(true);
  expect(hasher.isOutdated(STORED)).toBe(false);
  expect(hasher.isOutdated({ scheme: "bcrypt", hash: STORED.hash })).toBe(true);
});

it("the isolate is busy: nothing is computed, and the client is told when to come again", async () => {
  let computed = 0;
  const hasher = createPasswordHasher({
    nowMs: () => 0,
    wait: () => new Promise(() => {}),
    scrypt: () => {
      computed += 1;
      return new Uint8Array(32);
    },
  });
  await hasher.hash(PASSWORD);
  for (let i = 0; i < 8; i++) void hasher.verify(PASSWORD, null);
  await Promise.resolve();
  const expected = { code: "sign_in_busy", details: { retryAfterSeconds: 1 } };
  await expect(hasher.verify(PASSWORD, STORED)).rejects.toMatchObject(expected);
  await expect(hasher.hash(PASSWORD)).rejects.toMatchObject(expected);
  expect(computed).toBe(1);
});
