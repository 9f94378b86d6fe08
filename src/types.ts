// The words of the project, as types. A credential is what a caller presented, unverified; a principal is who it
// turned out to be. Absent values are `null`; points in time are epoch seconds in names that end in `AtSeconds`.

/** The kinds of credential a route can accept. Decided by the shape of what was presented, never by trying. */
export const CREDENTIAL_KINDS = ["jwt", "api_key", "pat", "session"] as const;
export type CredentialKind = (typeof CREDENTIAL_KINDS)[number];

/** A request that has an unambiguous host and path. Made once, before anything looks at either. */
export interface Arrival {
  readonly request: Request;
  /** Upper-case as sent. Read once: what the platform holds costs more to ask for than what we hold. */
  readonly method: string;
  readonly scheme: "http" | "https";
  /** Host and, where it is not the scheme's own, port, as a URL parser writes them. */
  readonly authority: string;
  /** The query with its `?`, as a URL parser writes it; `""`: none. */
  readonly search: string;
  /** Lower-case host name without port and without a trailing dot. */
  readonly host: string;
  /** The canonical path: WHATWG-normalized, unreserved characters decoded, case kept. Matched on and forwarded. */
  readonly path: string;
  /** Which ambiguous spellings the path contains; a bit set of `AMBIGUITIES` in `pipeline/path.ts`. 0: none. */
  readonly ambiguities: number;
}

/** What the caller presented. Nothing about it is verified. */
export interface Credential {
  readonly kind: CredentialKind;
  /** The secret itself, without scheme: a compact JWS, `sk-…`, a PAT, or `<session id>.<secret>`. Never logged. */
  readonly value: string;
  /** What a preset's clients append to a secret: the channel after a New API key. `null`: nothing. */
  readonly suffix: string | null;
  /** The user id the caller claims to be (`New-Api-User` or the site's own name for it). `null`: header absent. */
  readonly claimedUserId: string | null;
}

export type UserStatus = "active" | "disabled" | "pending";

/** Who is calling, verified, with the rights that hold now. */
export interface Principal {
  readonly realm: string;
  readonly id: string;
  readonly name: string | null;
  /** One step of the site's role ladder. */
  readonly role: string;
  /** Rights of the user. */
  readonly permissions: readonly string[];
  /** Further facts about the user that a preset or an origin understands. */
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly credential: {
    readonly kind: CredentialKind;
    /** Stable, not secret: a key's, PAT's or session's id; a JWT's `jti`, or null when it carries none. */
    readonly id: string | null;
    /** Rights of the credential. Empty: none. */
    readonly scopes: readonly string[];
    /** `null`: does not expire. */
    readonly expiresAtSeconds: number | null;
    /** The session that it is, or that a JWT names; `null`: none. */
    readonly sessionId: string | null;
  };
}

/** Why a presented credential was not accepted. For the log only: callers learn nothing beyond `credential_invalid`. */
export type RejectReason =
  | "malformed"
  | "algorithm"
  | "unknown_key"
  | "signature"
  | "issuer"
  | "audience"
  | "claim"
  | "subject"
  | "expired"
  | "not_yet_valid"
  | "tag"
  | "unknown"
  | "disabled"
  | "deleted"
  | "revoked"
  | "owner_missing"
  | "owner_inactive"
  | "address"
  | "user_header_missing"
  | "user_header_malformed"
  | "user_header_mismatch"
  | "cross_site"
  | "token_use"
  | "exhausted"
  | "kind_not_accepted";

/**
 * What a verifier says about one credential. A verifier throws only when it could not decide (an outage of D1 or of a
 * JWKS endpoint), and then a `Problem`.
 */
export type Verdict =
  | { readonly kind: "accept"; readonly principal: Principal }
  | {
      readonly kind: "reject";
      readonly reason: RejectReason;
      /** What in particular, for the log: a claim's name or a limit, never a value that was presented. */
      readonly detail?: string;
      /** Attributes of the owner, where that is known: some systems answer in the user's language. */
      readonly about?: Readonly<Record<string, unknown>>;
    };
