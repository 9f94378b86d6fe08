// The Worker's entry. To put your own Hono middleware before the pipeline: `createApp(IDENTITY, (app) => app.use(…))`.
// Without sign-in and administration, a third smaller: `edge.ts`.
import { createApp } from "./app.ts";
import { IDENTITY } from "./identity.ts";

export default createApp(IDENTITY);
