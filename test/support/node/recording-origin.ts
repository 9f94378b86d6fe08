// An origin that writes down what reaches it, exactly as it came.
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Arrived {
  readonly method: string;
  /** The request target, byte for byte. */
  readonly target: string;
  /** Name, value, name, value …; names as they were spelled. */
  readonly rawHeaders: readonly string[];
  /** As far as it has come, one character a byte. */
  body: string;
}

export interface RecordingOrigin {
  readonly port: number;
  /** Oldest first. */
  readonly arrived: Arrived[];
  close(): Promise<void>;
}

/** Writes a request down when its header is there; answers 200 `from the origin` once its body has ended. */
export async function startRecordingOrigin(): Promise<RecordingOrigin> {
  const arrived: Arrived[] = [];
  const { server, port } = await listen(async (request, response) => {
    const { method = "", url: target = "", rawHeaders } = request;
    const one: Arrived = { method, target, rawHeaders, body: "" };
    arrived.push(one);
    for await (const chunk of request) one.body += (chunk as Buffer).toString("latin1");
    response.end("from the origin");
  });
  return { port, arrived, close: () => close(server) };
}

/** An HTTP server on a free port of this machine, without limits of its own. A handler that fails ends the connection. */
export async function listen(
  handler: (request: IncomingMessage, response: ServerResponse) => Promise<void> | void,
): Promise<{ readonly server: Server; readonly port: number }> {
  const options = { maxHeaderSize: 1 << 20, requestTimeout: 0, headersTimeout: 0, insecureHTTPParser: true };
  const server = createServer(options, async (request, response) => {
    try {
      await handler(request, response);
    } catch {
      response.destroy();
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { server, port: (server.address() as AddressInfo).port };
}

export async function close(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

/** As the laxest of origins reads a header's name: in lower case, a dash for whatever is neither letter nor digit. */
export const asLaxOriginReads = (name: string) => name.toLowerCase().replace(/[^a-z0-9]/g, "-");

/** Values of all headers that such an origin takes for `name`. */
export function valuesOf({ rawHeaders }: Arrived, name: string): readonly string[] {
  const values: string[] = [];
  for (let at = 0; at < rawHeaders.length; at += 2) {
    if (asLaxOriginReads(rawHeaders[at] ?? "") === name) values.push(rawHeaders[at + 1] ?? "");
  }
  return values;
}
