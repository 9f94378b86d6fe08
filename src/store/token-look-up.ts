// A key or PAT by its secret's digest, whatever its state: for whoever holds one and wants it gone.

export interface HeldCredential {
  readonly id: string;
  readonly realm: string;
  readonly userId: string;
}

export interface TokenLookUp {
  /** In any of the realms; deleted ones are not there. `digests`: under every pepper. */
  byDigests(
    kind: "api_key" | "pat",
    realms: readonly string[],
    digests: readonly string[],
  ): Promise<HeldCredential | null>;
}

export function createTokenLookUp(database: D1Database): TokenLookUp {
  return {
    byDigests: (kind, realms, digests) =>
      database
        .prepare(
          `SELECT id, realm, user_id AS userId FROM credentials
           WHERE (realm, kind, digest) IN (SELECT realms.value, ?1, digests.value
             FROM json_each(?2) AS realms, json_each(?3) AS digests)
           AND status <> 'deleted' LIMIT 1`,
        )
        .bind(kind, JSON.stringify(realms), JSON.stringify(digests))
        .first<HeldCredential>(),
  };
}
