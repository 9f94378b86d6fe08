// Step 6: to the origin. Streamed both ways; redirects, upgrades and encoded bodies untouched.
import type { RequestContext } from "../context.ts";
import { Problem } from "../problem.ts";
import { addCorsHeaders } from "./cors.ts";
import { echo } from "./echo.ts";
import { LOOP_HEADER } from "./protected-headers.ts";
import type { Match } from "./route.ts";
import type { Upstream } from "./user-context.ts";

/** Set where the transport must be observed; the isolate uses the global `fetch`. */
export interface ForwardOptions {
  readonly fetch: typeof fetch;
}

/**
 * Sends the request once; nothing is repeated. The answer is passed on as it is, streaming, a WebSocket included; it
 * is wrapped only where the site asks for `X-Request-Id` on answers, where CORS headers are due, or to limit its time.
 *
 * `firstByteSeconds` counts from the end of the request body to the answer's header. `maxStreamSeconds` breaks an
 * answer off, so that it cannot be taken for a whole one; WebSockets are not subject to it.
 *
 * @throws Problem `origin_unreachable`, `origin_timeout`, `loop_detected` (only where the origin is `self`)
 */
export async function forward(upstream: Upstream, match: Match, context: RequestContext): Promise<Response> {
  const { route, site } = match;
  const send = transportOf(upstream, match, context);
  context.trace.isForwarded = true;
  const response =
    route.firstByteSeconds === null
      ? await sendOnce(send, upstream, match, context)
      : await sendInTime(send, upstream, match, context, route.firstByteSeconds);

  const isCorsAnswer = site.cors !== null && context.arrival.request.headers.has("origin");
  if (!site.requestIdOnResponses && !isCorsAnswer && route.maxStreamSeconds === null) return response;
  return response.webSocket === null ? wrapped(response, match, context, isCorsAnswer) : response;
}

type Send = typeof fetch;

/** How this site's requests are sent. Marks those that could come back here. @throws Problem `loop_detected` */
export function transportOf(upstream: Upstream, { site }: Match, { arrival, runtime }: RequestContext): Send {
  const { origin } = site;
  switch (origin.kind) {
    case "url":
      return runtime.forwarding.fetch;
    case "mtls":
    case "service":
      return (input, init) => origin.binding.fetch(input as RequestInfo, init);
    case "self":
      if (arrival.request.headers.has(LOOP_HEADER)) {
        throw new Problem("loop_detected", "the origin `self` leads back here");
      }
      upstream.headers.set(LOOP_HEADER, "1");
      return runtime.forwarding.fetch;
    case "echo":
      return () => echo(upstream, site);
  }
}

async function sendOnce(
  send: Send,
  upstream: Upstream,
  match: Match,
  context: RequestContext,
  signal: AbortSignal | null = null,
): Promise<Response> {
  try {
    return await send(targetOf(upstream, context), optionsOf(upstream, match, context, signal));
  } catch (error) {
    throw new Problem("origin_unreachable", "fetch failed", { cause: error });
  }
}

/** A body on GET or HEAD cannot be given to `fetch` as an option; only the client's own Request carries it, and its method, on. */
function targetOf(upstream: Upstream, { arrival }: RequestContext): string | Request {
  return hasUnusualBody(upstream) ? new Request(upstream.url, arrival.request) : upstream.url;
}

function hasUnusualBody({ body, method }: Upstream): boolean {
  return body !== null && (method === "GET" || method === "HEAD");
}

/**
 * Redirects go back to the client. Answers to one user must not come out of a cache for another, which the platform
 * cannot know, since credentials are removed: `no-store` keeps its cache out of it.
 */
function optionsOf(
  upstream: Upstream,
  { route, site }: Match,
  { arrival }: RequestContext,
  signal: AbortSignal | null,
): RequestInit {
  const options: RequestInit = { headers: upstream.headers, redirect: "manual" };
  if (!hasUnusualBody(upstream)) {
    options.method = upstream.method;
    options.body = upstream.body;
  }
  if (!route.cache || route.auth !== "none") options.cache = "no-store";
  // The body has to be piped, and a decoded one would leave longer than its Content-Length says.
  if (route.maxStreamSeconds !== null) options.encodeResponseBody = "manual";
  // A Worker behind a binding knows country and data centre from here alone.
  if (site.origin.kind === "service" && arrival.request.cf !== undefined) options.cf = arrival.request.cf;
  if (signal !== null) options.signal = signal;
  return options;
}

async function sendInTime(
  send: Send,
  upstream: Upstream,
  match: Match,
  context: RequestContext,
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
  const observed = observeBodyEnd(upstream, onBodyEnd);
  try {
    return await sendOnce(send, observed, match, context, controller.signal);
  } catch (error) {
    throw isLate ? new Problem("origin_timeout", `no answer in ${firstByteSeconds} s`) : error;
  } finally {
    isAnswered = true;
    if (timer !== null) clearTimeout(timer);
  }
}

/** The same request; `onEnd` is called once its body has been taken by the transport, at once if there is none. */
function observeBodyEnd(upstream: Upstream, onEnd: (isWhole: boolean) => void): Upstream {
  const { body, headers } = upstream;
  if (body === null || hasUnusualBody(upstream)) {
    onEnd(true);
    return upstream;
  }
  const { readable, writable } = identityStream(headers);
  body.pipeTo(writable).then(
    () => onEnd(true),
    () => onEnd(false),
  );
  return { ...upstream, body: readable };
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

/**
 * Passes bytes through unchanged and keeps the Content-Length that its source declares. One that no body can have
 * (beyond 2^53, or no number) counts as none: the body goes on in chunks.
 */
function identityStream(headers: Headers): IdentityTransformStream {
  const length = Number(headers.get("content-length") ?? Number.NaN);
  return Number.isSafeInteger(length) && length >= 0
    ? new FixedLengthStream(length)
    : new IdentityTransformStream();
}
