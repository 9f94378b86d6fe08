// Credentials that only the origin knows: what is sent to it, and what its answer makes of the caller.
import { createHash } from "node:crypto";
import type { RequestContext } from "../../context.ts";
import { cutOff } from "../../cut-off.ts";
import type { Inquiry } from "../../presets/preset.ts";
import { Problem } from "../../problem.ts";
import { readBounded } from "../../read-bounded.ts";
import type { Introspections } from "../../records/introspections.ts";
import type { Demand, Finding, FoundUser, Knowledge, Records } from "../../records/types.ts";
import type { Credential, Principal, RejectReason, Verdict } from "../../types.ts";
import type { Verifier } from "../authenticate.ts";
import { transportOf } from "../forward.ts";
import { freshnessBeforeLimit } from "../limit.ts";
import type { Match } from "../route.ts";
import { originUrl, setOurHeaders, signContext } from "../user-context.ts";
import { roleAt, stepOf } from "./role.ts";
import { mayUseCookie } from "./same-origin.ts";
import { wrongOwnerClaim } from "./stored-credential.ts";
import { readStrictObject } from "./strict-json.ts";
import { nameOfUnknownOwner } from "./unknown-owner.ts";

export interface IntrospectDeps {
  readonly records: Pick<Records, "know">;
  readonly introspections: Introspections;
}

/** An answer that has not come by then is given up. */
const DEADLINE_MS = 2_000;
const MAX_BYTES = 64 * 1024;

/** Of a local verdict: there is no record of this credential here. */
const NOT_KNOWN_HERE: ReadonlySet<RejectReason> = new Set(["malformed", "tag", "unknown"]);
/** Where nothing was looked up. */
export const NOTHING_KNOWN: Knowledge = { credential: null, user: null, isRevoked: false };

/**
 * The same verifier on sites that introspect: where it has no record of a credential, and its form can be one of the
 * system's, the origin says whose it is. A page of another origin may not use a cookie for more than reading, here either.
 * Then, on each request: the user header, revocation of whoever it is, and if the realm knows them, their status and the
 * lower one of both roles. Where no users are known here, nothing is looked up before the origin is asked.
 *
 * @throws Problem `introspection_unavailable`, `store_unavailable`, `loop_detected`
 */
export function createIntrospectingVerifier(verifyLocally: Verifier, deps: IntrospectDeps): Verifier {
  return async (credential, match, context) => {
    const { site, route } = match;
    const { introspection } = site;
    const { kind } = credential;
    if (introspection === null || !introspection.kinds.includes(kind)) {
      return verifyLocally(credential, match, context);
    }
    if (site.users === "required") {
      const verdict = await verifyLocally(credential, match, context);
      if (verdict.kind === "accept" || !NOT_KNOWN_HERE.has(verdict.reason)) return verdict;
    }
    // Whoever does not say properly whose it is, is wrong whosever it is.
    const flaw = wrongOwnerClaim(credential, credential.claimedUserId ?? "", match);
    if (flaw !== null) return { kind: "reject", reason: flaw };
    const inquiry = introspection.inquire(credential, route, site.credentials);
    if (inquiry === null) return { kind: "reject", reason: "unknown" };
    if (kind === "session" && !mayUseCookie(match, context)) return { kind: "reject", reason: "cross_site" };

    const ownerOf = ({ user }: Known) => user?.id ?? nameOfUnknownOwner(credential);
    const learnt = await learn(deps, inquiry, match, context, (known) =>
      demandFor(ownerOf(known), known.user !== null, match),
    );
    if (learnt.finding.kind === "rejected") return { kind: "reject", reason: learnt.finding.reason };
    return decide(learnt.finding, ownerOf(learnt.finding), learnt.knowledge, credential, match, context);
  };
}

type Known = Extract<Finding, { kind: "known" }>;

/**
 * What the origin says, and what is known here of whomever it names: both no older than the route allows when it settles.
 * @param demandOf what to look up here for a finding; `null`: nothing
 */
export async function learn(
  { records, introspections }: IntrospectDeps,
  inquiry: Inquiry,
  match: Match,
  context: RequestContext,
  demandOf: (known: Known) => Demand | null,
): Promise<{ readonly finding: Finding; readonly knowledge: Knowledge }> {
  const { background } = context;
  const freshnessSeconds = freshnessBeforeLimit(match.route);
  const key = keyOf(inquiry, match, context);
  const send = () => ask(inquiry, match, context);
  for (let attempt = 0; attempt < 2; attempt += 1) {
    const found = await introspections.learn(key, freshnessSeconds, send, background);
    const { finding } = found;
    if (finding.kind === "rejected") return { finding, knowledge: NOTHING_KNOWN };
    const demand = demandOf(finding);
    const knowledge = demand === null ? NOTHING_KNOWN : await records.know(demand, background);
    // D1 may have taken its time: what the origin said must still be young enough now.
    if (freshnessSeconds === 0 || introspections.isYoung(found, freshnessSeconds)) {
      return { finding, knowledge };
    }
  }
  throw unavailable("no answer of the origin was recent enough");
}

