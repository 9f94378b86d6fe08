// Pages in a real browser: what signs in with a cookie, and what a page of another origin cannot do with it.
import { build } from "esbuild";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { IS_BROWSER_WANTED, startBrowser, WHY_NO_BROWSER } from "../../support/node/chromium.ts";
import { type ClientGateway, USER } from "./gateway.ts";

interface Sending {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}
interface Got {
  /** `null`: the browser keeps the answer from the page. */
  readonly status: number | null;
  readonly body: string;
}

/** `fetch` in the page, with its cookies. */
const call = (page: Page, url: string, sending: Sending = {}): Promise<Got> =>
  page.evaluate(
    async ([to, init]): Promise<Got> => {
      try {
        const response = await fetch(to, Object.assign({ credentials: "include" }, init));
        return { status: response.status, body: await response.text() };
      } catch {
        return { status: null, body: "" };
      }
    },
    [url, sending] as const,
  );

const postJson = (page: Page, url: string, body: object) =>
  call(page, url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });

const SELF = "/api/user/self";
const CREDENTIALS = { username: USER.username, password: USER.password };

/** The MCP SDK, as a page's bundler would put it there. */
async function mcpClientForPages(): Promise<string> {
  const contents = `
    import { discoverOAuthProtectedResourceMetadata, extractWWWAuthenticateParams } from "@modelcontextprotocol/sdk/client/auth.js";
    import { Client } from "@modelcontextprotocol/sdk/client/index.js";
    import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
    globalThis.whoami = async ([url, key]) => {
      const requestInit = { headers: { authorization: "Bearer " + key } };
      const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit });
      const client = new Client({ name: "a-page", version: "1.0.0" });
      await client.connect(transport);
      const { content } = await client.callTool({ name: "whoami" });
      const hasSession = transport.sessionId !== undefined;
      await client.close();
      return { content, hasSession };
    };
    globalThis.challenge = async ([url]) => {
      const refused = await fetch(url, { method: "POST" });
      const { resourceMetadataUrl, scope } = extractWWWAuthenticateParams(refused);
      const { resource } = await discoverOAuthProtectedResourceMetadata(url, { resourceMetadataUrl });
      return { scope, resource };
    };`;
  const { outputFiles } = await build({
    ...{ stdin: { contents, resolveDir: import.meta.dirname }, bundle: true, write: false },
    ...{ format: "iife", platform: "browser", logLevel: "error" },
  });
  return outputFiles[0]?.text ?? "";
}

