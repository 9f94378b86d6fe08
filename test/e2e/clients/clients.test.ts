// Clients that this project did not write, through one `wrangler dev`: what they expect of their systems is what they get.
import { afterAll, beforeAll } from "vitest";
import { resolveLocalNames } from "../../support/node/local-names.ts";
import { describeBrowser } from "./browser.ts";
import { type ClientGateway, startClientGateway } from "./gateway.ts";
import { describeMcp } from "./mcp.ts";
import { describeRealtime } from "./realtime.ts";
import { describeRelay } from "./relay.ts";

resolveLocalNames();

let started: ClientGateway | null = null;
beforeAll(async () => {
  started = await startClientGateway();
});
afterAll(async () => {
  await started?.stop();
});

const gateway = (): ClientGateway => {
  if (started === null) throw new Error("the gateway did not start");
  return started;
};

for (const site of ["classic", "current"] as const) {
  describeRelay(site, gateway);
  describeRealtime(site, gateway);
}
describeMcp(gateway);
describeBrowser(gateway);
