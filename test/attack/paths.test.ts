// Policy and origin must see the same path. Seeds are random; a failure prints the one to replay.
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { newTrace } from "../../src/context.ts";
import { AMBIGUITIES, arrive, canonicalize, foldPath } from "../../src/pipeline/path.ts";
import { buildRouteIndex, type Match, matchRoute } from "../../src/pipeline/route.ts";
import { Problem } from "../../src/problem.ts";
import { aConfig, aRoute, aSite, rawRequest } from "../support/worker/policy.ts";

const EVERY_AMBIGUITY = Object.values(AMBIGUITIES).reduce((bits, bit) => bits | bit, 0);

const tableOf = (allow: number) =>
  buildRouteIndex(
    aConfig([
      aSite(
        [
          aRoute("/admin/*", { key: "admin", minimumRole: 2, allow }),
          aRoute("/public/*", { key: "public", auth: "none", allow }),
          aRoute("/users/:id", { key: "user", allow }),
          aRoute("/users/@me", { key: "me", allow }),
          aRoute("/users/:id/keys/*", { key: "keys", allow }),
          aRoute("/*", { key: "rest", allow }),
        ],
        { name: "whole", hosts: ["a.example"] },
      ),
      aSite([aRoute("/*", { key: "stripped", allow })], {
        name: "stripping",
        hosts: ["b.example"],
        basePath: "/base",
        stripBasePath: true,
      }),
    ]),
  );
const strict = tableOf(0);
const relaxed = tableOf(EVERY_AMBIGUITY);

/** The match, or `null` when the request was refused by name. Anything else that is thrown fails the test. */
function decide(index: typeof strict, url: string): Match | null {
  try {
    return matchRoute(index, arrive(rawRequest(url)), newTrace());
  } catch (error) {
    if (error instanceof Problem) return null;
    throw error;
  }
}

const escapeOf = (byte: number, isUpper: boolean) => {
  const hex = byte.toString(16).padStart(2, "0");
  return `%${isUpper ? hex.toUpperCase() : hex}`;
};

const hostilePiece = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom("admin", "public", "users", "@me", "base", "x", "A") },
  {
    weight: 4,
    arbitrary: fc.constantFrom("/", "/", "/", ".", "..", "/../", "/./", "//", "\\", ";", "?", "%"),
  },
  {
    weight: 3,
    arbitrary: fc.constantFrom(
      "%2e",
      "%2E%2e",
      "%2f",
      "%5C",
      "%00",
      "%25",
      "%252e",
      "%3b",
      "%3f",
      "%23",
      "%20",
      "%09",
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom("%c0%ae", "%c3%a9", "é", "%ff", "%zz", "%u002e", "\t", "\n", " ", "\x00"),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.nat(255), fc.boolean()).map(([byte, isUpper]) => escapeOf(byte, isUpper)),
  },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 2 }) },
);
const tamePiece = fc.constantFrom(
  ...["admin", "/admin", "/public", "/users/", "%40me", "/", "/", "/../", "/./", "..", ".a", "x", "A"],
  ...["%3f", "%23", "%20", "%61", "%7E", "%c3%a9", "é", ":", "+", "|", "%2a"],
);
/** Mostly refused when hostile, mostly let through when tame: both must hold. */
const hostileTarget = fc
  .oneof(fc.array(hostilePiece, { maxLength: 12 }), fc.array(tamePiece, { maxLength: 8 }))
  .map((pieces) => `/${pieces.join("")}`);
const host = fc.constantFrom("a.example", "b.example");

const RUNS = { numRuns: 600 };
vi.setConfig({ testTimeout: 60_000 });

