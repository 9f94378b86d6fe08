// `import`: users, keys and PATs of another system. Read twice: once to find everything that is wrong, once to send it.
import { resolve } from "node:path";
import { openCloudreve } from "./cloudreve.ts";
import { type Call, type Command, command, type Options } from "./command.ts";
import { EXIT_CODES, Failure, wrongUsage } from "./failure.ts";
import { type Gateway, isLoopback } from "./gateway.ts";
import { checkRecords, createProblems, type KnownRealm, type Problems } from "./import-check.ts";
import { askAboutDoubtful, type Count, type Sent, sendRecords } from "./import-send.ts";
import { createLineSource, type Source } from "./import-source.ts";
import { openNewApi } from "./new-api.ts";
import { createProgress } from "./terminal.ts";

const SYSTEMS: Readonly<Record<string, (file: string, realm: string) => Promise<Source>>> = {
  "new-api": openNewApi,
  cloudreve: openCloudreve,
};
const SYSTEM_NAMES = Object.keys(SYSTEMS).join(" or ");

export const importCommand: Command = command({
  words: "import",
  operands: ["FILE"],
  says: "Brings users, API keys and PATs over, from JSON lines or from another system's SQLite file. What is there already stays as it is, unless --update is said.",
  notes: [
    "The form of the whole file is checked before anything is written. What stands against it on the gateway, a name that",
    "is taken or an owner who is not there, --dry-run finds beforehand; otherwise it ends the import at the chunk of 1,000",
    "records it is in: the others may be written then. Mended or stopped halfway, run it again: it goes on where it was.",
    "--update takes over what the records say of users, keys and PATs that are there: all but passwords. What a record leaves",
    "out stays, and so does what was deleted here. Whoever loses the right to sign in loses the sessions; whoever is lifted to",
    "the top role loses keys, PATs and password as well.",
    "One JSON object a line:",
    '  {"type":"user","realm":"files","id":"g3cy","username":"alice","role":"user","password":{"scheme":"bcrypt","hash":"…"}}',
    '  {"type":"api_key","realm":"llm","user":"7","name":"laptop","key":"sk-…","expires_at":1790000000,"scopes":["chat"]}',
    '  {"type":"pat","realm":"llm","user":"7","sha256":"…"}',
  ],
  options: {
    "dry-run": { type: "boolean", says: "only say what would be added, and what stands against it" },
    update: { type: "boolean", says: "take over what differs of those that are there already" },
    from: { type: "string", value: "SYSTEM", says: `FILE is the SQLite database of ${SYSTEM_NAMES}` },
    realm: { type: "string", value: "NAME", says: "with --from: where they go" },
  },
  async run(call) {
    const [given = ""] = call.operands;
    // npm runs scripts in the project's folder, whatever folder it was called from.
    const file = resolve(process.env.INIT_CWD ?? "", given);
    const source = await openSource(file, call.flags.from, call.flags.realm);
    const stopping = new AbortController();
    // What is on its way is waited for, so that what is said of it is true; the second time it is not.
    const onInterrupt = () => {
      if (stopping.signal.aborted) process.exit(EXIT_CODES.stopped);
      stopping.abort();
    };
    process.on("SIGINT", onInterrupt);
    try {
      const { "dry-run": isDryRun, update: isUpdate } = call.flags;
      await importFrom(source, call.gateway(), { isDryRun, isUpdate }, call.output, stopping.signal);
    } finally {
      process.off("SIGINT", onInterrupt);
      source.close();
    }
  },
});

/** @throws Failure */
async function openSource(
  file: string,
  from: string | undefined,
  realm: string | undefined,
): Promise<Source> {
  if (from === undefined) {
    if (realm !== undefined)
      throw wrongUsage("--realm is for --from: in a file of JSON lines each line names its realm");
    return createLineSource(file);
  }
  const open = Object.hasOwn(SYSTEMS, from) ? SYSTEMS[from] : undefined;
  if (open === undefined) throw wrongUsage(`--from must be ${SYSTEM_NAMES}`);
  if (realm === undefined) throw wrongUsage("--from needs --realm NAME: where the users go");
  return open(file, realm);
}

