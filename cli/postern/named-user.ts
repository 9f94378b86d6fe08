// Users as people name them: by id, or by the username or e-mail address that they sign in with.
import { Failure } from "./failure.ts";
import { type Gateway, pathOf } from "./gateway.ts";
import { printable, type Row } from "./output.ts";

/**
 * The id of the user who is named. An id counts before a username that is spelt alike.
 *
 * @returns the name as it is where nothing tells: the call that follows says what is wrong
 * @throws Failure where the realm has neither such an id nor such a name
 */
export async function userNamed(gateway: Gateway, realm: string, name: string): Promise<string> {
  const found = await idOf(gateway, realm, name);
  if (found !== null) return found;
  throw new Failure(
    "refused",
    `there is no user "${printable(name)}" in realm ${printable(realm)}: no id, username or e-mail address is that`,
    `  users list --realm ${printable(realm)} --search ${printable(name)} shows those who are called alike`,
  );
}

/** As `userNamed`, but whom nobody knows is taken for an id: of a deleted user, or of one of a foreign issuer. */
export async function userOrIdNamed(gateway: Gateway, realm: string, name: string): Promise<string> {
  return (await idOf(gateway, realm, name)) ?? name;
}

/** For a flag that may be missing. */
export async function givenUser(
  gateway: Gateway,
  realm: string,
  name: string | undefined,
): Promise<string | undefined> {
  return name === undefined ? undefined : userNamed(gateway, realm, name);
}

async function idOf(gateway: Gateway, realm: string, name: string): Promise<string | null> {
  const byId = await gateway.ask("GET", pathOf`admin/realms/${realm}/users/${name}`);
  // A realm that is not there has errors; a token that may not read, or an outage, another code.
  if (byId.ok || byId.refusal.code !== "resource_not_found" || byId.refusal.errors.length > 0) return name;
  const query = new URLSearchParams({ account: name, limit: "2" });
  const byName = await gateway.ask("GET", `${pathOf`admin/realms/${realm}/users`}?${query}`);
  if (!byName.ok) return null;
  const { items = [] } = (byName.body ?? {}) as { readonly items?: readonly Row[] };
  const [only, other] = items;
  return only === undefined || other !== undefined || typeof only.id !== "string" ? null : only.id;
}
