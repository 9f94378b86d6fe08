import { defineConfig } from "drizzle-kit";

// Drafts only: `npx drizzle-kit generate` writes the SQL, a person finishes it (see docs/storage.md) and wrangler applies it.
export default defineConfig({ dialect: "sqlite", schema: "./src/store/schema.ts", out: "./migrations" });
