// Lists of the API: one page, or all of them put together.
import type { Call, Options } from "./command.ts";
import { Failure, wrongUsage } from "./failure.ts";
import { type Column, type Row, tableLines } from "./output.ts";
import { createProgress } from "./terminal.ts";

export const LIST_OPTIONS = {
  limit: { type: "string", value: "N", says: "at most so many (1 to 200); default 50" },
  cursor: { type: "string", value: "CURSOR", says: "where the last list ended" },
  all: { type: "boolean", says: "every page" },
} as const satisfies Options;

interface ListFlags {
  readonly limit: string | undefined;
  readonly cursor: string | undefined;
  readonly all: boolean;
}

interface Page {
  readonly items: readonly Row[];
  readonly next_cursor: string | null;
}

/**
 * Prints a list.
 * @param filter parameters of the query; `undefined` ones are left out
 */
export async function printList(
  call: Pick<Call<Options>, "gateway" | "output">,
  path: string,
  filter: Readonly<Record<string, string | undefined>>,
  { limit, cursor, all }: ListFlags,
  columns: readonly Column[],
  nobody: string,
): Promise<void> {
  if (all && (limit !== undefined || cursor !== undefined)) {
    throw wrongUsage("--all takes neither --limit nor --cursor");
  }
  const gateway = call.gateway();
  const items: Row[] = [];
  let next = cursor;
  let page: Page;
  const progress = createProgress("reading");
  do {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries({
      ...filter,
      limit: all ? "200" : limit,
      cursor: next,
    })) {
      if (value !== undefined) query.set(name, value);
    }
    page = pageOf(await gateway.call("GET", query.size === 0 ? path : `${path}?${query}`));
    items.push(...page.items);
    next = page.next_cursor ?? undefined;
    if (all) progress.count(items.length, "so far");
  } while (all && next !== undefined);
  progress.end();
  const { output } = call;
  output.answer({ items, next_cursor: page.next_cursor }, () => tableLines(columns, items, nobody));
  if (next !== undefined && !output.isJson) output.note(`There are more: add --cursor ${next}, or --all`);
}

function pageOf(body: unknown): Page {
  const { items, next_cursor: next } = (body ?? {}) as Partial<Page>;
  if (Array.isArray(items) && (next === null || typeof next === "string"))
    return { items, next_cursor: next };
  throw new Failure("unreachable", "the gateway's answer is no list: is it of another version?");
}
