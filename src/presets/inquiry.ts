// What the presets' questions to their origins have in common.
import type { Inquiry } from "./preset.ts";

/** Asks with the credential where all of these systems take one. The answer is the same wherever the client is. */
export function bearerInquiry(path: string, value: string, conclude: Inquiry["conclude"]): Inquiry {
  return { path, headers: { authorization: `Bearer ${value}` }, isByAddress: false, conclude };
}

export function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** `null`: no text, or an empty one. */
export function textOf(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}

export function textsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((entry) => typeof entry === "string") : [];
}
