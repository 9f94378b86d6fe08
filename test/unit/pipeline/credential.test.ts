import { describe, expect, it } from "vitest";
import type { CredentialRules, Route } from "../../../src/config/types.ts";
import { extractCredential, removeCredentials } from "../../../src/pipeline/credential.ts";
import type { Match } from "../../../src/pipeline/route.ts";
import type { Credential, CredentialKind } from "../../../src/types.ts";
import {
  aConfig,
  aContext,
  aRoute,
  aSite,
  problemOf,
  rawRequest,
  someRules,
} from "../../support/worker/policy.ts";
import { aPrincipal } from "../../support/worker/upstream.ts";

const JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiI3In0.c2ln";
const KEY = `sk-${"a".repeat(48)}`;
const PAT = "b".repeat(32);
const SESSION = `s1.${"c".repeat(43)}`;

type Sent = Record<string, string>;

function matched(rules: Partial<CredentialRules>, route: Partial<Route> = {}): Match {
  const site = aSite([], { credentials: someRules(rules) });
  return { site, route: aRoute("/x", route), forwardPath: "/x" };
}

function extract(rules: Partial<CredentialRules>, sent: Sent, search = "", route: Partial<Route> = {}) {
  const match = matched(rules, route);
  const request = rawRequest(`https://a.example/x${search}`, {});
  // Untrimmed values, which one release of the platform hands over, cannot be made with `Headers`.
  const headers = {
    get: (name: string) => sent[name] ?? null,
    has: (name: string) => name in sent,
  } as unknown as Headers;
  const context = aContext(aConfig([match.site]), { ...request, headers } as Request);
  return extractCredential(match, context);
}

const codeOf = (rules: Partial<CredentialRules>, sent: Sent, search = "", route: Partial<Route> = {}) =>
  problemOf(() => extract(rules, sent, search, route)).code;

const found = (kind: Credential["kind"], value: string, claimedUserId: string | null = null) => ({
  kind,
  value,
  suffix: null,
  claimedUserId,
});

const EVERY_PLACE = {
  headers: ["x-api-key", "x-token"],
  cookies: ["sid", "sid2"],
  query: ["access_token", "key"],
  userHeader: "new-api-user",
} as const;

