// `users …`
import { type Command, command } from "./command.ts";
import { pathOf } from "./gateway.ts";
import { attributesGiven, demandChange, given, listGiven, orNone, REALM, YES } from "./inputs.ts";
import { LIST_OPTIONS, printList } from "./lists.ts";
import { userNamed } from "./named-user.ts";
import { member, plain, type Row, recordLines } from "./output.ts";
import { confirm, readNewPassword } from "./terminal.ts";
import { shownTime } from "./times.ts";

const users = (realm: string) => pathOf`admin/realms/${realm}/users`;
const user = (realm: string, id: string) => pathOf`admin/realms/${realm}/users/${id}`;

const PERSON = {
  username: { type: "string", value: "NAME", says: "to sign in with; no @ in it" },
  email: { type: "string", value: "ADDRESS", says: "to sign in with as well" },
  name: { type: "string", value: "TEXT", says: "what people are shown" },
  role: { type: "string", value: "ROLE", says: "a step of the realm's ladder; default user" },
  permission: { type: "string", value: "WORD", isMany: true, says: "a right of the user" },
  status: { type: "string", value: "STATUS", says: "active, disabled or pending" },
  attributes: { type: "string", value: "JSON", says: "what presets and origins understand" },
} as const;

const PASSWORD_FLAGS = {
  "password-stdin": { type: "boolean", says: "read the password from standard input, its first line" },
} as const;

const show = (value: unknown) => {
  const row = value as Row;
  return recordLines([
    ...["realm", "id", "username", "email", "name", "role", "permissions", "status", "attributes"].map(
      (name) => [name, plain(row[name])] as const,
    ),
    ["password", row.has_password === true ? "yes" : "none"],
    ["created", shownTime(row.created_at)],
    ["updated", shownTime(row.updated_at)],
  ]);
};

/** A verb that changes the status. */
const statusCommand = (verb: string, status: string, says: string) =>
  command({
    words: `users ${verb}`,
    operands: ["USER"],
    says,
    options: REALM,
    async run({ gateway, flags, operands: [name = ""], output }) {
      const api = gateway();
      const id = await userNamed(api, flags.realm, name);
      const answer = await api.call("PATCH", user(flags.realm, id), { status });
      output.answer(answer, () => show(answer));
    },
  });

export const userCommands: readonly Command[] = [
  command({
    words: "users list",
    says: "The users of a realm.",
    options: {
      ...REALM,
      search: { type: "string", value: "TEXT", says: "part of id, name, username or e-mail address" },
      role: { type: "string", value: "ROLE", says: "those with this role" },
      status: { type: "string", value: "STATUS", says: "active, disabled or pending" },
      ...LIST_OPTIONS,
    },
    run: (call) => {
      const { realm, search, role, status } = call.flags;
      const columns = ["id", "username", "email", "name", "role", "status"].map((name) => member(name));
      return printList(call, users(realm), { search, role, status }, call.flags, columns, "No users.");
    },
  }),
  command({
    words: "users show",
    operands: ["USER"],
    says: "One user. USER is an id here and everywhere, or a username or an e-mail address.",
    options: REALM,
    async run({ gateway, flags, operands: [name = ""], output }) {
      const api = gateway();
      const answer = await api.call("GET", user(flags.realm, await userNamed(api, flags.realm, name)));
      output.answer(answer, () => show(answer));
    },
  }),
  command({
    words: "users create",
    says: "A new user. Without a password nobody signs in as them; keys and PATs work all the same.",
    options: {
      ...REALM,
      id: { type: "string", value: "ID", says: "default: a random one; ids are never used again" },
      ...PERSON,
      password: { type: "boolean", says: "type a password" },
      ...PASSWORD_FLAGS,
    },
    async run({ gateway, flags, output }) {
      const isFromInput = flags["password-stdin"];
      const api = gateway();
      const password = flags.password || isFromInput ? await readNewPassword(isFromInput) : undefined;
      const { realm, id, username, email, name, role, permission, status } = flags;
      const permissions = listGiven("permission", permission, false);
      const attributes = attributesGiven(flags.attributes);
      const body = given({ id, username, email, name, role, permissions, status, attributes, password });
      const answer = await api.call("POST", users(realm), body);
      output.answer(answer, () => show(answer));
    },
  }),
  command({
    words: "users update",
    operands: ["USER"],
    says: "Changes a user. An empty username, email or name takes it away.",
    options: {
      ...REALM,
      ...PERSON,
      role: { type: "string", value: "ROLE", says: "a step of the realm's ladder" },
      "no-permissions": { type: "boolean", says: "take all permissions away" },
    },
    async run({ gateway, flags, operands: [name = ""], output }) {
      const body = given({
        username: orNone(flags.username),
        email: orNone(flags.email),
        name: orNone(flags.name),
        role: flags.role,
        permissions: listGiven("permission", flags.permission, flags["no-permissions"]),
        status: flags.status,
        attributes: attributesGiven(flags.attributes),
      });
      demandChange(body);
      const api = gateway();
      const id = await userNamed(api, flags.realm, name);
      const answer = await api.call("PATCH", user(flags.realm, id), body);
      output.answer(answer, () => show(answer));
    },
  }),
  statusCommand("disable", "disabled", "Shuts a user out until enabled again. Sessions end for good."),
  statusCommand("enable", "active", "Lets a disabled or pending user in. Keys and PATs work as before."),
  command({
    words: "users delete",
    operands: ["USER"],
    says: "Deletes a user and ends their keys, PATs, sessions and tokens. The id is never used again.",
    options: { ...REALM, ...YES },
    async run({ gateway, flags, operands: [name = ""], output }) {
      const api = gateway();
      const id = await userNamed(api, flags.realm, name);
      await confirm(
        `This deletes user ${id} of realm ${flags.realm} with all keys, PATs and sessions`,
        flags.yes,
      );
      const answer = await api.call("DELETE", user(flags.realm, id));
      output.answer(answer, () => [`User ${id} is deleted.`]);
    },
  }),
  command({
    words: "users password",
    operands: ["USER"],
    says: "Sets a user's password, and ends their sessions. It is typed at the terminal, or read from standard input.",
    options: { ...REALM, ...PASSWORD_FLAGS },
    async run({ gateway, flags, operands: [name = ""], output }) {
      const api = gateway();
      const id = await userNamed(api, flags.realm, name);
      const password = await readNewPassword(flags["password-stdin"]);
      const answer = await api.call("POST", `${user(flags.realm, id)}/password`, { password });
      output.answer(answer, () => ["The password is set; all sessions of the user are ended."]);
    },
  }),
];
