// Reads of D1 on a request's behalf: one batch, hence one round trip and one snapshot, from the primary.
import { and, desc, eq, gt, inArray, isNull, or, type SQL, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/d1";
import * as v from "valibot";
import type { Bearer, CredentialRecord, Lookup, Subject, UserRecord } from "../records/types.ts";
import { StoredCredential, StoredUser, SubjectList } from "./record-schema.ts";
import { changes, credentials, revocations, sessions, users } from "./schema.ts";

/** More changes or denials than this are not taken into memory. */
export const MAX_FEED_ROWS = 50_000;
/** How far back an isolate's first read goes, so that records in KV count. */
export const FIRST_READ_ROWS = 5_000;

export interface Denial {
  readonly realm: string;
  readonly kind: "token" | "session" | "subject" | "realm";
  readonly value: string;
  /** `null`: whenever it was issued. */
  readonly issuedBeforeSeconds: number | null;
  readonly expiresAtSeconds: number | null;
}

export interface PrimaryQuery {
  /** Changes and denials after this `seq`; `null`: the newest changes and all live denials. */
  readonly since: number | null;
  readonly lookup: Lookup;
  readonly nowSeconds: number;
}

/** One consistent snapshot. */
export interface PrimaryAnswer {
  readonly epoch: string;
  /** Highest pruned `seq`; changes up to it are gone. */
  readonly floor: number;
  /** The newest `seq` ever given out, pruned or not. */
  readonly head: number;
  /** Oldest first, contiguous, ending at `head`. `null`: more than `MAX_FEED_ROWS`, or one does not say what changed. */
  readonly changes: readonly { readonly seq: number; readonly subjects: readonly Subject[] }[] | null;
  /** `null`: more than `MAX_FEED_ROWS`. */
  readonly denials: readonly Denial[] | null;
  readonly credential: CredentialRecord | null;
  readonly user: UserRecord | null;
}

export interface Primary {
  read(query: PrimaryQuery): Promise<PrimaryAnswer>;
  /** Whether a live denial names the bearer, asked of D1 itself: for when there are too many to hold in memory. */
  isDenied(bearer: Bearer, nowSeconds: number): Promise<boolean>;
}

/** Head comes from `sqlite_sequence`: `max(seq)` falls back when the newest rows are pruned. */
const STATE = sql`SELECT
  (SELECT value FROM meta WHERE key = 'epoch') AS epoch,
  (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'floor') AS floor,
  COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'changes'), 0) AS head`;

interface State {
  readonly epoch: string;
  readonly floor: number;
  readonly head: number;
}

/**
 * Every call opens its own D1 session at the primary: a replica may lag behind without bound.
 * @throws whatever D1 throws; an answer without an epoch (no migrations applied) throws as well.
 */
export function createPrimary(database: D1Database): Primary {
  const open = () => drizzle(database.withSession("first-primary") as unknown as D1Database);

  return {
    async read({ since, lookup, nowSeconds }) {
      const db = open();
      const feed = [
        db.all<State>(STATE),
        db
          .select({ seq: changes.seq, subjects: sql<string>`${changes.subjects}` })
          .from(changes)
          .where(since === null ? undefined : gt(changes.seq, since))
          .orderBy(desc(changes.seq))
          .limit(since === null ? FIRST_READ_ROWS : MAX_FEED_ROWS + 1),
        db
          .select()
          .from(revocations)
          .where(and(since === null ? undefined : gt(revocations.seq, since), isLive(nowSeconds)))
          .limit(MAX_FEED_ROWS + 1),
      ] as const;

      switch (lookup.by) {
        case "none": {
          return toAnswer(await db.batch(feed), null, null);
        }
        case "user": {
          const owner = and(eq(users.realm, lookup.realm), eq(users.id, lookup.id));
          const answers = await db.batch([...feed, db.select(USER_COLUMNS).from(users).where(owner)]);
          return toAnswer(answers, null, answers[3][0] ?? null);
        }
        case "session": {
          const named = and(eq(sessions.realm, lookup.realm), eq(sessions.id, lookup.id));
          const row = db.select(SESSION_COLUMNS).from(sessions).where(named);
          const owner = db.select(USER_COLUMNS).from(users).where(ownsOneOf(sessions, named));
          const answers = await db.batch([...feed, row, owner]);
          const session = answers[3][0];
          if (session === undefined) return toAnswer(answers, null, null);
          const user = answers[4][0] ?? null;
          return toAnswer(answers, { ...session, ...SESSION_DEFAULTS, user }, user);
        }
        case "digest": {
          const named = and(
            eq(credentials.realm, lookup.realm),
            eq(credentials.kind, lookup.kind),
            inArray(credentials.digest, [...lookup.digests]),
          );
          const row = db.select(CREDENTIAL_COLUMNS).from(credentials).where(named);
          const owners = db.select(USER_COLUMNS).from(users).where(ownsOneOf(credentials, named));
          const answers = await db.batch([...feed, row, owners]);
          // The same secret may be stored under two peppers; the current one is asked for first.
          const found = answers[3].sort(
            (a, b) => lookup.digests.indexOf(a.digest) - lookup.digests.indexOf(b.digest),
          )[0];
          if (found === undefined) return toAnswer(answers, null, null);
          const user = answers[4].find(({ id }) => id === found.userId) ?? null;
          return toAnswer(answers, { ...found, user }, user);
        }
      }
    },

    async isDenied(bearer, nowSeconds) {
      const named: SQL[] = [
        sql`(kind = 'realm' AND value = '')`,
        sql`(kind = 'subject' AND value = ${bearer.userId})`,
      ];
      if (bearer.tokenId !== null) named.push(sql`(kind = 'token' AND value = ${bearer.tokenId})`);
      if (bearer.sessionId !== null) named.push(sql`(kind = 'session' AND value = ${bearer.sessionId})`);
      const rows = await open()
        .select({ value: revocations.value })
        .from(revocations)
        .where(
          and(
            eq(revocations.realm, bearer.realm),
            or(...named),
            isLive(nowSeconds),
            or(
              isNull(revocations.issuedBeforeSeconds),
              sql`${revocations.issuedBeforeSeconds} >= ${bearer.issuedAtSeconds}`,
            ),
          ),
        )
        .limit(1);
      return rows.length > 0;
    },
  };
}

const isLive = (nowSeconds: number) =>
  or(isNull(revocations.expiresAtSeconds), gt(revocations.expiresAtSeconds, nowSeconds));

/** Owners in a statement of their own: drizzle mixes up equal column names of a join inside a batch. */
const ownsOneOf = (table: typeof credentials | typeof sessions, named: SQL | undefined) =>
  sql`(${users.realm}, ${users.id}) IN (SELECT ${table.realm}, ${table.userId} FROM ${table} WHERE ${named})`;

const USER_COLUMNS = {
  realm: users.realm,
  id: users.id,
  username: users.username,
  name: users.name,
  role: users.role,
  permissions: users.permissions,
  status: users.status,
  attributes: users.attributes,
};

const CREDENTIAL_COLUMNS = {
  kind: credentials.kind,
  id: credentials.id,
  realm: credentials.realm,
  userId: credentials.userId,
  name: credentials.name,
  status: credentials.status,
  digest: credentials.digest,
  scopes: credentials.scopes,
  createdAtSeconds: credentials.createdAtSeconds,
  expiresAtSeconds: credentials.expiresAtSeconds,
  ipAllow: credentials.ipAllow,
  attributes: credentials.attributes,
};

const SESSION_COLUMNS = {
  id: sessions.id,
  realm: sessions.realm,
  userId: sessions.userId,
  status: sessions.status,
  digest: sessions.digest,
  scopes: sessions.scopes,
  createdAtSeconds: sessions.createdAtSeconds,
  expiresAtSeconds: sessions.expiresAtSeconds,
};

const SESSION_DEFAULTS = { kind: "session", name: null, ipAllow: [], attributes: {} } as const;

type FeedAnswers = readonly [
  readonly State[],
  { readonly seq: number; readonly subjects: string }[],
  Denial[],
  ...unknown[],
];

/** @throws when a record is not of its form: nothing can be decided by it */
function toAnswer(
  [states, newestFirst, denials]: FeedAnswers,
  credential: unknown,
  user: unknown,
): PrimaryAnswer {
  const state = states[0];
  if (typeof state?.epoch !== "string" || typeof state.floor !== "number") {
    throw new Error("D1 has no epoch: its migrations were not applied");
  }
  return {
    epoch: state.epoch,
    floor: state.floor,
    head: state.head,
    changes: newestFirst.length > MAX_FEED_ROWS ? null : toChanges(newestFirst.reverse()),
    denials: denials.length > MAX_FEED_ROWS ? null : denials,
    credential: credential === null ? null : v.parse(StoredCredential, credential),
    user: user === null ? null : v.parse(StoredUser, user),
  };
}

/** `null` where a row does not say what changed: then anything may have. */
function toChanges(
  rows: readonly { readonly seq: number; readonly subjects: string }[],
): PrimaryAnswer["changes"] {
  try {
    return rows.map(({ seq, subjects }) => ({ seq, subjects: v.parse(SubjectList, JSON.parse(subjects)) }));
  } catch {
    return null;
  }
}
