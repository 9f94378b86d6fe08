// Keys, PATs and session cookies in our own format: random base62, then a tag only the gateway can make, so that garbage
// costs no look-up.
import type { NamedSecret } from "../config/secrets.ts";
import { isSameSecret } from "./constant-time.ts";
import { hmacSha256 } from "./hmac.ts";

const BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/** Bytes from here on are drawn again: taking them modulo 62 would favour the first eight characters. */
const UNBIASED_BYTES = 248;
const TAG_LENGTH = 8;

export type TaggedKind = "api_key" | "pat";

const RANDOM_LENGTHS: Readonly<Record<TaggedKind | "session", number>> = {
  api_key: 40,
  pat: 24,
  session: 32,
};

const encoder = new TextEncoder();

/** The prefix, then 40 random base62 characters (238 bits), then 8 of tag. The first secret signs. */
export async function mintApiKey(prefix: string, tagSecrets: readonly NamedSecret[]): Promise<string> {
  return prefix + (await mint("api_key", tagSecrets));
}

/** 24 random base62 characters (142 bits), then 8 of tag. The first secret signs. */
export async function mintPat(tagSecrets: readonly NamedSecret[]): Promise<string> {
  return mint("pat", tagSecrets);
}

/** Whether this has the length and the alphabet of what is minted here. `body` is the credential without its prefix. */
export function hasTaggedShape(kind: TaggedKind, body: string): boolean {
  return body.length === RANDOM_LENGTHS[kind] + TAG_LENGTH && isBase62(body);
}

/**
 * Whether the last 8 characters are the tag of what stands before them, for this kind, under any of the secrets.
 * The tag proves that the gateway minted these characters. It does not prove that the credential exists or is valid.
 *
 * @param body the credential without its prefix
 */
export async function hasValidTag(
  kind: TaggedKind,
  body: string,
  tagSecrets: readonly NamedSecret[],
): Promise<boolean> {
  return hasTaggedShape(kind, body) && hasTag(kind, body, tagSecrets);
}

/**
 * A credential of these random characters, without prefix: for whoever has to make the same one again. Does not check
 * that they are random.
 */
export async function tagged(
  kind: TaggedKind,
  random: string,
  tagSecrets: readonly NamedSecret[],
): Promise<string> {
  const [secret] = tagSecrets;
  if (secret === undefined) throw new Error("no tag secret");
  return random + (await tagOf(kind, random, secret));
}

/** A session cookie, and the part of it whose digest is stored. */
export interface SessionCookie {
  /** `<session id>.<secret>` */
  readonly value: string;
  readonly secret: string;
}

/** The session's id, a dot, 32 random base62 characters (190 bits), then 8 of tag. The first secret signs. */
export async function mintSessionCookie(
  sessionId: string,
  tagSecrets: readonly NamedSecret[],
): Promise<SessionCookie> {
  return taggedSession(sessionId, randomBase62(RANDOM_LENGTHS.session), tagSecrets);
}

/** The cookie of these 32 random characters. Does not check that they are random. */
export async function taggedSession(
  sessionId: string,
  random: string,
  tagSecrets: readonly NamedSecret[],
): Promise<SessionCookie> {
  const [tagSecret] = tagSecrets;
  if (tagSecret === undefined) throw new Error("no tag secret");
  const secret = random + (await tagOf("session", `${sessionId}.${random}`, tagSecret));
  return { value: `${sessionId}.${secret}`, secret };
}

/**
 * Whether the last 8 characters are the tag of the session's id and the random part, under any of the secrets. Does not
 * prove that the session exists or lasts.
 *
 * @param value the whole cookie
 */
export async function hasValidSessionTag(
  value: string,
  tagSecrets: readonly NamedSecret[],
): Promise<boolean> {
  const dot = value.indexOf(".");
  const secret = value.slice(dot + 1);
  if (dot < 1 || secret.length !== RANDOM_LENGTHS.session + TAG_LENGTH || !isBase62(secret)) return false;
  return hasTag("session", value, tagSecrets);
}

function mint(kind: TaggedKind, tagSecrets: readonly NamedSecret[]): Promise<string> {
  return tagged(kind, randomBase62(RANDOM_LENGTHS[kind]), tagSecrets);
}

async function hasTag(
  kind: TaggedKind | "session",
  body: string,
  tagSecrets: readonly NamedSecret[],
): Promise<boolean> {
  const before = body.slice(0, -TAG_LENGTH);
  const presented = body.slice(-TAG_LENGTH);
  for (const secret of tagSecrets) {
    if (isSameSecret(await tagOf(kind, before, secret), presented)) return true;
  }
  return false;
}

/** The kind is part of what is authenticated, so that one kind's tag is worth nothing on another. */
async function tagOf(kind: TaggedKind | "session", before: string, secret: NamedSecret): Promise<string> {
  const mac = await hmacSha256(secret.value, encoder.encode(`postern tag 1:${kind}:${before}`));
  let tag = "";
  for (let i = 0; i < TAG_LENGTH; i++) {
    // Two bytes a character keep the modulo bias under a tenth of a percent, and the length fixed.
    tag += BASE62.charAt((((mac[2 * i] ?? 0) << 8) | (mac[2 * i + 1] ?? 0)) % BASE62.length);
  }
  return tag;
}

/** Unbiased, from the platform's CSPRNG: 5.95 bits a character. */
export function randomBase62(length: number): string {
  let text = "";
  const bytes = new Uint8Array(64);
  while (text.length < length) {
    crypto.getRandomValues(bytes);
    for (const byte of bytes) {
      if (byte < UNBIASED_BYTES && text.length < length) text += BASE62.charAt(byte % BASE62.length);
    }
  }
  return text;
}

function isBase62(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    const isDigit = code >= 0x30 && code <= 0x39;
    const isLetter = (code >= 0x41 && code <= 0x5a) || (code >= 0x61 && code <= 0x7a);
    if (!isDigit && !isLetter) return false;
  }
  return true;
}