async function importFrom(
  source: Source,
  gateway: Gateway,
  how: How,
  output: Call<Options>["output"],
  stopping: AbortSignal,
): Promise<void> {
  const { isDryRun, isUpdate } = how;
  const realms = await realmsOf(gateway);
  const problems = createProblems();
  const checking = createProgress("checking");
  const putInForce = isLoopback(new URL(gateway.url)) ? "start it again" : "deploy";
  const checked = await checkRecords(source, realms, problems, putInForce, (share) => {
    if (stopping.aborted) throw new Failure("stopped", "stopped; nothing was written");
    checking.at(share, 1);
  }).finally(checking.end);
  source.demandUnchanged();
  if (problems.count === 0) await askAboutDoubtful(gateway, source, checked, problems);
  if (problems.count > 0) throw refused(problems, "Nothing was written");

  const total = checked.users + checked.credentials;
  const sending = createProgress(isDryRun ? "comparing" : "importing");
  let acknowledged = 0;
  const sent = await sendRecords(gateway, source, checked, problems, {
    ...how,
    stopping,
    onProgress: (done) => {
      acknowledged = done;
      sending.at(done, total);
    },
  })
    .catch((error: unknown) => {
      if (!(error instanceof Failure)) throw error;
      throw new Failure(error.kind, error.message, `  ${stand(acknowledged, total, isDryRun)}`);
    })
    .finally(sending.end);
  const left = source.leftOut();
  output.answer({ ...sent, dry_run: isDryRun, update: isUpdate, problems: problems.count }, () => [
    `Users:         ${words(sent.users, how)}`,
    `Keys and PATs: ${words(sent.credentials, how)}`,
    ...differenceLines(sent, how),
    ...left.map((line) => `Left out:      ${line}`),
  ]);
  if (problems.count > 0) {
    throw refused(
      problems,
      isDryRun ? "Nothing was written" : "What was added stays; mend the rest and run it again",
    );
  }
}

/** How far an import came that did not end. */
function stand(acknowledged: number, total: number, isDryRun: boolean): string {
  const count = `${acknowledged.toLocaleString("en")} of ${total.toLocaleString("en")} records`;
  return isDryRun
    ? `${count} were compared; nothing was written`
    : `the gateway has ${count}; the same command goes on where this one was`;
}

/** @throws Failure */
async function realmsOf(gateway: Gateway): Promise<ReadonlyMap<string, KnownRealm>> {
  const answer = (await gateway.call("GET", "admin/realms")) as {
    readonly items: readonly {
      readonly name: string;
      readonly roles: readonly string[];
      readonly untagged_keys: boolean;
      readonly api_key_prefix: string;
    }[];
  };
  return new Map(
    answer.items.map(({ name, roles, untagged_keys: hasUntaggedKeys, api_key_prefix: apiKeyPrefix }) => [
      name,
      { roles, hasUntaggedKeys, apiKeyPrefix },
    ]),
  );
}

function refused({ lines, count }: Problems, end: string): Failure {
  const more = count > lines.length ? [`… and ${count - lines.length} more`] : [];
  const what = count === 1 ? "1 problem" : `${count} problems`;
  return new Failure("refused", `${what}:`, ...lines.map((line) => `  ${line}`), ...more, `${end}.`);
}

interface How {
  readonly isDryRun: boolean;
  readonly isUpdate: boolean;
}

function words({ added, present, differing, deleted }: Count, { isDryRun, isUpdate }: How): string {
  return [
    `${added} ${isDryRun ? "would be added" : "added"}, ${present} already there`,
    ...(differing === 0 ? [] : [`${differing} of them ${differingWords(differing, isDryRun, isUpdate)}`]),
    ...(deleted === 0 ? [] : [`${deleted} deleted here, and left out`]),
  ].join(", ");
}

function differingWords(count: number, isDryRun: boolean, isUpdate: boolean): string {
  if (!isUpdate) return count === 1 ? "differs" : "differ";
  return isDryRun ? "would be updated" : "updated";
}

/** Without `--update` what to do about them; in a dry run where they are. No values: they need not be for everyone's eyes. */
function differenceLines({ users, credentials, differences }: Sent, { isDryRun, isUpdate }: How) {
  const count = users.differing + credentials.differing;
  if (count === 0) return [];
  const lines = isUpdate ? [] : [`${count} ${count === 1 ? "differs" : "differ"}: --update takes them over`];
  if (!isDryRun) return lines;
  const more = count - differences.length;
  return [
    ...lines,
    ...differences.map(({ place, members }) => `  ${place}: ${members.join(", ")}`),
    ...(more > 0 ? [`  … and ${more} more`] : []),
  ];
}
