import { describe, expect, it } from "vitest";
import { nearest } from "../../../src/config/read.ts";

describe("the word that was meant", () => {
  it.each([
    ["amdin", ["public", "user", "admin", "root"], "admin"],
    ["prot", ["port", "config", "state"], "port"],
    ["usre", ["public", "user"], "user"],
    ["isuer", ["issuer", "user_context"], "issuer"],
    ["GATEWAYS", ["SITE_A", "GATEWAY"], "GATEWAY"],
    ["Method", ["methods", "mode"], "methods"],
    ["ab", ["ba"], "ba"],
  ])("%s", (word, words, meant) => {
    expect(nearest(word, words)).toBe(meant);
  });

  it.each([
    ["boss", ["public", "user", "admin", "root"]],
    ["tropx", ["port"]],
    ["trop", ["port"]],
    ["", ["port"]],
    ["port", []],
  ])("none is near %j", (word, words) => {
    expect(nearest(word, words)).toBeNull();
  });

  it("the nearest of several, and the first of equals", () => {
    expect(nearest("prot", ["prott", "port", "pro"])).toBe("prott");
    expect(nearest("port", ["prot", "port"])).toBe("port");
  });
});
