// A Worker that only guards: everything a request needs, and nothing of sign-in and administration.
import { beforeEach, describe, expect, it, vi } from "vitest";
import {
  addApiKey,
  addUser,
  bearer,
  emptyStores,
  SITE,
  secrets,
  startGateway,
} from "../support/worker/gateway.ts";

beforeEach(async () => {
  await emptyStores();
  await addUser("7");
});

describe("a Worker without the identity side", () => {
  it("guards with the same records", async () => {
    const gateway = startGateway({ identity: null });
    const key = await addApiKey("k1");
    expect((await gateway.fetch("/private/x", bearer(key))).status).toBe(200);
    expect((await gateway.fetch("/private/x")).status).toBe(401);
    expect(gateway.received[0]?.headers.get("x-user-context")).toMatch(/^[^.]+\.[^.]+\.[^.]+$/);
  });

  it("says what origins and monitors need, and has no other path below /_gateway", async () => {
    const gateway = startGateway({ identity: null });
    const at = async (path: string, init?: RequestInit) =>
      (await gateway.fetch(`https://auth.example.com/_gateway${path}`, init)).status;
    expect([await at("/health"), await at("/jwks.json")]).toEqual([200, 200]);
    for (const path of [
      "/auth/login",
      "/auth/refresh",
      "/me",
      "/oauth/introspect",
      "/admin/users",
      "/openapi.json",
      "/x",
    ]) {
      expect([path, await at(path, { method: "POST", body: "{}" }), await at(path)]).toEqual([
        path,
        404,
        404,
      ]);
    }
    const admin = await at("/admin/users", { headers: { authorization: `Bearer ${secrets.ADMIN_TOKEN}` } });
    expect(admin).toBe(404);
  });

  it("refuses a site whose people it would have to sign in", async () => {
    const vars = {
      SITE_TEST: { hosts: SITE.hosts, origin: SITE.origin, realm: "main", preset: "new-api", issue: true },
    };
    const logged = vi.spyOn(console, "log").mockImplementation(() => undefined);
    const answer = await startGateway({ identity: null, vars }).fetch("/api/user/login", { method: "POST" });
    expect([answer.status, (await answer.json<{ code: string }>()).code]).toEqual([503, "config_invalid"]);
    const lines = logged.mock.calls.map(([line]) => JSON.parse(String(line)) as Record<string, unknown>);
    logged.mockRestore();
    expect(lines).toMatchObject([{ status: 503, host: SITE.hosts[0], path: "/api/user/login" }]);
    expect((await startGateway({ vars }).fetch("/api/status")).status).toBe(200);
  });

  it("does nothing when the cron runs: the other Worker does", async () => {
    const gateway = startGateway({ identity: null });
    await gateway.cron();
    expect(gateway.counts.d1).toBe(0);
  });
});
