// An MCP server made with the SDK of the protocol, without any authentication of its own, over both of its HTTP transports.
import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { SSEServerTransport } from "@modelcontextprotocol/sdk/server/sse.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import { decodeJwt } from "jose";
import { close, listen } from "./recording-origin.ts";

export interface McpOrigin {
  readonly address: string;
  /** Every request that came. */
  readonly received: readonly IncomingMessage[];
  stop(): Promise<void>;
}

/** `/mcp` speaks Streamable HTTP; `/mcp/sse` and `/mcp/message` the transport before it. */
export async function startMcpOrigin(): Promise<McpOrigin> {
  const received: IncomingMessage[] = [];
  const streamable = new Map<string, StreamableHTTPServerTransport>();
  const sse = new Map<string, SSEServerTransport>();

  async function openStreamable(): Promise<StreamableHTTPServerTransport> {
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (id) => void streamable.set(id, transport),
      onsessionclosed: (id) => void streamable.delete(id),
    });
    await newServer().connect(transport as Transport);
    return transport;
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    received.push(request);
    const { pathname, searchParams } = new URL(request.url ?? "", "http://origin");
    if (pathname === "/mcp/sse") {
      const transport = new SSEServerTransport("/mcp/message", response);
      sse.set(transport.sessionId, transport);
      return newServer().connect(transport);
    }
    if (pathname === "/mcp/message") {
      const transport = sse.get(searchParams.get("sessionId") ?? "");
      if (transport === undefined) return void response.writeHead(404).end();
      return transport.handlePostMessage(request, response);
    }
    const id = request.headers["mcp-session-id"];
    const transport = typeof id === "string" ? streamable.get(id) : await openStreamable();
    if (transport === undefined) return void response.writeHead(404).end();
    return transport.handleRequest(request, response);
  }

  const { server, port } = await listen(handle);
  return { address: `http://127.0.0.1:${port}`, received, stop: () => close(server) };
}

/** `whoami` repeats what the user context says; `announce` sends a notification of its own accord. */
function newServer(): McpServer {
  const server = new McpServer({ name: "stand-in", version: "1.0.0" });
  server.registerTool("whoami", {}, ({ requestInfo }) => {
    const context = requestInfo?.headers["x-user-context"];
    const { sub = "nobody" } = typeof context === "string" ? decodeJwt(context) : {};
    return { content: [{ type: "text", text: sub }] };
  });
  server.registerTool("announce", {}, () => {
    server.sendToolListChanged();
    return { content: [] };
  });
  return server;
}
