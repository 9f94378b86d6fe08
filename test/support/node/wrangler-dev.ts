// `wrangler dev` as a newcomer runs it, on a configuration, secrets and data of its own.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "smol-toml";
import { getPlatformProxy } from "wrangler";
import { ensureLocalSecrets, type LocalSecrets } from "../../../cli/local-secrets.ts";
import { keepToThisMachine } from "../../../cli/wrangler.ts";
import { type ProcessGroup, startProcess } from "./process-group.ts";
import { COMPATIBILITY_DATE, ROOT, WRANGLER } from "./project.ts";
import { makeScratch } from "./scratch.ts";

const READY_DEADLINE_MS = 120_000;

export interface WranglerDev {
  /** `http://127.0.0.1:<port>` */
  readonly address: string;
  readonly port: number;
  readonly process: ProcessGroup;
  stop(): Promise<void>;
}

export interface DevOptions {
  /** The tables of `[vars]`. */
  readonly vars: Readonly<Record<string, unknown>>;
  /** Fills the migrated database before the gateway starts. */
  readonly seed?: (database: D1Database, secrets: LocalSecrets) => Promise<void>;
}

export async function startWranglerDev({ vars, seed }: DevOptions): Promise<WranglerDev> {
  keepToThisMachine();
  process.env.WRANGLER_LOG = "warn"; // of what runs in this process
  const { directory, remove } = makeScratch("dev");
  let started: ProcessGroup | null = null;
  const stop = async () => {
    await started?.stop();
    remove();
  };
  try {
    const config = join(directory, "wrangler.toml");
    const data = join(directory, "data");
    writeFileSync(config, configuration(vars));
    const { secrets } = await ensureLocalSecrets(join(directory, ".dev.vars"));
    if (seed !== undefined) await prepareDatabase(config, data, (database) => seed(database, secrets));

    const listen = ["--ip", "127.0.0.1", "--port", "0", "--inspector-port", "0"];
    const args = [WRANGLER, "dev", "--config", config, "--local", "--persist-to", data, ...listen];
    started = startProcess(process.execPath, [...args, "--show-interactive-dev-session=false"], {
      directory,
      environment: { WRANGLER_LOG: "log" },
    });
    const ready = await started.lineMatching(/Ready on (http:\/\/127\.0\.0\.1:(\d+))/, READY_DEADLINE_MS);
    const [, address = "", port] = ready;
    return { address, port: Number(port), process: started, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function configuration(vars: DevOptions["vars"]): string {
  return stringify({
    name: "e2e",
    main: join(ROOT, "src/index.ts"),
    compatibility_date: COMPATIBILITY_DATE,
    send_metrics: false,
    d1_databases: [{ binding: "DB", database_name: "e2e", database_id: "e2e" }],
    kv_namespaces: [{ binding: "KV", id: "e2e" }],
    vars,
  });
}

async function prepareDatabase(
  config: string,
  data: string,
  seed: (database: D1Database) => Promise<void>,
): Promise<void> {
  const platform = await getPlatformProxy<{ DB: D1Database }>({
    configPath: config,
    persist: { path: join(data, "v3") }, // where `wrangler dev --persist-to` looks
    remoteBindings: false,
  });
  try {
    const { DB } = platform.env;
    const migrations = join(ROOT, "migrations");
    for (const name of readdirSync(migrations).sort()) {
      if (name.endsWith(".sql"))
        await DB.batch(statements(join(migrations, name)).map((sql) => DB.prepare(sql)));
    }
    await seed(DB);
  } finally {
    await platform.dispose();
  }
}

/** The migrations hold no semicolon inside a statement. */
function statements(file: string): readonly string[] {
  const text = readFileSync(file, "utf8").replace(/^--.*$/gm, "");
  return text.split(";").flatMap((sql) => (sql.trim() === "" ? [] : [sql]));
}
