import { beforeEach, expect, it } from "vitest";
import { addApiKey, addUser, bearer, emptyStores, startGateway } from "../support/worker/gateway.ts";

beforeEach(emptyStores);

it("forwards an open request and an API key", async () => {
  await addUser("7");
  const key = await addApiKey("k1");
  const gateway = startGateway();
  const open = await gateway.fetch("/open/x");
  expect([open.status, await open.text()]).toEqual([200, "from the origin"]);
  const answer = await gateway.fetch("/private/x", bearer(key));
  expect([answer.status, await answer.text()]).toEqual([200, "from the origin"]);
});
