// The document at /_gateway/openapi.json says what the router does: every endpoint once, nothing it refers to missing.
import { beforeEach, describe, expect, it } from "vitest";
import { ENDPOINTS } from "../../../src/control/endpoints.ts";
import { PROBLEMS } from "../../../src/problem.ts";
import { api, emptyStores, startGateway } from "../../support/worker/gateway.ts";

type Json = Readonly<Record<string, unknown>>;
interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly tags: readonly string[];
  readonly security: readonly Json[];
  readonly parameters: readonly { readonly name: string; readonly in: string; readonly required: boolean }[];
  readonly requestBody?: {
    readonly required: boolean;
    readonly content: Readonly<Record<string, { readonly schema: Json }>>;
  };
  readonly responses: Readonly<Record<string, Json>>;
}
interface Document {
  readonly openapi: string;
  readonly info: Json;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: {
    readonly schemas: Json;
    readonly responses: Json;
    readonly securitySchemes: Readonly<Record<string, Json>>;
  };
}

let document: Document;
beforeEach(async () => {
  await emptyStores();
  const { status, body, headers } = await api(startGateway(), "GET", "openapi.json", undefined, null);
  expect(status).toBe(200);
  expect(headers.get("content-type")).toContain("application/json");
  document = body as Document;
});

const operations = () =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );

/** Every object anywhere in the document, with the way to it. */
function* objects(value: unknown, way = "#"): Generator<readonly [string, Json]> {
  if (typeof value !== "object" || value === null) return;
  if (!Array.isArray(value)) yield [way, value as Json];
  for (const [key, member] of Object.entries(value)) yield* objects(member, `${way}/${key}`);
}

function resolve(reference: string): unknown {
  let value: unknown = document;
  for (const part of reference.split("/").slice(1)) value = (value as Json | undefined)?.[part];
  return value;
}

it("is OpenAPI 3.1, readable by anyone, and never stored", async () => {
  expect(document.openapi).toMatch(/^3\.1\.\d+$/);
  const { headers } = await api(startGateway(), "GET", "openapi.json", undefined, null);
  expect(headers.get("cache-control")).toBe("no-store");
});

describe("paths", () => {
  it("hold every endpoint of the table once, and nothing else", () => {
    const table = ENDPOINTS.map(
      ({ method, path }) => `${method.toLowerCase()} ${path.replaceAll(/:(\w+)/g, "{$1}")}`,
    );
    expect(new Set(table).size).toBe(table.length);
    expect(
      operations()
        .map(({ method, path }) => `${method} ${path}`)
        .sort(),
    ).toEqual(table.sort());
  });

  it("have operationIds that are unique (OAS 3.1 §4.8.10), and a summary", () => {
    const ids = operations().map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { operation } of operations()) {
      expect(operation.operationId).toMatch(/^[a-z][A-Za-z]+$/);
      expect(operation.summary.length).toBeGreaterThan(5);
      expect(operation.tags).toHaveLength(1);
    }
  });

  it("declare exactly the parameters that stand in the path (OAS 3.1 §4.8.12)", () => {
    for (const { path, operation } of operations()) {
      const declared = operation.parameters.filter((parameter) => parameter.in === "path");
      expect(declared.map(({ name }) => `{${name}}`).sort()).toEqual((path.match(/\{\w+\}/g) ?? []).sort());
      expect(declared.every(({ required }) => required)).toBe(true);
    }
  });

  it("declare no parameter twice", () => {
    for (const { operation } of operations()) {
      const names = operation.parameters.map(({ name, in: place }) => `${place} ${name}`);
      expect(new Set(names).size).toBe(names.length);
    }
  });

  it("are in pages where they answer a list: limit and cursor in, next_cursor out", () => {
    const lists = operations().filter(({ operation }) =>
      JSON.stringify(operation.responses["200"] ?? {}).includes('"items":{"type":"array"'),
    );
    expect(lists.length).toBeGreaterThan(8);
    for (const { path, operation } of lists) {
      const names = operation.parameters.map(({ name }) => name);
      expect(names, path).toEqual(expect.arrayContaining(["limit", "cursor"]));
      expect(JSON.stringify(operation.responses["200"]), path).toContain('"next_cursor"');
    }
    // What answers an array in any other form would have no page.
    const others = operations().filter(({ operation }) =>
      JSON.stringify(operation.responses["200"] ?? {}).includes('"schema":{"type":"array"'),
    );
    expect(others).toEqual([]);
  });

  it("have one success and the problems that can occur, each a problem+json", () => {
    const statuses = new Set<string>(Object.values(PROBLEMS).map(({ status }) => String(status)));
    for (const { operation } of operations()) {
      const [successes, failures] = [2, 4].map((first) =>
        Object.keys(operation.responses).filter((status) =>
          first === 2 ? status.startsWith("2") : !status.startsWith("2"),
        ),
      );
      expect(successes).toHaveLength(1);
      expect(failures).toEqual(expect.arrayContaining(["400", "503"]));
      for (const status of failures ?? []) expect(statuses).toContain(status);
    }
    for (const response of Object.values(document.components.responses)) {
      expect(Object.keys((response as { content: Json }).content)).toEqual(["application/problem+json"]);
    }
  });

  it("say who may call, in words of the document and in the table's own", () => {
    for (const endpoint of ENDPOINTS) {
      const path = endpoint.path.replaceAll(/:(\w+)/g, "{$1}");
      const operation = document.paths[path]?.[endpoint.method.toLowerCase()];
      expect(operation).toHaveProperty("x-postern-access", endpoint.access);
      expect((operation?.security.length ?? 0) === 0).toBe(endpoint.access.for === "anyone");
    }
  });
});

