// Seals over the audit log: blocks of consecutive rows, each with a keyed hash that covers the block before it.
import type { NamedSecret } from "../config/secrets.ts";
import { isSameSecret } from "../crypto/constant-time.ts";
import { toHex } from "../crypto/digest.ts";
import { hmacSha256 } from "../crypto/hmac.ts";

export type Verification =
  | {
      readonly isIntact: true;
      /** That were recomputed. */
      readonly rows: number;
      readonly blocks: number;
      /** Rows that no block covers yet. */
      readonly unsealed: number;
      /** Of the newest block: keep it elsewhere, and the log cannot be shortened unnoticed. `null`: no block yet. */
      readonly headHash: string | null;
      /** Where to go on; `null`: that was all of it. */
      readonly nextBlock: number | null;
    }
  | ({ readonly isIntact: false } & Flaw);

export interface Flaw {
  readonly problem: string;
  /** The row, or where the block begins that it is in. */
  readonly atSeq: number;
}

export interface Sealed {
  readonly rows: number;
  /** `null`: nothing was sealed. */
  readonly block: number | null;
  readonly hash: string | null;
}

export interface AuditChain {
  /**
   * Seals at most `maxRows` rows that no block covers yet, and never more than `MAX_BLOCK_ROWS`. Of several calls at
   * once one makes the block; what is written meanwhile belongs to the next one.
   * @throws where there are rows and no pepper
   */
  seal(maxRows: number, nowSeconds: number): Promise<Sealed>;
  /**
   * Recomputes the blocks from `fromBlock` on, at most `maxBlocks` of them; at the end of the chain it looks for gaps in
   * what no block covers. The block before `fromBlock` is taken as it stands: the whole log is verified by pages that
   * begin at 1. Notices what was removed, changed, inserted or renumbered after it was sealed; of rows that were not
   * sealed yet only that some are missing. Does not notice that a log and its newest blocks were both cut off, with
   * `sqlite_sequence` set back: compare `headHash` with one that was kept elsewhere.
   */
  verify(fromBlock: number, maxBlocks: number): Promise<Verification>;
}

/** Of one block: what verifying it reads at once. */
export const MAX_BLOCK_ROWS = 1_000;

/** All columns, in the order in which they are sealed. */
const COLUMNS = [
  "seq",
  "at_seconds",
  "action",
  "actor_kind",
  "actor_realm",
  "actor_id",
  "actor_credential",
  "target_kind",
  "target_realm",
  "target_id",
  "address",
  "request_id",
  "details",
] as const;
type Row = { readonly [Column in (typeof COLUMNS)[number]]: unknown } & { readonly seq: number };

interface Block {
  readonly number: number;
  readonly first_seq: number;
  readonly last_seq: number;
  readonly previous_hash: string;
  readonly hash: string;
  readonly pepper: string;
  readonly sealed_at_seconds: number;
}

/** What stands before block 1. */
const GENESIS = { number: 0, last_seq: 0, hash: "" } as const;
type Link = Pick<Block, "number" | "last_seq" | "hash">;

const NEWEST_BLOCK = "SELECT * FROM audit_blocks ORDER BY number DESC LIMIT 1";
const LAST_SEALED = "COALESCE((SELECT last_seq FROM audit_blocks ORDER BY number DESC LIMIT 1), 0)";
/** Not `max(seq)`, which falls back when the newest rows are removed. */
const headOf = (table: string) => `COALESCE((SELECT seq FROM sqlite_sequence WHERE name = '${table}'), 0)`;
/** The highest number that a block ever had: one that was removed is not made again. */
const LAST_NUMBER = `MAX(COALESCE((SELECT MAX(number) FROM audit_blocks), 0), ${headOf("audit_blocks")})`;
const TAIL = `SELECT ${headOf("audit")} AS head, ${headOf("audit_blocks")} AS block_head,
  (SELECT MIN(seq) FROM audit) AS lowest, COUNT(*) AS count, MIN(seq) AS first, MAX(seq) AS last
  FROM audit WHERE seq > ${LAST_SEALED}`;

interface Tail {
  readonly head: number;
  readonly block_head: number;
  readonly lowest: number | null;
  /** Of the rows that no block covers. */
  readonly count: number;
  readonly first: number | null;
  readonly last: number | null;
}

