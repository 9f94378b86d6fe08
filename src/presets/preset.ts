// What a preset is: an existing system's clients, as data and small pure functions. The pipeline asks these and knows no
// system by name; what a preset answers by itself (signing in) is in `answers.ts`.
import type { JwtInput, PresetName, RouteInput, SiteInput } from "../config/schema.ts";
import type { Scope } from "../config/scope.ts";
import type { CredentialRules, JwtIssuer, Route } from "../config/types.ts";
import type { RequestFacts } from "../context.ts";
import type { Problem } from "../problem.ts";
import type { CredentialRecord, Finding } from "../records/types.ts";
import type { Arrival, Credential, CredentialKind, Principal, RejectReason } from "../types.ts";
import type { AnswerName } from "./answer.ts";

/** One place of a request that can hold a credential. Names of headers in lower case. */
export interface Place {
  readonly in: "header" | "cookie" | "query" | "subprotocol";
  readonly name: string;
}

export interface Presented {
  readonly credential: Credential;
  /** Where it stood: what stays when the credential is forwarded. */
  readonly place: Place;
}

/** What a client reads of a problem: the part that differs from one system's clients to another's. */
export interface Rendered {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
  /** Beside those of every refusal. `www-authenticate` appears only if it is named here. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** A way to say a problem. Sees its code and details; must not show its reason or cause. */
export type Dialect = (problem: Problem, facts: RequestFacts) => Rendered;

/** What a preset does on a site, compiled with the site's own settings. Pure, and part of the frozen configuration. */
export interface PresetRules {
  readonly name: PresetName;
  readonly isIssuing: boolean;
  /** The kinds its clients present, as far as they can be verified when users are known here or not. */
  readonly kinds: (users: "required" | "none") => readonly CredentialKind[];
  /**
   * The credential of a request, where this system's clients put it; `null`: none.
   * @throws Problem `credential_conflict`, `credential_invalid`
   */
  readonly read: (arrival: Arrival, route: Route, rules: CredentialRules) => Presented | null;
  /** Every place that may hold a credential on this path. Removed before forwarding, but for the one that decided. */
  readonly places: (arrival: Arrival, route: Route) => readonly Place[];
  /** Whether what stands in a place is none of ours, and goes through whatever else is removed. */
  readonly isForeign: (place: Place, value: string) => boolean;
  /** `null`: problems in the generic form (`errors = "problem"`). */
  readonly dialect: Dialect | null;
  /** Reasons that are refused on every route that looks at credentials, `on_invalid = "anonymous"` or not. */
  readonly unforgivable: readonly RejectReason[];
  /** The same for any reason, by kind. */
  readonly unforgivableKinds?: readonly CredentialKind[];
  /** A further look at a stored credential that is otherwise good; `null`: nothing against it. */
  readonly rejectRecord: (record: CredentialRecord, route: Route) => RejectReason | null;
  /** What the credential's own additions demand of its owner, after authorization. @throws Problem */
  readonly restrict: (principal: Principal, credential: Credential, route: Route, arrival: Arrival) => void;
  /** What the system calls its installation, where its tokens have to do with that. */
  readonly siteId?: string;
  /** API keys that stand in the configuration; the digest (hex SHA-256) of each. */
  readonly configuredKeys: ReadonlySet<string>;
  /** What whoever holds one of them may do. */
  readonly keyRights?: { readonly role: string; readonly permissions: readonly string[] };
  /** Rights that follow from a role, beside those that its holder was given. */
  readonly rightsOf?: (principal: Principal) => Principal;
}

/** A row of a preset's table: what a level of access means for the pipeline. */
export interface Level extends Omit<RouteInput, "path" | "methods"> {
  /** Whether what the row demands is demanded of those who present a credential only. */
  readonly letsAnonymousPass?: boolean;
  /** Whether a key counts after it has expired: it may still ask about itself. */
  readonly takesExpiredKeys?: boolean;
  /** Leads to an MCP server; `mcp` of a preset's site is about these rows. */
  readonly mcp?: boolean;
  /** Whether nobody has to say here whose session or PAT they present. */
  readonly ignoresUserHeader?: boolean;
  /** Nothing is there: 404 in the system's own words. */
  readonly isUnknown?: boolean;
  /** Postern answers by itself. Only in issue mode. */
  readonly answer?: AnswerName;
}

export interface PresetJwt {
  /** What a `jwt` table need not say. */
  readonly defaults: {
    readonly algorithms: NonNullable<JwtInput["algorithms"]>;
    /** `null`: its tokens carry none. `undefined`: the site has to say. */
    readonly issuer: string | null | undefined;
    readonly audience: string | null | undefined;
    readonly rest: Omit<JwtInput, "algorithms" | "issuer" | "audience">;
  };
  /** From what is configured to what signs. */
  readonly deriveKey?: (secret: Uint8Array) => Uint8Array;
  readonly rename?: NonNullable<JwtIssuer["rename"]>;
  readonly interpret: JwtIssuer["interpret"];
}

/**
 * What the origin is asked about a credential: a GET of this path with these headers, and nothing else of the client's
 * request but its address. What the answer depends on is here, and is the key under which it is remembered.
 */
export interface Inquiry {
  readonly path: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** Whether the answer depends on the client's address; then it holds for that one alone. */
  readonly isByAddress: boolean;
  /**
   * What an answer means. The body is one JSON object. `null`: it is none that this system gives about a credential,
   * which is an outage and refuses nobody for good.
   */
  readonly conclude: (status: number, body: Readonly<Record<string, unknown>>) => Finding | null;
}

/** How the origin of a preset's site can be asked about credentials that only it knows. Pure. */
export interface Introspection {
  /** Kinds it can be asked about. JWTs are verified before. */
  readonly kinds: readonly CredentialKind[];
  /** `null`: by its form, no credential of this system; the origin is not asked. */
  readonly inquire: (credential: Credential, route: Route, rules: CredentialRules) => Inquiry | null;
}

export interface Preset {
  readonly name: PresetName;
  /** Whether its router tells `/Self` from `/self`. */
  readonly isCaseSensitive: boolean;
  /** Whether Postern can stand in for the system's own sign-in. */
  readonly canIssue: boolean;
  /** Keys of a site that this preset understands, and not every one. */
  readonly settings: readonly ("api_keys" | "site_id")[];
  /** Whether the system makes keys or tokens that only a record of them, or the system itself, can tell from guesses. */
  readonly hasOpaqueCredentials: boolean;
  /** What the site says where its table does not. */
  readonly defaults: (isIssuing: boolean) => SiteInput;
  /** `null`: its clients have no JWTs. */
  readonly jwt: PresetJwt | null;
  readonly levels: Readonly<Record<string, Level>>;
  /** See `readTable`. */
  readonly table: string;
  /** Rows that replace those of the table where Postern issues. */
  readonly issuingTable: string;
  /** Of a realm whose users sign in through this preset, where its `sign_in` does not say otherwise. */
  readonly signIn: {
    readonly accessSeconds: number;
    readonly idleDays: number;
    readonly sessionDays: number;
    /** Name of the session cookie; `undefined`: as in any realm. */
    readonly cookie: string | undefined;
  };
  readonly compile: (site: PresetSite, scope: Scope) => PresetRules;
  /** Of sites that say `introspect = true`; absent: there is nothing to ask. */
  readonly introspection?: Introspection;
}

/** What a preset compiles its rules from. */
export interface PresetSite {
  readonly values: SiteInput;
  readonly keyOf: (name: string) => string;
  readonly isIssuing: boolean;
}