const unavailable = (reason: string, cause?: unknown) =>
  new Problem("introspection_unavailable", reason, cause === undefined ? {} : { cause });

/** Everything the answer depends on. A digest, so that it holds no credential. */
function keyOf({ path, headers, isByAddress }: Inquiry, { site }: Match, context: RequestContext): string {
  const { scheme, authority } = context.arrival;
  const address = isByAddress ? context.clientAddress : null;
  const question = [site.name, scheme, authority, path, Object.entries(headers), isByAddress, address];
  return createHash("sha256").update(JSON.stringify(question), "utf8").digest("hex");
}

/**
 * Sends the question, as any request to this origin is sent, but with nothing of the client's request other than the
 * inquiry and the client's address. Its caller is anonymous to the origin's check of user contexts.
 *
 * @throws Problem `introspection_unavailable` for anything but an answer that the system is known to give
 */
async function ask(inquiry: Inquiry, match: Match, context: RequestContext): Promise<Finding> {
  const { path } = inquiry;
  const headers = new Headers({ accept: "application/json", "user-agent": "Postern" });
  setOurHeaders(headers, match, context);
  // The caller's credential, whatever else the site sends: the origin must not speak of anybody else.
  for (const [name, value] of Object.entries(inquiry.headers)) headers.set(name, value);
  headers.set(match.site.userContext.header, await signContext(null, "GET", path, match, context));
  const upstream = { url: originUrl(match, context, path), method: "GET", headers, body: null };
  const send = transportOf(upstream, match, context);
  const abort = new AbortController();
  const answered = async (): Promise<{ readonly status: number; readonly finding: Finding | null }> => {
    const response = await send(upstream.url, {
      headers,
      redirect: "manual",
      cache: "no-store",
      signal: abort.signal,
    });
    const { status } = response;
    const isAnswer = (status >= 200 && status < 300) || (status >= 400 && status < 500 && status !== 429);
    const body = isAnswer && response.body !== null ? await readBounded(response.body, MAX_BYTES) : null;
    const content = body === null ? null : readStrictObject(body);
    return { status, finding: content === null ? null : inquiry.conclude(status, content) };
  };
  let answer: Awaited<ReturnType<typeof answered>>;
  try {
    answer = await cutOff(answered(), DEADLINE_MS);
  } catch (error) {
    throw unavailable("the origin gave no answer", error);
  } finally {
    // Also what was not read of an answer.
    abort.abort();
  }
  if (answer.finding !== null) return answer.finding;
  throw unavailable(`the origin answered ${answer.status}, and nothing to rely on`);
}

/** Nothing says when it was issued, so whatever revokes everything that was issued before now revokes it. */
function demandFor(userId: string, isUser: boolean, { site, route }: Match): Demand | null {
  if (site.users === "none" && site.revocation === "none") return null;
  const realm = site.realm.name;
  return {
    lookup: isUser && site.users === "required" ? { by: "user", realm, id: userId } : { by: "none" },
    bearer: { realm, userId, tokenId: null, sessionId: null, issuedAtSeconds: 0 },
    freshnessSeconds: freshnessBeforeLimit(route),
  };
}

function decide(
  { user }: Known,
  ownerId: string,
  { user: local, isRevoked }: Knowledge,
  credential: Credential,
  match: Match,
  { trace }: RequestContext,
): Verdict {
  // Known from here on, accepted or not: the log says whose credential was refused.
  trace.principalId = ownerId;
  if (isRevoked) return { kind: "reject", reason: "revoked" };
  if (local !== null && local.status === "deleted") return { kind: "reject", reason: "owner_missing" };
  const reason = user === null ? null : wrongOwnerClaim(credential, ownerId, match);
  if (reason !== null) return { kind: "reject", reason };
  if (local !== null && local.status !== "active") {
    return { kind: "reject", reason: "owner_inactive", about: local.attributes };
  }
  const { site } = match;
  const found = user ?? { ...NOBODY, id: ownerId };
  const step = Math.min(
    stepOf(found.role, site),
    local === null ? Number.POSITIVE_INFINITY : stepOf(local.role, site),
  );
  const principal: Principal = {
    realm: site.realm.name,
    id: ownerId,
    name: local?.name ?? local?.username ?? found.name,
    role: roleAt(step, site),
    permissions:
      local === null ? found.permissions : found.permissions.filter((own) => local.permissions.includes(own)),
    attributes: local?.attributes ?? found.attributes,
    // No id: there is no record of it whose use could be noted.
    credential: { kind: credential.kind, id: null, scopes: [], expiresAtSeconds: null, sessionId: null },
  };
  return { kind: "accept", principal };
}

const NOBODY: FoundUser = { id: "", name: null, role: "", permissions: [], attributes: {} };
