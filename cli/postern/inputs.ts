// Flags that several commands share, and what they become in a body of the API.
import type { Options } from "./command.ts";
import { Failure, wrongUsage } from "./failure.ts";
import type { Gateway } from "./gateway.ts";
import { printable } from "./output.ts";

export const REALM = {
  realm: {
    type: "string",
    value: "NAME",
    isNeeded: true,
    says: "the user directory; `realms list` shows them",
  },
} as const satisfies Options;

/** Where the realm only narrows a list, so that a mistyped one would look like an empty list. @throws Failure */
export async function demandRealm(gateway: Gateway, name: string): Promise<void> {
  const { items } = (await gateway.call("GET", "admin/realms")) as {
    readonly items: readonly { readonly name: string }[];
  };
  const names = items.map((realm) => realm.name);
  if (names.includes(name)) return;
  throw new Failure(
    "refused",
    `there is no realm "${printable(name)}"`,
    `  --realm: must be one of ${names.join(", ")}`,
  );
}

export const YES = {
  yes: { type: "boolean", says: "do it without being asked" },
} as const satisfies Options;

/** The members that were given; `undefined` ones are left out. */
export function given(members: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));
}

/** `""` says that there is none. */
export const orNone = (text: string | undefined) => (text === "" ? null : text);

/** A list that was given, or emptied with its `--no-…` flag; `undefined`: neither. @throws Failure of usage */
export function listGiven(
  flag: string,
  values: readonly string[],
  isEmptied: boolean,
): readonly string[] | undefined {
  if (isEmptied && values.length > 0) throw wrongUsage(`--${flag} and --no-${flag}s exclude each other`);
  return values.length > 0 || isEmptied ? values : undefined;
}

/** @throws Failure of usage */
export function attributesGiven(text: string | undefined): unknown {
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  } catch {
    // Said below.
  }
  throw wrongUsage(`--attributes wants a JSON object like '{"group":"vip"}'`);
}

/** @throws Failure of usage where nothing is to be changed */
export function demandChange(body: Readonly<Record<string, unknown>>): void {
  if (Object.keys(body).length === 0)
    throw wrongUsage("nothing is to be changed: name it by a flag; see --help");
}
