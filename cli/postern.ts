// `npm run postern -- …`: users, keys, PATs, sessions, revocations, audit, explain and import of a gateway, by its admin API.
// Exit codes: 0 done, 1 refused or problems in a file, 2 wrong usage, 3 not reachable or an outage.
import { nearest } from "../src/config/read.ts";
import { auditCommands } from "./postern/audit.ts";
import { type Command, helpOf, type Parsed, parse } from "./postern/command.ts";
import { credentialCommands } from "./postern/credentials.ts";
import { explainCommand } from "./postern/explain.ts";
import { EXIT_CODES, Failure } from "./postern/failure.ts";
import { createGateway, type Gateway } from "./postern/gateway.ts";
import { importCommand } from "./postern/import.ts";
import { createOutput, printable } from "./postern/output.ts";
import { revocationCommands } from "./postern/revocations.ts";
import { tokenCommand } from "./postern/token.ts";
import { userCommands } from "./postern/users.ts";

const COMMANDS: readonly Command[] = [
  ...auditCommands.filter(({ words }) => words === "realms list"),
  ...userCommands,
  ...credentialCommands,
  ...revocationCommands,
  ...auditCommands.filter(({ words }) => words !== "realms list"),
  explainCommand,
  tokenCommand,
  importCommand,
];

const args = process.argv.slice(2);
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0); // `… | head`
  throw error;
});

try {
  await main();
} catch (error) {
  if (error instanceof Failure) {
    process.stderr.write(`postern: ${error.message}\n`);
    process.exitCode = EXIT_CODES[error.kind];
  } else {
    process.stderr.write(`postern: ${printable(error instanceof Error ? error.message : String(error))}\n`);
    process.exitCode = EXIT_CODES.refused;
  }
}

async function main(): Promise<void> {
  const isHelp = args.includes("--help") || args.includes("-h");
  const words = args.filter((arg, at) => !arg.startsWith("-") && args.slice(0, at).every(isWord));
  const chosen = COMMANDS.find((one) => one.words === words.slice(0, one.words.split(" ").length).join(" "));
  if (chosen === undefined) {
    if (isHelp || args.length === 0) {
      const group = COMMANDS.filter((one) => one.words.split(" ", 1)[0] === words[0]);
      process.stdout.write(`${overview(group.length > 0 ? group : COMMANDS)}\n`);
      return;
    }
    throw new Failure("usage", unknown(words));
  }
  if (isHelp) {
    process.stdout.write(`${helpOf(chosen)}\n`);
    return;
  }
  let made: Gateway | null = null;
  const parsed: Parsed = parse(chosen, args.slice(chosen.words.split(" ").length));
  await chosen.run({
    flags: parsed.flags as never,
    operands: parsed.operands,
    nowSeconds: Math.floor(Date.now() / 1_000),
    output: createOutput(parsed.isJson),
    place: parsed.place,
    gateway: () => {
      made ??= createGateway(parsed.place);
      return made;
    },
  });
}

function isWord(arg: string): boolean {
  return !arg.startsWith("-");
}

function overview(commands: readonly Command[]): string {
  const usages = commands.map(({ words, operands = [] }) => ["  ", [words, ...operands].join(" ")].join(""));
  const width = Math.max(...usages.map(({ length }) => length));
  return [
    "usage: npm run postern -- COMMAND …        (npm run -s postern -- … in scripts)",
    "",
    ...commands.map(
      ({ says }, at) => `${(usages[at] ?? "").padEnd(width)}  ${says.split(". ", 1)[0]?.replace(/\.$/, "")}`,
    ),
    "",
    "Each one has its own --help. The gateway: --url, else POSTERN_URL, else where npm start listens.",
    "The token: the variable POSTERN_TOKEN; for a gateway on this machine, else ADMIN_TOKEN of its .dev.vars.",
    "Times: seconds since 1970, 2026-12-31, 2026-12-31T23:00:00Z, or a duration like 90d or 12h.",
    "Exit codes: 0 done, 1 refused or problems in a file, 2 wrong usage, 3 not reachable or an outage.",
  ].join("\n");
}

function unknown(words: readonly string[]): string {
  const given = words.slice(0, 2).join(" ");
  const guess = nearest(
    given,
    COMMANDS.map((one) => one.words),
  );
  if (guess !== null) return `there is no command "${printable(given)}"; did you mean ${guess}?`;
  const first = words[0] ?? "";
  const group = COMMANDS.filter((one) => one.words.split(" ", 1)[0] === first);
  if (group.length > 0) {
    return `${first}: which one? ${group.map((one) => one.words).join(", ")}; see --help`;
  }
  const what = given === "" ? "a command is needed" : `there is no command "${printable(given)}"`;
  return `${what}; see --help`;
}
