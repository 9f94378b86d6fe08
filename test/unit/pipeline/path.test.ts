import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  AMBIGUITIES,
  ambiguityNames,
  arrive,
  canonicalize,
  foldConfiguredPath,
  foldPath,
} from "../../../src/pipeline/path.ts";
import { Problem } from "../../../src/problem.ts";
import { problemOf, rawRequest } from "../../support/worker/policy.ts";

const at = (target: string) => arrive(rawRequest(`https://a.example${target}`, { host: "a.example" }));
const namesAt = (target: string) => ambiguityNames(at(target).ambiguities);

describe("requirement 4: the host is a host name", () => {
  it.each([
    ["a.example", "a.example"],
    ["A.Example", "a.example"],
    ["a.example.", "a.example"],
    ["a.example:8443", "a.example"],
    ["a.example:65535", "a.example"],
    ["a_b.example", "a_b.example"],
    ["localhost:0", "localhost"],
    ["127.0.0.1:8787", "127.0.0.1"],
    ["[::1]", "[::1]"],
    ["[2001:DB8::1]:80", "[2001:db8::1]"],
  ])("accepts %s", (host, expected) => {
    expect(arrive(rawRequest(`http://${host}/`, { host })).host).toBe(expected);
  });

  it.each([
    "a b",
    "a/x?",
    "u@evil",
    "u:p@evil",
    "a.example\\x",
    "a.example#x",
    "a.example?x",
    "a%41.example",
    "a.example, b.example",
    "a.example;b",
    "a.example:",
    "a.example:x",
    "a.example:65536",
    "a.example:000080",
    "a.example:80:80",
    "a..example",
    ".a.example",
    ".",
    "::1",
    "[::1",
    "[]",
    "[::1]x",
    "[fe80::1%25en0]",
    "[::1]:",
    "a".repeat(256),
    "a*",
  ])("refuses %s, in the header and in the URL", (host) => {
    const inBoth = () => arrive(rawRequest(`http://${host}/p`, { host }));
    const inUrl = () => arrive(rawRequest(`http://${host}/p`));
    const inHeader = () => arrive(rawRequest("http://a.example/p", { host }));
    expect(problemOf(inBoth).code).toBe("host_invalid");
    expect(problemOf(inHeader).code).toBe("host_invalid");
    // A URL with this in place of a host may also be a well-formed one with another host and path.
    if (!/^a(\.example)?[/\\?#]/.test(host)) expect(problemOf(inUrl).code).toBe("host_invalid");
  });

  it("refuses an empty Host header", () => {
    expect(problemOf(() => arrive(rawRequest("http:///p", { host: "" }))).code).toBe("host_invalid");
  });

  it("goes by the URL where the header names another host, as through a service binding", () => {
    expect(arrive(rawRequest("http://a.example/", { host: "b.example" })).host).toBe("a.example");
  });
});

describe("a target that is no URL", () => {
  it.each([
    ["asterisk form (RFC 9112 §3.2.4)", "http://a.example*"],
    ["another scheme", "ftp://a.example/"],
    ["no scheme", "/p"],
    ["empty", ""],
    ["a numeric host out of range", "http://1.2.3.256/"],
    ["an IPv6 address that is none", "http://[1::2::3]/"],
    ["a fragment", "http://a.example/public#/../admin"],
    ["an empty fragment", "http://a.example/public#"],
    ["a fragment behind the query", "http://a.example/public?a#b"],
  ])("is refused: %s", (_name, url) => {
    expect(problemOf(() => arrive(rawRequest(url, { host: "a.example" }))).code).toBe("request_malformed");
  });
});

describe("requirement 1: one canonical path", () => {
  it.each([
    ["/", "/"],
    ["", "/"],
    ["?q=/x", "/"],
    ["/a/b?c=//..;%00#".slice(0, -1), "/a/b"],
    ["/A/b", "/A/b"],
    ["/%41%7e%2d%5F", "/A~-_"],
    ["/caf%c3%a9", "/caf%C3%A9"],
    ["/café", "/caf%C3%A9"],
    ["/a%20b", "/a%20b"],
    ["/%40me/@me", "/%40me/@me"],
    ["/a/../b", "/b"],
    ["/a/./b/.", "/a/b/"],
    ["/../../a", "/a"],
    ["/.well-known/x", "/.well-known/x"],
    ["/a/...", "/a/..."],
    ["/a/..b/b..", "/a/..b/b.."],
    ['/a"b<c>`{}^', "/a%22b%3Cc%3E%60%7B%7D%5E"],
    ["/a|b[c]", "/a|b[c]"],
    ["/a%23b%3fc", "/a%23b%3Fc"],
    ["/$&'()*+,=:@!", "/$&'()*+,=:@!"],
  ])("reads %s as %s, unambiguously", (target, path) => {
    expect(at(target)).toMatchObject({ path, ambiguities: 0 });
  });

  it("keeps the query byte for byte", () => {
    expect(at("/a?b=%2f%zz&c=d;e+%41//").search).toBe("?b=%2f%zz&c=d;e+%41//");
  });
});

describe("what is read without a URL parser", () => {
  const schemes = fc.constantFrom("http", "https");
  const hosts = fc.oneof(
    fc.constantFrom(
      "api.example.com",
      "a",
      "a.b-c.d_e",
      "1.2.3.4",
      "0x7f.1",
      "a.1",
      "xn--a",
      "A.b",
      "a.",
      "a:80",
    ),
    fc.constantFrom("a:443", "a:8080", "a:080", "a:0", "a:", "a:65535", "a:65536", "[::1]", "localhost:8787"),
  );
  const character = fc.constantFrom(..."aZ09-._~!$&'()*+,;=:@/?%[]{}|^`<>\"\\ \t\n\u00e4");
  const rest = fc.array(character, { maxLength: 12 }).map((characters) => characters.join(""));

  it("is what one reads", () => {
    fc.assert(
      fc.property(schemes, hosts, rest, (scheme, host, tail) => {
        const target = `${scheme}://${host}/${tail}`;
        let arrival: ReturnType<typeof arrive>;
        try {
          arrival = arrive({ url: target, method: "GET", headers: new Headers() } as Request);
        } catch (error) {
          expect(error).toBeInstanceOf(Problem);
          return;
        }
        const url = new URL(target);
        expect(`${arrival.scheme}:`).toBe(url.protocol);
        expect(arrival.authority).toBe(url.host);
        expect(arrival.host).toBe(url.hostname.replace(/\.$/, ""));
        expect(arrival.search).toBe(url.search);
        expect(arrival.path).toBe(canonicalize(url.pathname));
      }),
      { numRuns: 3_000 },
    );
  });
});

describe("requirement 2: ambiguous spellings are named", () => {
  it.each([
    ["/a%2fb", "encoded_slash"],
    ["/a%2Fb", "encoded_slash"],
    ["/a%5cb", "encoded_backslash"],
    ["/a%5Cb", "encoded_backslash"],
    ["/a\\b", "encoded_backslash"],
    ["\\a", "encoded_backslash"],
    ["/a%2eb", "encoded_dot"],
    ["/x/%2e%2e/admin", "encoded_dot"],
    ["/x/.%2E/admin", "encoded_dot"],
    ["/x/%2e/admin", "encoded_dot"],
    ["/a%00", "control"],
    ["/a%1Fb", "control"],
    ["/a%7fb", "control"],
    ["/a\tb", "control"],
    ["/a\nb", "control"],
    ["/a\x00b", "control"],
    ["/a\x7fb", "control"],
    ["/a ", "control"],
    ["/a%252fb", "encoded_percent"],
    ["/100%25", "encoded_percent"],
    ["/a%c0%af", "malformed_encoding"],
    ["/a%e0%80%af", "malformed_encoding"],
    ["/a%ed%a0%80", "malformed_encoding"],
    ["/a%f4%90%80%80", "malformed_encoding"],
    ["/a%ff", "malformed_encoding"],
    ["/a%c3/%a9", "malformed_encoding"],
    ["/a%80", "malformed_encoding"],
    ["/a\ufffdb", "malformed_encoding"],
    ["//a", "empty_segment"],
    ["/a//b", "empty_segment"],
    ["/a//", "empty_segment"],
    ["/a//../b", "empty_segment"],
    ["/a/.//b", "empty_segment"],
    ["/a;b", "semicolon"],
    ["/a;", "semicolon"],
    ["/a%3bb", "semicolon"],
  ])("%s: %s", (target, name) => {
    expect(namesAt(target)).toEqual([name]);
  });

  it.each([
    ["/a%", ["encoded_percent", "malformed_encoding"]],
    ["/a%2", ["encoded_percent", "malformed_encoding"]],
    ["/a%zz", ["encoded_percent", "malformed_encoding"]],
    ["/a%%32%65", ["encoded_percent", "malformed_encoding"]],
    ["/a%u002e", ["encoded_percent", "malformed_encoding"]],
    ["/a\\/b", ["encoded_backslash", "empty_segment"]],
    ["/x/..;/admin", ["semicolon", "dot_segment"]],
    ["/x/..;a=b/admin", ["semicolon", "dot_segment"]],
    ["/x/a;/..;/admin", ["semicolon", "dot_segment"]],
    ["/x/..%2fadmin", ["encoded_slash", "dot_segment"]],
    ["/x/a%2f..", ["encoded_slash", "dot_segment"]],
    ["/x/a%2f../b", ["encoded_slash", "dot_segment"]],
    ["/x/a%5C.%5Cb", ["encoded_backslash", "dot_segment"]],
    ["/x/%2e%2e%2fadmin", ["encoded_slash", "encoded_dot", "dot_segment"]],
    ["/x/..%3Bb/admin", ["semicolon", "dot_segment"]],
  ])("%s: %s", (target, names) => {
    expect(namesAt(target)).toEqual(names);
  });

  it.each(["/a..%2fb", "/a%2f..b", "/a.;b", "/a;.b"])("%s hides no dot segment", (target) => {
    expect(at(target).ambiguities & ~(AMBIGUITIES.encoded_slash | AMBIGUITIES.semicolon)).toBe(0);
  });
});

describe("canonicalize", () => {
  it.each([
    ["/%zz", "/%25zz"],
    ["/%", "/%25"],
    ["/%4", "/%254"],
    ["/%%34%31", "/%2541"],
    ["/%2541", "/%2541"],
    ["/%c3%A9%2f%5c", "/%C3%A9%2F%5C"],
    ["/%09", "/%09"],
  ])("%s becomes %s", (path, canonical) => {
    expect(canonicalize(path)).toBe(canonical);
    expect(canonicalize(canonical)).toBe(canonical);
  });
});

describe("requirement 3: what paths are compared by", () => {
  it("folds the case of ASCII, and of what folds to ASCII", () => {
    expect(foldPath("/ABC/Z")).toBe("/abc/z");
    expect(foldPath("/%C3%84")).not.toBe(foldPath("/%C3%A4"));
    expect(foldPath(at("/\u212A\u017F\u0130\u0131%").path)).toBe("/ksii%25");
  });

  it("takes printable characters in any spelling, but never a slash, back-slash or percent sign", () => {
    expect(foldPath("/%40ME%3A%21%24%20")).toBe("/@me:!$ ");
    expect(foldPath("/a%2FB%5C%25%7F%00")).toBe("/a%2fb%5c%25%7f%00");
  });

  it("folds configured paths like those of requests", () => {
    expect(foldConfiguredPath("/Café/@Me")).toBe(foldPath(at("/caf%C3%A9/%40me").path));
    expect(foldConfiguredPath("/a b/c?d#e")).toBe(foldPath(at("/a%20b/c%3fd%23E").path));
    expect(foldConfiguredPath("")).toBe("");
  });
});
