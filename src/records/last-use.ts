// Notes that a key, PAT or session was used, and keeps the session of a cookie in use alive. Never on a request's way.
import type { Realm } from "../config/types.ts";
import { MARK_EVERY_SECONDS, type UseMarks } from "../store/use-marks.ts";
import type { Writes } from "../store/writes.ts";
import type { Principal } from "../types.ts";
import { createBoundedMap } from "./bounded-map.ts";

const MAX_REMEMBERED = 10_000;
const WRITE_DEADLINE_MS = 2_000;

export interface LastUse {
  /**
   * Writes in the background, at most once a minute a credential. A write that fails is nothing: the next minute has
   * another one. Does nothing for a JWT, of which nothing is stored.
   */
  note(principal: Principal, nowSeconds: number, background: (work: Promise<unknown>) => void): void;
}

export interface LastUseDependencies {
  readonly marks: UseMarks;
  readonly writes: Pick<Writes, "updateSession">;
  readonly realms: ReadonlyMap<string, Realm>;
  /** Settles once the current request's own outbound call is on its way. */
  readonly afterForwarding: () => Promise<void>;
  /** Rejects when `work` has not settled within `deadlineMs`. */
  readonly cutOff: <T>(work: Promise<T>, deadlineMs: number) => Promise<T>;
}

export function createLastUse(dependencies: LastUseDependencies): LastUse {
  const { marks, writes, realms, afterForwarding, cutOff } = dependencies;
  /** When this isolate marked it last, by id: keys and sessions stand in different tables, and may share one. */
  const credentials = createBoundedMap<string, number>(MAX_REMEMBERED);
  const sessions = createBoundedMap<string, number>(MAX_REMEMBERED);

  async function markSession(id: string, nowSeconds: number): Promise<void> {
    const session = await marks.markSession(id, nowSeconds);
    const signIn = session === null ? null : (realms.get(session.realm)?.signIn ?? null);
    if (session === null || signIn === null) return;
    const { createdAtSeconds, expiresAtSeconds } = session;
    const leftSeconds = expiresAtSeconds - nowSeconds;
    const longest = createdAtSeconds + signIn.sessionSeconds;
    const prolonged = Math.min(longest, nowSeconds + signIn.idleSeconds);
    if (leftSeconds >= signIn.idleSeconds / 2 || prolonged <= expiresAtSeconds) return;
    await writes.updateSession(id, { expiresAtSeconds: prolonged }, nowSeconds);
  }

  async function mark(isSession: boolean, id: string, nowSeconds: number): Promise<void> {
    await afterForwarding();
    const work = isSession ? markSession(id, nowSeconds) : marks.markCredential(id, nowSeconds);
    await cutOff(work, WRITE_DEADLINE_MS);
  }

  return {
    note({ credential: { kind, id } }, nowSeconds, background) {
      if (id === null || kind === "jwt") return;
      const isSession = kind === "session";
      const marked = isSession ? sessions : credentials;
      const markedAtSeconds = marked.get(id);
      if (markedAtSeconds !== undefined && nowSeconds - markedAtSeconds < MARK_EVERY_SECONDS) return;
      marked.set(id, nowSeconds);
      background(mark(isSession, id, nowSeconds).catch(() => {}));
    },
  };
}

/** For gateways without D1, where nothing is stored of any credential. */
export const NO_LAST_USE: LastUse = { note: () => {} };
