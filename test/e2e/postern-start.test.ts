// The lines that `npm start` prints, without starting anything.
import { expect, it } from "vitest";
import { inBrief, warningLines } from "../../cli/start-lines.ts";

const LINE = {
  ...{ level: "info", status: 200, method: "GET", path: "/x", outcome: "answered" },
  ...{ reason: null, principalId: null, credentialKind: null },
};
const brief = (more: object) => inBrief(JSON.stringify({ ...LINE, ...more }));

it.each([
  ["nobody", {}, "200 GET /x  answered"],
  ["a user", { principalId: "7", credentialKind: "pat" }, "200 GET /x  answered  user 7 by pat"],
  ["a user who signs in", { principalId: "7" }, "200 GET /x  answered  user 7"],
  ["ADMIN_TOKEN", { principalId: "admin_token" }, "200 GET /x  answered  by ADMIN_TOKEN"],
  [
    "a user who is called so",
    { principalId: "admin_token", credentialKind: "jwt" },
    "200 GET /x  answered  user admin_token by jwt",
  ],
])("requests by %s", (_, more, expected) => {
  expect(brief(more)).toBe(expected);
});

it("what is no line of the gateway's own is not shown", () => {
  expect(inBrief("Ready on http://127.0.0.1:8787")).toBeNull();
  expect(inBrief('{"level":"info"}')).toBeNull();
});

it("warnings of the configuration, but those that every gateway on a developer's machine gets", () => {
  const warnings = [
    { key: "GATEWAY.environment", message: "is development" },
    { key: "GATEWAY.hosts", message: "is not set" },
    { key: "GATEWAY.realms.apii", message: "is used by no site" },
  ];
  expect(warningLines(warnings)).toEqual(["warning: GATEWAY.realms.apii: is used by no site"]);
});
