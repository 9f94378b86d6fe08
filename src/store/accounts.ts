// What signing in reads: the account of a name, and which passwords everybody knows.
import * as v from "valibot";
import { accountKey } from "./account-name.ts";
import type { PasswordHash } from "./writes.ts";

export interface Account {
  readonly userId: string;
  readonly role: string;
  readonly status: "active" | "disabled" | "pending";
  /** `null`: the user has none, and cannot sign in with one. */
  readonly password: PasswordHash | null;
}

/** Reads the primary, so that what was changed a moment ago counts. Deleted users are not there. */
export interface Accounts {
  /** By username or e-mail address in any spelling (`accountKey`); an e-mail address has an `@`, a username none. */
  find(realm: string, identifier: string): Promise<Account | null>;
  byId(realm: string, userId: string): Promise<Account | null>;
  /** Whether the user began a session from this address before, as far back as sessions are kept. */
  hasSessionFrom(realm: string, userId: string, address: string): Promise<boolean>;
  /** Whether it is one of those used most, in any case of letters. Looks at the whole of it. */
  isPasswordBlocked(password: string): Promise<boolean>;
}

const Row = v.object({
  userId: v.string(),
  role: v.string(),
  status: v.picklist(["active", "disabled", "pending"]),
  scheme: v.nullable(v.picklist(["scrypt", "bcrypt", "cloudreve", "aspnet-identity"])),
  hash: v.nullable(v.string()),
});

type Column = "id" | "username_key" | "email_key";

export function createAccounts(database: D1Database): Accounts {
  async function accountBy(column: Column, realm: string, value: string): Promise<Account | null> {
    const [answer] = await database.batch([
      database
        .prepare(
          `SELECT users.id AS userId, role, status, scheme, hash
           FROM users LEFT JOIN passwords ON passwords.realm = users.realm AND passwords.user_id = users.id
           WHERE users.realm = ?1 AND users.${column} = ?2 AND status <> 'deleted'`,
        )
        .bind(realm, value),
    ]);
    const row = answer?.results[0];
    if (row === undefined) return null;
    const { scheme, hash, ...account } = v.parse(Row, row);
    return { ...account, password: scheme === null || hash === null ? null : { scheme, hash } };
  }

  return {
    find(realm, identifier) {
      const key = accountKey(identifier);
      return accountBy(key.includes("@") ? "email_key" : "username_key", realm, key);
    },

    byId: (realm, userId) => accountBy("id", realm, userId),

    async hasSessionFrom(realm, userId, address) {
      const [answer] = await database.batch([
        database
          .prepare("SELECT 1 FROM sessions WHERE realm = ?1 AND user_id = ?2 AND address = ?3 LIMIT 1")
          .bind(realm, userId, address),
      ]);
      return answer !== undefined && answer.results.length > 0;
    },

    async isPasswordBlocked(password) {
      const [answer] = await database.batch([
        database
          .prepare("SELECT 1 FROM blocked_passwords WHERE password = ?1")
          .bind(password.normalize("NFKC").toLowerCase()),
      ]);
      return answer !== undefined && answer.results.length > 0;
    },
  };
}
