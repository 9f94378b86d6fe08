// `explain`: what a request would be decided as, and why. The gateway decides as it would; nothing is sent anywhere else.
import { type Command, command } from "./command.ts";
import { wrongUsage } from "./failure.ts";
import { given } from "./inputs.ts";
import { plain, type Row, recordLines } from "./output.ts";
import { readLines } from "./terminal.ts";
import { shownTime } from "./times.ts";

const MAX_HEADERS_BYTES = 131_072;

export const explainCommand: Command = command({
  words: "explain",
  operands: ["URL"],
  says: "What a request to a site would be decided as, and why. Nothing is forwarded, counted or noted.",
  notes: [
    "  explain https://api.example.com/v1/notes --method POST --headers-stdin < headers.txt",
    "Credentials belong on standard input: what stands in a command is seen by others, and kept by the shell.",
  ],
  options: {
    method: { type: "string", value: "METHOD", says: "default GET" },
    header: { type: "string", value: "'NAME: VALUE'", isMany: true, says: "a header of the request" },
    "headers-stdin": { type: "boolean", says: "read headers from standard input, one NAME: VALUE a line" },
    address: { type: "string", value: "IP", says: "the client's address; default: it is not known" },
  },
  async run({ gateway, flags, operands: [url = ""], output }) {
    const api = gateway();
    const lines = flags["headers-stdin"] ? await readLines(MAX_HEADERS_BYTES) : [];
    const headers = [...flags.header, ...lines].map(headerOf);
    const body = given({ url, method: flags.method?.toUpperCase(), headers, client_address: flags.address });
    const answer = await api.call("POST", "admin/explain", body);
    output.answer(answer, () => show(answer as Row));
  },
});

/** Never repeats the line: it may hold a credential. @throws Failure of usage */
function headerOf(line: string): { readonly name: string; readonly value: string } {
  const colon = line.indexOf(":");
  if (colon < 1) throw wrongUsage("a header is written NAME: VALUE");
  return { name: line.slice(0, colon).trim(), value: line.slice(colon + 1).trim() };
}

function show(told: Row): readonly string[] {
  const route = told.route as Row | null;
  const principal = told.principal as Row | null;
  const credential = told.credential as Row | null;
  return recordLines([
    ["outcome", [told.outcome, told.status, told.code].filter((part) => part !== null).join(" ")],
    ["reason", plain(told.reason)],
    ...(told.observed === null ? [] : [["observed", `would be refused: ${plain(told.observed)}`] as const]),
    ["site", plain(told.site)],
    ["path", plain(told.path)],
    ["route", route === null ? "-" : `${plain(route.key)}  ${methodsOf(route)} ${plain(route.path)}`],
    ...(route === null ? [] : [["demands", demandsOf(route)] as const]),
    ["credential", credential === null ? "-" : `${plain(credential.kind)} ${plain(credential.id)}`],
    [
      "caller",
      principal === null ? "-" : `${plain(principal.realm)}/${plain(principal.id)}, ${rightsOf(principal)}`,
    ],
  ]);
}

const methodsOf = ({ methods }: Row) => (plain(methods) === "-" ? "any method" : plain(methods));

/** What is said of a member that holds anything. */
const named = (row: Row, members: Readonly<Record<string, string>>) =>
  Object.entries(members).flatMap(([name, says]) =>
    plain(row[name]) === "-" ? [] : [`${says} ${plain(row[name])}`],
  );

const demandsOf = (route: Row) =>
  [
    `auth ${plain(route.auth)}`,
    ...named(route, {
      accept: "by",
      role: "role",
      scopes: "scopes",
      any_scopes: "any scope of",
      permissions: "permissions",
      any_permissions: "any permission of",
      limit_by: "a limit by",
    }),
    ...(route.mode === "observe" ? ["observed only"] : []),
  ].join("; ");

const rightsOf = (principal: Row) =>
  [
    `role ${plain(principal.role)}`,
    ...named(principal, { permissions: "permissions", scopes: "scopes" }),
    ...(principal.expires_at === null ? [] : [`until ${shownTime(principal.expires_at)}`]),
  ].join("; ");
