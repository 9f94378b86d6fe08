// How origins that are lax in one way or another read a path. Written to share nothing with the gateway's own reading.

const AREAS = ["public", "optional", "private", "admin"] as const;
/** The first segment, which is what the tests' policies go by. */
export type Area = (typeof AREAS)[number] | "elsewhere";

export function areaOf(path: string): Area {
  const first = path.split("/")[1]?.toLowerCase();
  return AREAS.find((area) => area === first) ?? "elsewhere";
}

/**
 * The paths that some origin takes this one for: decoded up to `depth` times, back-slashes for slashes, parameters cut
 * from segments or not, ended at a NUL or not, empty segments merged, dot segments resolved.
 */
export function readings(path: string, depth = 3): ReadonlySet<string> {
  const found = new Set<string>();
  let decoded = path;
  for (let round = 0; round <= depth; round++) {
    for (const cut of [decoded, withoutParameters(decoded), decoded.split("\0", 1)[0] ?? ""]) {
      found.add(resolved(cut));
      found.add(resolved(withoutParameters(cut)));
    }
    decoded = decodedOnce(decoded);
  }
  return found;
}

/** Byte by byte, so that malformed and overlong escapes decode to something, too. */
function decodedOnce(path: string): string {
  return overlong(path).replace(/%([0-9a-f]{2})/gi, (_, hex) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
}

/** Two- and three-byte forms of `.`, `/` and `\`, as decoders without checks read them; and the IIS form `%u002e`. */
function overlong(path: string): string {
  return path
    .replace(/%(?:c0%ae|e0%80%ae|u002e)/gi, ".")
    .replace(/%(?:c0%af|e0%80%af|u002f)/gi, "/")
    .replace(/%(?:c1%9c|u005c)/gi, "\\");
}

function withoutParameters(path: string): string {
  return path.replace(/;[^/\\]*/g, "");
}

function resolved(path: string): string {
  const kept: string[] = [];
  for (const segment of path.split(/[/\\]+/)) {
    const name = segment.trim();
    if (name === "..") kept.pop();
    else if (name !== "." && name !== "") kept.push(segment);
  }
  return `/${kept.join("/")}`;
}
