// What a request would be decided as, and why: for whoever writes a policy or looks for a fault. The steps are the
// pipeline's own; what would leave the gateway or leave a trace is taken out.
import * as v from "valibot";
import { newTrace, type RequestContext, type Trace } from "../context.ts";
import { decide } from "../gateway.ts";
import { answerPreflight } from "../pipeline/cors.ts";
import { arrive, foldPath } from "../pipeline/path.ts";
import { refuse } from "../pipeline/refuse.ts";
import { type Match, matchRoute } from "../pipeline/route.ts";
import { isAddressBlock } from "../pipeline/verify/ip-allow.ts";
import type { Introspection } from "../presets/preset.ts";
import { Problem } from "../problem.ts";
import type { Arrival, Principal } from "../types.ts";
import { ADMIN_READS, type Endpoint, endpoint } from "./endpoint.ts";
import { isControlHost } from "./facts.ts";
import { invalid } from "./input.ts";
import { isSignInHost } from "./realm.ts";

const MAX_URL_LENGTH = 8_192;
const MAX_HEADERS = 100;
const MAX_HEADER_LENGTH = 16_384;

const isAddress = (text: string) => !text.includes("/") && isAddressBlock(text);

const Described = v.strictObject({
  method: v.optional(
    v.pipe(v.string(), v.regex(/^[A-Z]{1,20}$/, "must be a method in upper case, such as GET")),
    "GET",
  ),
  /** As it is sent, not as it would be normalized. */
  url: v.pipe(
    v.string(),
    v.maxLength(MAX_URL_LENGTH, `must be at most ${MAX_URL_LENGTH} characters`),
    v.regex(/^https?:\/\/[^/]/, "must begin with https:// or http:// and a host"),
  ),
  /** In their order; a name may stand there twice. */
  headers: v.optional(
    v.pipe(
      v.array(
        v.strictObject({
          name: v.pipe(v.string(), v.regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/, "must be a header's name")),
          value: v.pipe(
            v.string(),
            v.maxLength(MAX_HEADER_LENGTH, `must be at most ${MAX_HEADER_LENGTH} characters`),
            v.regex(/^[\t\x20-\x7e\x80-\xff]*$/, "must be what a header can hold"),
          ),
        }),
      ),
      v.maxLength(MAX_HEADERS, `must be at most ${MAX_HEADERS}`),
    ),
    [],
  ),
  client_address: v.optional(v.pipe(v.string(), v.check(isAddress, "must be an IP address"))),
});

const Texts = v.array(v.string());
const MaybeText = v.nullable(v.string());

const Explanation = v.strictObject({
  /** `answered`: here, instead of forwarding. `undecided`: the origin would be asked whose credential it is. */
  outcome: v.picklist(["forwarded", "answered", "refused", "undecided"]),
  /** What the client would see of a refusal, in the words of the site's system; `null`: that is the origin's. */
  status: v.nullable(v.number()),
  code: MaybeText,
  /** What the log would say; clients are never told. */
  reason: MaybeText,
  /** What a route in observe mode would have refused it for. */
  observed: MaybeText,
  site: MaybeText,
  /** In the canonical spelling; where it is forwarded, as the origin would get it; empty where none could be read. */
  path: v.string(),
  route: v.nullable(
    v.strictObject({
      key: v.string(),
      path: v.string(),
      /** None: any. */
      methods: Texts,
      auth: v.picklist(["none", "optional", "required"]),
      accept: Texts,
      role: MaybeText,
      scopes: Texts,
      any_scopes: Texts,
      permissions: Texts,
      any_permissions: Texts,
      /** Of what it is counted by; this call is not counted. */
      limit_by: MaybeText,
      freshness_seconds: v.number(),
      mode: v.picklist(["enforce", "observe"]),
    }),
  ),
  credential: v.nullable(v.strictObject({ kind: v.string(), id: MaybeText })),
  /** Whose credential was accepted, whatever it was refused for afterwards; `null`: nobody's. */
  principal: v.nullable(
    v.strictObject({
      realm: v.string(),
      id: v.string(),
      name: MaybeText,
      role: v.string(),
      permissions: Texts,
      scopes: Texts,
      expires_at: v.nullable(v.number()),
    }),
  ),
});
type Explanation = v.InferOutput<typeof Explanation>;

export const explainEndpoints: readonly Endpoint[] = [
  endpoint({
    method: "POST",
    path: "/admin/explain",
    id: "explain",
    summary: "What a request to a site would be decided as, and why. Nothing is forwarded, counted or noted",
    access: ADMIN_READS,
    query: null,
    body: Described,
    status: 200,
    answer: Explanation,
    handle: ({ context, body }) => explain(body, context),
  }),
];

