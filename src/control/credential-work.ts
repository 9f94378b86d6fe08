// What is done to keys and PATs, whoever does it: administrators to anyone's, users to their own.
import type { Realm } from "../config/types.ts";
import { mintApiKey, mintPat, randomBase62 } from "../crypto/credential-format.ts";
import { storedDigests } from "../crypto/digest.ts";
import { Problem } from "../problem.ts";
import type { CredentialView, PageQuery } from "../store/directory.ts";
import type { CredentialPatch, CredentialState, OwnerState } from "../store/writes.ts";
import type { Caller } from "./caller.ts";
import { type CredentialInput, type CredentialKind, KINDS, toCredential } from "./credential-fields.ts";
import type { Call } from "./endpoint.ts";
import { toList } from "./fields.ts";
import { invalid } from "./input.ts";

/** Whose keys a call may touch, and what it may hand out. */
export interface Reach {
  readonly realm: Realm;
  /** `null`: of everyone in the realm. */
  readonly userId: string | null;
  /**
   * Before anything is changed.
   * @returns what that rests on; `null`: on nothing that could change
   * @throws Problem unless the caller may change what is this user's
   */
  demandOwner(userId: string): Promise<OwnerState | null>;
  /** Before a secret is handed out or comes to life. @throws Problem unless the caller may give these scopes */
  demandScopes(scopes: readonly string[]): void;
}

type Work = Pick<Call<unknown, unknown, Caller>, "context" | "services" | "audit">;

/** Live ones of each kind that a user can have, so that nobody fills the database with them. */
const MAX_LIVE = 1_000;
const ID_LENGTH = 20;

export async function listCredentials(
  { context, services }: Work,
  { realm }: Reach,
  kind: CredentialKind,
  userId: string | null,
  page: PageQuery,
) {
  return toList(
    await services.directory.credentials({ kind, realm: realm.name, userId }, page, context.nowSeconds),
    toCredential,
  );
}

/** @throws Problem `resource_not_found`, the same for what is not there and for what is somebody else's */
export async function findCredential(
  { context, services }: Work,
  { realm, userId }: Reach,
  kind: CredentialKind,
  id: string,
): Promise<CredentialView> {
  const found = await services.directory.credential(kind, id, context.nowSeconds);
  const isWithinReach =
    found !== null && found.realm === realm.name && (userId === null || found.userId === userId);
  if (!isWithinReach) throw notFound(kind);
  return found;
}

/**
 * Makes one for a user who exists. The answer is the only one that ever holds the secret.
 * @throws Problem `input_invalid`, and whatever the reach demands
 */
export async function createCredential(
  work: Work,
  reach: Reach,
  kind: CredentialKind,
  userId: string,
  input: CredentialInput,
) {
  const { context, services } = work;
  const { realm } = reach;
  const expiresAtSeconds = futureOf(input.expires_at ?? null, context.nowSeconds);
  const owner = await reach.demandOwner(userId);
  reach.demandScopes(input.scopes ?? []);
  const { secret, ...minted } = await mint(work, kind);
  const view = {
    kind,
    id: minted.id,
    realm: realm.name,
    userId,
    name: input.name ?? null,
    status: "active",
    scopes: input.scopes ?? [],
    ipAllow: input.ip_allow ?? [],
    attributes: input.attributes ?? {},
    expiresAtSeconds,
    lastUsedAtSeconds: null,
    replacedBy: null,
    isRevoked: false,
  } as const;
  const row = { ...view, ...minted, createdAtSeconds: context.nowSeconds };
  const entry = work.audit("credential.created", targetOf(view), { user: userId });
  const createdAtSeconds = await services.writes.audited(entry).createCredential(row, MAX_LIVE, owner);
  if (createdAtSeconds === null) {
    if ((await services.directory.user(realm.name, userId)) === null) throw noOwner();
    throw isSameOwner(owner, await reach.demandOwner(userId)) ? tooMany(kind) : changedMeanwhile();
  }
  return withSecret({ ...view, createdAtSeconds }, secret);
}

