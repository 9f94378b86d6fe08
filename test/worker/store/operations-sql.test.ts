// What operations.md tells people to run in a hurry, run as it stands there against a real D1.
import { beforeEach, describe, expect, it } from "vitest";
import operations from "../../../docs/operations.md?raw";
import {
  addApiKey,
  addSession,
  addUser,
  bearer,
  DB,
  emptyStores,
  SITE,
  signJwt,
  startGateway,
  writes,
} from "../../support/worker/gateway.ts";

const nowSeconds = () => Math.floor(Date.now() / 1_000);
const denial = { realm: "main", kind: "subject", value: "7" } as const;
const commands = [...operations.matchAll(/^# (.*)\n.*d1 execute DB .*--command "\n([^$`]*?;)"$/gm)];

/** Runs the command under that comment, its example values replaced by those of the test, as one call of D1. */
async function run(comment: string, values: Readonly<Record<string, string>>): Promise<void> {
  let sql = commands.find(([, title = ""]) => title.startsWith(comment))?.[2];
  if (sql === undefined) throw new Error(`operations.md has no command for: ${comment}`);
  for (const [example, value] of Object.entries(values)) {
    expect(sql).toContain(example);
    sql = sql.replaceAll(example, value);
  }
  const unquoted = sql.replaceAll('\\"', '"'); // as the shell does
  await DB.batch(unquoted.split(/;(?=\s|$)/).flatMap((part) => (part.trim() ? [DB.prepare(part)] : [])));
}
const revokeUser = () => run("every token, session and key of a user", { "'api'": "'main'" });
const stored = () =>
  DB.prepare("SELECT issued_before_seconds, expires_at_seconds, seq FROM revocations")
    .all()
    .then(({ results }) => results as Record<string, number | null>[]);
const headOfFeed = () => DB.prepare("SELECT MAX(seq) AS seq FROM changes").first<number>("seq");

beforeEach(async () => {
  await emptyStores();
  await addUser("7");
});

describe("requirement 16: the commands of operations.md for an emergency", () => {
  const earlier = {
    none: null,
    "one that has expired": { issuedBeforeSeconds: -100, expiresAtSeconds: -50 },
    "one of everything that has expired": { issuedBeforeSeconds: null, expiresAtSeconds: -50 },
    "one that expires this second": { issuedBeforeSeconds: -100, expiresAtSeconds: 0 },
    "one that expires soon": { issuedBeforeSeconds: -100, expiresAtSeconds: 50 },
    "an older one that stands for good": { issuedBeforeSeconds: -100, expiresAtSeconds: null },
  } as const;

  it.each(Object.entries(earlier))(
    "end every token, session and key of a user; earlier denial: %s",
    async (_, given) => {
      if (given !== null) {
        const at = (offset: number | null) => (offset === null ? null : nowSeconds() + offset);
        const times = {
          issuedBeforeSeconds: at(given.issuedBeforeSeconds),
          expiresAtSeconds: at(given.expiresAtSeconds),
        };
        await writes.revoke({ ...denial, ...times }, nowSeconds());
      }
      const credentials: RequestInit[] = [
        bearer(await signJwt()),
        bearer(await addApiKey("k1")),
        { headers: { cookie: `sid=${await addSession("s1")}` } },
      ];
      const routes = [{ path: "/private/*" }];
      const vars = { SITE_TEST: { ...SITE, user_header: false, routes } };
      const before = nowSeconds();
      await revokeUser();
      const [row] = await stored();
      expect(row).toEqual({
        issued_before_seconds: expect.any(Number),
        expires_at_seconds: null,
        seq: await headOfFeed(),
      });
      expect(row?.issued_before_seconds).toBeGreaterThanOrEqual(before);
      const gateway = startGateway({ vars });
      for (const init of credentials) expect((await gateway.fetch("/private/x", init)).status).toBe(401);
      const later = await signJwt({ iat: nowSeconds() + 2 });
      expect((await gateway.fetch("/private/x", bearer(later))).status).toBe(200);
    },
  );

  it.each([
    ["for good", null],
    ["for a while", 500],
  ])("do not narrow a denial of whatever is issued, %s", async (_, lifeSeconds) => {
    const expiresAtSeconds = lifeSeconds === null ? null : nowSeconds() + lifeSeconds;
    await writes.revoke({ ...denial, expiresAtSeconds }, nowSeconds());
    await revokeUser();
    expect(await stored()).toMatchObject([{ issued_before_seconds: null, expires_at_seconds: null }]);
    const later = await signJwt({ iat: nowSeconds() + 2 });
    expect((await startGateway().fetch("/private/x", bearer(later))).status).toBe(401);
  });

  it("do not draw a later bound nearer", async () => {
    const issuedBeforeSeconds = nowSeconds() + 1_000;
    await writes.revoke({ ...denial, issuedBeforeSeconds }, nowSeconds());
    await revokeUser();
    expect(await stored()).toMatchObject([{ issued_before_seconds: issuedBeforeSeconds }]);
  });

  it("reach an isolate that has followed the feed past the earlier denial", async () => {
    const times = { issuedBeforeSeconds: nowSeconds() - 100, expiresAtSeconds: nowSeconds() - 50 };
    await writes.revoke({ ...denial, ...times }, nowSeconds());
    const routes = [{ path: "/x", freshness_seconds: 1 }];
    const gateway = startGateway({ vars: { SITE_TEST: { ...SITE, routes } } });
    const token = await signJwt();
    expect((await gateway.fetch("/x", bearer(token))).status).toBe(200);
    await gateway.settle();
    await revokeUser();
    await scheduler.wait(1_200);
    expect((await gateway.fetch("/x", bearer(token))).status).toBe(401);
  });

  it("disable one key, and no other", async () => {
    const [lost, kept] = [await addApiKey("k1"), await addApiKey("k2")];
    await run("one key, by its id", { key_048daff53ef90886: "k1" });
    const gateway = startGateway();
    expect((await gateway.fetch("/private/x", bearer(lost))).status).toBe(401);
    expect((await gateway.fetch("/private/x", bearer(kept))).status).toBe(200);
    const change = await DB.prepare("SELECT subjects FROM changes ORDER BY seq DESC").first("subjects");
    expect(change).toBe('["credential:k1"]');
  });
});
