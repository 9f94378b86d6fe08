// Answers in the form that gin gives them.
import type { Rendered } from "../preset.ts";

/** Below 32 JSON has its own escapes; these Go writes so beside them. */
const ESCAPED_BY_GO = /[<>&\u2028\u2029]/g;

/** Members in the order given; Go sorts those of a map. */
export const said = (
  status: number,
  content: object,
  headers: Readonly<Record<string, string>> = {},
): Rendered => ({
  status,
  contentType: "application/json; charset=utf-8",
  body: JSON.stringify(content).replace(
    ESCAPED_BY_GO,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  ),
  headers,
});

/** As a counter before everything else answers. */
export const SAID_NOTHING: Rendered = { status: 429, contentType: "", body: "" };