/**
 * Changes what is given and leaves the rest. Names, and making it stop, are free; whatever could make it reach further
 * demands what handing it out would.
 * @throws Problem `resource_not_found`, `input_invalid`, `changed_meanwhile`, and whatever the reach demands
 */
export async function patchCredential(
  work: Work,
  reach: Reach,
  kind: CredentialKind,
  id: string,
  input: CredentialInput,
) {
  const { context, services } = work;
  const { nowSeconds } = context;
  const found = await findCredential(work, reach, kind, id);
  const owner = await reach.demandOwner(found.userId);
  const patch = patchOf(input);
  const fields = Object.keys(input);
  if (fields.length === 0) return toCredential(found);
  let expected: CredentialState | undefined;
  if (mayWiden(input)) {
    reach.demandScopes(input.scopes ?? found.scopes);
    if (input.expires_at !== undefined) demandEnd(input.expires_at, found, nowSeconds);
    expected = { ...found, owner };
  }
  const entry = work.audit("credential.updated", targetOf(found), { user: found.userId, fields });
  if (!(await services.writes.audited(entry).updateCredential(id, patch, nowSeconds, expected))) {
    throw await lost(work, kind, id);
  }
  return toCredential(await findCredential(work, reach, kind, id));
}

/** @throws Problem `resource_not_found`, and whatever the reach demands of the owner */
export async function deleteCredential(
  work: Work,
  reach: Reach,
  kind: CredentialKind,
  id: string,
): Promise<null> {
  const { context, services } = work;
  const found = await findCredential(work, reach, kind, id);
  await reach.demandOwner(found.userId);
  const writes = services.writes.audited(
    work.audit("credential.deleted", targetOf(found), { user: found.userId }),
  );
  if (!(await writes.updateCredential(id, { status: "deleted" }, context.nowSeconds))) throw notFound(kind);
  return null;
}

/**
 * Puts a new one in its place, with the same name, scopes, addresses and attributes, and as long a life. The old one
 * goes on until the grace ends.
 * @throws Problem `resource_not_found`, `input_invalid`, `changed_meanwhile`, and whatever the reach demands
 */
export async function rotateCredential(
  work: Work,
  reach: Reach,
  kind: CredentialKind,
  id: string,
  input: { readonly grace_seconds?: number | undefined },
) {
  const { context, services } = work;
  const { nowSeconds } = context;
  const old = await findCredential(work, reach, kind, id);
  const owner = await reach.demandOwner(old.userId);
  reach.demandScopes(old.scopes);
  demandRotatable(old, nowSeconds);
  const { secret, ...minted } = await mint(work, kind);
  const graceSeconds = input.grace_seconds ?? KINDS[kind].graceSeconds;
  const expiresAtSeconds =
    old.expiresAtSeconds === null
      ? null
      : nowSeconds + Math.max(1, old.expiresAtSeconds - old.createdAtSeconds);
  const { realm, userId } = old;
  const next = { ...minted, kind, realm, userId, createdAtSeconds: nowSeconds, expiresAtSeconds };
  const details = { user: userId, replaced_by: minted.id, grace_seconds: graceSeconds };
  const createdAtSeconds = await services.writes
    .audited(work.audit("credential.rotated", targetOf(old), details))
    .rotateCredential(id, next, nowSeconds + graceSeconds, MAX_LIVE, { ...old, owner });
  if (createdAtSeconds === null) {
    const now = await findCredential(work, reach, kind, id);
    demandRotatable(now, nowSeconds);
    const isSame = isSameState(old, now) && isSameOwner(owner, await reach.demandOwner(old.userId));
    throw isSame ? tooMany(kind) : changedMeanwhile();
  }
  return withSecret(
    {
      ...old,
      id: minted.id,
      createdAtSeconds,
      expiresAtSeconds,
      lastUsedAtSeconds: null,
      replacedBy: null,
      isRevoked: false, // dated after whatever stands
    },
    secret,
  );
}