describe("requirement 1: the canonical path is canonical", () => {
  it("canon(canon(p)) = canon(p), for parser and decoder alike", () => {
    fc.assert(
      fc.property(hostileTarget, (target) => {
        let path: string;
        let first: number;
        try {
          ({ path, ambiguities: first } = arrive(rawRequest(`https://a.example${target}`)));
        } catch (error) {
          expect(error).toBeInstanceOf(Problem);
          return;
        }
        const again = arrive(rawRequest(`https://a.example${path}`));
        expect(again.path).toBe(path);
        expect(canonicalize(path)).toBe(path);
        // Nothing new can be wrong with it, and what was wrong is not laundered into something tolerable.
        expect(again.ambiguities & ~first).toBe(0);
        expect(foldPath(path).split("/").length).toBe(path.split("/").length);
      }),
      RUNS,
    );
  });

  it("what is forwarded is what was matched: a URL parser changes nothing in it", () => {
    fc.assert(
      fc.property(host, hostileTarget, (name, target) => {
        for (const index of [strict, relaxed]) {
          const match = decide(index, `https://${name}${target}`);
          if (match === null) continue;
          const url = new URL(`http://origin.internal${match.forwardPath}?a=1`);
          expect(url.pathname).toBe(match.forwardPath);
          expect(url.host).toBe("origin.internal");
          expect(match.forwardPath).toMatch(/^\/(?!\/)/);
        }
      }),
      RUNS,
    );
  });

  it("stripping a base path leaves the path of a request to what remains", () => {
    fc.assert(
      fc.property(hostileTarget, (target) => {
        const match = decide(relaxed, `https://b.example/base${target}`);
        if (match === null || match.site.name !== "stripping") return;
        const { path } = arrive(rawRequest(`https://b.example${match.forwardPath}`));
        expect(path).toBe(match.forwardPath);
      }),
      RUNS,
    );
  });
});

/** How origins in the field read a path that was sent to them. */
const ORIGINS: Readonly<Record<string, (path: string) => string>> = {
  "decodes, then resolves dots": (path) => resolved(decodeURIComponent(path)),
  "decodes twice": (path) => resolved(decodeURIComponent(decodeURIComponent(path))),
  "merges slashes": (path) => resolved(decodeURIComponent(path).replace(/\/+/g, "/")),
  "merges slashes, then decodes": (path) => resolved(decodeURIComponent(path.replace(/\/+/g, "/"))),
  "takes back-slashes for slashes": (path) => resolved(decodeURIComponent(path).replaceAll("\\", "/")),
  "cuts parameters, then decodes": (path) => resolved(decodeURIComponent(path.replace(/;[^/]*/g, ""))),
  "decodes, then cuts parameters": (path) => resolved(decodeURIComponent(path).replace(/;[^/]*/g, "")),
  "ends at NUL": (path) => resolved(decodeURIComponent(path).split("\0")[0] ?? ""),
  "drops control characters": (path) =>
    resolved([...decodeURIComponent(path)].filter((char) => char > "\x1f" && char !== "\x7f").join("")),
};

function resolved(path: string): string {
  const segments: string[] = [];
  const given = path.split("/").slice(1);
  for (const [at, segment] of given.entries()) {
    if (segment === "..") segments.pop();
    if (segment !== ".." && segment !== ".") segments.push(segment);
    else if (at === given.length - 1) segments.push("");
  }
  return `/${segments.join("/")}`;
}

describe("requirement 2: whatever is let through, every kind of origin reads as the policy did", () => {
  it.each(Object.entries(ORIGINS))("an origin that %s", (_name, read) => {
    fc.assert(
      fc.property(hostileTarget, (target) => {
        const match = decide(strict, `https://a.example${target}`);
        if (match === null) return;
        const seen = read(match.forwardPath).split("/").map(encodeURIComponent).join("/");
        expect(decide(strict, `https://a.example${seen}`)?.route.key).toBe(match.route.key);
      }),
      RUNS,
    );
  });

  it("with everything relaxed, there is still no dot segment in what a decoding origin reads", () => {
    fc.assert(
      fc.property(hostileTarget, (target) => {
        const match = decide(relaxed, `https://a.example${target}`);
        if (match === null) return;
        const decoded = match.forwardPath.replace(/%(2f|5c|3b|2e)/gi, (octet) => decodeURIComponent(octet));
        for (const form of [decoded, decoded.replace(/;[^/\\]*/g, "")]) {
          expect(form.split(/[/\\]/)).not.toContain("..");
          expect(form.split(/[/\\]/)).not.toContain(".");
        }
      }),
      RUNS,
    );
  });
});

