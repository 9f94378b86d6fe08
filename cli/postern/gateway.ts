// The admin API of one gateway, as the CLI calls it.
import { readFileSync } from "node:fs";
import { parseEnv } from "node:util";
import { listeningAt } from "../listening.ts";
import { localState } from "../local-state.ts";
import type { Place } from "./command.ts";
import { Failure } from "./failure.ts";
import { printable } from "./output.ts";

const DEFAULT_URL = "http://127.0.0.1:8787";
const TIMEOUT_MS = 60_000;

export interface FieldError {
  readonly field: string;
  readonly message: string;
}

/** An answer that is no success. */
export interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly title: string;
  readonly errors: readonly FieldError[];
  readonly retryAfterSeconds: number | null;
  /** Of `scope_insufficient`: those that would do, by blanks (RFC 6750 §3). `null`: it does not say. */
  readonly neededScopes: string | null;
}

export type Answer =
  | { readonly ok: true; readonly body: unknown }
  | { readonly ok: false; readonly refusal: Refusal };

export interface Gateway {
  readonly url: string;
  /** @param path below `/_gateway/`. @throws Failure where nobody answers, or no gateway */
  ask(method: string, path: string, body?: unknown): Promise<Answer>;
  /** @returns the answer's body, `null` where it has none. @throws Failure for every refusal too */
  call(method: string, path: string, body?: unknown, options?: CallOptions): Promise<unknown>;
}

export interface CallOptions {
  /** What the path names, for `resource_not_found`: `API key "key_1" in realm main`. */
  readonly what?: string;
}

/** @throws Failure where the address must not be used, or there is no token */
export function createGateway(place: Place): Gateway {
  const given = place.url ?? (process.env.POSTERN_URL || undefined);
  const url = addressOf(given ?? listeningAt(localState(place).dataDirectory) ?? DEFAULT_URL);
  const token = tokenFor(url, place);
  // Whoever names both says where the token may go. Otherwise it goes to nobody who does not look like a gateway.
  let isKnown = given !== undefined && process.env.POSTERN_TOKEN !== undefined;

  const gateway: Gateway = {
    url: url.origin,
    async ask(method, path, body) {
      if (!isKnown) await demandGateway(url);
      isKnown = true;
      const response = await send(url, token, method, path, body);
      const text = await response.text().catch((error) => {
        throw unreachable(url, error);
      });
      if (response.ok) return { ok: true, body: text === "" ? null : parsed(text, url, response.status) };
      return { ok: false, refusal: refusalOf(parsed(text, url, response.status), response, url) };
    },
    async call(method, path, body, { what } = {}) {
      const answer = await gateway.ask(method, path, body);
      if (answer.ok) return answer.body;
      const { code, errors } = answer.refusal;
      if (what === undefined || code !== "resource_not_found" || errors.length > 0) {
        throw failureOf(answer.refusal);
      }
      throw new Failure("refused", printable(`there is no ${what}: not any more, or it never was (${code})`));
    },
  };
  return gateway;
}

/** A path whose parts may hold anything. */
export function pathOf(parts: TemplateStringsArray, ...values: readonly string[]): string {
  return String.raw({ raw: parts }, ...values.map(encodeURIComponent));
}

/** @throws Failure of usage */
function addressOf(text: string): URL {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new Failure("usage", `--url (or POSTERN_URL) must be a URL like https://auth.example.com`);
  }
  if (url.username !== "" || url.password !== "") {
    throw new Failure("usage", "the URL must not hold a password: set POSTERN_TOKEN");
  }
  if (url.protocol === "https:" || (url.protocol === "http:" && isLoopback(url))) return url;
  throw new Failure("usage", `${url.origin} must be https: the token would travel in the clear`);
}

/** Whether it is this machine. */
export function isLoopback({ hostname }: URL): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127(\.\d{1,3}){3}$/.test(hostname);
}

/** @throws Failure of usage */
function tokenFor(url: URL, place: Place): string {
  const given = process.env.POSTERN_TOKEN;
  if (given !== undefined) {
    // As good as none is what a variable of a script has that was never filled: not a wish for the most powerful token.
    if (given.trim() === "") {
      throw new Failure("usage", "POSTERN_TOKEN is set, but empty: put a token into it, or unset it");
    }
    if (/^[\x21-\x7e]+$/.test(given)) return given;
    throw new Failure("usage", "POSTERN_TOKEN must be one word of visible ASCII");
  }
  if (!isLoopback(url)) {
    throw new Failure(
      "usage",
      "there is no token: put the gateway's ADMIN_TOKEN, or an administrator's key, into the variable POSTERN_TOKEN",
    );
  }
  const { secretsFile } = localState(place);
  const token = secretsIn(secretsFile).ADMIN_TOKEN;
  if (token !== undefined && token !== "") return token;
  throw new Failure(
    "usage",
    `there is no ADMIN_TOKEN in ${secretsFile}: run npm start first, or put a token into the variable POSTERN_TOKEN`,
  );
}

/** The secrets of this machine; none where there is no such file. */
export function secretsIn(file: string): Readonly<Record<string, string | undefined>> {
  try {
    return parseEnv(readFileSync(file, "utf8"));
  } catch {
    return {};
  }
}

