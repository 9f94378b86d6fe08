import { describe, expect, it } from "vitest";
import {
  accepted,
  anIssuer,
  GOOD_CLAIMS,
  mint,
  NOW_SECONDS,
  rejected,
  signText,
  verifyJwt,
} from "./fixtures.ts";

describe("requirement 11: times of a token", () => {
  it.each([
    ["accepts one second before exp + tolerance", { exp: NOW_SECONDS - 29 }, "accepted"],
    ["rejects at exp + tolerance: on or after (RFC 7519 §4.1.4)", { exp: NOW_SECONDS - 30 }, "expired"],
    ["rejects a token without exp", { exp: undefined }, "claim"],
    ["rejects exp of null", { exp: null }, "claim"],
    ["rejects exp in a string (RFC 7519 §2)", { exp: `${NOW_SECONDS + 900}` }, "claim"],
    ["rejects exp of true", { exp: true }, "claim"],
    ["rejects exp in an array", { exp: [NOW_SECONDS + 900] }, "claim"],
    ["rejects exp of 0", { exp: 0 }, "expired"],
    ["rejects a negative exp", { exp: -1 }, "expired"],
    ["rejects milliseconds for seconds", { exp: (NOW_SECONDS + 900) * 1000 }, "claim"],
    ["accepts a fraction of a second (RFC 7519 §2)", { exp: NOW_SECONDS + 0.5 }, "accepted"],
    ["accepts the longest life with tolerance", { exp: NOW_SECONDS + 86_430 }, "accepted"],
    ["rejects one second more", { exp: NOW_SECONDS + 86_431 }, "claim"],
    ["accepts nbf at now + tolerance", { nbf: NOW_SECONDS + 30 }, "accepted"],
    ["rejects nbf one second later", { nbf: NOW_SECONDS + 31 }, "not_yet_valid"],
    ["rejects nbf in a string", { nbf: "0" }, "claim"],
    ["rejects nbf of null", { nbf: null }, "claim"],
    ["accepts iat in the past", { iat: 0 }, "accepted"],
    ["accepts iat dated ahead as ours are after a revocation", { iat: NOW_SECONDS + 31 }, "accepted"],
    ["rejects iat further in the future", { iat: NOW_SECONDS + 32 }, "not_yet_valid"],
    ["rejects iat in a string", { iat: "0" }, "claim"],
    ["rejects iat in an object", { iat: {} }, "claim"],
  ])("%s", async (_name, claims, expected) => {
    expect(rejected(await verifyJwt(await mint(claims)))).toBe(expected);
  });

  it.each([
    ["1e999, which reads as infinite", "1e999", "claim"],
    ["-1e999", "-1e999", "claim"],
    ["1e300", "1e300", "claim"],
  ])("rejects exp of %s", async (_name, exp, expected) => {
    const token = await signText(
      '{"alg":"HS256"}',
      JSON.stringify({ ...GOOD_CLAIMS, exp: "EXP" }).replace('"EXP"', exp),
    );
    expect(rejected(await verifyJwt(token))).toBe(expected);
  });

  it("uses no more than 60 seconds of tolerance, whatever is configured", async () => {
    const issuer = { clockToleranceSeconds: 3_600 };
    expect(rejected(await verifyJwt(await mint({ exp: NOW_SECONDS - 59 }), { issuer }))).toBe("accepted");
    expect(rejected(await verifyJwt(await mint({ exp: NOW_SECONDS - 60 }), { issuer }))).toBe("expired");
  });

  it("uses none where none is configured", async () => {
    const issuer = { clockToleranceSeconds: 0 };
    expect(rejected(await verifyJwt(await mint({ exp: NOW_SECONDS + 1 }), { issuer }))).toBe("accepted");
    expect(rejected(await verifyJwt(await mint({ exp: NOW_SECONDS }), { issuer }))).toBe("expired");
    expect(rejected(await verifyJwt(await mint({ nbf: NOW_SECONDS + 1 }), { issuer }))).toBe("not_yet_valid");
  });
});

