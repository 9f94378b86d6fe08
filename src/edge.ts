// The entry of a Worker that only guards: no sign-in, no administration, and none of their code. They are nowhere, or in
// another Worker with the same D1 database, KV namespace and secrets, whose entry is `index.ts`.
import { createApp } from "./app.ts";

export default createApp(null);