describe("extractCredential: Authorization", () => {
  it.each([
    ["a JWT", `Bearer ${JWT}`, found("jwt", JWT)],
    ["an API key", `Bearer ${KEY}`, found("api_key", KEY)],
    ["a PAT", `Bearer ${PAT}`, found("pat", PAT)],
    ["the scheme in lower case (RFC 9110 §11.1)", `bearer ${PAT}`, found("pat", PAT)],
    ["the scheme in any case", `bEaReR ${PAT}`, found("pat", PAT)],
    ["several blanks (RFC 9110 §11.4)", `Bearer   ${PAT}`, found("pat", PAT)],
    ["blanks around, which one platform release keeps", ` \tBearer ${PAT} \t`, found("pat", PAT)],
    ["one dot", "Bearer a.b", found("pat", "a.b")],
    ["three dots", "Bearer a.b.c.d", found("pat", "a.b.c.d")],
    ["two dots make a JWT, even empty parts", "Bearer ..", found("jwt", "..")],
    ["8 KB", `Bearer ${"a".repeat(8192)}`, found("pat", "a".repeat(8192))],
  ])("reads %s", (_name, authorization, expected) => {
    expect(extract({}, { authorization })).toEqual(expected);
  });

  it.each([
    ["another scheme", "Basic dTpw"],
    ["Digest", 'Digest username="u", realm="r"'],
    ["no scheme", PAT],
    ["no scheme, a JWT", JWT],
    ["a scheme that begins alike", `Bearerx ${PAT}`],
    ["a scheme without blank", `Bearer${PAT}`],
    ["a tab for the blank", `Bearer\t${PAT}`],
    ["the scheme alone", "Bearer"],
    ["the scheme and a blank", "Bearer "],
    ["nothing", ""],
    ["blanks", "  "],
    ["two, as a repeated header arrives", `Bearer ${PAT}, Bearer ${KEY}`],
    ["the same twice", `Bearer ${PAT}, Bearer ${PAT}`],
    ["two without blank", `Bearer ${PAT},${PAT}`],
    ["a list with another scheme", `Basic dTpw, Bearer ${PAT}`],
    ["two words", `Bearer ${PAT} ${PAT}`],
    ["scheme twice", `Bearer Bearer ${PAT}`],
    ["a control byte", `Bearer a\x01b`],
    ["DEL", `Bearer a\x7fb`],
    ["a tab inside", `Bearer a\tb`],
    ["a byte beyond ASCII", `Bearer aéb`],
    ["a byte that was no UTF-8", `Bearer a\ufffdb`],
    ["a no-break space behind", `Bearer ab\u00a0`],
    ["8 KB and one", `Bearer ${"a".repeat(8193)}`],
  ])("requirement 7: refuses %s", (_name, authorization) => {
    expect(codeOf({}, { authorization })).toBe("credential_invalid");
    expect(codeOf({}, { authorization }, "", { auth: "optional" })).toBe("credential_invalid");
  });

  it.each([
    ["a raw key", KEY, found("api_key", KEY)],
    ["a raw PAT", PAT, found("pat", PAT)],
    ["a raw JWT", JWT, found("jwt", JWT)],
    ["Bearer all the same", `Bearer ${KEY}`, found("api_key", KEY)],
  ])("where the scheme is optional, reads %s", (_name, authorization, expected) => {
    expect(extract({ authorization: "bearer_or_raw" }, { authorization })).toEqual(expected);
  });

  it.each(["Basic dTpw", `Token ${KEY}`, `${KEY}, ${KEY}`, "Bearer", "", `Bearer\t${KEY}`])(
    "where the scheme is optional, still refuses %s",
    (authorization) => {
      expect(codeOf({ authorization: "bearer_or_raw" }, { authorization })).toBe("credential_invalid");
    },
  );

  it("does not look where the site does not use the header", () => {
    expect(extract({ authorization: "off" }, { authorization: "Basic dTpw" })).toBeNull();
  });

  it("tells API keys by the configured prefix", () => {
    const match = matched({});
    const read = (authorization: string, apiKeyPrefix: string) => {
      const request = rawRequest("https://a.example/x", { authorization });
      return extractCredential(match, aContext(aConfig([match.site], { apiKeyPrefix }), request))?.kind;
    };
    expect(read("Bearer pk_1", "pk_")).toBe("api_key");
    expect(read(`Bearer ${KEY}`, "pk_")).toBe("pat");
    expect(read("Bearer xpk_1", "pk_")).toBe("pat");
    expect(read("Bearer PK_1", "pk_")).toBe("pat");
  });
});

