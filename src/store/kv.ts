// Records in KV. A value is believed only together with its stamp: KV may lag behind by a minute and more.
import * as v from "valibot";
import type { Entry } from "../records/records.ts";
import { StoredEntry } from "./record-schema.ts";

export interface KvTier {
  /** `null`: none, or not of a form this version writes. */
  get(epoch: string, key: string): Promise<Entry | null>;
  put(key: string, entry: Entry): Promise<void>;
}

/** Raise with every change of what an entry contains: older entries are then not found. */
const SCHEMA_VERSION = 2;
/** Beyond the reach of most isolates' tails an entry only costs storage. KV allows no less than 60. */
const EXPIRATION_SECONDS = 86_400;

/** Keys carry the schema version and the epoch, so that entries of another database or version are never met. */
export function createKvTier(namespace: KVNamespace): KvTier {
  const name = (epoch: string, key: string) => `record:${SCHEMA_VERSION}:${epoch}:${key}`;
  return {
    async get(epoch, key) {
      const parsed = v.safeParse(StoredEntry, await namespace.get(name(epoch, key), "json"));
      return parsed.success && parsed.output.stamp.epoch === epoch ? parsed.output : null;
    },
    async put(key, entry) {
      await namespace.put(name(entry.stamp.epoch, key), JSON.stringify(entry), {
        expirationTtl: EXPIRATION_SECONDS,
      });
    },
  };
}
