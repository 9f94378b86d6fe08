// Bodies and queries -> what the endpoint's schema makes of them, or every field that is wrong with the mend.
import * as v from "valibot";
import { cutOff } from "../cut-off.ts";
import { type InputError, Problem } from "../problem.ts";

/** Import sends the largest bodies; everything else is a few hundred bytes. */
export const MAX_BODY_BYTES = 1_048_576;
const BODY_DEADLINE_MS = 10_000;
const LARGE_BODY_LENGTH = 65_536;
const MAX_ERRORS = 50;

/**
 * The whole body as text, within a deadline; `null`: there is none. Who may call is found out afterwards, so that nobody is
 * let in by what was so before a slow body had arrived.
 * @throws Problem `content_too_large`, `request_malformed`
 */
export async function readInput(request: Request): Promise<string | null> {
  if (request.body === null) return null;
  try {
    const text = await cutOff(readText(request.body), BODY_DEADLINE_MS);
    return text === "" ? null : text;
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Problem("request_malformed", "the body did not arrive", {
      errors: [{ field: "", message: `must arrive within ${BODY_DEADLINE_MS / 1_000} seconds` }],
    });
  }
}

/**
 * The body as the schema has it. An unknown member is an error: what is not read must not look as if it was.
 * @param text `null`: there is none, which says nothing and a schema may allow
 * @throws Problem `content_type_unsupported`, `request_malformed`, `input_invalid`
 */
export function parseInput(
  text: string | null,
  headers: Headers,
  schema: v.GenericSchema,
  type: "json" | "form",
): unknown {
  if (text === null) return parse(schema, {});
  const given = (headers.get("content-type") ?? "").split(";", 1)[0]?.trim().toLowerCase();
  const wanted = type === "json" ? "application/json" : "application/x-www-form-urlencoded";
  // A page of another origin can send a form without asking; JSON it cannot (Fetch standard, CORS-safelisted request-header).
  if (given !== wanted)
    throw new Problem("content_type_unsupported", `${type} is wanted`, { errors: [contentType(wanted)] });
  if (type === "form") return parse(schema, single(new URLSearchParams(text)));
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Problem("request_malformed", "the body is no JSON", {
      errors: [{ field: "", message: "must be JSON" }],
    });
  }
  // To a schema of an object without required members a list would be one.
  if (Array.isArray(value)) throw invalid([{ field: "", message: "must be an object" }]);
  return parse(schema, value, text.length > LARGE_BODY_LENGTH);
}

/** What Authorization holds after `Bearer` (RFC 6750 §2.1), unverified; `null`: nothing of that form. */
export function bearerToken({ headers }: Request): string | null {
  return /^bearer +(\S+)$/i.exec(headers.get("authorization") ?? "")?.[1] ?? null;
}

/** @throws Problem `input_invalid`, also for parameters that stand there twice */
export function readQuery(parameters: URLSearchParams, schema: v.GenericSchema): unknown {
  return parse(schema, single(parameters));
}

const contentType = (wanted: string): InputError => ({
  field: "Content-Type",
  message: `must be ${wanted}`,
});

/**
 * @param isLarge the first field that is wrong is told alone: a megabyte of wrong items would be a gigabyte of issues
 * @throws Problem `input_invalid` with the fields that are wrong, `MAX_ERRORS` at most; values are not repeated
 */
export function parse(schema: v.GenericSchema, value: unknown, isLarge = false): unknown {
  const result = v.safeParse(schema, value, { abortEarly: isLarge });
  if (result.success) return result.output;
  const issues = result.issues.slice(0, MAX_ERRORS);
  throw invalid(issues.map((issue) => ({ field: fieldOf(issue), message: messageOf(issue) })));
}

export function invalid(errors: readonly InputError[]): Problem {
  return new Problem("input_invalid", errors.map(({ field }) => field || "body").join(", "), { errors });
}

function fieldOf({ path }: v.BaseIssue<unknown>): string {
  let field = "";
  for (const { key } of path ?? []) {
    field += typeof key === "number" ? `[${key}]` : `${field === "" ? "" : "."}${String(key)}`;
  }
  return field;
}

/** valibot's own texts quote what was received, which may be a password. */
function messageOf(issue: v.BaseIssue<unknown>): string {
  if (issue.kind === "schema" && issue.expected === "never") return "is not known here: leave it out";
  if (issue.received === "undefined") return "is required";
  if (issue.message.startsWith("Invalid ")) {
    return issue.expected === null ? "is not valid" : `must be ${issue.expected}`;
  }
  return issue.message;
}

function single(parameters: URLSearchParams): Readonly<Record<string, string>> {
  const values: Record<string, string> = Object.create(null);
  for (const [name, value] of parameters) {
    if (Object.hasOwn(values, name)) throw invalid([{ field: name, message: "must stand there once" }]);
    values[name] = value;
  }
  return values;
}

/** Reads no further than the limit, whatever Content-Length says. */
async function readText(body: ReadableStream<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.byteLength;
    if (size > MAX_BODY_BYTES) {
      throw new Problem("content_too_large", "the body is too large", {
        errors: [{ field: "", message: `must be at most ${MAX_BODY_BYTES} bytes` }],
      });
    }
    chunks.push(chunk);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(
      await new Blob(chunks).arrayBuffer(),
    );
  } catch {
    throw new Problem("request_malformed", "the body is not UTF-8", {
      errors: [{ field: "", message: "must be UTF-8" }],
    });
  }
}