const NOTHING_SEALED: Sealed = { rows: 0, block: null, hash: null };

/** @param peppers the first one seals; a block names the one that sealed it */
export function createAuditChain(database: D1Database, peppers: readonly NamedSecret[]): AuditChain {
  /** @returns `null`: the block's pepper is not among ours */
  async function hashOf(block: Omit<Block, "hash">, rows: readonly Row[]): Promise<string | null> {
    const pepper = peppers.find(({ id }) => id === block.pepper);
    if (pepper === undefined) return null;
    const text = JSON.stringify([
      "postern audit 1",
      block.number,
      block.first_seq,
      block.last_seq,
      block.previous_hash,
      block.pepper,
      block.sealed_at_seconds,
      rows.map((row) => COLUMNS.map((column) => row[column])),
    ]);
    return toHex(await hmacSha256(pepper.value, new TextEncoder().encode(text)));
  }

  async function rowsOf({ first_seq, last_seq }: Block): Promise<readonly Row[]> {
    const { results } = await database
      .prepare(`SELECT ${COLUMNS.join(", ")} FROM audit WHERE seq BETWEEN ?1 AND ?2 ORDER BY seq LIMIT ?3`)
      .bind(first_seq, last_seq, MAX_BLOCK_ROWS + 1)
      .all<Row>();
    return results;
  }

  async function flawOf(block: Block, previous: Link): Promise<Flaw | null> {
    const { number, first_seq, last_seq } = block;
    const expected = previous.number + 1;
    const nextSeq = previous.last_seq + 1;
    if (number > expected) return { problem: `block ${expected} is missing`, atSeq: nextSeq };
    if (number < expected) return { problem: `block ${number} was inserted`, atSeq: first_seq };
    if (first_seq !== nextSeq || last_seq < first_seq || block.previous_hash !== previous.hash) {
      return { problem: `block ${number} does not follow the one before it`, atSeq: nextSeq };
    }
    const rows = await rowsOf(block);
    const missing = firstMissing(rows, first_seq, last_seq);
    if (missing !== null) return { problem: `row ${missing} is missing`, atSeq: missing };
    if (rows.length > MAX_BLOCK_ROWS) {
      return { problem: `block ${number} is longer than any that is sealed`, atSeq: first_seq };
    }
    const hash = await hashOf(block, rows);
    if (hash === null) {
      const problem = `block ${number} cannot be verified: POSTERN_PEPPERS lacks the pepper it names`;
      return { problem, atSeq: first_seq };
    }
    if (isSameSecret(hash, block.hash)) return null;
    const problem = `block ${number}, rows ${first_seq} to ${last_seq}, is not as it was sealed`;
    return { problem, atSeq: first_seq };
  }

  async function flawOfTail(tail: Tail, newest: Link): Promise<Flaw | null> {
    const { head, block_head, lowest, count, first } = tail;
    if (lowest !== null && lowest < 1) return { problem: `row ${lowest} was inserted`, atSeq: lowest };
    if (block_head > newest.number) {
      return { problem: `block ${newest.number + 1} is missing`, atSeq: newest.last_seq + 1 };
    }
    const last = tail.last ?? newest.last_seq;
    if (last - newest.last_seq !== count || (first !== null && first !== newest.last_seq + 1)) {
      const missing = await firstMissingAfter(newest.last_seq);
      return { problem: `row ${missing} is missing`, atSeq: missing };
    }
    if (head > last) return { problem: `rows from ${last + 1} to ${head} are missing`, atSeq: last + 1 };
    if (head < last) return { problem: "numbers of rows were set back, to be used again", atSeq: head + 1 };
    return null;
  }

  async function firstMissingAfter(seq: number): Promise<number> {
    const missing = await database
      .prepare(
        `SELECT MIN(before.seq) + 1 AS seq FROM (SELECT ?1 AS seq UNION ALL SELECT seq FROM audit WHERE seq > ?1) AS before
         WHERE NOT EXISTS (SELECT 1 FROM audit WHERE audit.seq = before.seq + 1)`,
      )
      .bind(seq)
      .first<number>("seq");
    return missing ?? seq + 1;
  }

  return {
    async seal(maxRows, nowSeconds) {
      const [newest, numbers, unsealed] = await database.batch<unknown>([
        database.prepare(NEWEST_BLOCK),
        database.prepare(`SELECT ${LAST_NUMBER} AS last`),
        database
          .prepare(`SELECT ${COLUMNS.join(", ")} FROM audit WHERE seq > ${LAST_SEALED} ORDER BY seq LIMIT ?1`)
          .bind(Math.min(maxRows, MAX_BLOCK_ROWS)),
      ]);
      const previous: Link = firstOf<Block>(newest) ?? GENESIS;
      const rows = (unsealed?.results ?? []) as readonly Row[];
      const last = rows.at(-1);
      if (last === undefined) return NOTHING_SEALED;
      const [pepper] = peppers;
      if (pepper === undefined) throw new Error("sealing the audit log needs POSTERN_PEPPERS");
      const block = {
        number: (firstOf<{ readonly last: number }>(numbers)?.last ?? 0) + 1,
        // A row that is missing by now is missing in this block, and `verify` says so.
        first_seq: previous.last_seq + 1,
        last_seq: last.seq,
        previous_hash: previous.hash,
        pepper: pepper.id,
        sealed_at_seconds: nowSeconds,
      };
      const hash = await hashOf(block, rows);
      // Only on top of the block that was read: of two calls at once the later one does nothing.
      const inserted = await database
        .prepare(
          `INSERT INTO audit_blocks (number, first_seq, last_seq, previous_hash, hash, pepper, sealed_at_seconds)
           SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
           WHERE ${LAST_NUMBER} = ?1 - 1
             AND COALESCE((SELECT hash FROM audit_blocks ORDER BY number DESC LIMIT 1), '') = ?4
           RETURNING number`,
        )
        .bind(
          block.number,
          block.first_seq,
          block.last_seq,
          block.previous_hash,
          hash,
          block.pepper,
          block.sealed_at_seconds,
        )
        .first();
      return inserted === null ? NOTHING_SEALED : { rows: rows.length, block: block.number, hash };
    },

    async verify(fromBlock, maxBlocks) {
      const isWhole = fromBlock <= 1;
      // One snapshot: where the chain ends, and what lies behind its end.
      const [before, page, newest, rest] = await database.batch<unknown>([
        database.prepare("SELECT * FROM audit_blocks WHERE number = ?1 - 1").bind(fromBlock),
        database
          .prepare("SELECT * FROM audit_blocks WHERE number >= ?1 ORDER BY number LIMIT ?2")
          .bind(isWhole ? Number.MIN_SAFE_INTEGER : fromBlock, maxBlocks + 1),
        database.prepare(NEWEST_BLOCK),
        database.prepare(TAIL),
      ]);
      let previous: Link | undefined = isWhole ? GENESIS : firstOf<Block>(before);
      if (previous === undefined) {
        return { isIntact: false, problem: `block ${fromBlock - 1} is missing`, atSeq: 0 };
      }
      const blocks = (page?.results ?? []) as readonly Block[];
      let rows = 0;
      for (const block of blocks.slice(0, maxBlocks)) {
        const flaw = await flawOf(block, previous);
        if (flaw !== null) return { isIntact: false, ...flaw };
        rows += block.last_seq - block.first_seq + 1;
        previous = block;
      }
      const tail = firstOf<Tail>(rest);
      if (tail === undefined) throw new Error("D1 did not answer a query");
      const isEnd = blocks.length <= maxBlocks;
      const flaw = isEnd ? await flawOfTail(tail, previous) : null;
      if (flaw !== null) return { isIntact: false, ...flaw };
      return {
        isIntact: true,
        rows,
        blocks: Math.min(blocks.length, maxBlocks),
        unsealed: tail.count,
        headHash: firstOf<Block>(newest)?.hash ?? null,
        nextBlock: isEnd ? null : previous.number + 1,
      };
    },
  };
}

const firstOf = <Shape>(result: D1Result | undefined): Shape | undefined =>
  result?.results[0] as Shape | undefined;

/** `null`: all of them are there, or more than were read. */
function firstMissing(rows: readonly Row[], firstSeq: number, lastSeq: number): number | null {
  for (const [index, { seq }] of rows.entries()) {
    if (seq !== firstSeq + index) return firstSeq + index;
  }
  const isCutOff = rows.length > MAX_BLOCK_ROWS;
  return isCutOff || rows.length === lastSeq - firstSeq + 1 ? null : firstSeq + rows.length;
}
