// A map of bounded size that keeps what is used: two generations, the older one is dropped when the younger is full.

export interface BoundedMap<Key, Value> {
  get(key: Key): Value | undefined;
  set(key: Key, value: Value): void;
  delete(key: Key): void;
  clear(): void;
}

/** Holds at least the `maxEntries / 2` entries used last and never more than `maxEntries`. Constant time. */
export function createBoundedMap<Key, Value>(maxEntries: number): BoundedMap<Key, Value> {
  let young = new Map<Key, Value>();
  let old = new Map<Key, Value>();
  const half = Math.max(1, Math.floor(maxEntries / 2));

  function set(key: Key, value: Value): void {
    old.delete(key);
    if (young.size >= half && !young.has(key)) {
      old = young;
      young = new Map();
    }
    young.set(key, value);
  }

  return {
    get(key) {
      const value = young.get(key);
      if (value !== undefined) return value;
      const kept = old.get(key);
      if (kept !== undefined) set(key, kept);
      return kept;
    },
    set,
    delete(key) {
      young.delete(key);
      old.delete(key);
    },
    clear() {
      young = new Map();
      old = new Map();
    },
  };
}
