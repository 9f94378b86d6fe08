// One gateway for every client: both New APIs, guarded and with users who sign in at the gateway, and MCP servers.
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { type McpOrigin, startMcpOrigin } from "../../support/node/mcp-origin.ts";
import { type OAuthServer, startOAuthServer } from "../../support/node/oauth-server.ts";
import { type RelayOrigin, startRelayOrigin } from "../../support/node/relay-origin.ts";
import { startWranglerDev, type WranglerDev } from "../../support/node/wrangler-dev.ts";

/** A user of every realm. */
export const USER = { id: "7", username: "alice", password: "ten green bottles on a wall" };

/** Of the NekoHub, whose keys stand in its configuration. */
const NEKOHUB_SECRETS = {
  NEKOHUB_API_KEYS: randomBytes(24).toString("base64url"),
  NEKOHUB_JWT_SECRET: randomBytes(32).toString("base64url"),
};
export const NEKOHUB_KEY = NEKOHUB_SECRETS.NEKOHUB_API_KEYS;

export interface Key {
  readonly id: string;
  readonly key: string;
}

export interface ClientGateway {
  readonly relay: RelayOrigin;
  readonly mcp: McpOrigin;
  readonly oauth: OAuthServer;
  /** `http://<site>.localhost:<port>` */
  readonly urlOf: (site: string) => string;
  /** One that the stand-in behind the site knows as well. */
  readonly newKey: (realm: string, fields?: object) => Promise<Key>;
  /** Request lines and headers of what came to the site from pages of this origin, as browsers wrote them. */
  readonly headsFrom: (origin: string, site: string) => readonly string[];
  readonly revoke: (realm: string, id: string) => Promise<void>;
  stop(): Promise<void>;
}

const JWT = { secret: "DEMO_JWT_SECRET" };
export const PAGE = "<!doctype html><title>console</title>";

/** Realms and sites are called alike. */
const varsOf = (relay: string, mcp: string, oauth: string, port: number) => ({
  GATEWAY: {
    environment: "development",
    issuer: "http://127.0.0.1:8787",
    realms: { tools: { sign_in: { scopes: ["tools.use"] } } },
  },
  SITE_CLASSIC: { hosts: ["classic.localhost"], origin: relay, preset: "new-api" },
  SITE_CURRENT: { hosts: ["current.localhost"], origin: relay, preset: "new-api-current", jwt: JWT },
  SITE_CONSOLE: {
    ...{ hosts: ["console.localhost"], origin: relay, preset: "new-api-current", issue: true },
    jwt: JWT,
  },
  SITE_PORTAL: { hosts: ["portal.localhost"], origin: relay, preset: "new-api", issue: true },
  SITE_PEOPLE: {
    ...{ hosts: ["people.localhost"], origin: relay, realm: "tools" },
    routes: [
      { path: "/", methods: ["GET"], auth: "none" },
      { path: "/*", accept: ["session"] },
    ],
  },
  SITE_IMAGES: {
    ...{ hosts: ["images.localhost"], origin: mcp, preset: "nekohub", mcp: true },
    ...{ api_keys: "NEKOHUB_API_KEYS", jwt: { secret: "NEKOHUB_JWT_SECRET" } },
  },
  SITE_TOOLS: {
    hosts: ["tools.localhost"],
    origin: mcp,
    jwt: {
      ...{ algorithms: ["ES256"], jwks: `${oauth}/jwks`, issuer: oauth },
      audience: `http://tools.localhost:${port}/mcp`,
    },
    routes: [{ path: "/mcp/*", mcp: true, scopes: ["tools.use"] }],
    cors: { allow_origins: [relay] },
  },
});
const REALMS = { guarded: ["classic", "current"], signingIn: ["console", "portal", "tools"] };

export async function startClientGateway(): Promise<ClientGateway> {
  const relay = await startRelayOrigin(PAGE);
  const mcp = await startMcpOrigin();
  const oauth = await startOAuthServer(USER.id);
  const door = await startDoor();
  const origins = [relay, mcp, oauth, door];
  let dev: WranglerDev | null = null;
  const stop = async () => {
    await dev?.stop();
    await Promise.all(origins.map((origin) => origin.stop()));
  };
  try {
    const vars = varsOf(relay.address, mcp.address, oauth.issuer, door.port);
    const running = await startWranglerDev({ vars, secrets: NEKOHUB_SECRETS, seed: async () => {} });
    dev = running;
    door.leadTo(running.port);
    const call = async (method: string, path: string, body?: object) => {
      const response = await fetch(`${running.address}/_gateway/admin/realms/${path}`, {
        method,
        headers: { authorization: `Bearer ${running.adminToken}`, "content-type": "application/json" },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
      const text = await response.text();
      if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
      return text === "" ? null : JSON.parse(text);
    };
    const { password, ...member } = USER;
    for (const realm of REALMS.guarded) await call("POST", `${realm}/users`, member);
    for (const realm of REALMS.signingIn) await call("POST", `${realm}/users`, { ...member, password });
    return {
      ...{ relay, mcp, oauth },
      urlOf: (site) => `http://${site}.localhost:${door.port}`,
      newKey: async (realm, fields = {}) => {
        const made = (await call("POST", `${realm}/keys`, { user: USER.id, ...fields })) as Key;
        relay.keys.add(made.key);
        return made;
      },
      revoke: (realm, id) => call("DELETE", `${realm}/keys/${id}`),
      headsFrom: door.headsFrom,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** A port that is known before the gateway runs, so that its configuration can name it; leads to the gateway's own. */
async function startDoor() {
  let target = 0;
  const sockets = new Set<Socket>();
  const sent: { text: string }[] = [];
  const server = createServer((from) => {
    const one = { text: "" };
    sent.push(one);
    from.on("data", (chunk: Buffer) => {
      one.text += chunk.toString("latin1");
    });
    const to = connect(target, "127.0.0.1");
    for (const [socket, other] of [
      [from, to],
      [to, from],
    ] as const) {
      sockets.add(socket);
      socket.pipe(other);
      socket.on("error", () => other.destroy());
      socket.once("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    headsFrom: (origin: string, site: string) =>
      sent
        // Behind a body, a request line does not begin a line.
        .flatMap(({ text }) => text.match(/[A-Z]+ \/\S* HTTP\/1\.1\r\n(?:[^\r\n]+\r\n)+/g) ?? [])
        .map((head) => head.toLowerCase())
        .filter((head) => head.includes(`\r\norigin: ${origin}\r\n`))
        .filter((head) => head.includes(`\r\nhost: ${site}.localhost:`)),
    leadTo: (port: number) => {
      target = port;
    },
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
