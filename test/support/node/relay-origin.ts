// What stands behind the gateway where clients of language models call: it finds keys where New API's relay looks for them, in
// its order, and answers as OpenAI, Anthropic and Google do.
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { decodeJwt } from "jose";
import { type WebSocket, WebSocketServer } from "ws";
import { close, listen } from "./recording-origin.ts";

export interface RelayOrigin {
  readonly address: string;
  /** Keys that it knows, as a New API knows its own. */
  readonly keys: Set<string>;
  /** Every request that came, upgrades included. */
  readonly received: readonly IncomingMessage[];
  stop(): Promise<void>;
}

export const MODEL = "a-model";
export const WORDS = ["Every ", "word ", "arrives."];
export const TEXT = WORDS.join("");

const SUBPROTOCOL = "openai-insecure-api-key.";

export async function startRelayOrigin(page: string): Promise<RelayOrigin> {
  const keys = new Set<string>();
  const received: IncomingMessage[] = [];
  const { server, port } = await listen(async (request, response) => {
    received.push(request);
    let body = "";
    for await (const chunk of request) body += String(chunk);
    if (request.method === "GET" && request.url === "/")
      return void response.setHeader("content-type", "text/html").end(page);
    if (request.url === "/api/user/self")
      return sendJson(response, 200, { success: true, data: whoIs(request) });
    const isKnown = keys.has(keyOf(request));
    const reply = isKnown
      ? replyTo(request.url ?? "", body)
      : { status: 401, body: { error: "not known here" } };
    if ("status" in reply) sendJson(response, reply.status, reply.body);
    else sendEvents(response, reply);
  });
  acceptSockets(server, keys, received);
  return { address: `http://127.0.0.1:${port}`, keys, received, stop: () => close(server) };
}

/** Whoever the gateway says it is. */
function whoIs({ headers }: IncomingMessage): unknown {
  const context = headers["x-user-context"];
  return typeof context === "string" ? decodeJwt(context).user : null;
}

/** The key, as the original's relay reads it: later places win. */
function keyOf({ headers, url = "" }: IncomingMessage): string {
  const { pathname, searchParams } = new URL(url, "http://origin");
  const one = (name: string) => String(headers[name] ?? "");
  let sent = one("authorization");
  const protocols = one("sec-websocket-protocol").split(",");
  const entry = protocols.map((name) => name.trim()).find((name) => name.startsWith(SUBPROTOCOL));
  if (entry !== undefined) sent = entry.slice(SUBPROTOCOL.length);
  if (pathname.includes("/v1/messages") || pathname.includes("/v1/models")) sent = one("x-api-key") || sent;
  if (pathname.startsWith("/v1beta/models")) sent = one("x-goog-api-key") || searchParams.get("key") || sent;
  return sent.replace(/^[Bb]earer /, "").trim();
}

/** A JSON body, or the events of a stream. */
type Reply = { readonly status: number; readonly body: unknown } | readonly Event[];

function replyTo(url: string, body: string): Reply {
  const { pathname } = new URL(url, "http://origin");
  const isStream = body !== "" && (JSON.parse(body) as { readonly stream?: boolean }).stream === true;
  const ok = (answer: unknown) => ({ status: 200, body: answer });
  switch (pathname.replace(/^\/v1beta\/models\/[^:]+:/, "")) {
    case "/v1/models":
      return ok({ object: "list", data: [{ id: MODEL, object: "model" }] });
    case "/v1/chat/completions":
      return isStream ? openAiEvents() : ok(openAiAnswer());
    case "/v1/messages":
      return isStream ? anthropicEvents() : ok(anthropicMessage(TEXT));
    case "generateContent":
      return ok(googleAnswer(TEXT));
    case "streamGenerateContent":
      return WORDS.map((word): Event => [null, googleAnswer(word)]);
    default:
      return { status: 404, body: { error: { message: "no such path" } } };
  }
}

type Event = readonly [name: string | null, data: unknown];

function sendEvents(response: ServerResponse, events: readonly Event[]): void {
  response.setHeader("content-type", "text/event-stream");
  for (const [name, data] of events) {
    if (name !== null) response.write(`event: ${name}\n`);
    response.write(`data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`);
  }
  response.end();
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

const COMPLETION = { id: "chatcmpl-1", created: 1_700_000_000, model: MODEL };

const openAiAnswer = () => ({
  ...COMPLETION,
  object: "chat.completion",
  choices: [{ index: 0, message: { role: "assistant", content: TEXT }, finish_reason: "stop" }],
});

const openAiEvents = (): readonly Event[] => [
  ...WORDS.map((content): Event => {
    const choices = [{ index: 0, delta: { content }, finish_reason: null }];
    return [null, { ...COMPLETION, object: "chat.completion.chunk", choices }];
  }),
  [null, "[DONE]"],
];

const anthropicMessage = (text: string) => ({
  id: "msg_1",
  type: "message",
  role: "assistant",
  model: MODEL,
  content: text === "" ? [] : [{ type: "text", text }],
  stop_reason: "end_turn",
  usage: { input_tokens: 1, output_tokens: 1 },
});

const anthropicEvents = (): readonly Event[] => {
  const events = [
    { type: "message_start", message: anthropicMessage("") },
    { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
    ...WORDS.map((text) => ({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } })),
    { type: "content_block_stop", index: 0 },
    { type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 3 } },
    { type: "message_stop" },
  ];
  return events.map((event) => [event.type, event]);
};

const googleAnswer = (text: string) => ({
  candidates: [{ index: 0, content: { role: "model", parts: [{ text }] } }],
});

/** A realtime session: says that it was created, then repeats each text that it is sent. */
function acceptSockets(server: Server, keys: ReadonlySet<string>, received: IncomingMessage[]): void {
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: () => "realtime" });
  sockets.on("connection", (socket: WebSocket) => {
    socket.send(JSON.stringify({ type: "session.created", session: { model: MODEL } }));
    socket.on("message", (data) => {
      const { item } = JSON.parse(String(data)) as { readonly item: unknown };
      socket.send(JSON.stringify({ type: "conversation.item.added", item }));
    });
  });
  server.on("upgrade", (request, socket, head) => {
    received.push(request);
    if (!keys.has(keyOf(request))) return void socket.end("HTTP/1.1 401 Unauthorized\r\n\r\n");
    sockets.handleUpgrade(request, socket, head, (accepted) => sockets.emit("connection", accepted));
  });
}
