// valibot schemas -> JSON Schema 2020-12, for the kinds of schema that the endpoints are made of.
import type * as v from "valibot";

export type JsonSchema = Readonly<Record<string, unknown>>;

/** What is read of a schema or of an action in its pipe; each kind has some of it. */
interface Part {
  readonly kind: string;
  readonly type: string;
  readonly requirement?: unknown;
  readonly pipe?: readonly Part[];
  readonly wrapped?: Part;
  readonly default?: unknown;
  readonly entries?: Readonly<Record<string, Part>>;
  readonly options?: readonly unknown[];
  readonly literal?: unknown;
  readonly item?: Part;
  readonly key?: Part;
  readonly value?: Part;
  readonly metadata?: JsonSchema;
}

const OPTIONAL: readonly string[] = ["optional", "exact_optional", "nullish"];

/**
 * A schema as JSON Schema. What code checks beyond a form (`check`, `transform`) is left out, and a kind of schema that is
 * not known here takes anything.
 *
 * @param refOf where a schema stands that is told once; `null`: written out where it is met
 */
export function toJsonSchema(schema: v.GenericSchema, refOf: (schema: unknown) => string | null): JsonSchema {
  const convert = (part: Part): JsonSchema => {
    const ref = refOf(part);
    if (ref !== null) return { $ref: ref };
    const [base, ...actions] = flat(part);
    let json = shapeOf(base ?? part);
    for (const action of actions) {
      // What comes after is about another value than the one that is sent.
      if (action.type === "transform") break;
      json = { ...json, ...constraintOf(action, json) };
    }
    return json;
  };

  const shapeOf = (part: Part): JsonSchema => {
    const { type, wrapped, default: fallback } = part;
    switch (type) {
      case "string":
      case "number":
      case "boolean":
        return { type };
      case "literal":
        return { const: part.literal };
      case "picklist":
        return { enum: part.options, type: "string" };
      case "array":
        return { type, items: convert(part.item ?? part) };
      case "record":
        return {
          type: "object",
          propertyNames: convert(part.key ?? part),
          additionalProperties: convert(part.value ?? part),
        };
      case "union":
      case "variant":
        return { [type === "union" ? "anyOf" : "oneOf"]: (part.options as readonly Part[]).map(convert) };
      case "object":
      case "strict_object":
        return objectOf(part.entries ?? {}, type === "strict_object");
      case "nullable":
      case "nullish":
        return { anyOf: [convert(wrapped ?? part), { type: "null" }], ...defaultOf(fallback) };
      case "optional":
      case "exact_optional":
        return { ...convert(wrapped ?? part), ...defaultOf(fallback) };
      default:
        return {};
    }
  };

  const objectOf = (entries: Readonly<Record<string, Part>>, isStrict: boolean): JsonSchema => ({
    type: "object",
    properties: Object.fromEntries(Object.entries(entries).map(([name, part]) => [name, convert(part)])),
    required: Object.keys(entries).filter((name) => !OPTIONAL.includes(entries[name]?.type ?? "")),
    ...(isStrict && { additionalProperties: false }),
  });

  return convert(schema as unknown as Part);
}

/** A pipe may begin with another one. */
const flat = ({ pipe = [], ...part }: Part): readonly Part[] => {
  const [first, ...rest] = pipe;
  return first === undefined ? [part] : [...flat(first), ...rest];
};

const defaultOf = (fallback: unknown): JsonSchema => (fallback === undefined ? {} : { default: fallback });

function constraintOf({ type, requirement, metadata }: Part, { type: of }: JsonSchema): JsonSchema {
  switch (type) {
    case "min_length":
      return { [of === "array" ? "minItems" : "minLength"]: requirement };
    case "max_length":
      return { [of === "array" ? "maxItems" : "maxLength"]: requirement };
    case "min_value":
      return { minimum: requirement };
    case "max_value":
      return { maximum: requirement };
    case "regex":
      return { pattern: (requirement as RegExp).source };
    case "integer":
      return { type };
    case "metadata":
      return metadata ?? {};
    default:
      return {};
  }
}