describe("extractCredential: other places", () => {
  it("finds nothing where nothing is", () => {
    expect(extract(EVERY_PLACE, {}, "?a=b", {})).toBeNull();
    expect(extract(EVERY_PLACE, { cookie: "a=b; c" }, "")).toBeNull();
  });

  it.each([
    ["a header", { "x-api-key": ` ${KEY} ` }, "", found("api_key", KEY)],
    ["the second header", { "x-token": JWT }, "", found("jwt", JWT)],
    ["a cookie", { cookie: `a=b; sid=${SESSION}; c=d` }, "", found("session", SESSION)],
    ["a cookie of a repeated header", { cookie: `a=b, sid=${SESSION}, c=d` }, "", found("session", SESSION)],
    ["a cookie with blanks", { cookie: ` sid = ${SESSION} ;` }, "", found("session", SESSION)],
    ["a cookie that looks like a JWT", { cookie: `sid=${JWT}` }, "", found("session", JWT)],
    ["a parameter", {}, `?a=b&access_token=${KEY}&c`, found("api_key", KEY)],
    ["a parameter in escapes", {}, `?%61ccess%5Ftoken=%73k-1`, found("api_key", "sk-1")],
    ["the same cookie twice with one value", { cookie: "sid=a.b; sid=a.b" }, "", found("session", "a.b")],
    ["an emptied cookie beside a full one", { cookie: "sid=; sid=a.b" }, "", found("session", "a.b")],
  ])("reads %s", (_name, sent, search, expected) => {
    expect(extract(EVERY_PLACE, sent, search)).toEqual(expected);
  });

  it.each([
    ["an emptied cookie", { cookie: "sid=" }, ""],
    ["a cookie without value", { cookie: "sid" }, ""],
    ["a cookie whose name only ends alike", { cookie: "xsid=a.b; x-sid=a.b" }, ""],
    ["a cookie in another case", { cookie: "SID=a.b" }, ""],
    ["a value that looks like a cookie", { cookie: "a=sid=a.b" }, ""],
    ["an empty parameter", {}, "?access_token=&key"],
    ["a parameter in another case", {}, "?Access_Token=a"],
    ["a value that looks like a parameter", {}, "?a=access_token=b"],
    ["a parameter of the path", {}, ""],
  ])("finds none in %s", (_name, sent, search) => {
    expect(extract(EVERY_PLACE, sent as Sent, search)).toBeNull();
  });

  it("does not read what the site did not opt in to", () => {
    expect(extract({}, { cookie: "sid=a.b", "x-api-key": KEY }, `?access_token=${KEY}`)).toBeNull();
  });

  it.each([
    ["a header sent twice", { "x-api-key": `${KEY}, ${KEY}` }, "", "credential_invalid"],
    ["an empty header", { "x-api-key": "" }, "", "credential_invalid"],
    ["a scheme in a header for bare secrets", { "x-api-key": `Bearer ${KEY}` }, "", "credential_invalid"],
    ["two cookies of one name", { cookie: "sid=a.b; sid=a.c" }, "", "credential_conflict"],
    ["the same over two lines", { cookie: "sid=a.b, sid=a.c" }, "", "credential_conflict"],
    ["a list in a cookie", { cookie: "sid=a.b,c" }, "", "credential_invalid"],
    ["a cookie beyond ASCII", { cookie: "sid=a.é" }, "", "credential_invalid"],
    ["a cookie over 8 KB", { cookie: `sid=${"a".repeat(8193)}` }, "", "credential_invalid"],
    ["two parameters of one name", {}, "?key=a&key=b", "credential_conflict"],
    ["the same in another spelling", {}, "?key=a&k%65y=b", "credential_conflict"],
    ["a parameter that does not decode", {}, "?key=%ff", "credential_invalid"],
    ["a parameter with a blank", {}, "?key=a+b", "credential_invalid"],
    ["a parameter with a line feed", {}, "?key=a%0ab", "credential_invalid"],
  ])("requirement 7: refuses %s", (_name, sent, search, code) => {
    expect(codeOf(EVERY_PLACE, sent as Sent, search)).toBe(code);
  });

  it("hands on the claimed owner as sent", () => {
    const sent = { authorization: `Bearer ${PAT}` };
    expect(extract(EVERY_PLACE, { ...sent, "new-api-user": " 7 " })).toEqual(found("pat", PAT, "7"));
    expect(extract(EVERY_PLACE, { ...sent, "new-api-user": "7, 7" })).toEqual(found("pat", PAT, "7, 7"));
    expect(extract(EVERY_PLACE, { ...sent, "new-api-user": "" })).toEqual(found("pat", PAT, ""));
    expect(extract(EVERY_PLACE, sent)).toEqual(found("pat", PAT, null));
    expect(extract(EVERY_PLACE, { "new-api-user": "7" })).toBeNull();
  });
});

