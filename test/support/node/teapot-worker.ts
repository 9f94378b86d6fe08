// A Worker with a middleware of its own before the pipeline: whatever is under /admin or /@me is refused by it.
import { createApp } from "../../../src/app.ts";
import { IDENTITY } from "../../../src/identity.ts";

// biome-ignore lint/style/noDefaultExport: a Worker's entry
export default createApp(IDENTITY, (app) => {
  for (const path of ["/admin/*", "/@me/*"]) {
    app.use(path, async (c) => c.text("the middleware's answer", 418));
  }
});
