// One credential a request, and none of it left for the origin. A failure prints the seed to replay.
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import type { CredentialRules } from "../../src/config/types.ts";
import { extractCredential, removeCredentials } from "../../src/pipeline/credential.ts";
import type { Match } from "../../src/pipeline/route.ts";
import { Problem } from "../../src/problem.ts";
import { aConfig, aContext, aRoute, aSite, rawRequest, someRules } from "../support/worker/policy.ts";

const RUNS = { numRuns: 600 };
vi.setConfig({ testTimeout: 60_000 });
const RULES = someRules({
  headers: ["x-api-key", "x-token"],
  cookies: ["sid", "sid2"],
  query: ["access_token", "key"],
  userHeader: "new-api-user",
});

interface Sent {
  readonly headers: Record<string, string>;
  readonly search: string;
}

function matched(rules: CredentialRules): Match {
  return { site: aSite([], { credentials: rules }), route: aRoute("/x"), forwardPath: "/x" };
}

/** The credential's value, `null`, or the code of the refusal; anything else that is thrown fails the test. */
function outcome(sent: Sent, rules = RULES): { value: string | null } | { code: string } {
  const match = matched(rules);
  const context = aContext(
    aConfig([match.site]),
    rawRequest(`https://a.example/x${sent.search}`, sent.headers),
  );
  try {
    return { value: extractCredential(match, context)?.value ?? null };
  } catch (error) {
    if (error instanceof Problem) return { code: error.code };
    throw error;
  }
}

function forwarded(sent: Sent, rules = RULES): { headers: Headers; search: string } {
  const headers = new Headers(sent.headers);
  const match = matched(rules);
  const context = aContext(
    aConfig([match.site]),
    rawRequest(`https://a.example/x${sent.search}`, sent.headers),
  );
  return { search: removeCredentials(headers, [...headers.keys()], null, match, context), headers };
}

const everything = (sent: { headers: Headers; search: string }) =>
  `${[...sent.headers].join("\n")}\n${sent.search}`;

const PLACES = ["authorization", "x-api-key", "x-token", "sid", "sid2", "access_token", "key"] as const;
type Place = (typeof PLACES)[number];

/** Secrets that occur nowhere else in a request. */
const secret = fc.stringMatching(/^[A-Za-z0-9._~+/=-]{6,30}$/).map((text) => `S3cr3t${text}`);

function present(place: Place, value: string, sent: Sent): Sent {
  const { headers, search } = sent;
  switch (place) {
    case "authorization":
      return { headers: { ...headers, authorization: `Bearer ${value}` }, search };
    case "x-api-key":
    case "x-token":
      return { headers: { ...headers, [place]: value }, search };
    case "sid":
    case "sid2": {
      const cookie = headers.cookie === undefined ? "" : `${headers.cookie}; `;
      return { headers: { ...headers, cookie: `${cookie}${place}=${value}` }, search };
    }
    case "access_token":
    case "key":
      return {
        headers,
        search: `${search === "" ? "?" : `${search}&`}${place}=${encodeURIComponent(value)}`,
      };
  }
}

const NOTHING: Sent = { headers: { cookie: "theme=dark", accept: "*/*" }, search: "?page=2" };

describe("requirement 7: one credential a request", () => {
  it("wherever one secret stands, and however often, it is the credential", () => {
    fc.assert(
      fc.property(fc.subarray([...PLACES], { minLength: 1 }), secret, (places, value) => {
        const sent = places.reduce((request, place) => present(place, value, request), NOTHING);
        expect(outcome(sent)).toEqual({ value });
      }),
      RUNS,
    );
  });

  it("two different ones are refused in any two places, and with conflict = first the first decides", () => {
    fc.assert(
      fc.property(fc.subarray([...PLACES], { minLength: 2 }), secret, secret, (places, one, other) => {
        fc.pre(one !== other);
        const sent = places.reduce(
          (request, place, at) => present(place, at === 0 ? one : other, request),
          NOTHING,
        );
        expect(outcome(sent)).toEqual({ code: "credential_conflict" });
        expect(outcome(sent, { ...RULES, conflict: "first" })).toEqual({ value: one });
      }),
      RUNS,
    );
  });

  it("a repeated header is a list, and refused whatever is in it", () => {
    fc.assert(
      fc.property(secret, secret, (one, other) => {
        for (const [first, second] of [
          [one, other],
          [one, one],
        ] as const) {
          for (const name of ["authorization", "x-api-key", "x-token"]) {
            const scheme = name === "authorization" ? "Bearer " : "";
            const headers = { [name]: `${scheme}${first}, ${scheme}${second}` };
            expect(outcome({ headers, search: "" })).toEqual({ code: "credential_invalid" });
          }
        }
      }),
      RUNS,
    );
  });

  it("no text in any place makes an exception, or a credential that is more than one word", () => {
    const text = fc.oneof(
      fc.string({ unit: "binary-ascii", maxLength: 30 }),
      fc
        .array(
          fc.constantFrom("Bearer", "bearer ", " ", ",", ";", "=", "sid", "sid=", "a.b", "\t", '"', "&", "%"),
          {
            maxLength: 8,
          },
        )
        .map((parts) => parts.join("")),
    );
    fc.assert(
      fc.property(text, text, text, text, (authorization, key, cookie, query) => {
        const sayable = (value: string) => value.replace(/[\0\r\n]/g, "");
        const sent = {
          headers: {
            authorization: sayable(authorization),
            "x-api-key": sayable(key),
            cookie: sayable(cookie),
          },
          search: `?${encodeURI(query).replaceAll("#", "")}`,
        };
        for (const rules of [
          RULES,
          someRules({ ...RULES, authorization: "bearer_or_raw", conflict: "first" }),
        ]) {
          const result = outcome(sent, rules);
          if ("code" in result) expect(result.code).toMatch(/^credential_(invalid|conflict)$/);
          else if (result.value !== null) expect(result.value).toMatch(/^[\x21-\x2b\x2d-\x7e]{1,8192}$/);
          forwarded(sent, rules);
        }
      }),
      RUNS,
    );
  });
});

