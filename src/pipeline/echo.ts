// The origin `echo`: answers with the request as an origin would have received it. For development and demonstrations.
import { base64url } from "jose";
import type { Site } from "../config/types.ts";
import type { Upstream } from "./user-context.ts";

const BUFFER_BYTES = 64 * 1024;

/**
 * JSON, indented for reading in a terminal: method, URL (path and query), headers as name and value, number of body
 * bytes, and the payload of the user context, decoded but not verified. The body is counted as it streams by and kept
 * nowhere. Values of `origin_headers` are secrets between gateway and origin: their names are shown, the values not.
 */
export async function echo(upstream: Upstream, site: Site): Promise<Response> {
  const { method, headers, body } = upstream;
  const url = new URL(upstream.url);
  const secret = new Set(site.originHeaders.map(([name]) => name.toLowerCase()));
  const received = {
    method,
    url: url.pathname + url.search,
    headers: [...headers].map(([name, value]) => [name, secret.has(name) ? "(hidden)" : value]),
    bodyBytes: await countBytes(body),
    userContext: decodedPayload(headers.get(site.userContext.header)),
  };
  return new Response(method === "HEAD" ? null : `${JSON.stringify(received, null, 2)}\n`, {
    headers: { "content-type": "application/json", "cache-control": "no-store" },
  });
}

/** Reads into one buffer again and again: chunks of their own would pile up until they are collected. */
async function countBytes(body: ReadableStream<Uint8Array> | null): Promise<number> {
  if (body === null) return 0;
  const reader = body.getReader({ mode: "byob" });
  let bytes = 0;
  for (let buffer = new ArrayBuffer(BUFFER_BYTES); ; ) {
    const { done, value } = await reader.read(new Uint8Array(buffer));
    if (done || value === undefined) return bytes;
    bytes += value.byteLength;
    buffer = value.buffer as ArrayBuffer;
  }
}

function decodedPayload(token: string | null): unknown {
  const payload = token?.split(".")[1];
  if (payload === undefined) return null;
  return JSON.parse(new TextDecoder().decode(base64url.decode(payload)));
}
