// What goes to standard output: tables and records for people, or the API's own JSON. All else goes to standard error.

export type Row = Readonly<Record<string, unknown>>;

export interface Column {
  readonly title: string;
  text(row: Row): string;
}

export interface Output {
  readonly isJson: boolean;
  /** The answer as it is, or for people what `show` writes. */
  answer(value: unknown, show: () => readonly string[]): void;
  /** To people, beside the answer. */
  note(line: string): void;
}

export function createOutput(isJson: boolean): Output {
  return {
    isJson,
    answer(value, show) {
      const lines = isJson ? [JSON.stringify(value, null, 2)] : show();
      process.stdout.write(lines.map((line) => `${line}\n`).join(""));
    },
    note: (line) => void process.stderr.write(`${line}\n`),
  };
}

/** Aligned; `nobody` where there are no rows. */
export function tableLines(
  columns: readonly Column[],
  rows: readonly Row[],
  nobody: string,
): readonly string[] {
  if (rows.length === 0) return [nobody];
  const cells = [
    columns.map(({ title }) => title),
    ...rows.map((row) => columns.map((column) => printable(column.text(row)))),
  ];
  const widths = columns.map((_, at) => Math.max(...cells.map((line) => widthOf(line[at] ?? ""))));
  return cells.map((line) =>
    line
      .map((cell, at) => cell + " ".repeat((widths[at] ?? 0) - widthOf(cell)))
      .join("  ")
      .trimEnd(),
  );
}

/** One line a member. */
export function recordLines(members: readonly (readonly [name: string, text: string])[]): readonly string[] {
  const width = Math.max(...members.map(([name]) => name.length));
  return members.map(([name, text]) => `${name.padEnd(width)}  ${printable(text)}`);
}

/** A column that shows a member as it is. */
export const member = (name: string, title = name.toUpperCase()): Column => ({
  title,
  text: (row) => plain(row[name]),
});

/** Of a key, PAT or session: `revoked` where a denial has ended it for good, whatever status it was given. */
export const statusOf = (row: Row) => (row.revoked === true ? "revoked" : plain(row.status ?? "active"));

/** `-` for what is not there; lists by commas. */
export function plain(value: unknown): string {
  if (value === null || value === undefined || value === "") return "-";
  if (Array.isArray(value)) return value.length === 0 ? "-" : value.map(String).join(",");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** What names and addresses hold must not steer the terminal: control and direction characters become visible. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029]/gu, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** Columns of a terminal: wide characters take two. */
function widthOf(text: string): number {
  let width = 0;
  for (const character of text) {
    width +=
      /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]/.test(
        character,
      )
        ? 2
        : 1;
  }
  return width;
}
