// Reads for people: users, keys, PATs and sessions as the admin API and self-service show them. Never a secret or digest.
import { base64url } from "jose";
import * as v from "valibot";
import { Problem } from "../problem.ts";
import { accountKey } from "./account-name.ts";

export interface Page<Item> {
  readonly items: readonly Item[];
  /** Opaque; `null`: that was the last page. */
  readonly nextCursor: string | null;
}

/** How much of a list, and from where on. */
export interface PageQuery {
  readonly limit: number;
  readonly cursor: string | null;
}

export interface UserView {
  readonly realm: string;
  readonly id: string;
  readonly username: string | null;
  readonly email: string | null;
  readonly name: string | null;
  readonly role: string;
  readonly permissions: readonly string[];
  readonly status: "active" | "disabled" | "pending";
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly hasPassword: boolean;
  readonly createdAtSeconds: number;
  readonly updatedAtSeconds: number;
}

export interface CredentialView {
  readonly kind: "api_key" | "pat";
  readonly id: string;
  readonly realm: string;
  readonly userId: string;
  readonly name: string | null;
  readonly status: "active" | "disabled";
  readonly scopes: readonly string[];
  readonly ipAllow: readonly string[];
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly createdAtSeconds: number;
  readonly expiresAtSeconds: number | null;
  readonly lastUsedAtSeconds: number | null;
  readonly replacedBy: string | null;
  /** Whether a denial of its owner's or of the realm's names it: refused for good, whatever its status. */
  readonly isRevoked: boolean;
}

export interface SessionView {
  readonly id: string;
  readonly realm: string;
  readonly userId: string;
  readonly kind: "cookie" | "token";
  readonly scopes: readonly string[];
  readonly createdAtSeconds: number;
  readonly expiresAtSeconds: number;
  readonly idleExpiresAtSeconds: number | null;
  readonly lastUsedAtSeconds: number | null;
  readonly address: string | null;
  readonly userAgent: string | null;
}

export interface ListedSession extends SessionView {
  /** As of a credential. A session that was ended by itself is not there. */
  readonly isRevoked: boolean;
}

export interface RevocationView {
  readonly realm: string;
  readonly kind: "token" | "session" | "subject" | "realm";
  readonly value: string;
  readonly issuedBeforeSeconds: number | null;
  readonly expiresAtSeconds: number | null;
}

/** What is deleted is not there. Lists are stable while rows are added: newest first, but users by id. */
export interface Directory {
  user(realm: string, id: string): Promise<UserView | null>;
  users(
    filter: {
      readonly realm: string;
      /** Part of the id, name, username or e-mail address; taken literally. */
      readonly search: string | null;
      /** The whole username or e-mail address, compared as by sign-in. */
      readonly account: string | null;
      readonly role: string | null;
      readonly status: UserView["status"] | null;
    },
    page: PageQuery,
  ): Promise<Page<UserView>>;
  credential(kind: CredentialView["kind"], id: string, nowSeconds: number): Promise<CredentialView | null>;
  credentials(
    filter: {
      readonly kind: CredentialView["kind"];
      readonly realm: string;
      readonly userId: string | null;
    },
    page: PageQuery,
    nowSeconds: number,
  ): Promise<Page<CredentialView>>;
  session(id: string): Promise<SessionView | null>;
  /** Those that have not run out. */
  sessions(
    filter: { readonly realm: string; readonly userId: string | null },
    page: PageQuery,
    nowSeconds: number,
  ): Promise<Page<ListedSession>>;
  /** Those that are in force. */
  revocations(realm: string, page: PageQuery, nowSeconds: number): Promise<Page<RevocationView>>;
}

type Value = string | number;
/** Part of a WHERE, with what its `?` stand for; `null`: no such condition. */
type Condition = readonly [text: string, ...values: Value[]] | null;

/** How one kind of thing is read. `key` names the columns that a list is ordered by; together they are unique. */
interface Listing<Item> {
  readonly select: string;
  /** What the `?` of `select` stand for. */
  readonly selected?: readonly Value[];
  readonly row: v.GenericSchema<unknown, Item>;
  readonly key: string;
  readonly order: "ASC" | "DESC";
  readonly cursor: v.GenericSchema<unknown, readonly Value[]>;
  keyOf(item: Item): readonly Value[];
}

/**
 * Every value is bound, none is part of a statement. A row that is not of its form is an error, not left out: a list
 * that is short by one looks like a list.
 * @throws Problem `input_invalid` for a cursor that is none of ours; `v.ValiError` for a row that is not of its form
 */
