// Names of the things whose change makes a record stale. Realm names hold no colon, so no two things share a name.
import type { Lookup, Subject } from "./types.ts";

export const realmSubject = (realm: string): Subject => `realm:${realm}`;
export const userSubject = (realm: string, id: string): Subject => `user:${realm}:${id}`;
export const credentialSubject = (id: string): Subject => `credential:${id}`;
export const sessionSubject = (id: string): Subject => `session:${id}`;
/** Names a credential that may not exist yet, so that its creation ends what is known of its absence. */
export const digestSubject = (realm: string, digest: string): Subject => `digest:${realm}:${digest}`;

/** What a look-up that found nothing depends on. */
export function subjectsOfMiss(lookup: Lookup): readonly Subject[] {
  switch (lookup.by) {
    case "digest":
      return lookup.digests.map((digest) => digestSubject(lookup.realm, digest));
    case "session":
      return [sessionSubject(lookup.id)];
    case "user":
      return [userSubject(lookup.realm, lookup.id)];
    case "none":
      return [];
  }
}
