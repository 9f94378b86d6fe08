// A real browser, where there is one: Debian's package, as a browser that a test tool downloads is another thing to trust.
import { existsSync } from "node:fs";
import { type Browser, chromium } from "playwright-core";

const PROGRAM = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** `null`: there is one. On a machine of one's own its absence is no failure. */
export const WHY_NO_BROWSER = existsSync(PROGRAM)
  ? null
  : `${PROGRAM} is not there: apt-get install chromium, or name another one in CHROMIUM`;
export const IS_BROWSER_WANTED = WHY_NO_BROWSER === null || process.env.CI === "true";

/** With a profile of its own, which goes with it. @throws Error where there is none */
export async function startBrowser(): Promise<Browser> {
  if (WHY_NO_BROWSER !== null) throw new Error(WHY_NO_BROWSER);
  return chromium.launch({
    executablePath: PROGRAM,
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}
