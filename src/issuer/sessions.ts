// From a name and a password to a session, and to its end: what every way of signing in has in common.
import { type Actor, auditEntry } from "../audit.ts";
import type { Realm } from "../config/types.ts";
import type { RequestContext } from "../context.ts";
import { longestTokenSeconds } from "../control/realm.ts";
import type { Services } from "../control/services.ts";
import { Problem } from "../problem.ts";
import type { UserView } from "../store/directory.ts";
import { checkPassword, newestPepper } from "./sign-in.ts";

/** Long enough for any scheme of digest, so that no cause of failure is faster than another. */
const FAILURE_TAKES_MS = 750;
const MAX_USER_AGENT_LENGTH = 256;

/** Somebody whose password was right a moment ago. */
export interface SignedIn {
  readonly realm: Realm;
  readonly user: UserView;
  /** What the password was found right by. A session begins only while it stands. */
  readonly verifiedHash: string;
  /**
   * What the password is right by where something else stands by now: a second tab may have had it hashed anew.
   * @returns `null`: nothing
   * @throws Problem `sign_in_busy`
   */
  verifyAnew(): Promise<string | null>;
}

/** Starts the time that a failure takes; call it before anything is looked up. */
export const failureMayShow = (): Promise<unknown> => scheduler.wait(FAILURE_TAKES_MS);

/**
 * Somebody whom another system asked for a second factor (`two_factor` among the attributes) cannot sign in on any path:
 * nobody asks for one here.
 *
 * @param mayFail from `failureMayShow`
 * @throws Problem `sign_in_failed`, `rate_limited`, `sign_in_busy`; `permission_denied` for want of a second factor
 */
export async function signInByPassword(
  given: { readonly realm: Realm; readonly name: string; readonly password: string },
  mayFail: Promise<unknown>,
  context: RequestContext,
  services: Services,
): Promise<SignedIn> {
  const { realm } = given;
  const account = await checkPassword(
    {
      ...given,
      address: context.clientAddress,
      nowSeconds: context.nowSeconds,
      audit: (actor, action, target, details) => auditEntry(context, actor, action, target, details),
      failureMayShow: mayFail,
    },
    services,
  );
  const user = await services.directory.user(realm.name, account.userId);
  if (user === null) throw new Problem("sign_in_failed", "deleted meanwhile");
  if (user.attributes.two_factor === true) {
    const message = "Two-factor authentication is not available here";
    throw new Problem("permission_denied", "two factors", { errors: [{ field: "", message }] });
  }
  const verifiedHash = account.password.hash;
  return {
    realm,
    user,
    verifiedHash,
    async verifyAnew() {
      const stored = (await services.accounts.byId(realm.name, user.id))?.password ?? null;
      if (stored === null || stored.hash === verifiedHash) return null;
      return (await services.hasher.verify(given.password, stored)) ? stored.hash : null;
    },
  };
}

export interface NewSession {
  readonly id: string;
  /** `token`: refreshed through `SessionChains`; `cookie`: stands for itself. */
  readonly kind: "cookie" | "token";
  /** Of a cookie's secret; `""` for a token's. */
  readonly digest: string;
  readonly scopes: readonly string[];
}

/** @returns when the session ends, at the latest. @throws Problem `sign_in_failed` */
export async function beginSession(
  { realm, user, verifiedHash, verifyAnew }: SignedIn,
  { id, kind, digest, scopes }: NewSession,
  context: RequestContext,
  services: Services,
): Promise<number> {
  if (realm.signIn === null) throw new Problem("config_invalid", `nobody signs in to ${realm.name}`);
  const { nowSeconds, clientAddress, arrival } = context;
  const { idleSeconds, sessionSeconds } = realm.signIn;
  const actor = { kind: "user", realm: realm.name, id: user.id, credentialId: id } as const;
  const target = { kind: "session", realm: realm.name, id } as const;
  const expiresAtSeconds =
    nowSeconds + (kind === "cookie" ? Math.min(idleSeconds, sessionSeconds) : sessionSeconds);
  const session = {
    id,
    realm: realm.name,
    userId: user.id,
    kind,
    digest,
    pepper: newestPepper(services).id,
    scopes,
    createdAtSeconds: nowSeconds,
    expiresAtSeconds,
    idleExpiresAtSeconds: kind === "cookie" ? null : nowSeconds + idleSeconds,
    lastUsedAtSeconds: nowSeconds,
    address: clientAddress,
    userAgent: arrival.request.headers.get("user-agent")?.slice(0, MAX_USER_AGENT_LENGTH) ?? null,
  };
  const writes = services.writes.audited(
    auditEntry(context, actor, "session.created", target, { user: user.id, kind }),
  );
  let isBegun = await writes.createSession(session, verifiedHash);
  if (!isBegun) {
    const hash = await verifyAnew();
    isBegun = hash !== null && (await writes.createSession(session, hash));
  }
  if (!isBegun) throw new Problem("sign_in_failed", "disabled, or another password meanwhile");
  context.trace.principalId = user.id;
  context.trace.credentialId = id;
  return expiresAtSeconds;
}

/**
 * Ends one session, or all of a user's, and denies the access tokens that name them. Whether there was any makes no
 * difference. Who calls sees to it that this isolate learns of it now (`Services.catchUp`).
 */
export async function endSessions(
  choice: { readonly realm: string } & ({ readonly id: string } | { readonly userId: string }),
  actor: Actor,
  context: RequestContext,
  services: Services,
): Promise<void> {
  const { nowSeconds } = context;
  const target =
    "id" in choice
      ? ({ kind: "session", realm: choice.realm, id: choice.id } as const)
      : ({ kind: "user", realm: choice.realm, id: choice.userId } as const);
  await services.writes
    .audited(auditEntry(context, actor, "session.ended", target))
    .endSessions(
      "id" in choice ? choice : { ...choice, exceptId: null },
      nowSeconds,
      nowSeconds + longestAccessSeconds(services),
    );
}

/** The row tells the realm only once it has been read, and a denial may last longer than it must. */
export function longestAccessSeconds({ config }: Services): number {
  return Math.max(...[...config.realms.values()].map((realm) => longestTokenSeconds(config, realm)));
}