/** A secret with its id and what is stored of it. @throws Problem `config_invalid` */
export async function mint({ services }: Pick<Work, "services">, kind: CredentialKind) {
  const { gateway, secrets } = services.config;
  const [pepper] = secrets.peppers;
  if (pepper === undefined || secrets.tagSecrets.length === 0) {
    throw new Problem(
      "config_invalid",
      "POSTERN_PEPPERS and POSTERN_TAG_SECRETS make keys and PATs: set both",
    );
  }
  const secret =
    kind === "api_key"
      ? await mintApiKey(gateway.apiKeyPrefix, secrets.tagSecrets)
      : await mintPat(secrets.tagSecrets);
  const [digest = ""] = await storedDigests(secret, [pepper]);
  return { id: KINDS[kind].idPrefix + randomBase62(ID_LENGTH), secret, digest, pepper: pepper.id };
}

const withSecret = (credential: CredentialView, secret: string) => ({
  ...toCredential(credential),
  [KINDS[credential.kind].secretMember]: secret,
});

const targetOf = ({ kind, realm, id }: Pick<CredentialView, "kind" | "realm" | "id">) => ({
  kind,
  realm,
  id,
});

function patchOf(input: CredentialInput): CredentialPatch {
  const { expires_at, ip_allow, ...same } = input;
  return {
    ...same,
    ...(expires_at !== undefined && { expiresAtSeconds: expires_at }),
    ...(ip_allow !== undefined && { ipAllow: ip_allow }),
  };
}

/** By what it touches: nobody has to follow which addresses are fewer than which. */
function mayWiden({ status, scopes, expires_at, ip_allow }: CredentialInput): boolean {
  return status === "active" || scopes !== undefined || expires_at !== undefined || ip_allow !== undefined;
}

/** A rotated one may end before its grace does, and not after. */
function demandEnd(
  expiresAtSeconds: number | null,
  { replacedBy, expiresAtSeconds: currentEnd }: CredentialView,
  nowSeconds: number,
): void {
  futureOf(expiresAtSeconds, nowSeconds);
  if (replacedBy === null || currentEnd === null) return;
  if (expiresAtSeconds === null || expiresAtSeconds > currentEnd) {
    throw invalid([
      { field: "expires_at", message: "must not be later: it was rotated, and its grace ends then" },
    ]);
  }
}

function futureOf(expiresAtSeconds: number | null, nowSeconds: number): number | null {
  if (expiresAtSeconds === null || expiresAtSeconds > nowSeconds) return expiresAtSeconds;
  throw invalid([{ field: "expires_at", message: "must be in the future, or null" }]);
}

function demandRotatable({ replacedBy, status, expiresAtSeconds }: CredentialView, nowSeconds: number): void {
  if (replacedBy !== null) {
    throw changedMeanwhile("was rotated already: rotate the one that is named in replaced_by");
  }
  if (status !== "active") throw invalid([{ field: "status", message: "is disabled: enable it first" }]);
  if (expiresAtSeconds !== null && expiresAtSeconds <= nowSeconds) {
    throw invalid([{ field: "expires_at", message: "is over: make a new one" }]);
  }
}

function isSameState(a: CredentialState, b: CredentialState): boolean {
  return a.expiresAtSeconds === b.expiresAtSeconds && a.scopes.join(" ") === b.scopes.join(" ");
}

function isSameOwner(a: OwnerState | null, b: OwnerState | null): boolean {
  return a?.role === b?.role && a?.permissions.join(" ") === b?.permissions.join(" ");
}

/** Why nothing was changed although it was there a moment ago. */
async function lost({ context, services }: Work, kind: CredentialKind, id: string): Promise<Problem> {
  const found = await services.directory.credential(kind, id, context.nowSeconds);
  return found === null ? notFound(kind) : changedMeanwhile();
}

const notFound = (kind: CredentialKind) => new Problem("resource_not_found", `no such ${KINDS[kind].one}`);

export const noOwner = () => invalid([{ field: "user", message: "must be the id of a user of the realm" }]);

const tooMany = (kind: CredentialKind) =>
  invalid([{ field: "", message: `the user has ${MAX_LIVE} live ${KINDS[kind].many}: delete some first` }]);

const changedMeanwhile = (message = "was changed by another request: read it again") =>
  new Problem("changed_meanwhile", "a key or PAT", { errors: [{ field: "", message }] });
