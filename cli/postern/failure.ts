// What ends a command before it is done, and the exit code that scripts get.

export const EXIT_CODES = {
  /** The gateway said no, or something is wrong with a file. */
  refused: 1,
  usage: 2,
  /** Nobody answers, or the gateway cannot work right now. */
  unreachable: 3,
  /** By Ctrl-C, as shells have it: 128 and the signal. */
  stopped: 130,
} as const;

/** The message is for the person who gave the command; it holds no secret. */
export class Failure extends Error {
  readonly kind: keyof typeof EXIT_CODES;

  constructor(kind: keyof typeof EXIT_CODES, ...lines: readonly string[]) {
    super(lines.join("\n"));
    this.kind = kind;
  }
}

export const wrongUsage = (message: string) => new Failure("usage", message);