describe("a credential never reaches the origin", () => {
  it("from whatever places, nothing of it is left", () => {
    fc.assert(
      fc.property(fc.subarray([...PLACES], { minLength: 1 }), secret, (places, value) => {
        const sent = places.reduce((request, place) => present(place, value, request), NOTHING);
        const rest = forwarded(sent);
        expect(everything(rest)).not.toContain("S3cr3t");
        expect(rest.headers.get("cookie")).toBe("theme=dark");
        expect(rest.search).toBe("?page=2");
        expect(rest.headers.get("accept")).toBe("*/*");
      }),
      RUNS,
    );
  });

  it("in whatever spelling a credential is accepted, it is removed", () => {
    const blanks = fc.constantFrom("", " ", "  ", "\t", " \t ");
    const others = fc.array(fc.constantFrom("a=1", " b=2", 'c="x', 'y"', "d", "", "sidx=1", "e=f=g"), {
      maxLength: 4,
    });
    const separator = fc.constantFrom(";", "; ", ",", ", ", " ;");
    fc.assert(
      fc.property(
        secret,
        blanks,
        blanks,
        others,
        others,
        separator,
        fc.constantFrom("Bearer ", "bearer ", "BEARER   "),
        fc.constantFrom("key", "k%65y", "%6B%65%79", "access%5ftoken"),
        (value, before, after, left, right, between, scheme, parameter) => {
          const piece = `${before}sid${after}=${before}${value}${after}`;
          const requests: readonly Sent[] = [
            { headers: { cookie: [...left, piece, ...right].join(between) }, search: "" },
            { headers: { authorization: `${before}${scheme}${value}${after}` }, search: "" },
            { headers: {}, search: `?a=%2f&${parameter}=${encodeURIComponent(value)}&b` },
          ];
          for (const sent of requests) {
            const rest = forwarded(sent);
            expect(everything(rest)).not.toContain("S3cr3t");
            expect(outcome({ headers: Object.fromEntries(rest.headers), search: rest.search })).toEqual({
              value: null,
            });
          }
        },
      ),
      RUNS,
    );
  });

  it("other cookies and parameters pass byte for byte and in order", () => {
    const cookie = fc.stringMatching(/^[a-z]{1,4}=[!#$%&'()*+./0-9:<=>?@A-Za-z[\]^_`{|}~-]{0,10}$/);
    const parameter = fc.stringMatching(/^[a-z]{5}(=([A-Za-z0-9._~+!-]|%[0-9a-fA-F]{2}|%zz){0,6})?$/);
    fc.assert(
      fc.property(
        fc.array(cookie, { minLength: 1, maxLength: 5 }),
        fc.array(parameter, { minLength: 1, maxLength: 5 }),
        fc.nat(4),
        (cookies, parameters, place) => {
          fc.pre(!cookies.some((text) => text.startsWith("sid=")));
          const withSecret = (list: readonly string[], one: string) => [
            ...list.slice(0, place),
            one,
            ...list.slice(place),
          ];
          const rest = forwarded({
            headers: { cookie: withSecret(cookies, "sid=S3cr3t").join("; ") },
            search: `?${withSecret(parameters, "key=S3cr3t").join("&")}`,
          });
          expect(rest.headers.get("cookie")).toBe(cookies.join("; "));
          expect(rest.search).toBe(`?${parameters.join("&")}`);
        },
      ),
      RUNS,
    );
  });
});
