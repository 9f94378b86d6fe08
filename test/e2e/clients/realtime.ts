// Realtime sessions: the key among the subprotocols of a WebSocket, as pages have to send it, or in a header.
import { once } from "node:events";
import { connect } from "node:net";
import OpenAI from "openai";
import { OpenAIRealtimeWebSocket } from "openai/realtime/websocket";
import { OpenAIRealtimeWS } from "openai/realtime/ws";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { WebSocket as WsSocket } from "ws";
import { MODEL } from "../../support/node/relay-origin.ts";
import type { ClientGateway } from "./gateway.ts";

const ITEM = {
  type: "message",
  role: "user",
  content: [{ type: "input_text", text: "Say something." }],
} as const;
const WRONG_KEY = `sk-${"0".repeat(48)}`;

export function describeRealtime(site: "classic" | "current", gateway: () => ClientGateway): void {
  let key = "";
  beforeAll(async () => {
    ({ key } = await gateway().newKey(site));
  });
  afterEach(() => {
    vi.unstubAllGlobals();
  });
  const clientWith = (apiKey: string) =>
    new OpenAI({ apiKey, baseURL: `${gateway().urlOf(site)}/v1`, dangerouslyAllowBrowser: true });

  /** The clients insist on TLS, which ends before a gateway on this machine. */
  function connectInTheClear(): void {
    class InTheClear extends WebSocket {
      constructor(url: string, protocols: string[]) {
        super(url.replace(/^wss:/, "ws:"), protocols);
      }
    }
    vi.stubGlobal("WebSocket", InTheClear);
  }

  /** The next event of that type, or the error that comes instead. */
  const nextOf = (session: OpenAIRealtimeWebSocket | OpenAIRealtimeWS, type: "session.created") =>
    new Promise<unknown>((resolve) => {
      session.on(type, resolve);
      session.on("error", resolve);
    });

  describe(`OpenAI's realtime clients, preset of ${site}.localhost`, () => {
    it("in a page: the key among the subprotocols opens a session, and events go both ways", async () => {
      connectInTheClear();
      const session = new OpenAIRealtimeWebSocket({ model: MODEL }, clientWith(key));
      expect(await nextOf(session, "session.created")).toMatchObject({ type: "session.created" });
      expect(session.socket.protocol).toBe("realtime");
      const added = new Promise((resolve) => session.on("conversation.item.added", resolve));
      session.send({ type: "conversation.item.create", item: { ...ITEM, content: [...ITEM.content] } });
      expect(await added).toMatchObject({ item: ITEM });
      session.close();
      const { headers } = gateway().relay.received.at(-1) ?? {};
      expect(headers).toMatchObject({
        "sec-websocket-protocol": expect.stringContaining(`openai-insecure-api-key.${key}`),
        "x-user-context": expect.any(String),
      });
    });

    it("in a page: a wrong key opens none, and the origin hears nothing", async () => {
      connectInTheClear();
      const before = gateway().relay.received.length;
      const session = new OpenAIRealtimeWebSocket({ model: MODEL }, clientWith(WRONG_KEY));
      expect(await nextOf(session, "session.created")).toBeInstanceOf(Error);
      expect(session.socket.readyState).not.toBe(WebSocket.OPEN);
      expect(gateway().relay.received).toHaveLength(before);
    });

    it("in a program: the key in Authorization", async () => {
      const port = Number(new URL(gateway().urlOf(site)).port);
      const createConnection = () => connect(port, "127.0.0.1");
      const options = { model: MODEL, options: { createConnection } };
      const session = new OpenAIRealtimeWS(options, clientWith(key));
      expect(await nextOf(session, "session.created")).toMatchObject({ type: "session.created" });
      session.close();
    });
  });

  describe(`a WebSocket with the key among its subprotocols, ${site}.localhost`, () => {
    const open = (protocols: string[]) =>
      new WsSocket(`${gateway().urlOf(site).replace("http", "ws")}/v1/realtime?model=${MODEL}`, protocols);

    it("opens", async () => {
      const socket = open(["realtime", `openai-insecure-api-key.${key}`, "openai-beta.realtime-v1"]);
      const [data] = await once(socket, "message");
      expect([JSON.parse(String(data)).type, socket.protocol]).toEqual(["session.created", "realtime"]);
      socket.close();
      await once(socket, "close");
    });

    it.each([
      ["a wrong key", () => ["realtime", `openai-insecure-api-key.${WRONG_KEY}`]],
      ["an empty key", () => ["realtime", "openai-insecure-api-key."]],
      ["no key", () => ["realtime"]],
      ["the key without its prefix", () => ["realtime", key]],
    ])("%s: 401 in the system's words, before the origin", async (_, protocols) => {
      const before = gateway().relay.received.length;
      const socket = open(protocols());
      socket.on("error", () => {});
      const [, response] = await once(socket, "unexpected-response");
      const body = String(Buffer.concat(await response.toArray()));
      expect([response.statusCode, JSON.parse(body)]).toEqual([
        401,
        { error: { code: "", message: expect.stringContaining("Invalid token"), type: "new_api_error" } },
      ]);
      expect(gateway().relay.received).toHaveLength(before);
      socket.terminate();
    });
  });
}