describe("requirement 7: one credential a request", () => {
  const pairs: readonly (readonly [string, Sent, string])[] = [
    ["Authorization and a header", { authorization: `Bearer ${PAT}`, "x-api-key": KEY }, ""],
    ["two headers", { "x-api-key": KEY, "x-token": PAT }, ""],
    ["Authorization and a cookie", { authorization: `Bearer ${PAT}`, cookie: "sid=a.b" }, ""],
    ["two cookies", { cookie: "sid=a.b; sid2=a.c" }, ""],
    ["a header and a parameter", { "x-api-key": KEY }, `?key=${PAT}`],
    ["two parameters", {}, "?access_token=a&key=b"],
  ];

  it.each(pairs)("refuses %s", (_name, sent, search) => {
    expect(codeOf(EVERY_PLACE, sent, search)).toBe("credential_conflict");
    expect(codeOf(EVERY_PLACE, sent, search, { auth: "optional" })).toBe("credential_conflict");
    const anonymous = { ...EVERY_PLACE, onInvalid: "anonymous" } as const;
    expect(codeOf(anonymous, sent, search, { auth: "optional" })).toBe("credential_conflict");
  });

  it("takes the same secret in several places for one", () => {
    const sent = { authorization: `Bearer ${KEY}`, "x-api-key": KEY, "x-token": KEY };
    expect(extract(EVERY_PLACE, sent, `?key=${KEY}`)).toEqual(found("api_key", KEY));
  });

  it("refuses a bad one beside a good one", () => {
    const sent = { authorization: "Basic dTpw", "x-api-key": KEY };
    expect(codeOf(EVERY_PLACE, sent)).toBe("credential_invalid");
  });

  it.each([
    ["Authorization first", { authorization: `Bearer ${PAT}`, "x-api-key": KEY, cookie: "sid=a.b" }, "", PAT],
    ["then headers", { "x-token": PAT, "x-api-key": KEY, cookie: "sid=a.b" }, "?key=k", KEY],
    ["then cookies, as configured", { cookie: "sid2=a.c; sid=a.b" }, "?key=k", "a.b"],
    ["then parameters, as configured", {}, "?key=k&access_token=t", "t"],
    ["whatever the later ones look like", { "x-api-key": KEY, "x-token": "a, b", cookie: "sid=é" }, "", KEY],
  ])("conflict = first: %s", (_name, sent, search, value) => {
    expect(extract({ ...EVERY_PLACE, conflict: "first" }, sent as Sent, search)?.value).toBe(value);
  });

  it.each([
    ["a bad first place", { authorization: "Basic dTpw", "x-api-key": KEY }, "", "credential_invalid"],
    ["two cookies of one name", { cookie: "sid=a.b; sid=a.c" }, "", "credential_conflict"],
  ])("conflict = first: still refuses %s", (_name, sent, search, code) => {
    expect(codeOf({ ...EVERY_PLACE, conflict: "first" }, sent as Sent, search)).toBe(code);
  });
});

describe("requirement 8: optional and open routes", () => {
  it("never looks on an open route", () => {
    const sent = { authorization: "Basic, dTpw", "x-api-key": "a, b", cookie: "sid=a.b; sid=a.c" };
    expect(extract(EVERY_PLACE, sent, "?key=%ff", { auth: "none" })).toBeNull();
  });

  it("takes a malformed credential for none only on optional routes of sites that say so", () => {
    const sent = { authorization: "Basic dTpw" };
    const rules = { onInvalid: "anonymous" } as const;
    expect(extract(rules, sent, "", { auth: "optional" })).toBeNull();
    expect(codeOf(rules, sent, "", { auth: "required" })).toBe("credential_invalid");
    expect(codeOf({}, sent, "", { auth: "optional" })).toBe("credential_invalid");
  });
});

