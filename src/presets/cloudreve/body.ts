// Bodies as Cloudreve reads them: names of members in any case, the first field that is wrong is told, others passed over.
import { readInput } from "../../control/input.ts";
import { Problem } from "../../problem.ts";

/**
 * The texts under these names of a JSON body, whatever its Content-Type says; `""`: not there, or null.
 * @throws Problem `input_invalid`, `request_malformed`, `content_too_large`
 */
export async function readFields<const Name extends string>(
  request: Request,
  names: readonly Name[],
): Promise<Readonly<Record<Name, string>>> {
  const members = readMembers((await readInput(request)) ?? "");
  const fields = names.map((name) => {
    const value = members.get(name) ?? "";
    if (typeof value !== "string") throw wrong("JSON marshall error");
    return [name, value];
  });
  return Object.fromEntries(fields) as Record<Name, string>;
}

/** By name in lower case; of several the last one counts. */
function readMembers(text: string): ReadonlyMap<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw wrong("Parameter error");
  }
  if (value === null) return new Map();
  if (typeof value !== "object" || Array.isArray(value)) throw wrong("JSON marshall error");
  return new Map(Object.entries(value).map(([name, member]) => [name.toLowerCase(), member]));
}

/** @throws Problem `input_invalid` for what is no e-mail address. Says nothing about whose it is. */
export function demandEmail(email: string): void {
  if (email === "") throw wrong("Email cannot be empty");
  const isEmail = email.length <= 254 && email.isWellFormed() && /^[^\s@\p{Cc}]+@[^\s@\p{Cc}]+$/u.test(email);
  if (!isEmail) throw wrong("Email format error");
}

export function wrong(message: string): Problem {
  return new Problem("input_invalid", "body", { errors: [{ field: "", message }] });
}
