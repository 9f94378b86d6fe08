import { expect, it } from "vitest";
import { createBoundedMap } from "../../../src/records/bounded-map.ts";

it("never holds more than its bound, and keeps the half that was used last", () => {
  const map = createBoundedMap<number, string>(100);
  for (let key = 0; key < 1_000; key += 1) {
    map.set(key, `value ${key}`);
  }
  const keys = Array.from({ length: 1_000 }, (_, i) => 999 - i);
  const isHeld = new Map(keys.map((key) => [key, map.get(key) !== undefined]));
  expect(keys.slice(0, 49).every((key) => isHeld.get(key))).toBe(true);
  expect([...isHeld.values()].filter(Boolean).length).toBeLessThanOrEqual(100);
});

it("keeps what is in use through any number of others", () => {
  const map = createBoundedMap<number, string>(10);
  map.set(0, "in use");
  for (let key = 1; key < 100; key += 1) {
    map.set(key, "once");
    expect(map.get(0)).toBe("in use");
  }
});

it("answers with what was set last, and forgets what is deleted", () => {
  const map = createBoundedMap<string, number>(4);
  map.set("a", 1);
  map.set("b", 2);
  map.set("c", 3); // a and b have moved to the older generation
  map.set("a", 10);
  expect([map.get("a"), map.get("b"), map.get("c")]).toEqual([10, 2, 3]);
  map.delete("a");
  map.delete("b");
  expect([map.get("a"), map.get("b"), map.get("c")]).toEqual([undefined, undefined, 3]);
  map.clear();
  expect(map.get("c")).toBeUndefined();
});