describe("requirement 3: a decision does not depend on spelling", () => {
  const plainPath = fc
    .array(
      fc.oneof(
        fc.constantFrom(
          "admin",
          "public",
          "users",
          "@me",
          "keys",
          "x.y",
          "a:b",
          "~z",
          "é",
          "a b",
          "q?",
          "h#",
        ),
        fc.string({ unit: "grapheme", minLength: 1, maxLength: 4 }),
      ),
      { maxLength: 4 },
    )
    .map((segments) => `/${segments.map((segment) => encodeURIComponent(segment)).join("/")}`);

  /** Any other way to write the path: escapes for characters, another case, dot segments, dots for nothing. */
  const respelt = plainPath.chain((path) => {
    const bytes = [...new TextEncoder().encode(decodePercent(path))];
    return fc
      .array(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.boolean()), {
        minLength: bytes.length,
        maxLength: bytes.length,
      })
      .map((choices) => {
        let text = "";
        for (const [at, byte] of bytes.entries()) {
          const [choice, isUpper] = choices[at] ?? [0, false];
          const char = String.fromCharCode(byte);
          // An encoded slash of the original path is data, and `decodePercent` has left it encoded.
          if (char === "/" && choice === 0) text += "/./";
          else if (char === "/" && choice === 1) text += "/zz/../";
          else if (char === "/" && choice > 2) text += "/";
          else if (choice > 5 && /[A-Za-z0-9_~@:!$&'()*+,=-]/.test(char)) {
            text += isUpper ? char.toUpperCase() : char.toLowerCase();
          } else if (char === "." || char === "%") text += char;
          else text += escapeOf(byte, isUpper);
        }
        return [path, text] as const;
      });
  });
  /** As far as leaves the segments intact. */
  function decodePercent(path: string): string {
    return path.replace(/(?:%[0-9A-F]{2})+/g, (run) => {
      const text = decodeURIComponent(run);
      return /[/\\%;.]|[\0-\x20\x7f]/.test(text) ? run : text;
    });
  }

  it("decision(p) = decision(any re-encoding of p), or it is refused", () => {
    let compared = 0;
    fc.assert(
      fc.property(respelt, ([path, other]) => {
        const match = decide(strict, `https://a.example${path}`);
        const again = decide(strict, `https://a.example${other}`);
        if (again === null || match === null) return;
        compared++;
        expect(again.route.key).toBe(match.route.key);
        expect(decodeURIComponent(again.forwardPath).toLowerCase()).toBe(
          decodeURIComponent(match.forwardPath).toLowerCase(),
        );
      }),
      RUNS,
    );
    expect(compared).toBeGreaterThan(RUNS.numRuns / 10);
  });
});

describe("no input makes an exception", () => {
  it("any text for a URL is an arrival or a named 400", () => {
    const anyUrl = fc.oneof(
      fc.string({ unit: "binary", maxLength: 40 }),
      fc.string({ unit: "binary", maxLength: 40 }).map((text) => `http://${text}`),
      hostileTarget.map((target) => `https://a.example${target}`),
    );
    fc.assert(
      fc.property(anyUrl, (url) => {
        try {
          arrive(rawRequest(url));
        } catch (error) {
          expect(error).toBeInstanceOf(Problem);
          expect((error as Problem).status).toBe(400);
        }
      }),
      RUNS,
    );
  });

  it("a Host that gets through names a host, and leaves the path alone", () => {
    const part = fc.oneof(
      fc.constantFrom(
        "a.example",
        "evil",
        "@",
        ":",
        "80",
        "/",
        "\\",
        "?",
        "#",
        "%",
        " ",
        ",",
        "[",
        "]",
        "::1",
        "..",
        ".",
      ),
      fc.string({ unit: "binary-ascii", maxLength: 2 }),
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 5 }), (parts) => {
        let arrival: ReturnType<typeof arrive>;
        try {
          arrival = arrive(rawRequest(`http://${parts.join("")}/public/x`));
        } catch (error) {
          expect(error).toBeInstanceOf(Problem);
          return;
        }
        const { authority, host: name, path } = arrival;
        expect(authority).not.toContain("@");
        // A slash or the like in it ends the host: then the URL says so, and the Host header is refused on its own.
        if (path === "/public/x") expect(name).toMatch(/^(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])$/);
      }),
      RUNS,
    );
  });
});

