// Administration of sessions: which there are, and ending them.
import * as v from "valibot";
import type { Realm } from "../config/types.ts";
import { Problem } from "../problem.ts";
import { ADMIN_READS, ADMIN_WRITES, type Call, type Endpoint, endpoint } from "./endpoint.ts";
import { listOf, PAGE_MEMBERS, pageOf, RecordId, toList } from "./fields.ts";
import { type Administrator, demandRank } from "./rank.ts";
import { denyUntil, realmNamed } from "./realm.ts";
import { Session, toSession } from "./resources.ts";

export const sessionEndpoints: readonly Endpoint[] = [
  endpoint({
    method: "GET",
    path: "/admin/realms/:realm/sessions",
    id: "listSessions",
    summary: "List sessions that have not run out, newest first",
    access: ADMIN_READS,
    query: v.strictObject({ ...PAGE_MEMBERS, user: v.optional(RecordId) }),
    body: null,
    status: 200,
    answer: listOf(Session),
    async handle({ context, services, params, query }) {
      const { name } = realmNamed(services.config, params.realm ?? "");
      const filter = { realm: name, userId: query.user ?? null };
      return toList(await services.directory.sessions(filter, pageOf(query), context.nowSeconds), toSession);
    },
  }),
  endpoint({
    method: "DELETE",
    path: "/admin/realms/:realm/sessions/:id",
    id: "endSession",
    summary: "End a session",
    access: ADMIN_WRITES,
    query: null,
    body: null,
    status: 204,
    answer: null,
    handle: (call) =>
      endSession(call, realmNamed(call.services.config, call.params.realm ?? ""), call.params.id ?? ""),
  }),
];

/**
 * Ends a session of the realm, and denies the tokens that name it.
 * @throws Problem `resource_not_found`, `rank_insufficient`
 */
export async function endSession(
  call: Pick<Call<unknown, unknown, Administrator>, "context" | "services" | "caller" | "audit">,
  realm: Realm,
  id: string,
): Promise<void> {
  const { context, services, caller, audit } = call;
  const session = await services.directory.session(id);
  const owner =
    session?.realm === realm.name ? await services.directory.user(realm.name, session.userId) : null;
  if (owner === null) throw new Problem("resource_not_found", "no such session");
  demandRank(caller, realm, owner.role);
  await services.writes
    .audited(audit("session.ended", { kind: "session", realm: realm.name, id }, { user: owner.id }))
    .endSessions({ realm: realm.name, id }, context.nowSeconds, denyUntil(call, realm));
}
