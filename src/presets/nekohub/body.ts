// Bodies as ASP.NET reads them: names of members in any case, members that nobody asked for passed over.
import type { RequestContext } from "../../context.ts";
import { readInput } from "../../control/input.ts";
import { Problem } from "../../problem.ts";

/**
 * The texts under these names of a JSON body. JSON only: a page of another origin can send a form without asking.
 * @throws Problem `input_invalid` with what is wrong first; `content_type_unsupported`, `content_too_large`,
 *   `request_malformed`
 */
export async function readFields<const Name extends string>(
  { arrival }: RequestContext,
  names: readonly Name[],
): Promise<Readonly<Record<Name, string>>> {
  const { request } = arrival;
  const text = await readInput(request);
  if (text === null) throw invalid("A non-empty request body is required.");
  const type = (request.headers.get("content-type") ?? "").split(";", 1)[0]?.trim().toLowerCase() ?? "";
  if (type !== "application/json" && type !== "text/json" && !/^application\/.+\+json$/.test(type)) {
    throw new Problem("content_type_unsupported", "JSON is wanted");
  }
  const members = readMembers(text);
  const fields = names.map((name) => {
    const value = members.get(name.toLowerCase());
    if (value === undefined || value === null) {
      throw invalid(`The ${name.slice(0, 1).toUpperCase()}${name.slice(1)} field is required.`);
    }
    if (typeof value !== "string") throw invalid(UNREADABLE);
    return [name, value];
  });
  return Object.fromEntries(fields) as Record<Name, string>;
}

const UNREADABLE = "Invalid request payload.";

/** By name in lower case; of several the last one counts. */
function readMembers(text: string): ReadonlyMap<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw invalid(UNREADABLE);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw invalid(UNREADABLE);
  return new Map(Object.entries(value).map(([name, member]) => [name.toLowerCase(), member]));
}

function invalid(message: string): Problem {
  return new Problem("input_invalid", "body", { errors: [{ field: "", message }] });
}
