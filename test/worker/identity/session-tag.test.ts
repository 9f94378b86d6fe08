// Guessed session cookies cost no read of D1 or KV, whatever they look like.
import { beforeEach, describe, expect, it } from "vitest";
import { addSession, addUser, emptyStores, startGateway } from "../../support/worker/gateway.ts";

beforeEach(async () => {
  await emptyStores();
  await addUser("7");
});

const COOKIES = ["sid", "__Host-postern-main"] as const;

async function answersOf(name: string, values: readonly string[]) {
  const gateway = startGateway();
  const statuses = new Set<number>();
  for (const value of values) {
    const headers = { cookie: `${name}=${value}`, "New-Api-User": "7" };
    const response = await gateway.fetch("/private/x", { headers });
    await response.body?.cancel();
    statuses.add(response.status);
  }
  await gateway.settle();
  return { statuses: [...statuses], counts: { ...gateway.counts }, forwarded: gateway.received.length };
}

const NOTHING_READ = { statuses: [401], counts: { d1: 0, kv: 0 }, forwarded: 0 };

describe.each(COOKIES)("requirement 15: a session cookie in %s", (name) => {
  it("is accepted as it was minted", async () => {
    const { statuses, forwarded } = await answersOf(name, [await addSession("ses_1")]);
    expect({ statuses, forwarded }).toEqual({ statuses: [200], forwarded: 1 });
  });

  it("is refused without any look-up when a part of it is missing", async () => {
    const value = await addSession("ses_1");
    const parts = [...value].flatMap((_, length) => [value.slice(0, length), value.slice(length + 1)]);
    expect(
      await answersOf(
        name,
        parts.filter((part) => part !== ""),
      ),
    ).toEqual(NOTHING_READ);
  });

  it("is refused without any look-up when any character is another", async () => {
    const value = await addSession("ses_1");
    const changed = [...value].map(
      (character, i) => value.slice(0, i) + (character === "A" ? "B" : "A") + value.slice(i + 1),
    );
    expect(await answersOf(name, changed)).toEqual(NOTHING_READ);
  });

  it("is refused without any look-up under the id of another session", async () => {
    const [, secret = ""] = (await addSession("ses_1")).split(".");
    await addSession("ses_2");
    expect(await answersOf(name, [`ses_2.${secret}`])).toEqual(NOTHING_READ);
  });

  it("is looked up when it was minted here and is gone", async () => {
    const value = await addSession("ses_1");
    await emptyStores();
    const { statuses, counts } = await answersOf(name, [value]);
    expect(statuses).toEqual([401]);
    expect(counts.d1).toBeGreaterThan(0);
  });
});