describe("requirement 11: issuer, audience, subject", () => {
  it.each([
    ["another iss", { iss: "https://evil.example" }, "issuer"],
    ["no iss", { iss: undefined }, "issuer"],
    ["an iss with a trailing slash", { iss: "https://idp.example/" }, "issuer"],
    ["an iss in other case", { iss: "https://IDP.example" }, "issuer"],
    ["an iss in an array", { iss: ["https://idp.example"] }, "issuer"],
    ["another aud", { aud: "other" }, "audience"],
    ["no aud", { aud: undefined }, "audience"],
    ["an aud that contains ours", { aud: "api2" }, "audience"],
    ["an aud in other case", { aud: "API" }, "audience"],
    ["an empty aud", { aud: [] }, "audience"],
    ["an aud with something that is no string beside ours", { aud: ["api", 7] }, "audience"],
    ["an aud in an object", { aud: { api: "api" } }, "audience"],
    ["no sub", { sub: undefined }, "subject"],
    ["an empty sub", { sub: "" }, "subject"],
    ["a sub of null", { sub: null }, "subject"],
    ["a numeric sub", { sub: 7 }, "subject"],
    ["a sub in an array", { sub: ["7"] }, "subject"],
    ["an endless sub", { sub: "7".repeat(257) }, "subject"],
    ["a jti that is no string", { jti: 7 }, "claim"],
    ["an empty jti", { jti: "" }, "claim"],
    ["a session id that is no string", { sid: { id: "1" } }, "claim"],
  ])("rejects %s", async (_name, claims, expected) => {
    expect(rejected(await verifyJwt(await mint(claims)))).toBe(expected);
  });

  it("accepts an array of audiences that holds ours", async () => {
    expect(rejected(await verifyJwt(await mint({ aud: ["other", "api"] })))).toBe("accepted");
  });

  it("asks for neither where the issuer's tokens carry none", async () => {
    const issuer = { issuer: null, audience: null };
    expect(rejected(await verifyJwt(await mint({ iss: undefined, aud: undefined }), { issuer }))).toBe(
      "accepted",
    );
  });

  it("reads the subject at the configured path, whatever characters its names have", async () => {
    const claims = { ...anIssuer().claims, subject: ["http://schemas.example/name", "id"] };
    const token = await mint({ sub: undefined, "http://schemas.example/name": { id: "guid" } });
    expect(accepted(await verifyJwt(token, { issuer: { claims } }))).toMatchObject({ id: "guid" });
    expect(rejected(await verifyJwt(await mint(), { issuer: { claims } }))).toBe("subject");
  });

  it("does not take an inherited property for a claim", async () => {
    const claims = { ...anIssuer().claims, subject: ["constructor", "name"] };
    expect(rejected(await verifyJwt(await mint(), { issuer: { claims } }))).toBe("subject");
    const proto = await signText(
      '{"alg":"HS256"}',
      `{"__proto__":{"sub":"admin"},"iss":"https://idp.example","aud":"api","exp":${NOW_SECONDS + 60}}`,
    );
    expect(rejected(await verifyJwt(proto))).toBe("subject");
  });
});

describe("requirement 12: kinds of tokens exclude each other", () => {
  const issuer = { require: [["token_type", "access"]] as const, types: ["at+jwt"] };
  const header = { typ: "at+jwt" };
  it.each([
    ["accepts the required claim and typ", { token_type: "access" }, header, "accepted"],
    [
      "compares typ without case and application/ (RFC 7515 §4.1.9)",
      { token_type: "access" },
      { typ: "Application/AT+jwt" },
      "accepted",
    ],
    ["rejects a refresh token", { token_type: "refresh" }, header, "claim"],
    ["rejects a token without the required claim", {}, header, "claim"],
    ["rejects the required value in an array", { token_type: ["access"] }, header, "claim"],
    ["rejects another typ", { token_type: "access" }, { typ: "JWT" }, "claim"],
    ["rejects no typ where one is required (RFC 9068 §4)", { token_type: "access" }, {}, "claim"],
    [
      "rejects a user context presented as a token",
      { token_type: "access" },
      { typ: "user-context+jwt" },
      "claim",
    ],
  ])("%s", async (_name, claims, typ, expected) => {
    expect(rejected(await verifyJwt(await mint(claims, typ), { issuer }))).toBe(expected);
  });

  it("compares required claims by type as well", async () => {
    const flag = { require: [["verified", true]] as const };
    expect(rejected(await verifyJwt(await mint({ verified: true }), { issuer: flag }))).toBe("accepted");
    expect(rejected(await verifyJwt(await mint({ verified: "true" }), { issuer: flag }))).toBe("claim");
    expect(rejected(await verifyJwt(await mint({ verified: 1 }), { issuer: flag }))).toBe("claim");
  });
});

describe("what the log is told of a claim", () => {
  it.each([
    ["no exp", { exp: undefined }, "exp: missing"],
    ["exp of another type", { exp: "4102444800" }, "exp"],
    ["a life that is too long", { exp: NOW_SECONDS + 2_592_000 }, "exp: over max_lifetime_seconds, 86400"],
    ["nbf of another type", { nbf: "secret" }, "nbf"],
    ["iat of another type", { iat: "secret" }, "iat"],
    ["jti of another type", { jti: 7 }, "jti"],
  ])("%s, by name and not by value", async (_, claims, detail) => {
    expect(await verifyJwt(await mint(claims))).toEqual({ kind: "reject", reason: "claim", detail });
  });
});