/** Before a token that nobody chose for this address goes there. @throws Failure */
async function demandGateway(url: URL): Promise<void> {
  const response = await send(url, null, "GET", "health", undefined);
  const text = await response.text().catch((error) => {
    throw unreachable(url, error);
  });
  const body = parsed(text, url, response.status);
  // One that is not configured is a gateway too.
  if (!response.ok) return void refusalOf(body, response, url);
  if (!isRow(body) || body.status !== "ok") throw noGateway(url, response.status);
}

async function send(
  url: URL,
  token: string | null,
  method: string,
  path: string,
  body: unknown,
): Promise<Response> {
  const headers: Record<string, string> = { accept: "application/json" };
  if (token !== null) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  try {
    return await fetch(`${url.origin}/_gateway/${path}`, {
      method,
      headers,
      // A token goes to the host that was named, and to no other.
      redirect: "manual",
      signal: AbortSignal.timeout(TIMEOUT_MS),
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
  } catch (error) {
    throw unreachable(url, error);
  }
}

/** What Node says, for people. */
const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nobody listens there",
  ECONNRESET: "the connection was ended before an answer",
  ENOTFOUND: "there is no such host",
  EAI_AGAIN: "the host's address could not be looked up",
  UND_ERR_SOCKET: "the connection was ended before an answer",
  "Error: bad port": "its port is one that is never used for HTTP",
};

function unreachable(url: URL, error: unknown): Failure {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (cause instanceof DOMException && cause.name === "TimeoutError") {
    return new Failure(
      "unreachable",
      `${url.origin} cannot be reached: no answer within ${TIMEOUT_MS / 1_000} s`,
    );
  }
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
  const why = WORDS[code] ?? printable(code.split("\n", 1)[0] ?? "");
  const mend = isLoopback(url) ? "; start it with npm start, or name another with --url" : "";
  return new Failure("unreachable", `${url.origin} cannot be reached: ${why}${mend}`);
}

function parsed(text: string, url: URL, status: number): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw noGateway(url, status);
  }
}

const noGateway = (url: URL, status: number) =>
  new Failure(
    "unreachable",
    `${url.origin} answered ${status}, and not as a gateway does: name the host of its control plane with --url`,
  );

function refusalOf(body: unknown, { status, headers }: Response, url: URL): Refusal {
  if (!isRow(body) || typeof body.code !== "string") throw noGateway(url, status);
  const errors = Array.isArray(body.errors) ? body.errors.filter(isRow) : [];
  const retryAfter = headers.get("retry-after") ?? "";
  const [, neededScopes = null] = /, scope="([^"]+)"/.exec(headers.get("www-authenticate") ?? "") ?? [];
  return {
    status,
    code: body.code,
    title: typeof body.title === "string" ? body.title : "",
    errors: errors.map(({ field, message }) => ({ field: String(field), message: String(message) })),
    retryAfterSeconds: /^\d{1,6}$/.test(retryAfter) ? Number(retryAfter) : null,
    neededScopes,
  };
}

const isRow = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null;

/** In words, with every field that is wrong. */
export function failureOf(refusal: Refusal): Failure {
  const { status, code, title, errors, retryAfterSeconds } = refusal;
  const isPassing = retryAfterSeconds !== null && code !== "config_invalid";
  const wait = isPassing ? `; try again in ${retryAfterSeconds} s` : "";
  const lines = errors.map(({ field, message }) => `  ${field === "" ? "" : `${flagOf(field)}: `}${message}`);
  return new Failure(
    status >= 500 ? "unreachable" : "refused",
    ...[`${title} (${code})${wait}`, ...lines, ...mendOf(refusal)].map(printable),
  );
}

/** Members of the API that are given by a flag, and its name. */
const FLAGS: Readonly<Record<string, string>> = {
  scopes: "scope",
  permissions: "permission",
  expires_at: "expires",
  ip_allow: "ip",
  grace_seconds: "grace",
  issued_before: "before",
  client_address: "address",
  ...Object.fromEntries(
    ["realm", "user", "username", "email", "name", "role", "status", "attributes"].map((name) => [
      name,
      name,
    ]),
  ),
  ...Object.fromEntries(
    ["search", "limit", "cursor", "target", "action", "since"].map((name) => [name, name]),
  ),
};

/** `scopes[1]` is `--scope`: flags are repeated, and have no number. What no flag gives stays as it is. */
function flagOf(field: string): string {
  const [member = ""] = field.split(/[.[]/, 1);
  return Object.hasOwn(FLAGS, member) ? `--${FLAGS[member]}` : field;
}

function mendOf({ code, neededScopes }: Refusal): readonly string[] {
  switch (code) {
    case "credential_invalid":
    case "credential_missing":
      return [
        "  the token was not accepted: check POSTERN_TOKEN, or for a local gateway the ADMIN_TOKEN in .dev.vars",
      ];
    case "config_invalid":
      return [
        "  its configuration is not valid, and waiting mends nothing: `npm run check` names each key,",
        "  for a deployed one `npm run check -- --env production`; so does its log",
      ];
    case "scope_insufficient":
      return neededScopes === null ? [] : [`  the token in POSTERN_TOKEN lacks ${neededScopes}`];
    case "rank_insufficient":
      return [
        "  administrators act on those below them. Your own keys are made and rotated through self-service:",
        "  POST /_gateway/me/keys?realm=gateway with the access token of a sign-in; see docs/operations.md",
      ];
    default:
      return [];
  }
}