describe("requests that opened other gateways", () => {
  const table = buildRouteIndex(
    aConfig([
      aSite([aRoute("/admin/*", { key: "admin" }), aRoute("/public/*", { key: "public", auth: "none" })], {
        unmatched: "refuse",
      }),
    ]),
  );
  const outcomeOf = (target: string) => {
    try {
      return matchRoute(table, arrive(rawRequest(`https://a.example${target}`)), newTrace());
    } catch (error) {
      if (error instanceof Problem) return error.code;
      throw error;
    }
  };

  it.each([
    "/public/%2e%2e/admin/x",
    "/public/.%2e/admin/x",
    "/public/..%2fadmin/x",
    "/public/..%2Fadmin/x",
    "/public%2f..%2fadmin/x",
    "/public/..%5cadmin/x",
    "/public/..%5Cadmin/x",
    "/public/..\\admin/x",
    "/public/..;/admin/x",
    "/public/..;a=b/admin/x",
    "/public;/../admin/x",
    "/public/%252e%252e/admin/x",
    "/public/%c0%ae%c0%ae/admin/x",
    "/public/..%c0%afadmin/x",
    "/public/..%00/admin/x",
    "/public/x%00/../../admin/x",
    "/public/x%0d%0aX-A:b",
    "//admin/x",
    "/public//../admin/x",
    "//a.example/public/../admin",
    "/./%2fadmin/x",
    "/admin%2fx",
    "/admin;x/y",
    "/admin%00",
    "/%61dmin//x",
    "/public/x#/../../admin",
  ])("%s is refused", (target) => {
    expect(["path_ambiguous", "request_malformed"]).toContain(outcomeOf(target));
  });

  it.each([
    ["/public/../admin/x", "admin", "/admin/x"],
    ["/public/./../admin/x", "admin", "/admin/x"],
    ["/ADMIN/x", "admin", "/ADMIN/x"],
    ["/%61DM%69n/x", "admin", "/aDMin/x"],
    ["/admin", "admin", "/admin"],
    ["/admin/", "admin", "/admin/"],
    ["/admin/../../../admin/x", "admin", "/admin/x"],
    ["/public/x?/../../admin", "public", "/public/x"],
    ["/admin?x=/public/", "admin", "/admin"],
    ["/public/admin/x", "public", "/public/admin/x"],
    ["/public/...", "public", "/public/..."],
  ])("%s goes to %s as %s", (target, key, path) => {
    expect(outcomeOf(target)).toMatchObject({ route: { key }, forwardPath: path });
  });

  it.each(["/adminx", "/public", "/publicx/../admi", "/xadmin/x"])("%s is not under /admin", (target) => {
    const outcome = outcomeOf(target);
    expect(typeof outcome === "string" ? outcome : outcome.route.key).not.toBe("admin");
  });

  it.each([
    ["X-Original-URL", "/public/x"],
    ["X-Rewrite-URL", "/public/x"],
    ["X-Forwarded-Uri", "/public/x"],
    ["X-Forwarded-Prefix", "/public"],
    ["X-Forwarded-Host", "b.example"],
    ["X-Forwarded-Method", "OPTIONS"],
    ["X-HTTP-Method-Override", "OPTIONS"],
    ["Forwarded", "host=b.example"],
  ])("requirement 4: %s changes nothing", (name, value) => {
    const request = rawRequest("https://a.example/admin/x", { host: "a.example", [name]: value });
    const match = matchRoute(table, arrive(request), newTrace());
    expect(match).toMatchObject({ route: { key: "admin" }, forwardPath: "/admin/x" });
  });
});

describe("requirement 3: letters that fold to ASCII are the ASCII letters", () => {
  const table = buildRouteIndex(
    aConfig([
      aSite([
        aRoute("/keys/list/*", { key: "closed" }),
        aRoute("/:any/:other/*", { key: "open", auth: "none" }),
      ]),
    ]),
  );
  const routeOf = (path: string) =>
    matchRoute(table, arrive(rawRequest(`https://a.example${path}`)), newTrace()).route.key;

  it.each([
    "/%E2%84%AAeys/list/1",
    "/%e2%84%aaEYS/list/1",
    "/key%C5%BF/li%c5%bft/1",
    "/keys/l%C4%B0st/1",
    "/KEYS/L%c4%b1ST/1",
    "/%E2%84%AAey%C5%BF/l%C4%B1%C5%BFt/1",
    "/\u212Aeys/list/1",
  ])("%s is /keys/list/1 to who folds Unicode", (path) => {
    expect(routeOf(path)).toBe("closed");
  });

  it.each(["/%E2%84%ABeys/list/1", "/key%C5%BE/list/1", "/keys/l%C4%B2st/1", "/k%C3%84ys/list/1"])(
    "%s is not",
    (path) => {
      expect(routeOf(path)).toBe("open");
    },
  );

  it("is for comparison only: the path goes on as it came", () => {
    const { forwardPath } = matchRoute(
      table,
      arrive(rawRequest("https://a.example/key%C5%BF/list/1")),
      newTrace(),
    );
    expect(forwardPath).toBe("/key%C5%BF/list/1");
  });
});
