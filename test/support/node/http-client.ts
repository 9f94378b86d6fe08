// A plain HTTP client for this machine: follows nothing, decodes nothing, keeps no connection.
import { once } from "node:events";
import { type ClientRequest, type IncomingHttpHeaders, type IncomingMessage, request } from "node:http";

export interface Sending {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string | Buffer;
}

export interface Answer {
  readonly status: number;
  readonly statusText: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** Opens a request whose body the caller writes and ends. `answered` rejects when the connection breaks. */
export function open(
  url: string,
  { method = "GET", headers = {} }: Sending = {},
): { readonly sending: ClientRequest; readonly answered: Promise<IncomingMessage> } {
  const sending = request(url, {
    method,
    headers: headers as Record<string, string | string[]>,
    agent: false,
  });
  const answered = once(sending, "response").then(([response]) => response as IncomingMessage);
  answered.catch(() => {});
  return { sending, answered };
}

export async function send(url: string, options: Sending = {}): Promise<Answer> {
  const { sending, answered } = open(url, options);
  sending.end(options.body);
  const response = await answered;
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const { statusCode = 0, statusMessage = "", headers } = response;
  return { status: statusCode, statusText: statusMessage, headers, body: Buffer.concat(chunks) };
}
