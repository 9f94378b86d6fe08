// Reads of D1 on a request's behalf: one batch, hence one round trip and one snapshot, from the primary.
import * as v from "valibot";
import type { Bearer, CredentialRecord, Lookup, Subject, UserRecord } from "../records/types.ts";
import { StoredCredential, StoredUser, SubjectList } from "./record-schema.ts";
import { ALWAYS, list, type Row, runBatch, type Sql, sql } from "./sql.ts";

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

const State = v.object({ epoch: v.string(), floor: v.number(), head: v.number() });

/**
 * Every call opens its own D1 session at the primary: a replica may lag behind without bound.
 * @throws whatever D1 throws; an answer without an epoch (no migrations applied) throws as well.
 */
export function createPrimary(database: D1Database): Primary {
  const run = <const Statements extends readonly Sql[]>(statements: Statements) =>
    runBatch(database.withSession("first-primary"), statements);

  return {
    async read({ since, lookup, nowSeconds }) {
      const isAfter = since === null ? ALWAYS : sql`seq > ${since}`;
      const maxChanges = since === null ? FIRST_READ_ROWS : MAX_FEED_ROWS + 1;
      const feed = [
        STATE,
        sql`SELECT seq, subjects FROM changes WHERE ${isAfter} ORDER BY seq DESC LIMIT ${maxChanges}`,
        sql`SELECT realm, kind, value, issued_before_seconds AS issuedBeforeSeconds,
            expires_at_seconds AS expiresAtSeconds
          FROM revocations WHERE ${isAfter} AND ${isLive(nowSeconds)} LIMIT ${MAX_FEED_ROWS + 1}`,
      ] as const;

      switch (lookup.by) {
        case "none": {
          return toAnswer(await run(feed), null, null);
        }
        case "user": {
          const owner = sql`${USERS} WHERE realm = ${lookup.realm} AND id = ${lookup.id}`;
          const answers = await run([...feed, owner]);
          return toAnswer(answers, null, toUser(answers[3][0]));
        }
        case "session": {
          const named = sql`realm = ${lookup.realm} AND id = ${lookup.id}`;
          const row = sql`${SESSIONS} WHERE ${named}`;
          const owner = sql`${USERS} WHERE (realm, id) IN (SELECT realm, user_id FROM sessions WHERE ${named})`;
          const answers = await run([...feed, row, owner]);
          const session = answers[3][0];
          if (session === undefined) return toAnswer(answers, null, null);
          const user = toUser(answers[4][0]);
          const scopes = parsed(session.scopes);
          return toAnswer(answers, { ...session, ...SESSION_DEFAULTS, scopes, user }, user);
        }
        case "digest": {
          const named = sql`realm = ${lookup.realm} AND kind = ${lookup.kind} AND digest IN (${list(lookup.digests)})`;
          const row = sql`${CREDENTIALS} WHERE ${named}`;
          const owners = sql`${USERS} WHERE (realm, id) IN (SELECT realm, user_id FROM credentials WHERE ${named})`;
          const answers = await run([...feed, row, owners]);
          // The same secret may be stored under two peppers; the current one is asked for first.
          const found = lookup.digests
            .map((digest) => answers[3].find((credential) => credential.digest === digest))
            .find((credential) => credential !== undefined);
          if (found === undefined) return toAnswer(answers, null, null);
          const user = toUser(answers[4].find(({ id }) => id === found.userId));
          const scopes = parsed(found.scopes);
          const ipAllow = parsed(found.ipAllow);
          const attributes = parsed(found.attributes);
          const isReplaced = found.isReplaced === 1;
          return toAnswer(answers, { ...found, scopes, isReplaced, ipAllow, attributes, user }, user);
        }
      }
    },

    async isDenied({ realm, userId, tokenId, sessionId, issuedAtSeconds }, nowSeconds) {
      // A token without an id, or of no session, is named by no such denial: nothing equals NULL.
      const [denials] = await run([
        sql`SELECT value FROM revocations
          WHERE realm = ${realm}
            AND ((kind = 'realm' AND value = '') OR (kind = 'subject' AND value = ${userId})
              OR (kind = 'token' AND value = ${tokenId}) OR (kind = 'session' AND value = ${sessionId}))
            AND ${isLive(nowSeconds)}
            AND (issued_before_seconds IS NULL OR issued_before_seconds >= ${issuedAtSeconds})
          LIMIT 1`,
      ]);
      return denials.length > 0;
    },
  };
}

const isLive = (nowSeconds: number) =>
  sql`(expires_at_seconds IS NULL OR expires_at_seconds > ${nowSeconds})`;

const USERS = sql`SELECT realm, id, username, name, role, permissions, status, attributes FROM users`;

const CREDENTIALS = sql`SELECT kind, id, realm, user_id AS userId, name, status, digest, scopes,
  created_at_seconds AS createdAtSeconds, expires_at_seconds AS expiresAtSeconds, replaced_by IS NOT NULL AS isReplaced,
  ip_allow AS ipAllow, attributes FROM credentials`;

const SESSIONS = sql`SELECT id, realm, user_id AS userId, status, digest, scopes,
  created_at_seconds AS createdAtSeconds, expires_at_seconds AS expiresAtSeconds FROM sessions`;

const SESSION_DEFAULTS = {
  kind: "session",
  name: null,
  isReplaced: false,
  ipAllow: [],
  attributes: {},
} as const;

/** Of a JSON column. @throws where it holds something else */
const parsed = (column: unknown): unknown => JSON.parse(v.parse(v.string(), column));

function toUser(row: Row | undefined): Row | null {
  if (row === undefined) return null;
  return { ...row, permissions: parsed(row.permissions), attributes: parsed(row.attributes) };
}

type FeedAnswers = readonly [readonly Row[], readonly Row[], readonly Row[], ...unknown[]];

/** @throws when a record is not of its form: nothing can be decided by it */
function toAnswer(
  [states, newestFirst, denials]: FeedAnswers,
  credential: unknown,
  user: unknown,
): PrimaryAnswer {
  const state = v.safeParse(State, states[0]);
  if (!state.success) throw new Error("D1 has no epoch: its migrations were not applied");
  return {
    ...state.output,
    changes: newestFirst.length > MAX_FEED_ROWS ? null : toChanges(newestFirst.toReversed()),
    // Up to 50,000 of a table whose columns are checked: not looked at one by one.
    denials: denials.length > MAX_FEED_ROWS ? null : (denials as unknown as readonly Denial[]),
    credential: credential === null ? null : v.parse(StoredCredential, credential),
    user: user === null ? null : v.parse(StoredUser, user),
  };
}

const Changes = v.array(
  v.object({ seq: v.number(), subjects: v.pipe(v.string(), v.parseJson(), SubjectList) }),
);

/** `null` where a row does not say what changed: then anything may have. */
function toChanges(rows: readonly Row[]): PrimaryAnswer["changes"] {
  const read = v.safeParse(Changes, rows);
  return read.success ? read.output : null;
}
