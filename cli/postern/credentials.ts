// `keys …` and `pats …`: the same commands, made for each kind.
import { type Command, command } from "./command.ts";
import { pathOf } from "./gateway.ts";
import { attributesGiven, demandChange, given, listGiven, orNone, REALM, YES } from "./inputs.ts";
import { LIST_OPTIONS, printList } from "./lists.ts";
import { givenUser, userNamed } from "./named-user.ts";
import { member, type Output, plain, type Row, recordLines, statusOf } from "./output.ts";
import { confirm } from "./terminal.ts";
import { parseDuration, parseTime, shownTime } from "./times.ts";

interface Kind {
  readonly words: "keys" | "pats";
  readonly one: string;
  /** With its article. */
  readonly some: string;
  readonly many: string;
  /** Where the API puts the secret, the one time it shows it. */
  readonly secret: "key" | "token";
}

const SETTINGS = {
  name: { type: "string", value: "TEXT", says: "to tell it by" },
  scope: { type: "string", value: "SCOPE", isMany: true, says: "what it may be used for" },
  expires: { type: "string", value: "TIME", says: "90d, 2026-12-31, or seconds since 1970" },
  ip: {
    type: "string",
    value: "BLOCK",
    isMany: true,
    says: "addresses it may be used from, like 10.0.0.0/8",
  },
  attributes: { type: "string", value: "JSON", says: "what presets and origins understand" },
} as const;

const show = (value: unknown) => {
  const row = value as Row;
  return recordLines([
    ...["id", "realm", "user", "name"].map((name) => [name, plain(row[name])] as const),
    ["status", statusOf(row)],
    ...["scopes", "ip_allow", "attributes"].map((name) => [name, plain(row[name])] as const),
    ["created", shownTime(row.created_at)],
    ["expires", shownTime(row.expires_at)],
    ["last used", shownTime(row.last_used_at)],
    ["replaced by", plain(row.replaced_by)],
  ]);
};

/** The secret alone on standard output, so that a script can catch it; what it belongs to beside it. */
function showNew(output: Output, answer: unknown, { one, secret }: Kind): void {
  const row = answer as Row;
  if (!output.isJson) {
    for (const line of show(answer)) output.note(line);
    output.note(`The ${one} itself, shown this once:`);
  }
  output.answer(answer, () => [String(row[secret])]);
}

