// Route tables of presets: compact text, one line a level, because every isolate carries them.
import type { Level } from "./preset.ts";

export interface TableRow {
  readonly path: string;
  /** Empty: any. */
  readonly methods: readonly string[];
  readonly level: string;
}

/**
 * Reads a table: lines of `level [prefix:] row row …`, where a row is a path, or methods joined by commas, an equals
 * sign and a path. Within a line every path is written without the prefix that its line names.
 *
 * ```
 * user  /api/user: /self/* GET=/token PUT,DELETE=/setting
 * none  : /status
 * ```
 */
export function readTable(table: string, levels: Readonly<Record<string, Level>>): readonly TableRow[] {
  const rows: TableRow[] = [];
  for (const line of table.split("\n")) {
    const [level = "", prefix = "", ...entries] = line.trim().split(/\s+/);
    if (level === "") continue;
    if (!Object.hasOwn(levels, level) || !prefix.endsWith(":")) throw new Error(`a preset's table: ${line}`);
    for (const entry of entries) {
      const equals = entry.indexOf("=");
      const path = prefix.slice(0, -1) + entry.slice(equals + 1);
      rows.push({ level, path, methods: equals === -1 ? [] : entry.slice(0, equals).split(",") });
    }
  }
  return rows;
}
