// Every rule of the records layer as the piece of code that keeps it, and what the code is without it.

import type { Weather } from "./simulation.ts";

export interface Rule {
  readonly name: string;
  readonly file: "records/records.ts" | "records/view.ts" | "store/primary.ts" | "store/writes.ts";
  readonly code: string;
  readonly without: string;
  /** In which its absence shows soonest. */
  readonly weather: Weather;
}

export const RULES: readonly Rule[] = [
  {
    name: "another epoch drops all that was known",
    weather: "calm",
    file: "records/view.ts",
    code: "answer.epoch === current.epoch && answer.head >= current.head",
    without: "answer.head >= current.head",
  },
  {
    name: "a head that fell back drops all that was known",
    weather: "unannounced",
    file: "records/view.ts",
    code: "answer.head >= current.head && answer.floor",
    without: "answer.floor",
  },
  {
    name: "a floor beyond what was followed drops all that was known",
    weather: "calm",
    file: "records/view.ts",
    code: "&& answer.floor <= current.head",
    without: "",
  },
  {
    name: "dropping what was known includes memory",
    weather: "unannounced",
    file: "records/view.ts",
    code: "onDrop();",
    without: "",
  },
  {
    name: "an answer sent before the last one taken in is ignored",
    weather: "rough",
    file: "records/view.ts",
    code: "if (read.sentTick < known.sentTick) return;",
    without: "",
  },
  {
    name: "age counts from before the read was sent",
    weather: "rough",
    file: "records/records.ts",
    code: "view.apply(answer, { since, sentTick, sentAtMs, arrivedTick: tick });",
    without: "view.apply(answer, { since, sentTick, sentAtMs: nowMs(), arrivedTick: tick });",
  },
  {
    name: "what is known grows too old",
    weather: "calm",
    file: "records/records.ts",
    code: "return ageMs !== null && ageMs < freshnessSeconds * 1_000;",
    without: "return ageMs !== null;",
  },
  {
    name: "age is checked again after the last I/O",
    weather: "rough",
    file: "records/records.ts",
    code: "if (knowledge !== null && isFresh(freshnessSeconds)) {",
    without: "if (knowledge !== null) {",
  },
  {
    name: "a read of D1 that took too long does not count",
    weather: "rough",
    file: "records/records.ts",
    code: "if (mayReuse && !isFresh(freshnessSeconds)) continue;",
    without: "",
  },
  {
    name: "freshness 0 asks D1 on this request",
    weather: "calm",
    file: "records/records.ts",
    code: "const mayReuse = freshnessSeconds > 0;",
    without: "const mayReuse = true; demand = { ...demand, freshnessSeconds: freshnessSeconds || 1 };",
  },
  {
    name: "a record counts only if the tail reaches back to its stamp",
    weather: "calm",
    file: "records/view.ts",
    code: " || stamp.seq < known.tailStart) return false;",
    without: ") return false;",
  },
  {
    name: "a record of another epoch does not count",
    weather: "rough",
    file: "records/view.ts",
    code: "known === null || stamp.epoch !== known.epoch ||",
    without: "known === null ||",
  },
  {
    name: "a record in memory counts only if no later change names it",
    weather: "calm",
    file: "records/records.ts",
    code: "if (entry !== undefined && counts(entry)) return entry;",
    without: "if (entry !== undefined) return entry;",
  },
  {
    name: "a record in KV counts only if no later change names it",
    weather: "calm",
    file: "records/records.ts",
    code: "if (entry === null || !counts(entry)) return null;",
    without: "if (entry === null) return null;",
  },
  {
    name: "a miss counts only if no later change names it",
    weather: "calm",
    file: "records/records.ts",
    code: "if (miss === undefined || !counts(miss.entry)) return null;",
    without: "if (miss === undefined) return null;",
  },
  {
    name: "a credential depends on itself",
    weather: "calm",
    file: "records/records.ts",
    code: 'subjects.push(kind === "session" ? sessionSubject(id) : credentialSubject(id));',
    without: "",
  },
  {
    name: "a credential depends on its owner",
    weather: "calm",
    file: "records/records.ts",
    code: "subjects.push(userSubject(realm, userId), realmSubject(realm));",
    without: "subjects.push(realmSubject(realm));",
  },
  {
    name: "a credential depends on its realm",
    weather: "calm",
    file: "records/records.ts",
    code: "subjects.push(userSubject(realm, userId), realmSubject(realm));",
    without: "subjects.push(userSubject(realm, userId));",
  },
  {
    name: "a miss depends on what it did not find",
    weather: "calm",
    file: "records/records.ts",
    code: "subjects.push(...subjectsOfMiss(lookup), realmSubject(lookup.realm));",
    without: "",
  },
  {
    name: "a record is stamped with the head of its own snapshot",
    weather: "calm",
    file: "records/records.ts",
    code: "stamp: { epoch, seq: head }",
    without: "stamp: { epoch, seq: head + 1 }",
  },
  {
    name: "a record that does not count is read again",
    weather: "calm",
    file: "records/records.ts",
    code: "attempt < 2",
    without: "attempt < 1",
  },
  {
    name: "a read that hangs is cut off",
    weather: "rough",
    file: "records/records.ts",
    code: "await cutOff(work, READ_DEADLINE_MS)",
    without: "await work",
  },
  {
    name: "a KV read that hangs is cut off",
    weather: "rough",
    file: "records/records.ts",
    code: "await cutOff(kv.get(epoch, key), READ_DEADLINE_MS)",
    without: "await kv.get(epoch, key)",
  },
  {
    name: "head comes from the counter, not from the rows that are left",
    weather: "calm",
    file: "store/primary.ts",
    code: "COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'changes'), 0) AS head",
    without: "COALESCE((SELECT MAX(seq) FROM changes), 0) AS head",
  },
  {
    name: "denials are followed with the feed",
    weather: "calm",
    file: "records/view.ts",
    code: "    current.arrivedTick = read.arrivedTick;\n    boundEntries(current, answer.denials,",
    without: "    current.arrivedTick = read.arrivedTick;\n    boundEntries(current, [],",
  },
  {
    name: "starting over reads all denials that stand",
    weather: "calm",
    file: "store/primary.ts",
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a piece of source that holds a template
    code: "FROM revocations WHERE ${isAfter}",
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a piece of source that holds a template
    without: "FROM revocations WHERE seq > ${since ?? 1_000_000}",
  },
  {
    name: "issued before T includes T",
    weather: "calm",
    file: "records/view.ts",
    code: "bearer.issuedAtSeconds <= denial.issuedBeforeSeconds",
    without: "bearer.issuedAtSeconds < denial.issuedBeforeSeconds",
  },
  {
    name: "pruning removes no more than the floor says",
    weather: "calm",
    file: "store/writes.ts",
    code: "seq <= (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'floor')",
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a piece of source that holds a template
    without: "at_seconds < ${beforeSeconds}",
  },
  {
    name: "every write is announced",
    weather: "calm",
    file: "store/writes.ts",
    code: 'announceIfChanged([userSubject(realm, id)], "user.updated", nowSeconds)',
    without: 'announceIfChanged([], "user.updated", nowSeconds)',
  },
  {
    name: "creation is announced to those who looked in vain",
    weather: "calm",
    file: "store/writes.ts",
    code: "  digestSubject(realm, digest),\n",
    without: "",
  },
  {
    name: "a restore renews the epoch",
    weather: "calm",
    file: "store/writes.ts",
    code: "lower(hex(randomblob(16)))",
    without: "value",
  },
];
