// What the cron does: removes what time has made worthless, and seals the audit log. Bounded; the next run goes on.
import type { Services } from "./control/services.ts";
import { MAX_BLOCK_ROWS } from "./store/audit-chain.ts";

const ROWS_AT_ONCE = 500;
const MAX_SWEEPS = 20;
const MAX_BLOCKS = 20;

export interface Housekeeping {
  /** Rows, by table. */
  readonly removed: Readonly<Record<string, number>>;
  readonly sealedRows: number;
  /** The newest block that was made; `null`: there was nothing to seal. */
  readonly block: number | null;
  readonly hash: string | null;
}

export const NOTHING_DONE: Housekeeping = { removed: {}, sealedRows: 0, block: null, hash: null };

export interface Chores {
  /** Also what was done before something went wrong. */
  readonly done: Housekeeping;
  readonly errors: readonly unknown[];
}

/** Never throws. The log is sealed even where clean-up fails. */
export async function keepHouse(
  { cleanup, auditLog }: Pick<Services, "cleanup" | "auditLog">,
  nowSeconds: number,
): Promise<Chores> {
  let done = NOTHING_DONE;
  const errors: unknown[] = [];

  async function sweep(): Promise<void> {
    for (let sweeps = 0; sweeps < MAX_SWEEPS; sweeps += 1) {
      const removed = await cleanup.sweep(nowSeconds, ROWS_AT_ONCE);
      done = { ...done, removed: sumOf(done.removed, removed) };
      if (Object.values(removed).every((rows) => rows < ROWS_AT_ONCE)) return;
    }
  }

  async function seal(): Promise<void> {
    for (let blocks = 0; blocks < MAX_BLOCKS; blocks += 1) {
      const { rows, block, hash } = await auditLog.seal(MAX_BLOCK_ROWS, nowSeconds);
      if (block === null) return;
      done = { ...done, sealedRows: done.sealedRows + rows, block, hash };
      if (rows < MAX_BLOCK_ROWS) return;
    }
  }

  for (const chore of [sweep, seal]) await chore().catch((error: unknown) => errors.push(error));
  return { done, errors };
}

function sumOf(
  a: Readonly<Record<string, number>>,
  b: Readonly<Record<string, number>>,
): Readonly<Record<string, number>> {
  return Object.fromEntries(Object.entries(b).map(([table, rows]) => [table, (a[table] ?? 0) + rows]));
}
