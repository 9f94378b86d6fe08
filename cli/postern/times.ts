// Times as people write them: seconds since 1970, ISO 8601, or so long from now or ago.
import { wrongUsage } from "./failure.ts";

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 };
const DATE = /^\d{4}-\d{2}-\d{2}$/;
/** With its offset: without one it would mean another moment on every machine. */
const DATE_AND_TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})$/i;

/**
 * Epoch seconds.
 * @param direction where a duration leads to: an expiry lies ahead, "since" and "before" lie back
 * @throws Failure of usage
 */
export function parseTime(
  flag: string,
  text: string,
  direction: "ahead" | "back",
  nowSeconds: number,
): number {
  const duration = durationOf(text);
  if (duration !== null) return direction === "ahead" ? nowSeconds + duration : nowSeconds - duration;
  if (/^\d{1,12}$/.test(text)) return Number(text);
  const ms = DATE.test(text) || DATE_AND_TIME.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms) || (DATE.test(text) && new Date(ms).toISOString().slice(0, 10) !== text)) {
    throw wrongUsage(
      `--${flag} wants seconds since 1970, a date (2026-12-31 or 2026-12-31T23:00:00Z), or a duration like 90d or 12h`,
    );
  }
  return Math.floor(ms / 1_000);
}

/** Seconds. @throws Failure of usage */
export function parseDuration(flag: string, text: string): number {
  const seconds = durationOf(text);
  if (seconds === null) throw wrongUsage(`--${flag} wants a duration like 90d, 12h, 30m or 45s`);
  return seconds;
}

function durationOf(text: string): number | null {
  const [, count = "", unit = ""] = /^(\d{1,9})([smhdw])$/.exec(text) ?? [];
  return count === "" ? null : Number(count) * (UNITS[unit] ?? 0);
}

/** UTC, to the minute: `2026-12-31 23:00Z`. `-` for none. */
export function shownTime(seconds: unknown): string {
  if (typeof seconds !== "number" || Math.abs(seconds) > 8.64e12) return "-";
  return new Date(seconds * 1_000).toISOString().replace("T", " ").slice(0, 16).concat("Z");
}
