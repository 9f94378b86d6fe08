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
  /** Opens the admin API. */
  readonly adminToken: string;
  stop(): Promise<void>;
}

export interface DevOptions {
  /** The tables of `[vars]`. */
  readonly vars: Readonly<Record<string, unknown>>;
  /** Beside those that every gateway has. */
  readonly secrets?: Readonly<Record<string, string>>;
  /** Fills the migrated database before the gateway starts. */
  readonly seed?: (database: D1Database, secrets: LocalSecrets) => Promise<void>;
  /** Of an earlier start, to go on with its secrets and data; it stays. `undefined`: a new one, gone with `stop`. */
  readonly directory?: string;
}

export async function startWranglerDev({
  vars,
  secrets: own = {},
  seed,
  directory: given,
}: DevOptions): Promise<WranglerDev> {
  keepToThisMachine();
  process.env.WRANGLER_LOG = "warn"; // of what runs in this process
  const { directory, remove } =
    given === undefined ? makeScratch("dev") : { directory: given, remove: () => {} };
  let started: ProcessGroup | null = null;
  const stop = async () => {
    await started?.stop();
    remove();
  };
  try {
    const config = join(directory, "wrangler.toml");
    const data = join(directory, "data");
    writeFileSync(config, configuration(vars));
    const secretsFile = join(directory, ".dev.vars");
    for (const [name, value] of Object.entries(own))
      writeFileSync(secretsFile, `${name}='${value}'\n`, { flag: "a" });
    const { secrets } = await ensureLocalSecrets(secretsFile);
    if (seed !== undefined) {
      await withDatabase(directory, async (database) => {
        await migrate(database);
        await seed(database, secrets);
      });
    }

    const listen = ["--ip", "127.0.0.1", "--port", "0", "--inspector-port", "0"];
    const args = [WRANGLER, "dev", "--config", config, "--local", "--persist-to", data, ...listen];
    started = startProcess(process.execPath, [...args, "--show-interactive-dev-session=false"], {
      directory,
      environment: { WRANGLER_LOG: "log" },
    });
    const ready = await started.lineMatching(/Ready on (http:\/\/127\.0\.0\.1:(\d+))/, READY_DEADLINE_MS);
    const [, address = "", port] = ready;
    const adminToken = secrets.ADMIN_TOKEN ?? "";
    return { address, port: Number(port), process: started, adminToken, stop };
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

/** The database of a start in this directory, while no gateway runs on it. */
export async function withDatabase<Result>(
  directory: string,
  use: (database: D1Database) => Promise<Result>,
): Promise<Result> {
  const platform = await getPlatformProxy<{ DB: D1Database }>({
    configPath: join(directory, "wrangler.toml"),
    persist: { path: join(directory, "data", "v3") }, // where `wrangler dev --persist-to` looks
    remoteBindings: false,
  });
  try {
    return await use(platform.env.DB);
  } finally {
    await platform.dispose();
  }
}

async function migrate(database: D1Database): Promise<void> {
  const migrations = join(ROOT, "migrations");
  for (const name of readdirSync(migrations).sort()) {
    if (name.endsWith(".sql"))
      await database.batch(statements(join(migrations, name)).map((sql) => database.prepare(sql)));
  }
}

/** The migrations hold no semicolon inside a statement. */
function statements(file: string): readonly string[] {
  const text = readFileSync(file, "utf8").replace(/^--.*$/gm, "");
  return text.split(";").flatMap((sql) => (sql.trim() === "" ? [] : [sql]));
}
