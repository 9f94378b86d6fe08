// One fetch of a JWK set, from an endpoint that may be slow, huge, or not answer keys at all.
import { type PublicJwk, readPublicJwk } from "../crypto/public-jwk.ts";
import { readBounded } from "../read-bounded.ts";

const TIMEOUT_MS = 5_000;
const MAX_BYTES = 256 * 1024;
const MAX_KEYS = 100;
const LOOPBACK_HOSTS: ReadonlySet<string> = new Set(["localhost", "127.0.0.1", "[::1]"]);

/**
 * Fetches and reads a key set. Redirects are not followed, so keys come from the configured URL alone. Five seconds
 * for everything, 256 KB at most. `https`, or `http` on a loopback address.
 *
 * @throws Error when there is no well-formed set to be had; its message holds nothing the endpoint sent
 */
export async function fetchJwks(url: URL, fetcher: typeof fetch): Promise<readonly PublicJwk[]> {
  if (url.protocol !== "https:" && !(url.protocol === "http:" && LOOPBACK_HOSTS.has(url.hostname))) {
    throw new Error("a key set needs https");
  }
  const abort = new AbortController();
  let timer: ReturnType<typeof setTimeout> | null = null;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error("key set timed out"));
      abort.abort();
    }, TIMEOUT_MS);
  });
  try {
    return await Promise.race([fetchAndRead(url, fetcher, abort.signal), timeout]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * The usable keys of a parsed JWK set (RFC 7517 §5); unusable ones are left out, as §5 asks. A set without any is a
 * fault at the issuer, not a revocation of everything: the last good set goes on.
 * @throws Error for what is not a set, holds no usable key, or more than 100
 */
export function readJwks(value: unknown): readonly PublicJwk[] {
  if (typeof value !== "object" || value === null || !("keys" in value) || !Array.isArray(value.keys)) {
    throw new Error("not a key set");
  }
  if (value.keys.length > MAX_KEYS) throw new Error("key set holds too many keys");
  const keys: PublicJwk[] = [];
  for (const entry of value.keys) {
    const key = readPublicJwk(entry);
    if (key !== null) keys.push(key);
  }
  if (keys.length === 0) throw new Error("key set holds no usable key");
  return keys;
}

async function fetchAndRead(
  url: URL,
  fetcher: typeof fetch,
  signal: AbortSignal,
): Promise<readonly PublicJwk[]> {
  const response = await fetcher(url, {
    headers: { accept: "application/jwk-set+json, application/json" },
    redirect: "manual",
    cache: "no-store",
    signal,
  });
  if (response.status !== 200 || response.body === null) {
    await response.body?.cancel();
    throw new Error(`key set answered ${response.status}`);
  }
  return readJwks(parseJson(await readBounded(response.body, MAX_BYTES)));
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    throw new Error("key set is no JSON"); // the parser's own message quotes its input
  }
}