it("every $ref resolves, and everything shared is used", () => {
  const references = [...objects(document)].flatMap(([, { $ref }]) =>
    typeof $ref === "string" ? [$ref] : [],
  );
  expect(references.length).toBeGreaterThan(0);
  for (const reference of references) expect(resolve(reference), reference).toBeTypeOf("object");
  for (const name of Object.keys(document.components.schemas)) {
    expect(references).toContain(`#/components/schemas/${name}`);
  }
});

it("every security requirement names a scheme (OAS 3.1 §4.8.30)", () => {
  const schemes = Object.keys(document.components.securitySchemes);
  for (const { operation } of operations()) {
    for (const requirement of operation.security)
      expect(schemes).toEqual(expect.arrayContaining(Object.keys(requirement)));
  }
});

it("no schema of a body or an answer is empty", () => {
  const schemas = [...objects(document)].filter(
    ([way]) => way.endsWith("/schema") || /\/components\/schemas\/\w+$/.test(way),
  );
  expect(schemas.length).toBeGreaterThan(ENDPOINTS.length);
  for (const [way, schema] of schemas) expect(Object.keys(schema).length, way).toBeGreaterThan(0);
});

it("bodies of objects close themselves to unknown members", () => {
  for (const { path, method, operation } of operations()) {
    const content = operation.requestBody?.content["application/json"]; // forms are OAuth's, which ignore them
    for (const { schema } of content === undefined ? [] : [content]) {
      const alternatives = (schema.oneOf ?? schema.anyOf ?? [schema]) as readonly Json[];
      for (const alternative of alternatives) {
        expect(alternative.additionalProperties, `${method} ${path}`).toBe(false);
      }
    }
  }
});

describe("what a client cannot guess", () => {
  it("is said of realms that are left out, cookies, and when to come back (RFC 9110 §10.2.3)", () => {
    expect(document.info.description).toContain("`realm`");
    const { bearer: _, ...cookies } = document.components.securitySchemes;
    expect(Object.keys(cookies).length).toBeGreaterThan(0);
    for (const scheme of Object.values(cookies)) expect(scheme.description).toContain("`Origin`");
    for (const [status, response] of Object.entries(document.components.responses)) {
      const { headers = {} } = response as { headers?: Json };
      expect(Object.keys(headers), status).toEqual(["429", "503"].includes(status) ? ["Retry-After"] : []);
    }
  });

  it("is said of the cookie that signing in sets, and of no other operation", () => {
    for (const { operation } of operations()) {
      const headers = Object.values(operation.responses).flatMap((response) =>
        Object.keys(response.headers ?? {}),
      );
      expect(headers, operation.operationId).toEqual(
        operation.operationId === "signIn" ? ["Set-Cookie"] : [],
      );
    }
  });
});

it("stays small enough to be read in one go", () => {
  expect(JSON.stringify(document).length).toBeLessThan(200_000);
});