describe("removeCredentials", () => {
  function removed(rules: Partial<CredentialRules>, sent: Sent, search = "") {
    const headers = new Headers(sent);
    const match = matched(rules, { auth: "none" });
    const context = aContext(aConfig([match.site]), rawRequest(`https://a.example/x${search}`, sent));
    const rest = removeCredentials(headers, [...headers.keys()], null, match, context);
    return { headers: Object.fromEntries(headers), search: rest };
  }

  it.each([
    "Bearer x",
    "bearer x",
    "Bearer",
    "Basic a, Bearer x",
    "bearer\tx",
    "Bearer, x",
    "BEARER x, Basic y",
  ])("takes away Authorization: %s", (authorization) => {
    expect(removed({}, { authorization }).headers).toEqual({});
    expect(removed({ authorization: "bearer_or_raw" }, { authorization }).headers).toEqual({});
  });

  it.each(["Basic dTpw", "basic dTpw", 'Digest username="bearer", realm="x"', "Negotiate abc"])(
    "leaves Authorization of another scheme: %s",
    (authorization) => {
      expect(removed({}, { authorization }).headers).toEqual({ authorization });
      expect(removed({ authorization: "bearer_or_raw" }, { authorization }).headers).toEqual({
        authorization,
      });
    },
  );

  it.each([KEY, "Basic", `Token ${KEY}`, `${KEY} x`])(
    "takes away whatever may be a raw secret: %s",
    (authorization) => {
      expect(removed({ authorization: "bearer_or_raw" }, { authorization }).headers).toEqual({});
      expect(removed({}, { authorization }).headers).toEqual({ authorization });
    },
  );

  it("leaves Authorization where the site does not use it", () => {
    const sent = { authorization: "Bearer x" };
    expect(removed({ authorization: "off" }, sent).headers).toEqual(sent);
  });

  it("takes away the site's headers and the claimed owner, nothing else", () => {
    const sent = { "X-Api-Key": KEY, "X-Token": "a, b", "New-Api-User": "7", "x-other": "1" };
    expect(removed(EVERY_PLACE, sent).headers).toEqual({ "x-other": "1" });
  });

  it.each([
    ["a=1; sid=x; b=2", "a=1; b=2"],
    ["sid=x; a=1", "a=1"],
    ["a=1; sid=x", "a=1"],
    ["sid=x", undefined],
    ["sid=x; sid2=y", undefined],
    ["sid=x; sid=y;a=1", "a=1"],
    ["a=1;sid=x;b=2", "a=1;b=2"],
    ["a=1,sid=x", "a=1"],
    ["a=1, sid=x, b=2", "a=1, b=2"],
    ["sid=a,b; c=1", "c=1"],
    ["sid; a=1", "a=1"],
    ["sid =x; a=1", "a=1"],
    ["sid=; a=1", "a=1"],
    ["a=1; xsid=x; SID=y", "a=1; xsid=x; SID=y"],
    [";; a=1;", ";; a=1;"],
    ['a="1, 2" ; ;b==; c', 'a="1, 2" ; ;b==; c'],
    ['sid=x; a="1, 2" ; ;b==; c', 'a="1, 2" ; ;b==; c'],
  ])("cookies: of %s leaves %s", (cookie, expected) => {
    expect(removed(EVERY_PLACE, { cookie }).headers.cookie).toBe(expected);
  });

  it("does not touch cookies where the site uses none", () => {
    expect(removed({}, { cookie: "sid=x" }).headers.cookie).toBe("sid=x");
  });

  it.each([
    ["", ""],
    ["?a=1", "?a=1"],
    ["?key=x", ""],
    ["?key", ""],
    ["?a=%2f%zz&key=x&b=%C3+", "?a=%2f%zz&b=%C3+"],
    ["?key=x&a=1", "?a=1"],
    ["?a=1&key=x&key=y", "?a=1"],
    ["?k%65y=x&%6bey=%ff&a", "?a"],
    ["?Key=x&keys=y&a=key=z", "?Key=x&keys=y&a=key=z"],
    ["?&a&&b&", "?&a&&b&"],
    ["?%ff=1&key=x", "?%ff=1"],
    ["?access_token=x&key=y", ""],
  ])("parameters: of %s leaves %s", (search, expected) => {
    expect(removed(EVERY_PLACE, {}, search).search).toBe(expected);
  });

  it("leaves everything where the site forwards credentials and nobody has looked at them", () => {
    const sent = { authorization: "Bearer x", cookie: "sid=x", "new-api-user": "7", "x-api-key": "k" };
    expect(removed({ ...EVERY_PLACE, forwardCredential: true }, sent, "?key=x")).toEqual({
      headers: sent,
      search: "?key=x",
    });
  });

  it("removes whatever was read", () => {
    const reads: readonly (readonly [Sent, string])[] = [
      [{ authorization: `Bearer   ${PAT}` }, ""],
      [{ "x-api-key": KEY }, ""],
      [{ cookie: `a=1,  sid =${SESSION}` }, ""],
      [{}, `?%6bey=${KEY}`],
    ];
    for (const [sent, search] of reads) {
      expect(extract(EVERY_PLACE, sent, search)).not.toBeNull();
      const rest = removed(EVERY_PLACE, sent, search);
      expect(extract(EVERY_PLACE, rest.headers, rest.search)).toBeNull();
    }
  });
});

