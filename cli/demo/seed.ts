// Puts the demo accounts into the local D1, through the same code that production writes and reads with.
import type { NamedSecret } from "../../src/config/secrets.ts";
import { storedDigests } from "../../src/crypto/digest.ts";
import type { Lookup } from "../../src/records/types.ts";
import { createPrimary } from "../../src/store/primary.ts";
import { createWrites } from "../../src/store/writes.ts";
import type { DemoCredentials } from "./accounts.ts";

const DAY_SECONDS = 86_400;
const SESSION_LIFE_SECONDS = 365 * DAY_SECONDS;

/**
 * Adds what is missing; whatever is there stays as it is, a disabled key too. Only a session that is about to run out
 * is prolonged.
 *
 * @returns how many rows were added
 */
export async function seedDemo(
  database: D1Database,
  realm: string,
  people: readonly DemoCredentials[],
  peppers: readonly NamedSecret[],
): Promise<number> {
  const writes = createWrites(database);
  const primary = createPrimary(database);
  const nowSeconds = Math.floor(Date.now() / 1000);
  const read = (lookup: Lookup) => primary.read({ since: null, lookup, nowSeconds });
  const [pepper] = peppers;
  if (pepper === undefined) throw new Error("POSTERN_PEPPERS is empty");
  let added = 0;

  for (const { account, apiKey, pat, sessionId, session: cookie } of people) {
    const { id, username, name, role, permissions, scopes } = account;
    if ((await read({ by: "user", realm, id })).user === null) {
      const times = { createdAtSeconds: nowSeconds, updatedAtSeconds: nowSeconds };
      await writes.createUser({ realm, id, username, name, role, permissions, ...times });
      added += 1;
    }

    const owned = { realm, userId: id, pepper: pepper.id, scopes, createdAtSeconds: nowSeconds };
    for (const [kind, secret] of [
      ["api_key", apiKey],
      ["pat", pat],
    ] as const) {
      const digests = await storedDigests(secret, peppers);
      if ((await read({ by: "digest", kind, realm, digests })).credential !== null) continue;
      const digest = digests[0] ?? "";
      // New secrets make new rows: ids are never used twice.
      await writes.createCredential({
        ...owned,
        id: `demo_${kind}_${id}_${digest.slice(0, 8)}`,
        kind,
        digest,
        name: "demo",
      });
      added += 1;
    }

    const session = (await read({ by: "session", realm, id: sessionId })).credential;
    const expiresAtSeconds = nowSeconds + SESSION_LIFE_SECONDS;
    if (session === null) {
      const [digest = ""] = await storedDigests(cookie.secret, peppers);
      await writes.createSession({ ...owned, id: sessionId, digest, expiresAtSeconds });
      added += 1;
    } else if ((session.expiresAtSeconds ?? 0) < nowSeconds + DAY_SECONDS) {
      await writes.updateSession(sessionId, { expiresAtSeconds }, nowSeconds);
    }
  }
  return added;
}