function commandsFor(kind: Kind): readonly Command[] {
  const { words, one, some, many } = kind;
  const all = (realm: string) => `${pathOf`admin/realms/${realm}/`}${words}`;
  const byId = (realm: string, id: string) => `${all(realm)}/${pathOf`${id}`}`;
  const named = (realm: string, id: string) => ({ what: `${one} "${id}" in realm ${realm}` });

  /** A verb that changes the status. */
  const statusCommand = (verb: "disable" | "enable", says: string) =>
    command({
      words: `${words} ${verb}`,
      operands: ["ID"],
      says,
      options: REALM,
      async run({ gateway, flags, operands: [id = ""], output }) {
        const status = verb === "disable" ? "disabled" : "active";
        const answer = await gateway().call(
          "PATCH",
          byId(flags.realm, id),
          { status },
          named(flags.realm, id),
        );
        output.answer(answer, () => show(answer));
      },
    });

  return [
    command({
      words: `${words} list`,
      says: `The ${many} of a realm, newest first.`,
      options: {
        ...REALM,
        user: { type: "string", value: "USER", says: "of this user only: id, username or e-mail address" },
        ...LIST_OPTIONS,
      },
      async run(call) {
        const columns = [
          ...["id", "user", "name"].map((name) => member(name)),
          { title: "STATUS", text: statusOf },
          member("scopes"),
          { title: "EXPIRES", text: (row: Row) => shownTime(row.expires_at) },
          { title: "LAST USED", text: (row: Row) => shownTime(row.last_used_at) },
          member("replaced_by", "REPLACED BY"),
        ];
        const { realm } = call.flags;
        const user = await givenUser(call.gateway(), realm, call.flags.user);
        await printList(call, all(realm), { user }, call.flags, columns, `No ${many}.`);
      },
    }),
    command({
      words: `${words} show`,
      operands: ["ID"],
      says: `One ${one}, without its secret.`,
      options: REALM,
      async run({ gateway, flags, operands: [id = ""], output }) {
        const answer = await gateway().call("GET", byId(flags.realm, id), undefined, named(flags.realm, id));
        output.answer(answer, () => show(answer));
      },
    }),
    command({
      words: `${words} create`,
      says: `A new ${one} for a user. It goes to standard output, this once.`,
      options: {
        ...REALM,
        user: {
          type: "string",
          value: "USER",
          isNeeded: true,
          says: "the owner: id, username or e-mail address",
        },
        ...SETTINGS,
      },
      async run({ gateway, flags, nowSeconds, output }) {
        const { realm, name, scope, expires, ip } = flags;
        const settings = given({
          name,
          scopes: listGiven("scope", scope, false),
          expires_at: expires === undefined ? undefined : parseTime("expires", expires, "ahead", nowSeconds),
          ip_allow: listGiven("ip", ip, false),
          attributes: attributesGiven(flags.attributes),
        });
        const api = gateway();
        const user = await userNamed(api, realm, flags.user);
        showNew(output, await api.call("POST", all(realm), { user, ...settings }), kind);
      },
    }),
    command({
      words: `${words} update`,
      operands: ["ID"],
      says: `Changes ${some}. An empty name takes it away.`,
      options: {
        ...REALM,
        ...SETTINGS,
        expires: { type: "string", value: "TIME", says: "90d, 2026-12-31, seconds since 1970, or never" },
        "no-scopes": { type: "boolean", says: "take all scopes away" },
        "no-ips": { type: "boolean", says: "let it be used from anywhere" },
      },
      async run({ gateway, flags, operands: [id = ""], nowSeconds, output }) {
        const { realm, name, scope, expires, ip } = flags;
        const expiresAt =
          expires === "never"
            ? null
            : expires === undefined
              ? undefined
              : parseTime("expires", expires, "ahead", nowSeconds);
        const body = given({
          name: orNone(name),
          scopes: listGiven("scope", scope, flags["no-scopes"]),
          expires_at: expiresAt,
          ip_allow: listGiven("ip", ip, flags["no-ips"]),
          attributes: attributesGiven(flags.attributes),
        });
        demandChange(body);
        const answer = await gateway().call("PATCH", byId(realm, id), body, named(realm, id));
        output.answer(answer, () => show(answer));
      },
    }),
    statusCommand("disable", `Refuses ${some} until it is enabled again.`),
    statusCommand("enable", `Accepts a disabled ${one} again.`),
    command({
      words: `${words} rotate`,
      operands: ["ID"],
      says: `A new ${one} in the place of another; both work until the grace ends. The new one goes to standard output.`,
      options: {
        ...REALM,
        grace: {
          type: "string",
          value: "DURATION",
          says: "how long the old one goes on, like 12h; 0s: not at all",
        },
      },
      async run({ gateway, flags, operands: [id = ""], output }) {
        const { realm, grace } = flags;
        const body = given({
          grace_seconds: grace === undefined ? undefined : parseDuration("grace", grace),
        });
        const path = `${byId(realm, id)}/rotate`;
        showNew(output, await gateway().call("POST", path, body, named(realm, id)), kind);
      },
    }),
    command({
      words: `${words} delete`,
      operands: ["ID"],
      says: `Ends ${some} for good.`,
      options: { ...REALM, ...YES },
      async run({ gateway, flags, operands: [id = ""], output }) {
        const api = gateway();
        await confirm(`This ends ${one} ${id} for good`, flags.yes);
        const answer = await api.call("DELETE", byId(flags.realm, id), undefined, named(flags.realm, id));
        output.answer(answer, () => [`${id} is deleted.`]);
      },
    }),
  ];
}

export const credentialCommands: readonly Command[] = [
  ...commandsFor({ words: "keys", one: "API key", some: "an API key", many: "API keys", secret: "key" }),
  ...commandsFor({ words: "pats", one: "PAT", some: "a PAT", many: "PATs", secret: "token" }),
];
