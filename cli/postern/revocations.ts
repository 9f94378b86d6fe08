// `sessions …`, `revoke`, `revocations list`: ending what was given out.
import { type Command, command } from "./command.ts";
import { wrongUsage } from "./failure.ts";
import { pathOf } from "./gateway.ts";
import { given, REALM, YES } from "./inputs.ts";
import { LIST_OPTIONS, printList } from "./lists.ts";
import { givenUser, userNamed, userOrIdNamed } from "./named-user.ts";
import { member, type Row, statusOf } from "./output.ts";
import { confirm } from "./terminal.ts";
import { parseTime, shownTime } from "./times.ts";

const KINDS = ["key", "pat", "session", "token", "user", "realm"];
/** Where people say it otherwise. */
const NAMES: Readonly<Record<string, string>> = { key: "API key", pat: "PAT" };

const time = (name: string, title: string) => ({ title, text: (row: Row) => shownTime(row[name]) });

export const revocationCommands: readonly Command[] = [
  command({
    words: "sessions list",
    says: "The sessions that have not run out, newest first.",
    options: {
      ...REALM,
      user: { type: "string", value: "USER", says: "of this user only: id, username or e-mail address" },
      ...LIST_OPTIONS,
    },
    async run(call) {
      const { realm } = call.flags;
      const user = await givenUser(call.gateway(), realm, call.flags.user);
      const columns = [
        ...["id", "user", "kind"].map((name) => member(name)),
        { title: "STATUS", text: statusOf },
        time("created_at", "CREATED"),
        time("last_used_at", "LAST USED"),
        time("expires_at", "EXPIRES"),
        member("address"),
        member("user_agent", "USER AGENT"),
      ];
      await printList(
        call,
        pathOf`admin/realms/${realm}/sessions`,
        { user },
        call.flags,
        columns,
        "No sessions.",
      );
    },
  }),
  command({
    words: "sessions end",
    operands: ["[ID]"],
    says: "Ends one session, or with --user USER --all every session of a user, and the tokens they gave out.",
    options: {
      ...REALM,
      user: {
        type: "string",
        value: "USER",
        says: "whose sessions, by id, username or e-mail address; with --all",
      },
      all: { type: "boolean", says: "every session of the user" },
      ...YES,
    },
    async run({ gateway, flags, operands: [id], output }) {
      const { realm, user: name, all, yes } = flags;
      const isOne = id !== undefined && name === undefined && !all;
      if (!isOne && (id !== undefined || name === undefined || !all)) {
        throw wrongUsage("name one session by its ID, or a user with --user USER --all");
      }
      const api = gateway();
      if (isOne) {
        const what = `session "${id}" in realm ${realm}`;
        await confirm(`This ends ${what}`, yes);
        const path = pathOf`admin/realms/${realm}/sessions/${id}`;
        const answer = await api.call("DELETE", path, undefined, { what });
        output.answer(answer, () => [`Session ${id} is ended.`]);
        return;
      }
      const user = await userNamed(api, realm, name ?? "");
      await confirm(`This ends every session of user ${user} of realm ${realm}`, yes);
      const answer = await api.call("DELETE", pathOf`admin/realms/${realm}/users/${user}/sessions`);
      output.answer(answer, () => [`The sessions of user ${user} are ended.`]);
    },
  }),
  command({
    words: "revoke",
    operands: ["KIND", "[ID]"],
    says: `Ends what was given out. KIND is one of ${KINDS.join(", ")}; all but realm want an ID (of a token its jti; a user may be named by username or e-mail address).`,
    notes: [
      "  revoke key key_…              the API key is refused from now on",
      "  revoke user 7 --before 2h     whatever user 7 was given until two hours ago",
      "  revoke realm --realm api      whatever anybody of the realm was given until now",
    ],
    options: {
      ...REALM,
      before: {
        type: "string",
        value: "TIME",
        says: "of a user or realm: what was issued until then; default now",
      },
      expires: { type: "string", value: "TIME", says: "of a token: when it runs out by itself" },
      ...YES,
    },
    async run({ gateway, flags, operands: [kind = "", named], nowSeconds, output }) {
      const { realm, before, expires, yes } = flags;
      if (!KINDS.includes(kind)) throw wrongUsage(`KIND must be one of ${KINDS.join(", ")}`);
      const isWhole = kind === "realm";
      if (isWhole !== (named === undefined)) {
        throw wrongUsage(isWhole ? "a realm is named by --realm alone" : `revoke ${kind} wants an ID`);
      }
      if (before !== undefined && !isWhole && kind !== "user")
        throw wrongUsage("--before is for users and realms");
      if (expires !== undefined && kind !== "token") throw wrongUsage("--expires is for tokens");
      const times = given({
        issued_before: before === undefined ? undefined : parseTime("before", before, "back", nowSeconds),
        expires_at: expires === undefined ? undefined : parseTime("expires", expires, "ahead", nowSeconds),
      });
      const api = gateway();
      const id = kind === "user" && named !== undefined ? await userOrIdNamed(api, realm, named) : named;
      const path = pathOf`admin/realms/${realm}/revocations`;
      const what = `${NAMES[kind] ?? kind} "${id}" in realm ${realm}`;
      if (isWhole)
        await confirm(`This ends whatever users of realm ${realm} were given, for all of them`, yes);
      else if (kind === "user")
        await confirm(`This ends whatever user ${id} of realm ${realm} was given`, yes);
      else await confirm(`This ends ${what} for good`, yes);
      const answer = await api.call("POST", path, given({ kind, id, ...times }), { what });
      output.answer(answer, () => [`Revoked: ${kind} ${id ?? realm}.`]);
    },
  }),
  command({
    words: "revocations list",
    says: "The denials in force.",
    options: { ...REALM, ...LIST_OPTIONS },
    run: (call) => {
      const columns = [
        ...["kind", "id"].map((name) => member(name)),
        time("issued_before", "ISSUED BEFORE"),
        time("expires_at", "UNTIL"),
      ];
      const path = pathOf`admin/realms/${call.flags.realm}/revocations`;
      return printList(call, path, {}, call.flags, columns, "No revocations.");
    },
  }),
];
