// Step 6: to the origin. Streamed both ways; redirects, upgrades and encoded bodies untouched.
import type { RequestContext } from "../context.ts";
import { Problem } from "../problem.ts";
import { addCorsHeaders } from "./cors.ts";
import { echo } from "./echo.ts";
import { LOOP_HEADER } from "./protected-headers.ts";
import type { Match } from "./route.ts";

/** Set where the transport must be observed; the isolate uses the global `fetch`. */
export interface ForwardOptions {
  readonly fetch: typeof fetch;
}

/**
 * Redirects go back to the client. Answers to one user must not come out of a cache for another, which the platform
 * cannot know, since credentials are removed: `no-store` keeps its cache out of it.
 */
const PRIVATE: RequestInit = { redirect: "manual", cache: "no-store" };
const CACHEABLE: RequestInit = { redirect: "manual" };

/**
 * Sends the request once; nothing is repeated. The answer is passed on as it is, streaming, a WebSocket included; it
 * is wrapped only where the site asks for `X-Request-Id` on answers, where CORS headers are due, or to limit its time.
 *
 * `firstByteSeconds` counts from the end of the request body to the answer's header. `maxStreamSeconds` breaks an
 * answer off, so that it cannot be taken for a whole one; WebSockets are not subject to it.
 *
 * @throws Problem `origin_unreachable`, `origin_timeout`, `loop_detected` (only where the origin is `self`)
 */
export async function forward(upstream: Request, match: Match, context: RequestContext): Promise<Response> {
  const { route, site } = match;
  const send = transportOf(upstream, match, context);
  let init = route.cache && route.auth === "none" ? CACHEABLE : PRIVATE;
  // The body has to be piped, and a decoded one would leave longer than its Content-Length says.
  if (route.maxStreamSeconds !== null) init = { ...init, encodeResponseBody: "manual" };
  context.trace.isForwarded = true;
  const response =
    route.firstByteSeconds === null
      ? await sendOnce(send, upstream, init)
      : await sendInTime(send, upstream, init, route.firstByteSeconds);

  const isCorsAnswer = site.cors !== null && context.arrival.request.headers.has("origin");
  if (!site.requestIdOnResponses && !isCorsAnswer && route.maxStreamSeconds === null) return response;
  return response.webSocket === null ? wrapped(response, match, context, isCorsAnswer) : response;
}

type Send = (request: Request, init: RequestInit) => Promise<Response>;

function transportOf(upstream: Request, { site }: Match, context: RequestContext): Send {
  const { origin } = site;
  switch (origin.kind) {
    case "url":
      return context.runtime.forwarding.fetch;
    case "mtls":
    case "service":
      return (request, init) => origin.binding.fetch(request, init);
    case "self":
      if (context.arrival.request.headers.has(LOOP_HEADER)) {
        throw new Problem("loop_detected", "the origin `self` leads back here");
      }
      upstream.headers.set(LOOP_HEADER, "1");
      return context.runtime.forwarding.fetch;
    case "echo":
      return (request) => echo(request, site);
  }
}

async function sendOnce(send: Send, upstream: Request, init: RequestInit): Promise<Response> {
  try {
    return await send(upstream, init);
  } catch (error) {
    throw new Problem("origin_unreachable", "fetch failed", { cause: error });
  }
}

async function sendInTime(
  send: Send,
  upstream: Request,
  init: RequestInit,
  firstByteSeconds: number,
): Promise<Response> {
  const controller = new AbortController();
  let timer: ReturnType<typeof setTimeout> | null = null;
  let isAnswered = false;
  let isLate = false;
  const onBodyEnd = (isWhole: boolean): void => {
    if (isAnswered) return;
    if (!isWhole) {
      controller.abort();
      return;
    }
    timer = setTimeout(() => {
      isLate = true;
      controller.abort();
    }, firstByteSeconds * 1000);
  };
  const request = observeBodyEnd(upstream, onBodyEnd);
  try {
    return await send(request, { ...init, signal: controller.signal });
  } catch (error) {
    if (isLate) throw new Problem("origin_timeout", `no answer in ${firstByteSeconds} s`);
    throw new Problem("origin_unreachable", "fetch failed", { cause: error });
  } finally {
    isAnswered = true;
    if (timer !== null) clearTimeout(timer);
  }
}

/** The same request; `onEnd` is called once its body has been taken by the transport, at once if there is none. */
function observeBodyEnd(request: Request, onEnd: (isWhole: boolean) => void): Request {
  const { body, method } = request;
  // A body on GET or HEAD cannot be given to a new Request; there, time counts from the start.
  if (body === null || method === "GET" || method === "HEAD") {
    onEnd(true);
    return request;
  }
  const { readable, writable } = identityStream(request.headers);
  body.pipeTo(writable).then(
    () => onEnd(true),
    () => onEnd(false),
  );
  return new Request(request, { body: readable });
}

function wrapped(response: Response, match: Match, context: RequestContext, isCorsAnswer: boolean): Response {
  const { route, site } = match;
  const body = limitedBody(response, route.maxStreamSeconds, context);
  const init: ResponseInit = {
    status: response.status,
    statusText: response.statusText,
    headers: response.headers,
  };
  const answer = new Response(
    body,
    route.maxStreamSeconds === null ? response : { ...init, encodeBody: "manual" },
  );
  if (site.requestIdOnResponses) answer.headers.set("x-request-id", context.requestId);
  if (isCorsAnswer) addCorsHeaders(answer.headers, match, context.arrival.request);
  return answer;
}

function limitedBody(
  { body, headers }: Response,
  maxStreamSeconds: number | null,
  context: RequestContext,
): ReadableStream | null {
  if (body === null || maxStreamSeconds === null) return body;
  const controller = new AbortController();
  const timer = setTimeout(
    () => controller.abort(new Error("max_stream_seconds is over")),
    maxStreamSeconds * 1000,
  );
  const { readable, writable } = identityStream(headers);
  // An answer that breaks off breaks off for the client, too; nothing is left to say about it.
  const piped = body.pipeTo(writable, { signal: controller.signal }).catch(() => {});
  context.background(piped.finally(() => clearTimeout(timer)));
  return readable;
}

/** Passes bytes through unchanged and keeps the Content-Length that its source declares. */
function identityStream(headers: Headers): IdentityTransformStream {
  const length = headers.get("content-length");
  return length === null ? new IdentityTransformStream() : new FixedLengthStream(Number(length));
}
