// The Worker's entry. To put your own Hono middleware before the pipeline: `createApp((app) => app.use(…))`.
import { createApp } from "./app.ts";

export default createApp();