export function createDirectory(database: D1Database): Directory {
  async function rows<Item>(
    { select, selected = [], row }: Listing<Item>,
    given: readonly Condition[],
    rest = "",
    ...more: readonly Value[]
  ): Promise<readonly Item[]> {
    const conditions = given.filter((condition) => condition !== null);
    const texts = conditions.map(([text]) => text);
    const values = conditions.flatMap(([, ...bound]) => bound);
    const statement = database.prepare(`${select} WHERE ${texts.join(" AND ")} ${rest}`);
    const { results } = await statement.bind(...selected, ...values, ...more).all();
    return v.parse(v.array(row), results);
  }

  async function one<Item>(listing: Listing<Item>, conditions: readonly Condition[]): Promise<Item | null> {
    const [found] = await rows(listing, conditions);
    return found ?? null;
  }

  /** One row more than asked for tells whether there is another page. */
  async function list<Item>(
    listing: Listing<Item>,
    conditions: readonly Condition[],
    { limit, cursor }: PageQuery,
  ): Promise<Page<Item>> {
    const { key, order, keyOf } = listing;
    const columns = key.split(", ");
    const after: Condition =
      cursor === null
        ? null
        : [
            `(${key}) ${order === "ASC" ? ">" : "<"} (${columns.map(() => "?").join(", ")})`,
            ...readCursor(cursor, listing.cursor),
          ];
    const direction = columns.map((column) => `${column} ${order}`).join(", ");
    const found = await rows(listing, [...conditions, after], `ORDER BY ${direction} LIMIT ?`, limit + 1);
    const items = found.slice(0, limit);
    const last = items.at(-1);
    return {
      items,
      nextCursor: found.length > limit && last !== undefined ? writeCursor(keyOf(last)) : null,
    };
  }

  return {
    user: (realm, id) => one(USERS, [["realm = ?", realm], ["id = ?", id], IS_THERE]),

    users: ({ realm, search, account, role, status }, page) =>
      list(
        USERS,
        [
          ["realm = ?", realm],
          IS_THERE,
          search === null ? null : contains(search),
          account === null ? null : isNamed(account),
          role === null ? null : ["role = ?", role],
          status === null ? null : ["status = ?", status],
        ],
        page,
      ),

    credential: (kind, id, nowSeconds) =>
      one(credentialsAt(nowSeconds), [["kind = ?", kind], ["id = ?", id], IS_THERE]),

    credentials: ({ kind, realm, userId }, page, nowSeconds) =>
      list(
        credentialsAt(nowSeconds),
        [["realm = ?", realm], ["kind = ?", kind], ownedBy(userId), IS_THERE],
        page,
      ),

    session: (id) => one(SESSIONS, [["id = ?", id], IS_THERE]),

    sessions: ({ realm, userId }, page, nowSeconds) =>
      list(
        listedSessionsAt(nowSeconds),
        [
          ["realm = ?", realm],
          ownedBy(userId),
          IS_THERE,
          ["expires_at_seconds > ?", nowSeconds],
          ["(idle_expires_at_seconds IS NULL OR idle_expires_at_seconds > ?)", nowSeconds],
        ],
        page,
      ),

    async revocations(realm, page, nowSeconds) {
      const { items, nextCursor } = await list(
        REVOCATIONS,
        [
          ["realm = ?", realm],
          ["(expires_at_seconds IS NULL OR expires_at_seconds > ?)", nowSeconds],
        ],
        page,
      );
      return { items: items.map(({ seq: _seq, ...revocation }) => revocation), nextCursor };
    },
  };
}

const IS_THERE: Condition = ["status <> 'deleted'"];

const ownedBy = (userId: string | null): Condition => (userId === null ? null : ["user_id = ?", userId]);

/** Not LIKE: nothing in the text means anything else, and D1 allows patterns of 50 bytes only. */
function contains(search: string): Condition {
  const key = accountKey(search);
  return [
    `(instr(username_key, ?) OR instr(email_key, ?) OR instr(lower(id), ?) OR instr(lower(name), ?) OR instr(name, ?))`,
    ...[key, key, key, key, search],
  ];
}

const isNamed = (account: string): Condition => {
  const key = accountKey(account);
  return ["(username_key = ? OR email_key = ?)", key, key];
};

function readCursor(cursor: string, form: v.GenericSchema<unknown, readonly Value[]>): readonly Value[] {
  try {
    const bytes = base64url.decode(cursor);
    const key = v.parse(
      form,
      JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes)),
    );
    if (writeCursor(key) === cursor) return key;
  } catch {
    // Said below.
  }
  throw new Problem("input_invalid", "cursor", {
    errors: [{ field: "cursor", message: "must be the next_cursor of an answer" }],
  });
}

const writeCursor = (key: readonly Value[]): string => base64url.encode(JSON.stringify(key));

const Text = v.string();
const Seconds = v.pipe(v.number(), v.integer());
const fromJson = <Schema extends v.GenericSchema>(schema: Schema) => v.pipe(Text, v.parseJson(), schema);
const Truth = v.pipe(
  v.number(),
  v.transform((truth) => truth === 1),
);
const Texts = fromJson(v.array(Text));
const Attributes = fromJson(v.record(Text, v.unknown()));

const USERS: Listing<UserView> = {
  select: `SELECT realm, id, username, email, name, role, permissions, status, attributes,
    created_at_seconds AS createdAtSeconds, updated_at_seconds AS updatedAtSeconds,
    EXISTS (SELECT 1 FROM passwords WHERE passwords.realm = users.realm AND passwords.user_id = users.id) AS hasPassword
    FROM users`,
  row: v.object({
    realm: Text,
    id: Text,
    username: v.nullable(Text),
    email: v.nullable(Text),
    name: v.nullable(Text),
    role: Text,
    permissions: Texts,
    status: v.picklist(["active", "disabled", "pending"]),
    attributes: Attributes,
    hasPassword: Truth,
    createdAtSeconds: Seconds,
    updatedAtSeconds: Seconds,
  }),
  key: "id",
  order: "ASC",
  cursor: v.strictTuple([Text]),
  keyOf: ({ id }) => [id],
};

