// The OpenAPI 3.1 document, made of the table of endpoints: what it says is what the router does.
import * as v from "valibot";
import { GATEWAY_REALM } from "../config/realms.ts";
import type { Config } from "../config/types.ts";
import { PROBLEMS } from "../problem.ts";
import type { Endpoint } from "./endpoint.ts";
import { type JsonSchema, toJsonSchema } from "./json-schema.ts";
import { OwnSession, RealmSummary, Revocation, Session, User } from "./resources.ts";

/** Schemas that stand once in the document and are referred to by name. */
const SHARED = { User, Session, OwnSession, Revocation, RealmSummary };

const documents = new WeakMap<Config, object>();

/**
 * A document that describes every endpoint, its input, its answer and its problems. Made on first demand: starting an
 * isolate does not wait for it. Checks that code makes beyond a schema are not in it.
 *
 * @see https://spec.openapis.org/oas/v3.1.1.html
 */
export function openApiDocument(endpoints: readonly Endpoint[], config: Config): object {
  let document = documents.get(config);
  if (document === undefined) {
    document = build(endpoints, config);
    documents.set(config, document);
  }
  return document;
}

function build(endpoints: readonly Endpoint[], config: Config): object {
  const cookies = cookieSchemes(config);
  const paths: Record<string, Record<string, object>> = {};
  const statuses = new Set<number>();
  for (const endpoint of endpoints) {
    const path = endpoint.path.replaceAll(/:([a-z]+)/g, "{$1}");
    const problems = problemStatuses(endpoint);
    for (const status of problems) statuses.add(status);
    const method = endpoint.method.toLowerCase();
    paths[path] = { ...paths[path], [method]: operationOf(endpoint, problems, cookies) };
  }
  return {
    openapi: "3.1.1",
    info: {
      title: "Postern",
      summary: "Sign-in, self-service and administration",
      description:
        "Without `realm`: that of the access token, else of the host's sites, else the only one with sign_in beside `gateway`.",
      version: "1",
    },
    servers: [{ url: "/_gateway" }],
    paths,
    components: {
      schemas: { ...sharedSchemas(), Problem: PROBLEM },
      responses: Object.fromEntries([...statuses].map((status) => [String(status), problemResponse(status)])),
      securitySchemes: {
        bearer: {
          type: "http",
          scheme: "bearer",
          description: "An access token, API key, PAT or ADMIN_TOKEN",
        },
        ...Object.fromEntries(cookies),
      },
    },
  };
}

function operationOf(
  endpoint: Endpoint,
  problems: readonly number[],
  cookies: ReadonlyMap<string, object>,
): object {
  const { id, summary, access, status } = endpoint;
  const success =
    endpoint.answer === null
      ? { description: "Done" }
      : {
          description: "Success",
          ...(id === "signIn" && { headers: { "Set-Cookie": SESSION_COOKIE } }),
          content: { "application/json": { schema: schemaOf(endpoint.answer) } },
        };
  return {
    operationId: id,
    summary,
    tags: [tagOf(endpoint.path)],
    security: securityOf(endpoint, cookies),
    parameters: parametersOf(endpoint),
    ...(endpoint.body !== null && { requestBody: requestBodyOf(endpoint.body, endpoint.bodyType ?? "json") }),
    responses: {
      [status]: success,
      ...Object.fromEntries(problems.map((code) => [code, { $ref: `#/components/responses/${code}` }])),
    },
    "x-postern-access": access,
  };
}

function parametersOf({ path, query, access }: Endpoint): readonly object[] {
  const inPath = [...path.matchAll(/:([a-z]+)/g)].map(([, name]) => ({
    name,
    in: "path",
    required: true,
    schema: { type: "string" },
  }));
  const { properties = {}, required = [] } = (query === null ? {} : schemaOf(query)) as {
    readonly properties?: JsonSchema;
    readonly required?: readonly string[];
  };
  const inQuery = Object.entries(properties).map(([name, schema]) => ({
    name,
    in: "query",
    required: required.includes(name),
    schema,
  }));
  // Read for every call by a user, see `call.ts`.
  const realm = { name: "realm", in: "query", required: false, schema: { type: "string" } };
  return [...inPath, ...inQuery, ...(access.for === "user" ? [realm] : [])];
}

