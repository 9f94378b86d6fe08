// `realms list`, `audit …`, `db restored`.
import { type Command, command } from "./command.ts";
import { Failure } from "./failure.ts";
import { isLoopback } from "./gateway.ts";
import { demandRealm, YES } from "./inputs.ts";
import { LIST_OPTIONS, printList } from "./lists.ts";
import { userOrIdNamed } from "./named-user.ts";
import { member, plain, printable, type Row, tableLines } from "./output.ts";
import { confirm, createProgress } from "./terminal.ts";
import { parseTime, shownTime } from "./times.ts";

interface Verification {
  readonly intact: boolean;
  readonly problem: string | null;
  readonly at_seq: number | null;
  readonly rows: number;
  readonly blocks: number;
  readonly unsealed: number;
  readonly head_hash: string | null;
  readonly next_block: number | null;
}

const row = (value: unknown) => (typeof value === "object" && value !== null ? (value as Row) : {});

const actorOf = (entry: Row) => {
  const { kind, realm, id } = row(entry.actor);
  return kind === "user" ? `${plain(realm)}/${plain(id)}` : plain(kind);
};
const targetOf = (entry: Row) => {
  const { kind, realm, id } = row(entry.target);
  return `${plain(kind)} ${plain(realm)}${id === "" ? "" : `/${plain(id)}`}`;
};

/** Of rows that are not sealed: when they will be. */
const sealing = (url: string) => [
  "The cron seals them, every five minutes where [triggers] is deployed.",
  ...(isLoopback(new URL(url))
    ? [`On this machine nothing runs it by itself: curl ${url}/cdn-cgi/local/scheduled`]
    : []),
];

export const auditCommands: readonly Command[] = [
  command({
    words: "realms list",
    says: "The realms of the gateway, and the roles of their users.",
    options: {},
    async run({ gateway, output }) {
      const answer = await gateway().call("GET", "admin/realms");
      const items = (answer as { readonly items?: readonly Row[] }).items ?? [];
      const columns = [
        member("name"),
        member("roles"),
        { title: "SIGN-IN", text: (realm: Row) => (realm.sign_in === true ? "yes" : "no") },
      ];
      output.answer(answer, () => tableLines(columns, items, "No realms."));
    },
  }),
  command({
    words: "audit list",
    says: "Who did what, newest first.",
    options: {
      realm: { type: "string", value: "NAME", says: "of who did it, or of what it was done to" },
      user: {
        type: "string",
        value: "USER",
        says: "who did it, or to whom or whose keys and sessions it was done; with --realm also by username",
      },
      target: { type: "string", value: "ID", says: "what it was done to" },
      action: { type: "string", value: "ACTION", says: "like user.created" },
      since: { type: "string", value: "TIME", says: "24h, 2026-12-31, or seconds since 1970" },
      ...LIST_OPTIONS,
    },
    async run(call) {
      const { realm, target, action, since } = call.flags;
      const columns = [
        { title: "WHEN", text: (entry: Row) => shownTime(entry.at) },
        member("action"),
        { title: "BY", text: actorOf },
        { title: "TO", text: targetOf },
        member("address", "FROM"),
        { title: "DETAILS", text: (entry: Row) => plain(entry.details).replace(/^\{\}$/, "-") },
      ];
      const sinceSeconds =
        since === undefined ? undefined : String(parseTime("since", since, "back", call.nowSeconds));
      let { user } = call.flags;
      if (realm !== undefined) {
        const gateway = call.gateway();
        await demandRealm(gateway, realm);
        const given = user;
        if (given !== undefined) user = await userOrIdNamed(gateway, realm, given);
        // The log holds deleted users too: nobody should take one's entries for another's.
        if (user !== given) call.output.note(printable(`"${given}" is the user with the id ${user}`));
      }
      const filter = { realm, user, target, action, since: sinceSeconds };
      await printList(call, "admin/audit", filter, call.flags, columns, "No entries.");
    },
  }),
  command({
    words: "audit verify",
    says: "Recomputes the seals of the whole audit log. Exit code 1 where rows were removed or changed.",
    notes: ["Keep the hash it prints elsewhere: with it, a log that was cut off at its end is noticed too."],
    options: { "from-block": { type: "string", value: "N", says: "take earlier blocks as they stand" } },
    async run({ gateway, flags, output }) {
      const api = gateway();
      const progress = createProgress("verifying");
      const sum = { rows: 0, blocks: 0 };
      let next = flags["from-block"] ?? "1";
      let last: Verification;
      for (;;) {
        last = (await api.call(
          "GET",
          `admin/audit/verify?${new URLSearchParams({ from_block: next })}`,
        )) as Verification;
        sum.rows += last.rows;
        sum.blocks += last.blocks;
        if (!last.intact || last.next_block === null) break;
        next = String(last.next_block);
        progress.count(sum.rows, "rows");
      }
      progress.end();
      const whole = { ...last, ...sum };
      output.answer(whole, () =>
        last.intact
          ? [
              `Intact: ${sum.rows} rows in ${sum.blocks} blocks; ${last.unsealed} rows are not sealed yet.`,
              `Hash of the newest block: ${last.head_hash ?? "none yet"}`,
              ...(last.unsealed === 0 ? [] : sealing(api.url)),
            ]
          : [],
      );
      if (last.intact) return;
      const place = last.at_seq === null ? "" : ` (at entry ${last.at_seq})`;
      throw new Failure("refused", `the audit log is not as it was written: ${last.problem}${place}`);
    },
  }),
  command({
    words: "db restored",
    says: "To be given after the database was restored to an earlier state: every isolate then forgets what it knew.",
    options: YES,
    async run({ gateway, flags, output }) {
      const api = gateway();
      await confirm(
        `This makes ${api.url} read everything anew, as after a restore of its database`,
        flags.yes,
      );
      const answer = await api.call("POST", "admin/epoch");
      output.answer(answer, () => ["Done: nothing that was read before the restore counts any more."]);
    },
  }),
];