const NEWEST_FIRST = {
  key: "created_at_seconds, id",
  order: "DESC",
  cursor: v.strictTuple([Seconds, Text]),
  keyOf: ({ createdAtSeconds, id }: { readonly createdAtSeconds: number; readonly id: string }) => [
    createdAtSeconds,
    id,
  ],
} as const;

/** Each is one look-up in the primary key; together they would read all denials of the realm. `?` is now. */
const denial = (table: "credentials" | "sessions", kind: string, value: string) =>
  `EXISTS (SELECT 1 FROM revocations AS denial WHERE denial.realm = ${table}.realm
    AND denial.kind = '${kind}' AND denial.value = ${value}
    AND (denial.expires_at_seconds IS NULL OR denial.expires_at_seconds > ?)
    AND (denial.issued_before_seconds IS NULL OR denial.issued_before_seconds >= ${table}.created_at_seconds))`;

/** Whether a standing denial names the row, by the rules that requests are refused by (`records/view.ts`). */
const isRevoked = (table: "credentials" | "sessions") =>
  `(${denial(table, "realm", "''")} OR ${denial(table, "subject", `${table}.user_id`)}) AS isRevoked`;

const CREDENTIALS: Omit<Listing<CredentialView>, "selected"> = {
  ...NEWEST_FIRST,
  select: `SELECT kind, id, realm, user_id AS userId, name, status, scopes, ip_allow AS ipAllow, attributes,
    created_at_seconds AS createdAtSeconds, expires_at_seconds AS expiresAtSeconds,
    last_used_at_seconds AS lastUsedAtSeconds, replaced_by AS replacedBy, ${isRevoked("credentials")} FROM credentials`,
  row: v.object({
    kind: v.picklist(["api_key", "pat"]),
    id: Text,
    realm: Text,
    userId: Text,
    name: v.nullable(Text),
    status: v.picklist(["active", "disabled"]),
    scopes: Texts,
    ipAllow: Texts,
    attributes: Attributes,
    createdAtSeconds: Seconds,
    expiresAtSeconds: v.nullable(Seconds),
    lastUsedAtSeconds: v.nullable(Seconds),
    replacedBy: v.nullable(Text),
    isRevoked: Truth,
  }),
};
const credentialsAt = (nowSeconds: number): Listing<CredentialView> => ({
  ...CREDENTIALS,
  selected: [nowSeconds, nowSeconds],
});

const SESSION_COLUMNS = `id, realm, user_id AS userId, kind, scopes, created_at_seconds AS createdAtSeconds,
    expires_at_seconds AS expiresAtSeconds, idle_expires_at_seconds AS idleExpiresAtSeconds,
    last_used_at_seconds AS lastUsedAtSeconds, address, user_agent AS userAgent`;
const SessionRow = v.object({
  id: Text,
  realm: Text,
  userId: Text,
  kind: v.picklist(["cookie", "token"]),
  scopes: Texts,
  createdAtSeconds: Seconds,
  expiresAtSeconds: Seconds,
  idleExpiresAtSeconds: v.nullable(Seconds),
  lastUsedAtSeconds: v.nullable(Seconds),
  address: v.nullable(Text),
  userAgent: v.nullable(Text),
});
const ListedSessionRow = v.object({ ...SessionRow.entries, isRevoked: Truth });

const SESSIONS: Listing<SessionView> = {
  ...NEWEST_FIRST,
  select: `SELECT ${SESSION_COLUMNS} FROM sessions`,
  row: SessionRow,
};
const LISTED_SESSIONS = `SELECT ${SESSION_COLUMNS}, ${isRevoked("sessions")} FROM sessions`;
const listedSessionsAt = (nowSeconds: number): Listing<ListedSession> => ({
  ...NEWEST_FIRST,
  select: LISTED_SESSIONS,
  selected: [nowSeconds, nowSeconds],
  row: ListedSessionRow,
});

/** One change of the feed may announce many of them, so that `seq` alone is no key. */
const REVOCATIONS: Listing<RevocationView & { readonly seq: number }> = {
  select: `SELECT realm, kind, value, issued_before_seconds AS issuedBeforeSeconds,
    expires_at_seconds AS expiresAtSeconds, seq FROM revocations`,
  row: v.object({
    realm: Text,
    kind: v.picklist(["token", "session", "subject", "realm"]),
    value: Text,
    issuedBeforeSeconds: v.nullable(Seconds),
    expiresAtSeconds: v.nullable(Seconds),
    seq: Seconds,
  }),
  key: "seq, kind, value",
  order: "DESC",
  cursor: v.strictTuple([Seconds, Text, Text]),
  keyOf: ({ seq, kind, value }) => [seq, kind, value],
};
