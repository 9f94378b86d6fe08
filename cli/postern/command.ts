// What a command is: its words, its flags, what it does. Help and the reading of arguments are made of it.
import { parseArgs } from "node:util";
import { inWords } from "../flags.ts";
import { Failure, wrongUsage } from "./failure.ts";
import type { Gateway } from "./gateway.ts";
import type { Output } from "./output.ts";

export interface Option {
  readonly type: "string" | "boolean";
  /** What stands for the value in the help. */
  readonly value?: string;
  readonly isNeeded?: true;
  readonly isMany?: true;
  readonly says: string;
}
export type Options = Readonly<Record<string, Option>>;

type ValueOf<Given extends Option> = Given extends { readonly type: "boolean" }
  ? boolean
  : Given extends { readonly isMany: true }
    ? readonly string[]
    : Given extends { readonly isNeeded: true }
      ? string
      : string | undefined;

export interface Call<Given extends Options> {
  readonly flags: { readonly [Name in keyof Given]: ValueOf<Given[Name]> };
  /** As many as the command names, in their order; optional ones may be missing. */
  readonly operands: readonly string[];
  readonly nowSeconds: number;
  readonly output: Output;
  readonly place: Place;
  /** @throws Failure where there is no token, or the address must not be used */
  gateway(): Gateway;
}

/** The flags of every command. */
export interface Place {
  readonly url: string | undefined;
  readonly config: string | undefined;
  readonly state: string | undefined;
}

export interface CommandDefinition<Given extends Options> {
  /** `users create` */
  readonly words: string;
  /** `ID`; in brackets where it may be left out. */
  readonly operands?: readonly string[];
  readonly says: string;
  readonly options: Given;
  /** Further lines of the help. */
  readonly notes?: readonly string[];
  /** @throws Failure */
  run(call: Call<Given>): Promise<void>;
}
export type Command = CommandDefinition<Options>;

export function command<const Given extends Options>(definition: CommandDefinition<Given>): Command {
  return definition as unknown as Command;
}

const COMMON = {
  url: {
    type: "string",
    value: "URL",
    says: "the gateway; default: POSTERN_URL, else where npm start listens",
  },
  json: { type: "boolean", says: "print what the API answers" },
  config: { type: "string", value: "FILE", says: "another wrangler.toml than the project's own" },
  state: { type: "string", value: "DIR", says: "where `npm start --state DIR` keeps secrets and data" },
} as const satisfies Options;

export interface Parsed {
  readonly flags: Readonly<Record<string, unknown>>;
  readonly operands: readonly string[];
  readonly place: Place;
  readonly isJson: boolean;
}

/** @throws Failure of usage */
export function parse(chosen: Command, args: readonly string[]): Parsed {
  const options: Options = { ...chosen.options, ...COMMON };
  const given = read(chosen, options, args);
  const flags: Record<string, unknown> = {};
  for (const [name, option] of Object.entries(options)) {
    const value = given.values[name];
    if (option.isNeeded && (value === undefined || value === "")) {
      throw wrongUsage(`--${name} is needed\n${usageOf(chosen)}`);
    }
    flags[name] = value ?? (option.type === "boolean" ? false : option.isMany ? [] : undefined);
  }
  const operands = chosen.operands ?? [];
  const least = operands.filter((name) => !name.startsWith("[")).length;
  if (given.positionals.length < least || given.positionals.length > operands.length) {
    const surplus = given.positionals[operands.length];
    const wrong =
      surplus === undefined ? `${operands[given.positionals.length]} is needed` : `"${surplus}" is too much`;
    throw wrongUsage(`${wrong}\n${usageOf(chosen)}`);
  }
  const { url, config, state, json } = flags as Record<keyof typeof COMMON, never>;
  return { flags, operands: given.positionals, place: { url, config, state }, isJson: json };
}

function read(chosen: Command, options: Options, args: readonly string[]) {
  const config = Object.fromEntries(
    Object.entries(options).map(([name, { type, isMany }]) => [name, { type, multiple: isMany === true }]),
  );
  try {
    return parseArgs({ args: [...args], options: config, allowPositionals: true });
  } catch (error) {
    throw new Failure("usage", inWords(error, Object.keys(options)), usageOf(chosen));
  }
}

/** One line. */
export function usageOf({ words, operands = [], options }: Command): string {
  const flags = Object.entries(options).map(([name, option]) => {
    const flag = `--${name}${option.value === undefined ? "" : ` ${option.value}`}${option.isMany ? " …" : ""}`;
    return option.isNeeded ? flag : `[${flag}]`;
  });
  return `usage: npm run postern -- ${[words, ...operands, ...flags].join(" ")}`;
}

/** The help of one command. */
export function helpOf(chosen: Command): string {
  const lines = (options: Options) => {
    const rows = Object.entries(options).map(([name, { value, isMany, says }]) => {
      return [
        `  --${name}${value === undefined ? "" : ` ${value}`}`,
        isMany ? `${says}; may be repeated` : says,
      ];
    });
    const width = Math.max(...rows.map(([flag = ""]) => flag.length));
    return rows.map(([flag = "", says]) => `${flag.padEnd(width)}  ${says}`);
  };
  const own = Object.keys(chosen.options).length === 0 ? [] : ["", ...lines(chosen.options)];
  const notes = chosen.notes === undefined ? [] : ["", ...chosen.notes];
  return [usageOf(chosen), "", chosen.says, ...notes, ...own, "", ...lines(COMMON)].join("\n");
}