export function describeBrowser(gateway: () => ClientGateway): void {
  if (!IS_BROWSER_WANTED) process.stderr.write(`\nSKIPPED: pages in a browser. ${WHY_NO_BROWSER}\n\n`);

  describe.skipIf(!IS_BROWSER_WANTED)("pages in Chromium", () => {
    let browser: Browser | null = null;
    let context: BrowserContext;
    beforeAll(async () => {
      browser = await startBrowser();
    });
    afterAll(() => browser?.close());
    beforeEach(async () => {
      if (browser === null) throw new Error("no browser");
      context = await browser.newContext();
    });
    afterEach(() => context.close());

    async function pageAt(url: string): Promise<Page> {
      const page = await context.newPage();
      expect((await page.goto(`${url}/`))?.status()).toBe(200);
      expect(await page.title()).toBe("console");
      return page;
    }

    /** Of another site, from the same server: nothing but the address tells it from a page of ours. */
    const strangePage = () => pageAt(gateway().relay.address);
    /** Of the same site, at another port: browsers send it the same cookies. */
    const pageNextDoor = (site: string) =>
      pageAt(`http://${site}.localhost:${new URL(gateway().relay.address).port}`);

    it("an MCP client in a page of an allowed origin: asks first, keeps its session, is told of refusals", async () => {
      const { key } = await gateway().newKey("tools", { scopes: ["tools.use"] });
      const page = await strangePage();
      await page.addScriptTag({ content: await mcpClientForPages() });
      const url = `${gateway().urlOf("tools")}/mcp`;
      expect(await page.evaluate(`whoami(${JSON.stringify([url, key])})`)).toEqual({
        content: [{ type: "text", text: USER.id }],
        hasSession: true,
      });
      expect(await page.evaluate(`challenge(${JSON.stringify([url])})`)).toEqual({
        scope: "tools.use",
        resource: url,
      });
    });

    describe.each(["classic", "current"])("a realtime session of a page, %s.localhost", (site) => {
      const open = async (key: string): Promise<unknown> => {
        const page = await strangePage();
        const url = `${gateway().urlOf(site).replace("http", "ws")}/v1/realtime?model=a-model`;
        return page.evaluate(
          ([to, protocol]) =>
            new Promise<unknown>((resolve) => {
              const socket = new WebSocket(to, ["realtime", protocol]);
              socket.addEventListener("message", () => resolve(socket.protocol));
              socket.addEventListener("error", () => resolve("refused"));
            }),
          [url, `openai-insecure-api-key.${key}`] as const,
        );
      };

      it("opens with the key among the subprotocols, and with no other", async () => {
        const { key } = await gateway().newKey(site);
        expect(await open(key)).toBe("realtime");
        expect(await open(`${key.slice(0, -1)}!`)).toBe("refused");
      });
    });

    describe("the console of the current New API, whose users sign in at the gateway", () => {
      const REFRESH = "/api/user/auth/refresh";
      const urlOf = (path: string) => `${gateway().urlOf("console")}${path}`;

      async function signIn(page: Page): Promise<string> {
        const { status, body } = await postJson(page, "/api/user/login", CREDENTIALS);
        const { success, data } = JSON.parse(body);
        expect([status, success]).toEqual([200, true]);
        return data.access_token;
      }

      it("signs in, calls with the token, gets the next one for the cookie, and signs out", async () => {
        const page = await pageAt(urlOf(""));
        const token = await signIn(page);
        const headers = { authorization: `Bearer ${token}` };
        const self = await call(page, SELF, { headers });
        expect([self.status, JSON.parse(self.body).data]).toMatchObject([200, { id: USER.id }]);

        const [cookie] = await context.cookies();
        expect(cookie).toMatchObject({
          ...{ name: "new_api_refresh", path: "/api/user/auth" },
          ...{ httpOnly: true, sameSite: "Strict" },
        });
        const refreshed = await postJson(page, REFRESH, {});
        expect(refreshed.status).toBe(200);
        const next = { authorization: `Bearer ${JSON.parse(refreshed.body).data.access_token}` };
        expect((await call(page, SELF, { headers: next })).status).toBe(200);

        expect((await postJson(page, "/api/user/auth/logout", {})).status).toBe(200);
        expect((await postJson(page, REFRESH, {})).status).toBe(401);
        expect((await call(page, SELF, { headers: next })).status).toBe(401);
      });

      // Browsers send cookies to every port of a host, so what arrives differs; what comes of it does not.
      it.each([
        ["another site", strangePage, false],
        ["the same site at another port", () => pageNextDoor("console"), true],
      ])("a page of %s gets no token, and cannot sign the user out", async (_, open, isCookieSent) => {
        const page = await pageAt(urlOf(""));
        await signIn(page);
        const stranger = await open();
        for (const path of [REFRESH, "/api/user/auth/logout"]) {
          const got = await call(stranger, urlOf(path), { method: "POST", body: "{}" });
          expect([path, got]).toEqual([path, { status: null, body: "" }]);
        }
        const arrived = gateway().headsFrom(new URL(stranger.url()).origin, "console");
        expect(arrived.map((head) => /^cookie: new_api_refresh=/im.test(head))).toEqual([
          isCookieSent,
          isCookieSent,
        ]);
        expect((await postJson(page, REFRESH, {})).status).toBe(200);
      });
    });

    describe("the pages of the classic New API, whose users sign in at the gateway", () => {
      const urlOf = (path: string) => `${gateway().urlOf("portal")}${path}`;
      const ME = { "New-Api-User": USER.id };

      async function signIn(page: Page): Promise<void> {
        const { status, body } = await postJson(page, "/api/user/login", CREDENTIALS);
        expect([status, JSON.parse(body)]).toMatchObject([
          200,
          { success: true, data: { id: Number(USER.id), username: USER.username } },
        ]);
      }
      const self = async (page: Page, headers: Readonly<Record<string, string>> = ME) => {
        const { status, body } = await call(page, SELF, { headers });
        return [status, JSON.parse(body)];
      };

      it("signs in, calls with the cookie and New-Api-User, and signs out", async () => {
        const page = await pageAt(urlOf(""));
        await signIn(page);
        expect(await context.cookies()).toMatchObject([
          { name: "session", path: "/", httpOnly: true, sameSite: "Strict" },
        ]);
        expect(await self(page)).toMatchObject([200, { success: true, data: { id: Number(USER.id) } }]);
        expect((await call(page, "/api/user/logout")).status).toBe(200);
        expect(await self(page)).toMatchObject([401, { success: false }]);
      });

      it.each([
        ["no New-Api-User", {}, "Unauthorized, New-Api-User header not provided"],
        ["a name in it", { "New-Api-User": USER.username }, "Unauthorized, New-Api-User header format error"],
        [
          "somebody else's id",
          { "New-Api-User": "8" },
          "Unauthorized, New-Api-User does not match logged in user",
        ],
      ])("is told in the system's words of %s", async (_, headers, message) => {
        const page = await pageAt(urlOf(""));
        await signIn(page);
        expect(await self(page, headers)).toEqual([401, { message, success: false }]);
      });

      it("may write from its own pages", async () => {
        const page = await pageAt(urlOf(""));
        await signIn(page);
        const sending = { method: "PUT", headers: ME, body: "{}" };
        expect((await call(page, SELF, sending)).status).toBe(200);
        const { method, headers } = gateway().relay.received.at(-1) ?? {};
        expect([method, headers?.cookie]).toEqual(["PUT", undefined]);
      });

      it.each([
        ["another site", strangePage, false],
        ["the same site at another port", () => pageNextDoor("portal"), true],
      ])("a page of %s reads nothing and changes nothing", async (_, open, isCookieSent) => {
        const page = await pageAt(urlOf(""));
        await signIn(page);
        const stranger = await open();
        const before = gateway().relay.received.length;
        // With the header browsers ask first, and are told nothing; without it the cookie is not enough.
        for (const headers of [ME, {}]) {
          expect((await call(stranger, urlOf(SELF), { headers })).status).toBeNull();
          const post = { method: "POST", headers, body: "{}" };
          expect((await call(stranger, urlOf("/api/user/topup"), post)).status).toBeNull();
        }
        const methods = gateway()
          .relay.received.slice(before)
          .map(({ method }) => method);
        expect(methods.filter((method) => method !== "OPTIONS")).toEqual([]);
        const heads = gateway().headsFrom(new URL(stranger.url()).origin, "portal");
        const withCookie = heads.filter((head) => /^cookie: session=/im.test(head));
        expect(withCookie.length > 0).toBe(isCookieSent);
        expect(await self(page)).toMatchObject([200, { success: true }]);
      });
    });

    describe("a site whose users sign in at /_gateway/auth/login, with a session cookie", () => {
      const urlOf = (path: string) => `${gateway().urlOf("people")}${path}`;
      const COOKIE = "__Host-postern-tools";

      async function signIn(page: Page): Promise<void> {
        const body = { ...CREDENTIALS, realm: "tools", session: "cookie" };
        expect((await postJson(page, "/_gateway/auth/login", body)).status).toBe(200);
      }

      it("signs in, calls with nothing but the cookie, and signs out", async () => {
        const page = await pageAt(urlOf(""));
        expect((await call(page, SELF)).status).toBe(401);
        await signIn(page);
        expect(await context.cookies()).toMatchObject([
          { name: COOKIE, domain: "people.localhost", path: "/", httpOnly: true, secure: true },
        ]);
        const self = await call(page, SELF);
        expect([self.status, JSON.parse(self.body).data]).toMatchObject([200, { id: USER.id }]);
        expect(gateway().relay.received.at(-1)?.headers.cookie).toBeUndefined();
        expect((await postJson(page, SELF, {})).status).toBe(200);

        expect((await postJson(page, "/_gateway/auth/logout", {})).status).toBe(204);
        expect((await call(page, SELF)).status).toBe(401);
      });

      it.each([
        ["another site", strangePage],
        ["the same site at another port", () => pageNextDoor("people")],
      ])("a page of %s reads nothing, changes nothing, and signs nobody out", async (_, open) => {
        const page = await pageAt(urlOf(""));
        await signIn(page);
        const stranger = await open();
        const posts = () => gateway().relay.received.filter(({ method }) => method === "POST").length;
        const before = posts();
        expect((await call(stranger, urlOf(SELF))).status).toBeNull();
        // What a page may send without asking first.
        const simple = { method: "POST", headers: { "content-type": "text/plain" }, body: "{}" };
        expect((await call(stranger, urlOf(SELF), simple)).status).toBeNull();
        expect((await call(stranger, urlOf("/_gateway/auth/logout"), simple)).status).toBeNull();
        expect(posts()).toBe(before);
        expect((await call(page, SELF)).status).toBe(200);
      });
    });
  });
}
