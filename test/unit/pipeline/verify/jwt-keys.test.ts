import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { describe, expect, it, vi } from "vitest";
import type { PublicJwk } from "../../../../src/crypto/public-jwk.ts";
import { createJwtVerifier } from "../../../../src/pipeline/verify/jwt.ts";
import { Problem } from "../../../../src/problem.ts";
import type { JwksSource } from "../../../../src/records/jwks.ts";
import { NOBODY_ASKS, TEST_REALM } from "../../../support/worker/policy.ts";
import {
  aCredential,
  accepted,
  aMatch,
  anIssuer,
  aRequestContext,
  fakeRecords,
  GOOD_CLAIMS,
  mint,
  NO_JWKS,
  NOW_SECONDS,
  rejected,
  verifyJwt,
} from "./fixtures.ts";

describe("verified tokens are remembered", () => {
  const verifySignature = vi.spyOn(crypto.subtle, "verify");

  function remembering(maxRemembered = 16, jwks: JwksSource = NO_JWKS) {
    const verifier = createJwtVerifier({
      records: fakeRecords(),
      ...NOBODY_ASKS,
      jwks,
      maxRemembered,
    });
    return (token: string, match = aMatch(), nowSeconds = NOW_SECONDS) => {
      verifySignature.mockClear();
      return verifier(aCredential("jwt", token), match, aRequestContext({ nowSeconds }));
    };
  }

  it("so that a warm one costs no signature check", async () => {
    const ask = remembering();
    const match = aMatch();
    const token = await mint();
    const cold = await ask(token, match);
    expect(verifySignature).toHaveBeenCalledTimes(1);
    expect(await ask(token, match)).toEqual(cold);
    expect(verifySignature).not.toHaveBeenCalled();
  });

  it("but expire to the second all the same", async () => {
    const ask = remembering();
    const match = aMatch();
    const token = await mint({ exp: NOW_SECONDS + 100 });
    await ask(token, match);
    expect(rejected(await ask(token, match, NOW_SECONDS + 129))).toBe("accepted");
    expect(rejected(await ask(token, match, NOW_SECONDS + 130))).toBe("expired");
  });

  it("but not before nbf, should the clock go back", async () => {
    const ask = remembering();
    const match = aMatch();
    const token = await mint({ nbf: NOW_SECONDS });
    await ask(token, match);
    expect(rejected(await ask(token, match, NOW_SECONDS - 31))).toBe("not_yet_valid");
  });

  it("by the whole token: none with another signature is taken for it", async () => {
    const ask = remembering();
    const match = aMatch();
    const token = await mint();
    await ask(token, match);
    const forged = `${token.slice(0, token.lastIndexOf("."))}.${"A".repeat(43)}`;
    expect(rejected(await ask(forged, match))).toBe("signature");
  });

  it("not when they were refused", async () => {
    const ask = remembering();
    const match = aMatch();
    const token = await mint({ nbf: NOW_SECONDS + 100 });
    expect(rejected(await ask(token, match))).toBe("not_yet_valid");
    expect(rejected(await ask(token, match, NOW_SECONDS + 100))).toBe("accepted");
  });

  it("for one issuer each: another one's rules are checked anew", async () => {
    const ask = remembering();
    const token = await mint();
    await ask(token, aMatch());
    const stricter = aMatch({ jwtIssuers: [anIssuer({ audience: ["other"] })] });
    expect(rejected(await ask(token, stricter))).toBe("audience");
  });

  it("as facts: what a route or realm makes of them is decided on each request", async () => {
    const ask = remembering();
    const issuer = anIssuer();
    const token = await mint({ role: "admin" });
    await ask(token, aMatch({ jwtIssuers: [issuer] }));
    const elsewhere = aMatch({
      jwtIssuers: [issuer],
      ladder: ["guest", "admin"],
      realm: { ...TEST_REALM, name: "other" },
    });
    expect(accepted(await ask(token, elsewhere))).toMatchObject({ realm: "other", role: "admin" });
  });

  it("in bounded number", async () => {
    const ask = remembering(4);
    const match = aMatch();
    const first = await mint({ sub: "first" });
    await ask(first, match);
    for (let i = 0; i < 8; i++) await ask(await mint({ sub: `${i}` }), match);
    await ask(first, match);
    expect(verifySignature).toHaveBeenCalledTimes(1);
  });
});

