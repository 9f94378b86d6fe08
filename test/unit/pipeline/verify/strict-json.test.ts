import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readStrictObject } from "../../../../src/pipeline/verify/strict-json.ts";

const read = (text: string) => readStrictObject(new TextEncoder().encode(text));

describe("requirement 11: claims are one JSON object in UTF-8, no member named twice (RFC 7519 §4, §7.2)", () => {
  it.each([
    ["an empty object", "{}"],
    ["blanks around tokens", ' {\n\t"a" : 1 ,\r "b" : "a" } '],
    ["one name at two depths", '{"a":{"a":1},"b":[{"a":1},{"a":2}]}'],
    ["a value that looks like members", '{"a":"\\"b\\":1,\\"b\\":2","b":"{\\"a\\":1"}'],
    ["strings in arrays more than once", '{"a":["b","b"],"c":["a"]}'],
    ["an escaped back-slash before the quote", '{"a":"\\\\","b":"\\\\"}'],
    ["braces in names", '{"}":1,"{":{"}":2}}'],
  ])("accepts %s", (_name, text) => {
    expect(read(text)).toEqual(JSON.parse(text));
  });

  it.each([
    ["a member named twice", '{"a":1,"a":1}'],
    ["a member named twice, blanks before the colon", '{"a" :1,"a"\n:1}'],
    ["a member named twice, once escaped", '{"a":1,"\\u0061":2}'],
    ["a nested member named twice", '{"a":{"b":1,"b":2}}'],
    ["a member named twice in an object in an array", '{"a":[{"b":1,"b":2}]}'],
    ["a member named twice around a nested object", '{"a":1,"b":{"c":1},"a":2}'],
    ["__proto__ named twice", '{"__proto__":1,"__proto__":2}'],
    ["an array", "[]"],
    ["null", "null"],
    ["a string", '"a"'],
    ["a number", "1"],
    ["nothing", ""],
    ["two objects", "{}{}"],
    ["a comma too many", '{"a":1,}'],
    ["single quotes", "{'a':1}"],
    ["a comment", '{"a":1/**/}'],
    ["a byte-order mark", "\ufeff{}"],
    ["a NUL behind it", "{}\0"],
  ])("refuses %s", (_name, text) => {
    expect(read(text)).toBeNull();
  });

  it.each([
    ["a lone continuation byte", [0x80]],
    ["an overlong encoding", [0xc0, 0xaf]],
    ["an encoded surrogate", [0xed, 0xa0, 0x80]],
    ["a cut-off character", [0xe2, 0x82]],
  ])("refuses %s (RFC 8725 §3.7)", (_name, bytes) => {
    const encoder = new TextEncoder();
    expect(
      readStrictObject(new Uint8Array([...encoder.encode('{"a":"'), ...bytes, ...encoder.encode('"}')])),
    ).toBeNull();
  });

  it("takes __proto__ for a member like any other", () => {
    const value = read('{"__proto__":{"admin":true}}');
    expect(value).not.toHaveProperty("admin");
    expect(Object.hasOwn(value ?? {}, "__proto__")).toBe(true);
  });

  it("agrees with JSON.parse on any object that was written by JSON.stringify", () => {
    const name = fc.oneof(
      fc.constantFrom('"', "\\", "{", "}", ":", '":', "__proto__", "\u2028"),
      fc.string(),
    );
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof({ maxDepth: 4 }, name, fc.integer(), fc.constant(null), tie("array"), tie("object")),
      array: fc.array(tie("value"), { maxLength: 4 }),
      object: fc.dictionary(name, tie("value"), { maxKeys: 4 }),
    }));
    fc.assert(
      fc.property(fc.dictionary(name, value), fc.constantFrom(0, 2), (object, indent) => {
        const text = JSON.stringify(object, null, indent);
        expect(read(text)).toEqual(JSON.parse(text));
      }),
    );
  });

  it("refuses any object once one of its members is repeated", () => {
    fc.assert(
      fc.property(fc.string(), fc.jsonValue(), fc.jsonValue(), (name, first, second) => {
        const member = JSON.stringify(name);
        expect(read(`{${member}:${JSON.stringify(first)},${member}:${JSON.stringify(second)}}`)).toBeNull();
      }),
    );
  });
});
