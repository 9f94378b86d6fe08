// Which credential of a request counts in front of a classic New API, by whose sessions can be verified (New API §3.2).
import { describe, expect, it } from "vitest";
import { arrive } from "../../../../src/pipeline/path.ts";
import { createRead, places, type SessionsOf } from "../../../../src/presets/new-api/read.ts";
import { aRoute, problemOf, rawRequest, someRules } from "../../../support/worker/policy.ts";

const OF_ORIGIN = "MTc1NTE2NTg4MnxEWDhFQVFMX2dBQUJFQUVRQUFBel80QUFBUT09fA==";
const ISSUED = `ses_1.${"x".repeat(40)}`;
const PAT = "abc+/F0123456789abcDEF01234=";
const management = aRoute("/api/user/self", { accept: ["session", "pat"] });

const read = (sessionsOf: SessionsOf, headers: Record<string, string>, route = management) => {
  const rules = someRules({
    userHeader: "new-api-user",
    cookies: sessionsOf === "issued" ? ["session"] : ["__Host-postern-llm"],
  });
  const arrival = arrive(rawRequest("https://llm.example.com/api/user/self", headers));
  const presented = createRead(sessionsOf)(arrival, route, rules);
  return presented && [presented.credential.kind, presented.credential.value, presented.place.name];
};
const SESSION = ["session", OF_ORIGIN, "session"];
const TOKEN = ["pat", PAT, "authorization"];

describe("where the origin is asked about its sessions", () => {
  it.each<[string, Record<string, string>, unknown]>([
    ["its cookie", { cookie: `a=1; session=${OF_ORIGIN}` }, SESSION],
    [
      "its cookie beside a token: it may be over",
      { cookie: `session=${OF_ORIGIN}`, authorization: PAT },
      TOKEN,
    ],
    ["its cookie beside no token", { cookie: `session=${OF_ORIGIN}`, authorization: "Bearer x" }, SESSION],
    ["its cookie beside a key", { cookie: `session=${OF_ORIGIN}`, authorization: "sk-x" }, SESSION],
    ["its cookie twice", { cookie: `session=${OF_ORIGIN}; session=${OF_ORIGIN}` }, SESSION],
    ["a cookie that was made here, and a token", { cookie: `session=${ISSUED}`, authorization: PAT }, TOKEN],
    ["a cookie that was emptied, and a token", { cookie: "session=", authorization: PAT }, TOKEN],
    ["a cookie of another name", { cookie: `__Host-postern-llm=${OF_ORIGIN}` }, null],
    ["no cookie", {}, null],
  ])("%s", (_what, headers, expected) => {
    expect(read("origin", headers)).toEqual(expected);
  });

  it("two different ones are a conflict", () => {
    const headers = { cookie: `session=${OF_ORIGIN}; session=x${OF_ORIGIN}` };
    expect(problemOf(() => read("origin", headers)).code).toBe("credential_conflict");
  });

  it("none counts where the route takes none", () => {
    const tokens = aRoute("/api/option/*", { accept: ["pat"] });
    expect(read("origin", { cookie: `session=${OF_ORIGIN}`, authorization: PAT }, tokens)).toEqual(TOKEN);
  });
});

it.each<[SessionsOf, string, unknown]>([
  [null, OF_ORIGIN, TOKEN],
  [null, ISSUED, TOKEN],
  ["issued", OF_ORIGIN, TOKEN],
  ["issued", ISSUED, ["session", ISSUED, "session"]],
])("sessions of %j: the cookie %s beside a token", (sessionsOf, cookie, expected) => {
  expect(read(sessionsOf, { cookie: `session=${cookie}`, authorization: `Bearer ${PAT}` })).toEqual(expected);
});

it("the cookie is a place on every route that looks at credentials, whoever can verify it", () => {
  const arrival = arrive(rawRequest("https://llm.example.com/v1/models"));
  for (const accept of [["session", "pat"], ["pat"], ["api_key"], ["session", "api_key"]] as const) {
    const names = places(arrival, aRoute("/x", { accept })).map(({ name }) => name);
    expect(names).toContain("session");
    expect(names).toContain("authorization");
  }
});
