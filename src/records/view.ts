// How far an isolate has followed the change feed, as of when, and what is denied. Pure: no I/O, no clock.
import type { Denial, PrimaryAnswer } from "../store/primary.ts";
import type { Bearer, Subject } from "./types.ts";

/** The snapshot a record was read in: which database, and where its feed stood. */
export interface Stamp {
  readonly epoch: string;
  readonly seq: number;
}

/** One read of the primary. Ticks order sending and arrival within an isolate; its clock stands still between I/O. */
export interface Read {
  /** Changes after this were asked for; `null`: everything. */
  readonly since: number | null;
  readonly sentTick: number;
  readonly sentAtMs: number;
  readonly arrivedTick: number;
}

export interface View {
  /** Takes in an answer, or drops everything when the feed no longer joins up with what is known. */
  apply(answer: PrimaryAnswer, read: Read): void;
  /** What the next read has to ask for; `null`: everything. */
  since(): number | null;
  /** Milliseconds since what is known was asked for; `null`: nothing is known. */
  ageMs(nowMs: number): number | null;
  epoch(): string | null;
  /** How far the feed has been followed, and as of when. Both only move forward while the epoch stays the same. */
  followed(): { readonly epoch: string; readonly head: number; readonly asOfMs: number } | null;
  /** Whether a record is still true: same database, the tail reaches back to its stamp, no later change names it. */
  counts(stamp: Stamp, subjects: readonly Subject[]): boolean;
  /** Whether a live denial names the bearer; `null`: there are too many to hold, D1 has to be asked. */
  isDenied(bearer: Bearer, nowSeconds: number): boolean | null;
}

interface Known {
  readonly epoch: string;
  /** The newest change that is known of. Only moves forward. */
  head: number;
  /** Every change after this one and up to `head` is in `lastChange`. */
  tailStart: number;
  readonly lastChange: Map<Subject, number>;
  /** `null`: too many to hold. */
  denials: Map<string, Denial> | null;
  asOfMs: number;
  sentTick: number;
  arrivedTick: number;
}

/**
 * @param onDrop called when nothing known before may be relied on any more, memory included
 * @param maxEntries bound of the changed subjects and of the denials held
 */
export function createView(onDrop: () => void, maxEntries = 50_000): View {
  let known: Known | null = null;

  function startOver(answer: PrimaryAnswer, read: Read): void {
    known = {
      epoch: answer.epoch,
      head: answer.head,
      tailStart: answer.head,
      lastChange: new Map(),
      denials: new Map(),
      asOfMs: read.sentAtMs,
      sentTick: read.sentTick,
      arrivedTick: read.arrivedTick,
    };
    // Newest first, as far back as the feed is whole.
    for (const change of (answer.changes ?? []).toReversed()) {
      if (change.seq !== known.tailStart) break;
      for (const subject of change.subjects) {
        if (!known.lastChange.has(subject)) known.lastChange.set(subject, change.seq);
      }
      known.tailStart -= 1;
    }
    boundEntries(known, answer.denials, read.sentAtMs, maxEntries);
  }

  /** Whether the answer continues what is known without a gap. */
  function joinsUp(current: Known, answer: PrimaryAnswer): boolean {
    return answer.epoch === current.epoch && answer.head >= current.head && answer.floor <= current.head;
  }

  function follow(current: Known, answer: PrimaryAnswer, read: Read): void {
    if (answer.changes === null) {
      // Too many at once: records read before now have to be read again.
      current.lastChange.clear();
      current.tailStart = answer.head;
    } else {
      for (const { seq, subjects } of answer.changes) {
        for (const subject of subjects) current.lastChange.set(subject, seq);
      }
    }
    current.head = answer.head;
    current.asOfMs = read.sentAtMs;
    current.sentTick = read.sentTick;
    current.arrivedTick = read.arrivedTick;
    boundEntries(current, answer.denials, read.sentAtMs, maxEntries);
  }

  return {
    apply(answer, read) {
      if (known === null) {
        if (read.since === null) startOver(answer, read);
        return;
      }
      if (read.sentTick < known.sentTick) return;
      // Two reads under way at once may be answered from snapshots in either order: that is no restored database.
      const wasConcurrent = read.sentTick < known.arrivedTick;
      if (wasConcurrent && answer.epoch === known.epoch && answer.head < known.head) return;

      const joins = joinsUp(known, answer);
      if (joins && read.since !== null) return follow(known, answer, read);
      if (!joins) {
        known = null;
        onDrop();
      }
      if (read.since === null) startOver(answer, read);
    },

    since: () => known?.head ?? null,
    ageMs: (nowMs) => (known === null ? null : Math.max(0, nowMs - known.asOfMs)),
    epoch: () => known?.epoch ?? null,
    followed: () => known,

    counts(stamp, subjects) {
      if (known === null || stamp.epoch !== known.epoch || stamp.seq < known.tailStart) return false;
      if (stamp.seq >= known.head) return true;
      for (const subject of subjects) {
        const changedAt = known.lastChange.get(subject);
        if (changedAt !== undefined && changedAt > stamp.seq) return false;
      }
      return true;
    },

    isDenied(bearer, nowSeconds) {
      if (known === null || known.denials === null) return null;
      const { denials } = known;
      if (denials.size === 0) return false;
      const stands = (kind: Denial["kind"], value: string | null): boolean => {
        if (value === null) return false;
        const denial = denials.get(denialKey(bearer.realm, kind, value));
        if (denial === undefined) return false;
        if (denial.expiresAtSeconds !== null && denial.expiresAtSeconds <= nowSeconds) return false;
        return denial.issuedBeforeSeconds === null || bearer.issuedAtSeconds <= denial.issuedBeforeSeconds;
      };
      return (
        stands("realm", "") ||
        stands("subject", bearer.userId) ||
        stands("token", bearer.tokenId) ||
        stands("session", bearer.sessionId)
      );
    },
  };
}

/** Realm and kind hold no colon, so that values may. */
const denialKey = (realm: string, kind: Denial["kind"], value: string) => `${realm}:${kind}:${value}`;

/** Takes in new denials, then keeps both collections within their bound without ever forgetting what still stands. */
function boundEntries(
  known: Known,
  newDenials: readonly Denial[] | null,
  nowMs: number,
  maxEntries: number,
): void {
  if (known.lastChange.size > maxEntries) {
    known.lastChange.clear();
    known.tailStart = known.head;
  }
  if (newDenials === null || known.denials === null) {
    known.denials = null;
    return;
  }
  for (const denial of newDenials) {
    known.denials.set(denialKey(denial.realm, denial.kind, denial.value), denial);
  }
  if (known.denials.size <= maxEntries) return;
  for (const [key, { expiresAtSeconds }] of known.denials) {
    if (expiresAtSeconds !== null && expiresAtSeconds * 1000 <= nowMs) known.denials.delete(key);
  }
  if (known.denials.size > maxEntries) known.denials = null;
}
