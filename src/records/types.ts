// What a request must know about users and credentials, and how old that knowledge may be. No I/O here.
import type { RejectReason } from "../types.ts";

/** Names a thing whose change makes a record stale. Built only by the functions in `subjects.ts`. */
export type Subject = string;

export interface UserRecord {
  readonly realm: string;
  readonly id: string;
  readonly username: string | null;
  readonly name: string | null;
  readonly role: string;
  readonly permissions: readonly string[];
  readonly status: "active" | "disabled" | "pending" | "deleted";
  readonly attributes: Readonly<Record<string, unknown>>;
}

/** An API key, a PAT or a session, with its owner as of the same read. */
export interface CredentialRecord {
  readonly kind: "api_key" | "pat" | "session";
  readonly id: string;
  readonly realm: string;
  readonly userId: string;
  readonly name: string | null;
  readonly status: "active" | "disabled" | "deleted";
  /** Hex of the stored digest; for a session, of its secret. */
  readonly digest: string;
  readonly scopes: readonly string[];
  readonly createdAtSeconds: number;
  readonly expiresAtSeconds: number | null;
  /** Whether another one stands in its place: it ends with its grace, and is not one that ran out. */
  readonly isReplaced: boolean;
  /** CIDR blocks; empty: any address. */
  readonly ipAllow: readonly string[];
  readonly attributes: Readonly<Record<string, unknown>>;
  /** `null`: the owner does not exist. */
  readonly user: UserRecord | null;
}

/** What to look up. `none`: only the denials and the age of our knowledge matter (a stand-alone JWT). */
export type Lookup =
  /** `digests`: the credential's digest under each pepper, hex; the first that exists counts. */
  | {
      readonly by: "digest";
      readonly kind: "api_key" | "pat";
      readonly realm: string;
      readonly digests: readonly string[];
    }
  | { readonly by: "session"; readonly realm: string; readonly id: string }
  | { readonly by: "user"; readonly realm: string; readonly id: string }
  | { readonly by: "none" };

/** The identity a denial may name. Absent parts are `null`. */
export interface Bearer {
  readonly realm: string;
  readonly userId: string;
  /** A JWT's `jti`. */
  readonly tokenId: string | null;
  readonly sessionId: string | null;
  /** `iat`, else `nbf`, else 0; creation time for stored credentials. */
  readonly issuedAtSeconds: number;
}

export interface Demand {
  readonly lookup: Lookup;
  /** Who would be denied, as far as it is known before the look-up (a JWT). `null`: derived from the record. */
  readonly bearer: Bearer | null;
  /** 0: ask D1 on this request. */
  readonly freshnessSeconds: number;
}

export interface Knowledge {
  readonly credential: CredentialRecord | null;
  readonly user: UserRecord | null;
  /** Whether a live revocation names the bearer (the demand's, or the record's own). */
  readonly isRevoked: boolean;
}

export interface Records {
  /**
   * Everything a decision needs, no older than the demand allows when it is returned or the promise settles. Where
   * isolate memory can answer there is no promise, and no I/O.
   * @throws Problem `store_unavailable` when that could not be had. Never because a record does not exist.
   */
  know(demand: Demand, background: (work: Promise<unknown>) => void): Knowledge | Promise<Knowledge>;
  /** How far this isolate has followed the change feed, and as of when; `null` before its first read. */
  followed(): { readonly epoch: string; readonly head: number; readonly asOfMs: number } | null;
}

/** Whose a credential is, as the origin says. */
export interface FoundUser {
  readonly id: string;
  readonly name: string | null;
  /** One step of the site's ladder; anything else grants nothing. */
  readonly role: string;
  readonly permissions: readonly string[];
  readonly attributes: Readonly<Record<string, unknown>>;
}

/** What the origin says of a credential that it was asked about. Facts, never a verdict. */
export type Finding =
  /** `user` is `null` where it does not say whose it is. */
  | { readonly kind: "known"; readonly user: FoundUser | null }
  | { readonly kind: "rejected"; readonly reason: RejectReason };