describe("requirement 14: keys from a key set", () => {
  const url = new URL("https://idp.example/jwks");

  async function keyPair(alg: string, kid?: string) {
    const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
    const jwk = { ...(await exportJWK(publicKey)), ...(kid === undefined ? {} : { kid }) } as PublicJwk;
    const sign = (header = {}) =>
      new SignJWT(GOOD_CLAIMS)
        .setProtectedHeader({ alg, ...(kid === undefined ? {} : { kid }), ...header })
        .sign(privateKey);
    return { jwk, sign };
  }

  /** A source whose set a test can replace, and which notes the kids it was asked for. */
  function source(keys: readonly PublicJwk[], afterRefetch = keys) {
    const state = { version: 1, keys, afterRefetch, asked: [] as (string | null)[] };
    const jwks: JwksSource = {
      keySet: async (_url, unknownKid) => {
        state.asked.push(unknownKid);
        if (unknownKid !== null && state.keys !== state.afterRefetch) {
          state.keys = state.afterRefetch;
          state.version += 1;
        }
        return { version: state.version, keys: state.keys };
      },
    };
    return { state, jwks };
  }

  const issuer = { algorithms: ["ES256", "RS256"], keys: { kind: "jwks", url } } as const;

  it("verifies with the key of the token's kid", async () => {
    const [a, b] = [await keyPair("ES256", "a"), await keyPair("ES256", "b")];
    const { jwks, state } = source([a.jwk, b.jwk]);
    expect(rejected(await verifyJwt(await b.sign(), { issuer, jwks }))).toBe("accepted");
    expect(rejected(await verifyJwt(await b.sign({ kid: "a" }), { issuer, jwks }))).toBe("signature");
    expect(state.asked).toEqual([null, null]);
  });

  it("asks for an unknown kid once, and rejects when it stays unknown", async () => {
    const [a, b] = [await keyPair("ES256", "a"), await keyPair("ES256", "b")];
    const known = source([a.jwk], [a.jwk, b.jwk]);
    expect(rejected(await verifyJwt(await b.sign(), { issuer, jwks: known.jwks }))).toBe("accepted");
    expect(known.state.asked).toEqual([null, "b"]);
    const unknown = source([a.jwk]);
    expect(rejected(await verifyJwt(await b.sign(), { issuer, jwks: unknown.jwks }))).toBe("unknown_key");
    expect(unknown.state.asked).toEqual([null, "b"]);
  });

  it("tries the keys of the algorithm when the token names none, four at most", async () => {
    const pairs = await Promise.all(["1", "2", "3", "4", "5"].map((kid) => keyPair("ES256", kid)));
    const { jwks } = source(pairs.map(({ jwk }) => jwk));
    const results = [];
    for (const { sign } of pairs)
      results.push(rejected(await verifyJwt(await sign({ kid: undefined }), { issuer, jwks })));
    expect(results).toEqual(["accepted", "accepted", "accepted", "accepted", "signature"]);
  });

  it("takes keys without kid where none has the token's", async () => {
    const pair = await keyPair("ES256");
    const { jwks } = source([pair.jwk]);
    expect(rejected(await verifyJwt(await pair.sign({ kid: "x" }), { issuer, jwks }))).toBe("accepted");
  });

  it("does not use a key of the right kid for another algorithm", async () => {
    const rsa = await keyPair("RS256", "a");
    const ec = await keyPair("ES256", "a");
    const { jwks } = source([{ ...rsa.jwk, alg: "PS256" }]);
    expect(rejected(await verifyJwt(await rsa.sign(), { issuer, jwks }))).toBe("unknown_key");
    expect(rejected(await verifyJwt(await ec.sign(), { issuer, jwks }))).toBe("unknown_key");
  });

  it("forgets what a key verified once it is gone from the set", async () => {
    const [a, b] = [await keyPair("ES256", "a"), await keyPair("ES256", "b")];
    const { jwks, state } = source([a.jwk, b.jwk]);
    const verifier = createJwtVerifier({
      records: fakeRecords(),
      ...NOBODY_ASKS,
      jwks,
      maxRemembered: 16,
    });
    const match = aMatch({ jwtIssuers: [anIssuer(issuer)] });
    const token = await a.sign();
    const ask = async () => rejected(await verifier(aCredential("jwt", token), match, aRequestContext()));
    expect(await ask()).toBe("accepted");
    expect(await ask()).toBe("accepted");
    state.keys = state.afterRefetch = [b.jwk];
    state.version = 2;
    expect(await ask()).toBe("unknown_key");
  });

  it("throws when there are no keys to be had: a good token is not called bad", async () => {
    const pair = await keyPair("ES256", "a");
    const jwks: JwksSource = {
      keySet: async () => {
        throw new Problem("keys_unavailable", "down");
      },
    };
    await expect(verifyJwt(await pair.sign(), { issuer, jwks })).rejects.toMatchObject({
      code: "keys_unavailable",
    });
  });
});
