// The flags of a command, and what is said when they are wrong.
import { type ParseArgsOptionsConfig, parseArgs } from "node:util";
import { nearest } from "../src/config/read.ts";

type Values<Options extends ParseArgsOptionsConfig> = ReturnType<
  typeof parseArgs<{ options: Options }>
>["values"];

/**
 * The flags of this process. Ends it after `--help` (usage, exit code 0), and after a flag that does not exist or lacks
 * its value (what is wrong, usage, exit code 2).
 */
export function readFlags<const Options extends ParseArgsOptionsConfig>(
  options: Options,
  usage: string,
): Values<Options> {
  const args = process.argv.slice(2);
  if (args.includes("--help") || args.includes("-h")) {
    console.log(usage);
    process.exit(0);
  }
  try {
    return parseArgs({ args, options }).values;
  } catch (error) {
    console.error(`${inWords(error, Object.keys(options))}\n${usage}`);
    process.exit(2);
  }
}

/** What is wrong with the flags, for the person who gave them. */
export function inWords(error: unknown, names: readonly string[]): string {
  if (!(error instanceof Error)) return String(error);
  const [, lacking] =
    /^Option '(?:-\w, )?(--[^ ']+)(?: <value>)?' argument (?:missing|is ambiguous)/.exec(error.message) ?? [];
  if (lacking !== undefined)
    return `${lacking} needs a value; one that begins with - is written ${lacking}=-…`;
  const [, plain] = /^Option '(?:-\w, )?(--[^']+)' does not take an argument/.exec(error.message) ?? [];
  if (plain !== undefined) return `${plain} takes no value`;
  const [, surplus] = /^Unexpected argument '([^']*)'/.exec(error.message) ?? [];
  if (surplus !== undefined) return `"${surplus}" is too much: flags begin with --`;
  const [, flag] = /^Unknown option '(-[^']*)'/.exec(error.message) ?? [];
  if (flag === undefined) return error.message.split("\n", 1)[0] ?? "";
  const name = flag.replace(/^-+/, "");
  const guess = nearest(name, names);
  return `unknown option ${flag}${guess === null ? "" : `; did you mean --${guess}?`}`;
}