function requestBodyOf(body: v.GenericSchema, type: "json" | "form"): object {
  const mediaType = type === "json" ? "application/json" : "application/x-www-form-urlencoded";
  const isOptional = v.safeParse(body, {}).success;
  return { required: !isOptional, content: { [mediaType]: { schema: schemaOf(body) } } };
}

/** Names beside a scheme are what it must carry (OAS 3.1 §4.8.30). */
function securityOf({ access }: Endpoint, cookies: ReadonlyMap<string, object>): readonly object[] {
  if (access.for === "anyone") return [];
  const isAdmin = access.for === "administrator";
  const ofCookies = isAdmin
    ? [cookieScheme(GATEWAY_REALM)].filter((scheme) => cookies.has(scheme))
    : access.by.includes("session")
      ? [...cookies.keys()]
      : [];
  return ["bearer", ...ofCookies].map((scheme) => ({ [scheme]: isAdmin ? [access.scope] : [] }));
}

const cookieScheme = (realm: string) => `cookie-${realm}`;

/** Of each realm with a session cookie, by the names of their schemes. */
function cookieSchemes({ realms }: Config): ReadonlyMap<string, object> {
  const schemes = new Map<string, object>();
  for (const { name, signIn } of realms.values()) {
    const cookie = signIn?.cookie ?? null;
    if (cookie === null) continue;
    const description = "All but GET need a same-origin `Origin` header";
    schemes.set(cookieScheme(name), { type: "apiKey", in: "cookie", name: cookie, description });
  }
  return schemes;
}

/** `/admin/realms/:realm/users/:id/password` is about users. */
function tagOf(path: string): string {
  const words = path.split("/").filter((word) => word !== "" && !word.startsWith(":"));
  return (words[0] === "admin" ? (words[2] ?? words[1]) : words[0]) ?? "";
}

function problemStatuses({ method, path, access, body }: Endpoint): readonly number[] {
  const isWrite = method !== "GET";
  const names = path.includes(":");
  return [
    400,
    401,
    ...(access.for === "administrator" || (access.for === "user" && isWrite) ? [403] : []),
    ...(names ? [404] : []),
    ...(isWrite && access.for !== "anyone" ? [409] : []),
    ...(body !== null ? [413, 415] : []),
    ...(access.for === "anyone" || (access.for === "user" && isWrite) ? [429] : []),
    500,
    503,
  ];
}

function problemResponse(status: number): object {
  const codes = Object.entries(PROBLEMS).filter(([, problem]) => problem.status === status);
  return {
    description: codes.map(([code]) => code).join(", "),
    ...((status === 429 || status === 503) && { headers: { "Retry-After": RETRY_AFTER } }),
    content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } },
  };
}

const SESSION_COOKIE = { description: "With `session: cookie`", schema: { type: "string" } };
const RETRY_AFTER = { description: "Seconds", schema: { type: "integer" } };

/** RFC 9457 §3.1, with `code`, `requestId` and `errors` as extension members. */
const PROBLEM = {
  type: "object",
  required: ["type", "title", "status", "code", "requestId"],
  properties: {
    type: { type: "string" },
    title: { type: "string" },
    status: { type: "integer" },
    code: { type: "string", enum: Object.keys(PROBLEMS) },
    requestId: { type: "string" },
    errors: {
      type: "array",
      items: {
        type: "object",
        required: ["field", "message"],
        properties: { field: { type: "string" }, message: { type: "string" } },
      },
    },
  },
};

const refOf = (name: string) => `#/components/schemas/${name}`;

/** Written out where it is defined, referred to everywhere else. */
const sharedSchemas = () =>
  Object.fromEntries(Object.entries(SHARED).map(([name, schema]) => [name, schemaOf(schema, schema)]));

/** @param defined the one that is not referred to, as it is defined here */
function schemaOf(schema: v.GenericSchema, defined?: v.GenericSchema): JsonSchema {
  return toJsonSchema(schema, (met) => {
    const [name] = Object.entries(SHARED).find(([, shared]) => shared === met && met !== defined) ?? [];
    return name === undefined ? null : refOf(name);
  });
}