/**
 * Decides a request that is only told of, as this isolate would decide it now. Middleware of one's own is not asked, and
 * a limit is not counted. Repeats nothing of the credential but its id.
 * @throws Problem `input_invalid` for what is no request to a site
 */
async function explain(
  { method, url, headers, client_address: clientAddress }: v.InferOutput<typeof Described>,
  { runtime, requestId, nowSeconds, background }: RequestContext,
): Promise<Explanation> {
  const trace = newTrace();
  const found: { match: Match | null; principal: Principal | null } = { match: null, principal: null };
  // Where a use would be noted, we learn whose it is; it leaves no mark.
  const lastUse = {
    note(principal: Principal) {
      found.principal = principal;
    },
  };
  const contextOf = (arrival: Arrival): RequestContext => ({
    arrival,
    requestId,
    clientAddress: clientAddress ?? null,
    trace,
    runtime: { ...runtime, lastUse },
    nowSeconds,
    background,
  });
  const request = requestOf(method, headers);
  let context = contextOf({ ...UNREAD, request, method });
  const told = (outcome: Explanation["outcome"], status: number | null): Explanation => ({
    outcome,
    status,
    code: trace.problem?.code ?? null,
    reason: trace.problem?.reason ?? null,
    observed: trace.observed,
    site: trace.site,
    path: (outcome === "forwarded" ? found.match?.forwardPath : null) ?? context.arrival.path,
    route: routeOf(trace),
    credential: trace.credentialKind === null ? null : { kind: trace.credentialKind, id: trace.credentialId },
    principal: found.principal === null ? null : principalOf(found.principal),
  });

  try {
    context = contextOf(arrive(request, url));
    if (!isControlPlane(context)) {
      const match = matchRoute(runtime.routes, context.arrival, trace);
      found.match = match;
      if (answerPreflight(match, context) !== null) return told("answered", 204);
      await decide(onlyHere(match), context);
      return told(match.route.answer === null ? "forwarded" : "answered", null);
    }
  } catch (error) {
    const { status } = refuse(error, found.match, context);
    return error === ASKS_ORIGIN ? told("undecided", null) : told("refused", status);
  }
  throw invalid([{ field: "url", message: "must be of a site: this is a path of the gateway itself" }]);
}

/** The method and the headers; where it is sent to stands in the arrival. */
function requestOf(
  method: string,
  headers: readonly { readonly name: string; readonly value: string }[],
): Request {
  try {
    const given = headers.map(({ name, value }): [string, string] => [name, value]);
    return new Request("https://explained.invalid/", { method, headers: new Headers(given) });
  } catch {
    throw invalid([{ field: "method", message: "must be one that can be sent" }]);
  }
}

function isControlPlane(context: RequestContext): boolean {
  const [, first] = foldPath(context.arrival.path).split("/");
  return first === "_gateway" && (isControlHost(context) || isSignInHost(context));
}

function routeOf({ matched }: Trace): Explanation["route"] {
  if (matched === null || matched.route === null) return null;
  const { site, route } = matched;
  return {
    key: route.key,
    path: route.path,
    methods: [...route.methods],
    auth: route.auth,
    accept: [...route.accept],
    role: route.minimumRole === 0 ? null : (site.ladder[route.minimumRole] ?? null),
    scopes: [...route.scopes],
    any_scopes: [...route.anyScopes],
    permissions: [...route.permissions],
    any_permissions: [...route.anyPermissions],
    limit_by: route.limit?.by ?? null,
    freshness_seconds: route.freshnessSeconds,
    mode: route.mode,
  };
}

const principalOf = ({ realm, id, name, role, permissions, credential }: Principal) => ({
  realm,
  id,
  name,
  role,
  permissions: [...permissions],
  scopes: [...credential.scopes],
  expires_at: credential.expiresAtSeconds,
});

const ASKS_ORIGIN = new Problem("introspection_unavailable", "only the origin knows, and it is not asked");

/** The same, without what is counted, and without what is asked of the origin: that would be told the credential. */
function onlyHere({ site, route, ...match }: Match): Match {
  const { introspection } = site;
  const inquire: Introspection["inquire"] = (...asked) => {
    if (introspection?.inquire(...asked) === null) return null;
    throw ASKS_ORIGIN;
  };
  return {
    ...match,
    site: { ...site, introspection: introspection === null ? null : { ...introspection, inquire } },
    route: { ...route, limit: null },
  };
}

const UNREAD = {
  scheme: "https",
  authority: "",
  host: "",
  path: "",
  search: "",
  ambiguities: 0,
} as const;
