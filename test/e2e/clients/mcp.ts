// The MCP SDK's client, against a server made with the same SDK: keys, OAuth found out by itself, both HTTP transports.
import {
  discoverOAuthProtectedResourceMetadata,
  extractWWWAuthenticateParams,
  type OAuthClientProvider,
  UnauthorizedError,
} from "@modelcontextprotocol/sdk/client/auth.js";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import type { OAuthTokens } from "@modelcontextprotocol/sdk/shared/auth.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import { ToolListChangedNotificationSchema } from "@modelcontextprotocol/sdk/types.js";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { type ClientGateway, NEKOHUB_KEY, USER } from "./gateway.ts";

const WRONG_KEY = `sk-${"0".repeat(48)}`;

export function describeMcp(gateway: () => ClientGateway): void {
  let key = "";
  beforeAll(async () => {
    ({ key } = await gateway().newKey("tools", { scopes: ["tools.use"] }));
  });
  const open: Client[] = [];
  afterEach(async () => {
    for (const client of open.splice(0)) await client.close();
  });

  const urlOf = (path: string) => new URL(path, gateway().urlOf("tools"));
  const withKey = (value: string) => ({ requestInit: { headers: { authorization: `Bearer ${value}` } } });
  const streamable = (options: ConstructorParameters<typeof StreamableHTTPClientTransport>[1]) =>
    new StreamableHTTPClientTransport(urlOf("/mcp"), options) as Transport;
  const sse = (value: string) => new SSEClientTransport(urlOf("/mcp/sse"), withKey(value)) as Transport;

  async function connect(transport: Transport): Promise<Client> {
    const client = new Client({ name: "a-client", version: "1.0.0" });
    open.push(client);
    await client.connect(transport);
    return client;
  }

  const whoami = async (client: Client) => (await client.callTool({ name: "whoami" })).content;
  const ALICE = [{ type: "text", text: USER.id }];

  describe.each([
    ["Streamable HTTP", (value: string) => streamable(withKey(value))],
    ["SSE", sse],
  ])("an MCP client with a key, over %s", (_, transportWith) => {
    it("calls tools, and the server learns who is calling and nothing of the key", async () => {
      const client = await connect(transportWith(key));
      expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(["whoami", "announce"]);
      expect(await whoami(client)).toEqual(ALICE);
      const { headers } = gateway().mcp.received.at(-1) ?? {};
      expect(JSON.stringify(headers)).not.toContain(key);
    });

    it("hears what the server says of its own accord", async () => {
      const client = await connect(transportWith(key));
      const heard: unknown[] = [];
      client.setNotificationHandler(ToolListChangedNotificationSchema, (said) => void heard.push(said));
      const announce = async () => {
        await client.callTool({ name: "announce" });
        return heard[0];
      };
      // The stream for it opens after the handshake; what is said before that is lost.
      const expected = { method: "notifications/tools/list_changed" };
      await expect.poll(announce, { timeout: 20_000 }).toMatchObject(expected);
    });

    it("is refused with a wrong key, before the server", async () => {
      const before = gateway().mcp.received.length;
      await expect(connect(transportWith(WRONG_KEY))).rejects.toMatchObject({ code: 401 });
      expect(gateway().mcp.received).toHaveLength(before);
    });
  });

  it("a session ends when its client says so (DELETE, Mcp-Session-Id)", async () => {
    const transport = new StreamableHTTPClientTransport(urlOf("/mcp"), withKey(key));
    await connect(transport as Transport);
    const { sessionId } = transport;
    expect(sessionId).toMatch(/^[0-9a-f-]{36}$/);
    await transport.terminateSession();
    const ended = gateway().mcp.received.filter(({ method }) => method === "DELETE");
    expect(ended.map(({ headers }) => headers["mcp-session-id"])).toEqual([sessionId]);
  });

  it("a key without the scope is told which one is wanted", async () => {
    const { key: other } = await gateway().newKey("tools");
    await expect(connect(streamable(withKey(other)))).rejects.toMatchObject({ code: 403 });
  });

  describe("NekoHub's MCP server, with mcp = true", () => {
    const url = () => new URL("/mcp", gateway().urlOf("images"));
    const transportWith = (value: string) =>
      new StreamableHTTPClientTransport(url(), withKey(value)) as Transport;

    it("takes its keys", async () => {
      const client = await connect(transportWith(NEKOHUB_KEY));
      expect(await whoami(client)).toEqual([
        { type: "text", text: expect.stringMatching(/^api-key:[0-9a-f]{16}$/) },
      ]);
      await expect(connect(transportWith(WRONG_KEY))).rejects.toMatchObject({ code: 401 });
    });

    it("says where its metadata is behind the challenge that its clients know, and that keys are all there is", async () => {
      const refused = await fetch(url(), { method: "POST" });
      const { resourceMetadataUrl, error } = extractWWWAuthenticateParams(refused);
      expect([refused.status, refused.headers.get("www-authenticate"), error]).toEqual([
        401,
        `Bearer realm="NekoHub", resource_metadata="${resourceMetadataUrl}"`,
        undefined,
      ]);
      expect(await discoverOAuthProtectedResourceMetadata(url())).toEqual({
        resource: String(url()),
        bearer_methods_supported: ["header"],
        resource_name: "images",
      });
    });
  });

  describe("an MCP client that has nothing yet (RFC 9728 §5)", () => {
    it("finds the metadata by the challenge, and by the URL of the server", async () => {
      const refused = await fetch(urlOf("/mcp"), { method: "POST" });
      const { resourceMetadataUrl, scope, error } = extractWWWAuthenticateParams(refused);
      expect([refused.status, scope, error]).toEqual([401, "tools.use", undefined]);
      expect(String(resourceMetadataUrl)).toBe(String(urlOf("/.well-known/oauth-protected-resource/mcp")));

      const expected = {
        resource: String(urlOf("/mcp")),
        authorization_servers: [gateway().oauth.issuer],
        scopes_supported: ["tools.use"],
        bearer_methods_supported: ["header"],
        resource_name: "tools",
      };
      const options = resourceMetadataUrl === undefined ? {} : { resourceMetadataUrl };
      expect(await discoverOAuthProtectedResourceMetadata(urlOf("/mcp"), options)).toEqual(expected);
      expect(await discoverOAuthProtectedResourceMetadata(urlOf("/mcp"))).toEqual(expected);
    });

    it("gets a token for this resource and scope from the server that it is told of, and is let in", async () => {
      const user = aUserOf(gateway().oauth.issuer);
      const transport = new StreamableHTTPClientTransport(urlOf("/mcp"), { authProvider: user.provider });
      await expect(connect(transport as Transport)).rejects.toBeInstanceOf(UnauthorizedError);
      await transport.finishAuth(await user.code());
      expect(gateway().oauth.asked.at(-1)).toMatchObject({
        scope: "tools.use",
        resource: String(urlOf("/mcp")),
      });

      const client = await connect(streamable({ authProvider: user.provider }));
      expect(await whoami(client)).toEqual(ALICE);
      expect(gateway().mcp.received.at(-1)?.headers.authorization).toBeUndefined();
    });
  });
}

/** Somebody with a client, whom it sends to the OAuth server when it has to. */
function aUserOf(issuer: string) {
  const redirectUrl = "http://127.0.0.1/callback";
  let tokens: OAuthTokens | undefined;
  let verifier = "";
  let authorizationUrl = "";
  const provider: OAuthClientProvider = {
    redirectUrl,
    clientMetadata: { redirect_uris: [redirectUrl] },
    clientInformation: () => ({ client_id: "a-client", issuer }),
    tokens: () => tokens,
    saveTokens: (given) => {
      tokens = given;
    },
    redirectToAuthorization: (url) => {
      authorizationUrl = String(url);
    },
    saveCodeVerifier: (given) => {
      verifier = given;
    },
    codeVerifier: () => verifier,
  };
  const code = async () => {
    const { headers } = await fetch(authorizationUrl, { redirect: "manual" });
    return new URL(headers.get("location") ?? "").searchParams.get("code") ?? "";
  };
  return { provider, code };
}
