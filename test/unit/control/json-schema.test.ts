// The schemas of the document against the converter that valibot's makers keep, for everything the endpoints use.
import { toJsonSchema as reference } from "@valibot/to-json-schema";
import * as v from "valibot";
import { describe, expect, it } from "vitest";
import { ENDPOINTS } from "../../../src/control/endpoints.ts";
import { toJsonSchema } from "../../../src/control/json-schema.ts";

const NO_REFS = () => null;

/** As the reference writes it, without the name of the dialect. */
function expected(schema: v.GenericSchema): object {
  const { $schema: _, ...rest } = reference(schema, {
    target: "draft-2020-12",
    errorMode: "ignore",
    typeMode: "input",
  });
  return rest;
}

const parts = ENDPOINTS.flatMap(({ id, query, body, answer }) =>
  Object.entries({ query, body, answer }).flatMap(([name, schema]) =>
    schema === null ? [] : [[`${id}: ${name}`, schema] as const],
  ),
);

describe("JSON Schema", () => {
  it.each(parts)("of %s is what the reference makes of it", (_name, schema) => {
    expect(toJsonSchema(schema, NO_REFS)).toEqual(expected(schema));
  });

  it.each([
    ["a default", v.optional(v.string(), "x")],
    ["what may be null", v.nullish(v.number(), null)],
    ["bounds of a list", v.pipe(v.array(v.string()), v.minLength(1), v.maxLength(3))],
    ["bounds of a text", v.pipe(v.string(), v.minLength(1), v.maxLength(3), v.regex(/^a+$/))],
    ["bounds of a number", v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(5))],
    ["what is transformed", v.pipe(v.string(), v.regex(/^1$/), v.transform(Number), v.minValue(1))],
    ["a loose object", v.object({ a: v.literal(false), b: v.picklist(["x", "y"]) })],
  ])("of %s, too", (_name, schema) => {
    expect(toJsonSchema(schema, NO_REFS)).toEqual(expected(schema));
  });

  it("refers to what is told once", () => {
    const shared = v.strictObject({ id: v.string() });
    const refOf = (schema: unknown) => (schema === shared ? "#/components/schemas/Thing" : null);
    expect(toJsonSchema(v.array(shared), refOf)).toEqual({
      type: "array",
      items: { $ref: "#/components/schemas/Thing" },
    });
  });
});
