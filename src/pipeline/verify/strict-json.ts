// JSON as signed tokens must write it: UTF-8, one object, no member twice.

/** A byte-order mark is kept, so that it fails like any other character that does not belong there. */
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Reads one JSON object. Refuses what is not UTF-8 and any object, nested ones too, that names a member twice.
 * Read members with `Object.hasOwn`: `__proto__` is a member like any other here.
 *
 * @returns `null` for anything else
 * @see RFC 7515 §5.2, RFC 7519 §4, RFC 8725 §3.7
 */
export function readStrictObject(bytes: Uint8Array): Readonly<Record<string, unknown>> | null {
  let text: string;
  let value: unknown;
  try {
    text = decoder.decode(bytes);
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
  return hasDuplicateMember(text) ? null : (value as Record<string, unknown>);
}

/** @param text valid JSON */
function hasDuplicateMember(text: string): boolean {
  const open: Set<string>[] = [];
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === "{") open.push(new Set());
    else if (character === "}") open.pop();
    else if (character === '"') {
      const end = endOfString(text, i);
      if (isFollowedByColon(text, end)) {
        const members = open[open.length - 1];
        const name: string = JSON.parse(text.slice(i, end)); // so that two spellings of one name are one
        if (members === undefined || members.has(name)) return true;
        members.add(name);
      }
      i = end - 1;
    }
  }
  return false;
}

/** Index after the closing quote of the string that opens at `start`. */
function endOfString(text: string, start: number): number {
  let i = start + 1;
  while (i < text.length && text[i] !== '"') i += text[i] === "\\" ? 2 : 1;
  return i + 1;
}

function isFollowedByColon(text: string, index: number): boolean {
  let i = index;
  while (text[i] === " " || text[i] === "\n" || text[i] === "\r" || text[i] === "\t") i++;
  return text[i] === ":";
}
