// What is read of bodies and queries, and what is said of those that are wrong.

import * as v from "valibot";
import { describe, expect, it } from "vitest";
import { MAX_BODY_BYTES, parseInput, readInput, readQuery } from "../../../src/control/input.ts";
import { Problem } from "../../../src/problem.ts";

const readBody = async (request: Request, schema: v.GenericSchema, type: "json" | "form") =>
  parseInput(await readInput(request), request.headers, schema, type);

const Body = v.strictObject({
  name: v.exactOptional(v.string()),
  list: v.exactOptional(v.array(v.string())),
});
const JSON_TYPE = "application/json";
const FORM_TYPE = "application/x-www-form-urlencoded";

function request(body: BodyInit | null, type: string | null = JSON_TYPE): Request {
  const made = new Request("https://auth.example.com/", { method: "POST", body });
  if (type === null) made.headers.delete("content-type");
  else made.headers.set("content-type", type);
  return made;
}

async function problem(reading: () => unknown): Promise<Problem> {
  try {
    await reading();
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}
const said = async (reading: () => unknown) => {
  const { code, details } = await problem(reading);
  return [code, ...(details.errors ?? []).map(({ field }) => field)];
};

describe("a JSON body", () => {
  it.each([[JSON_TYPE], ["application/json; charset=utf-8"], ["Application/JSON"], [" application/json ;x"]])(
    "is read as %s",
    async (type) => {
      expect(await readBody(request('{"name":"a"}', type), Body, "json")).toEqual({ name: "a" });
    },
  );

  it.each([
    ["text/plain"],
    [FORM_TYPE],
    ["multipart/form-data"],
    ["application/jsonp"],
    ["text/json"],
    [""],
    [null],
  ])("is refused as %s: a page of another origin may send that unasked", async (type) => {
    const body = type === FORM_TYPE ? "name=a" : '{"name":"a"}';
    expect(await said(() => readBody(request(body, type), Body, "json"))).toEqual([
      "content_type_unsupported",
      "Content-Type",
    ]);
  });

  it("that is none at all says nothing, which the schema may allow or not", async () => {
    expect(await readBody(request(null, null), Body, "json")).toEqual({});
    expect(await readBody(request("", null), Body, "json")).toEqual({});
    const demanding = v.strictObject({ name: v.string() });
    expect(await said(() => readBody(request(null, null), demanding, "json"))).toEqual([
      "input_invalid",
      "name",
    ]);
  });

  it.each([
    ["no JSON", "{", "request_malformed"],
    ["two of them", "{}{}", "request_malformed"],
    ["not UTF-8", new Uint8Array([0x22, 0xff, 0x22]), "request_malformed"],
    ["an overlong spelling", new Uint8Array([0x22, 0xc0, 0xaf, 0x22]), "request_malformed"],
    ["a list", "[]", "input_invalid"],
    ["null", "null", "input_invalid"],
    ["a text", '"name"', "input_invalid"],
    ["a number too large", "1e999", "input_invalid"],
  ])("that is %s is refused", async (_name, body, code) => {
    expect(await said(() => readBody(request(body), Body, "json"))).toEqual([code, ""]);
  });

  it.each([
    ["an unknown member", '{"admin":1}', ["admin"]],
    ["a member of every object", '{"constructor":1}', ["constructor"]],
    ["a prototype", '{"__proto__":{"name":"a"}}', ["__proto__"]],
    ["a wrong type deep inside", '{"list":["a",1]}', ["list[1]"]],
    ["several", '{"list":[1],"name":2}', ["name", "list[0]"]],
  ])("with %s names the field", async (_name, body, fields) => {
    expect(await said(() => readBody(request(body), Body, "json"))).toEqual(["input_invalid", ...fields]);
  });

  it("is never quoted: neither to the caller nor in the log", async () => {
    const schemas = [
      v.strictObject({ a: v.picklist(["x"]) }),
      v.strictObject({ a: v.pipe(v.string(), v.minLength(99)) }),
    ];
    for (const schema of [
      ...schemas,
      v.strictObject({ a: v.literal("x") }),
      v.strictObject({ a: v.number() }),
    ]) {
      const { reason, details, message } = await problem(() =>
        readBody(request('{"a":"hunter2"}'), schema, "json"),
      );
      expect(JSON.stringify([reason, details, message])).not.toContain("hunter2");
    }
    const broken = await problem(() => readBody(request('{"a":"hunter2"'), Body, "json"));
    expect(JSON.stringify([broken.reason, broken.details, broken.cause])).not.toContain("hunter2");
  });

  it("is read up to its limit, and not a byte further, whatever Content-Length says", async () => {
    const filled = (bytes: number) => `{"name":"${"x".repeat(bytes - 11)}"}`;
    await expect(readBody(request(filled(MAX_BODY_BYTES)), Body, "json")).resolves.toBeTypeOf("object");
    expect(await said(() => readBody(request(filled(MAX_BODY_BYTES + 1)), Body, "json"))).toEqual([
      "content_too_large",
      "",
    ]);
  });

  it("that never ends is given up at the limit", async () => {
    let sent = 0;
    const endless = new ReadableStream({
      pull(controller) {
        sent += 65_536;
        controller.enqueue(new Uint8Array(65_536));
      },
    });
    expect(await said(() => readBody(request(endless), Body, "json"))).toEqual(["content_too_large", ""]);
    expect(sent).toBeLessThan(2 * MAX_BODY_BYTES);
  });

  it("with more wrong than anybody reads is told a part of it", async () => {
    const some = await said(() =>
      readBody(request(JSON.stringify({ list: Array(1_000).fill(1) })), Body, "json"),
    );
    expect(some).toHaveLength(51);
    const many = await said(() =>
      readBody(request(JSON.stringify({ list: Array(200_000).fill(1) })), Body, "json"),
    );
    expect(many).toEqual(["input_invalid", "list[0]"]);
  });
});

describe("a form and a query", () => {
  const Form = v.strictObject({ name: v.exactOptional(v.string()), other: v.exactOptional(v.string()) });
  const form = (body: string, type = FORM_TYPE) => readBody(request(body, type), Form, "form");
  const query = async (text: string) => readQuery(new URLSearchParams(text), Form);

  it.each([
    ["form", form],
    ["query", query],
  ] as const)("%s: values are texts, decoded once", async (_name, read) => {
    expect({ ...((await read("name=a%2520b+c&other=")) as object) }).toEqual({ name: "a%20b c", other: "" });
  });

  it.each([
    ["name=a&name=b", ["name"]],
    ["name=a&name=a", ["name"]],
    ["name=a&%6eame=b", ["name"]],
    ["unknown=1", ["unknown"]],
    ["__proto__=1", ["__proto__"]],
    ["__proto__=1&__proto__=2", ["__proto__"]],
    ["constructor=1", ["constructor"]],
    ["name[]=a", ["name[]"]],
  ])("refuse %s", async (text, fields) => {
    expect(await said(() => form(text))).toEqual(["input_invalid", ...fields]);
    expect(await said(() => query(text))).toEqual(["input_invalid", ...fields]);
  });

  it("a form is no JSON", async () => {
    expect(await said(() => form('{"name":"a"}', JSON_TYPE))).toEqual([
      "content_type_unsupported",
      "Content-Type",
    ]);
  });
});