describe("removeCredentials with forward_credential: only what was verified goes on", () => {
  const SENT = {
    authorization: `Bearer ${PAT}`,
    "x-api-key": "k1",
    "x-token": "t1",
    cookie: "sid=a.b; theme=dark; sid2=c.d",
    "new-api-user": "7",
  };

  function forwarded(
    rules: Partial<CredentialRules>,
    sent: Sent,
    { kind = "pat" as CredentialKind | null, auth = "required" as Route["auth"], observed = false } = {},
  ) {
    const match = matched({ ...EVERY_PLACE, forwardCredential: true, ...rules }, { auth });
    const url = "https://a.example/x?key=q&a=1&access_token=r";
    const context = aContext(aConfig([match.site]), rawRequest(url, sent));
    if (observed) context.trace.observed = "credential_invalid";
    const principal = kind === null ? null : aPrincipal({}, { kind });
    const headers = new Headers(sent);
    const search = removeCredentials(headers, [...headers.keys()], principal, match, context);
    return { ...Object.fromEntries(headers), search };
  }
  const without = (...names: (keyof typeof SENT)[]): Sent =>
    Object.fromEntries(Object.entries(SENT).filter(([name]) => !names.includes(name as keyof typeof SENT)));

  it.each([
    ["Authorization", SENT, { authorization: SENT.authorization, cookie: "theme=dark", search: "?a=1" }],
    [
      "the first header",
      without("authorization"),
      { "x-api-key": "k1", cookie: "theme=dark", search: "?a=1" },
    ],
    [
      "the second header",
      without("authorization", "x-api-key"),
      { "x-token": "t1", cookie: "theme=dark", search: "?a=1" },
    ],
    [
      "the first cookie",
      without("authorization", "x-api-key", "x-token"),
      { cookie: "sid=a.b; theme=dark", search: "?a=1" },
    ],
    [
      "the second cookie",
      { cookie: "sid=; sid2=c.d", "new-api-user": "7" },
      { cookie: "sid=; sid2=c.d", search: "?a=1" },
    ],
    ["the first parameter", { "new-api-user": "7" }, { search: "?a=1&access_token=r" }],
  ])("conflict = first: %s, and nothing behind it", (_name, sent, expected) => {
    const claimed = { "new-api-user": "7" };
    expect(forwarded({ conflict: "first" }, sent as Sent)).toEqual({ ...expected, ...claimed });
    expect(forwarded({ conflict: "first" }, sent as Sent, { kind: "api_key" })).toEqual(expected);
  });

  it.each(["pat", "session"] as const)("the claimed owner beside a %s, which was compared", (kind) => {
    expect(forwarded({}, { authorization: `Bearer ${PAT}`, "new-api-user": "7" }, { kind })).toHaveProperty(
      "new-api-user",
      "7",
    );
  });

  it.each(["api_key", "jwt"] as const)("not the claimed owner beside a %s, which nobody compared", (kind) => {
    const rest = forwarded({}, { authorization: `Bearer ${PAT}`, "new-api-user": "7" }, { kind });
    expect(rest).toEqual({ authorization: `Bearer ${PAT}`, search: "?key=q&a=1&access_token=r" });
  });

  it.each(["refuse", "first"] as const)("nothing where the caller counts as anonymous (%s)", (conflict) => {
    const rest = forwarded({ conflict }, SENT, { kind: null, auth: "optional" });
    expect(rest).toEqual({ cookie: "theme=dark", search: "?a=1" });
  });

  it("everything where nothing was decided: on open routes, and after a refusal that is only observed", () => {
    const all = { ...SENT, search: "?key=q&a=1&access_token=r" };
    expect(forwarded({}, SENT, { kind: null, auth: "none" })).toEqual(all);
    expect(forwarded({}, SENT, { kind: null, observed: true })).toEqual(all);
  });
});
