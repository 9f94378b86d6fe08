// Who did what, and whether the log still says so: reading the audit log and verifying its seals.
import * as v from "valibot";
import { AUDIT_ACTIONS } from "../audit.ts";
import type { Verification } from "../store/audit-chain.ts";
import type { AuditView } from "../store/audit-log.ts";
import { ADMIN_READS, type Endpoint, endpoint } from "./endpoint.ts";
import { listOf, PAGE_MEMBERS, pageOf, RealmName, RecordId, toList } from "./fields.ts";

/** Of one call: 20,000 rows, and few enough statements for any plan of D1. */
const MAX_BLOCKS = 20;

const Whole = (message: string) =>
  v.pipe(v.string(), v.regex(/^(0|[1-9][0-9]{0,14})$/, message), v.transform(Number));

const AuditItem = v.strictObject({
  seq: v.number(),
  at: v.number(),
  actor: v.strictObject({
    kind: v.picklist(["admin_token", "user", "anonymous", "system"]),
    realm: v.nullable(v.string()),
    id: v.nullable(v.string()),
    credential: v.nullable(v.string()),
  }),
  action: v.string(),
  target: v.strictObject({ kind: v.string(), realm: v.string(), id: v.string() }),
  address: v.nullable(v.string()),
  request_id: v.nullable(v.string()),
  details: v.record(v.string(), v.unknown()),
});

const AuditVerification = v.strictObject({
  intact: v.boolean(),
  /** `null`: nothing is wrong. */
  problem: v.nullable(v.string()),
  at_seq: v.nullable(v.number()),
  rows: v.number(),
  blocks: v.number(),
  unsealed: v.number(),
  head_hash: v.nullable(v.string()),
  /** `from_block` of the next call; `null`: that was all. */
  next_block: v.nullable(v.number()),
});

export const auditEndpoints: readonly Endpoint[] = [
  endpoint({
    method: "GET",
    path: "/admin/audit",
    id: "listAudit",
    summary:
      "Read the audit log, newest first; realm and user are of the actor or the target, or user the owner of the key, PAT or session",
    access: ADMIN_READS,
    query: v.strictObject({
      ...PAGE_MEMBERS,
      realm: v.optional(RealmName),
      user: v.optional(RecordId),
      target: v.optional(RecordId),
      action: v.optional(v.picklist(AUDIT_ACTIONS, `must be one of ${AUDIT_ACTIONS.join(", ")}`)),
      since: v.optional(Whole("must be seconds since 1970")),
    }),
    body: null,
    status: 200,
    answer: listOf(AuditItem),
    handle: async ({ services, query }) => {
      const filter = {
        realm: query.realm ?? null,
        userId: query.user ?? null,
        targetId: query.target ?? null,
        action: query.action ?? null,
        sinceSeconds: query.since ?? null,
      };
      return toList(await services.auditLog.entries(filter, pageOf(query)), showEntry);
    },
  }),
  endpoint({
    method: "GET",
    path: "/admin/audit/verify",
    id: "verifyAudit",
    summary: "Recompute the seals of the audit log, a page of blocks at a time",
    access: ADMIN_READS,
    query: v.strictObject({
      from_block: v.optional(
        v.pipe(Whole("must be the number of a block"), v.minValue(1, "must be at least 1")),
      ),
    }),
    body: null,
    status: 200,
    answer: AuditVerification,
    handle: async ({ services, query }) =>
      showVerification(await services.auditLog.verify(query.from_block ?? 1, MAX_BLOCKS)),
  }),
];

function showEntry({ seq, atSeconds, actor, action, target, address, requestId, details }: AuditView) {
  const user = actor.kind === "user" ? actor : null;
  return {
    seq,
    at: atSeconds,
    actor: {
      kind: actor.kind,
      realm: user?.realm ?? null,
      id: user?.id ?? null,
      credential: user?.credentialId ?? null,
    },
    action,
    target,
    address,
    request_id: requestId,
    details,
  };
}

function showVerification(result: Verification): v.InferOutput<typeof AuditVerification> {
  if (!result.isIntact) {
    const { problem, atSeq } = result;
    const nothing = { rows: 0, blocks: 0, unsealed: 0, head_hash: null, next_block: null };
    return { intact: false, problem, at_seq: atSeq, ...nothing };
  }
  const { rows, blocks, unsealed, headHash, nextBlock } = result;
  return {
    intact: true,
    problem: null,
    at_seq: null,
    rows,
    blocks,
    unsealed,
    head_hash: headHash,
    next_block: nextBlock,
  };
}
