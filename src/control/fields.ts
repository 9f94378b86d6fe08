// The fields that inputs and answers are made of. Times are epoch seconds, as in RFC 7519 and RFC 7662.
import * as v from "valibot";
import { passwordFormError } from "../issuer/password-policy.ts";
import { accountKey } from "../store/account-name.ts";
import type { Page, PageQuery } from "../store/directory.ts";

const isPlain = (value: string) => !/\p{Cc}/u.test(value);
const text = (most: number) =>
  v.pipe(
    v.string(),
    v.minLength(1, "must not be empty"),
    v.maxLength(most, `must be at most ${most} characters`),
    v.check(isPlain, "must not hold control characters"),
  );

/** Of a user, chosen by whoever creates it; also a decimal number, as some systems have them. */
export const UserId = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z0-9][A-Za-z0-9._@:-]{0,127}$/, "must be 1 to 128 letters, digits and . _ @ : -"),
);
/** Of a key, PAT, session or token. */
export const RecordId = text(256);
/** Without `@`, so that no username is another's e-mail address. */
export const Username = v.pipe(
  text(128),
  // As it is compared: other characters fold to these.
  v.check(
    (name) => !accountKey(name).includes("@") && name === name.trim(),
    "must have no @ and no blanks around it",
  ),
);
export const EmailAddress = v.pipe(text(254), v.regex(/^[^\s@]+@[^\s@]+$/, "must be an e-mail address"));
export const DisplayName = text(256);
export const SearchText = text(256);
export const Role = text(128);
/** RFC 6749 §3.3: a scope token. */
export const Word = v.pipe(
  v.string(),
  v.regex(
    /^[\x21\x23-\x5b\x5d-\x7e]{1,128}$/,
    "must be visible ASCII without blanks, quotes and backslashes",
  ),
);
export const Words = v.pipe(v.array(Word), v.maxLength(100, "must be at most 100"));
/** What can be hashed; `issuer/password-policy.ts` says which may be set. */
export const Password = v.pipe(
  v.string(),
  v.minLength(1, "must not be empty"),
  v.check(
    (password) => passwordFormError(password) === null,
    ({ input }) => passwordFormError(input) ?? "",
  ),
);
export const UserStatus = v.picklist(
  ["active", "disabled", "pending"],
  "must be active, disabled or pending",
);
export const CredentialStatus = v.picklist(["active", "disabled"], "must be active or disabled");
export const EpochSeconds = v.pipe(
  v.number("must be a number of seconds since 1970"),
  v.integer("must be whole seconds"),
  v.minValue(0, "must not be negative"),
  v.maxValue(253_402_300_799, "must be before the year 10000"),
);
/** Of what is nested deeper than can be written: more than any limit. */
function jsonLength(value: unknown): number {
  try {
    return JSON.stringify(value).length;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

/** JSON that presets and origins understand. */
export const Attributes = v.pipe(
  v.unknown(),
  v.metadata({ type: "object" }),
  v.check((value) => !Array.isArray(value), "must be an object"), // which a list is to what follows
  v.record(v.string(), v.unknown()),
  v.check((value) => jsonLength(value) <= 8_192, "must be at most 8 KB of JSON"),
);
export const RealmName = v.pipe(
  v.string(),
  v.regex(/^[a-z0-9][a-z0-9_-]{0,63}$/, "must be the name of a realm"),
);

const MAX_PAGE = 200;
const DEFAULT_PAGE = 50;

/** Members of every query of a list; spread them into its schema. */
export const PAGE_MEMBERS = {
  limit: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^[0-9]{1,4}$/, `must be a number from 1 to ${MAX_PAGE}`),
      v.transform(Number),
      v.minValue(1, `must be a number from 1 to ${MAX_PAGE}`),
      v.maxValue(MAX_PAGE, `must be a number from 1 to ${MAX_PAGE}`),
    ),
  ),
  cursor: v.optional(text(1_024)),
};

export const pageOf = (query: {
  readonly limit?: number | undefined;
  readonly cursor?: string | undefined;
}): PageQuery => ({ limit: query.limit ?? DEFAULT_PAGE, cursor: query.cursor ?? null });

/** A list as the API answers it. */
export const listOf = <Item extends v.GenericSchema>(item: Item) =>
  v.strictObject({ items: v.array(item), next_cursor: v.nullable(v.string()) });

export const toList = <Item, Shown>({ items, nextCursor }: Page<Item>, show: (item: Item) => Shown) => ({
  items: items.map(show),
  next_cursor: nextCursor,
});
