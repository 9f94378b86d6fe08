// API keys that stand in a Worker secret, as NekoHub has them in its environment. Only their digests are kept.
import { createHash } from "node:crypto";
import type { Scope } from "../../config/scope.ts";
import { weakness } from "../../config/secret-strength.ts";
import { readSecret } from "../../config/secrets.ts";
import { hasTwoDots } from "./bearer.ts";

const LEAST_BYTES = 16;

/**
 * Reads keys separated by commas or line breaks, blanks around them cut off. One that could not be sent, would be taken
 * for a JWT, or is weak on its face is an issue that names its place in the list, and never repeats it.
 *
 * @returns the hex SHA-256 of each; empty after an issue
 */
export function readConfiguredKeys(
  secret: string,
  key: string,
  { secrets, issues }: Scope,
): ReadonlySet<string> {
  const text = readSecret({ name: secret, kind: "api_keys" }, key, secrets, issues);
  if (text === null) return new Set();
  const entries = text.split(/[,\r\n]/).flatMap((entry) => (entry.trim() === "" ? [] : [entry.trim()]));
  if (entries.length === 0) issues.add(key, `the Worker secret ${secret} holds no key`);
  const digests = new Set<string>();
  for (const [index, entry] of entries.entries()) {
    const flaw = flawOf(entry);
    if (flaw !== null) issues.add(key, `the Worker secret ${secret}: key ${index + 1} ${flaw}`);
    digests.add(createHash("sha256").update(entry, "utf8").digest("hex"));
  }
  return digests;
}

function flawOf(entry: string): string | null {
  if (!/^[\x21-\x7e]+$/.test(entry)) return "must be visible ASCII without blanks: it is sent in a header";
  if (hasTwoDots(entry)) return "has exactly two dots, which makes it a JWT: no request could use it";
  return weakness(new TextEncoder().encode(entry), LEAST_BYTES);
}
