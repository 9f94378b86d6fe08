// What `npm start` prints once the gateway answers: who there is, and requests to paste.
import { type DemoCredentials, SESSION_COOKIE } from "./accounts.ts";

export interface DemoPerson extends DemoCredentials {
  readonly jwt: string;
}

interface Example {
  readonly status: number;
  readonly why: string;
  readonly path: string;
  readonly method?: string;
  readonly headers?: readonly string[];
}

interface People {
  readonly user: DemoPerson;
  readonly admin: DemoPerson;
}

/**
 * @param address without a trailing slash
 * @param host what the site wants to be called; `null`: anything
 * @param cliFlags for the CLI to find this gateway and its `ADMIN_TOKEN`
 */
export function demoGuide(
  address: string,
  { user, admin }: People,
  host: string | null,
  cliFlags: string,
): string {
  const hostOption = host === null ? "" : ` -H 'Host: ${host}'`;
  const credentials = [user, admin].map((person) => {
    const { id, username, role, scopes } = person.account;
    return [
      `${username}: id ${id}, role ${role}, scopes ${scopes.join(" ")}`,
      `  API key   ${person.apiKey}`,
      `  PAT       ${person.pat}   (with New-Api-User: ${id})`,
      `  session   ${SESSION_COOKIE}=${person.session.value}`,
      `  JWT       ${person.jwt}`,
    ].join("\n");
  });
  const examples = demoExamples({ user, admin }).map(({ status, why, path, method, headers = [] }) => {
    const options = headers.map((header) => ` -H '${header}'`).join("");
    const verb = method === undefined ? "" : ` -X ${method}`;
    return `# ${status}  ${why}\ncurl -i${verb}${hostOption}${options} ${address}${path}`;
  });
  const administration = `# users, keys, sessions, the audit log, from another terminal\nnpm run postern -- users list --realm demo${cliFlags}`;
  return [...credentials, ...examples, administration].join("\n\n");
}

/** The paths and what they demand are in `wrangler.toml`, `SITE_DEMO`. */
function demoExamples({ user, admin }: People): readonly Example[] {
  const bearer = (secret: string) => `Authorization: Bearer ${secret}`;
  const tampered = user.apiKey.slice(0, -1) + (user.apiKey.endsWith("0") ? "1" : "0");
  return [
    {
      status: 200,
      why: "open to everyone; the answer is the request an origin would have got",
      path: "/public",
    },
    { status: 200, why: "optional: anonymous without a credential", path: "/greeting" },
    {
      status: 200,
      why: "an API key; the answer's userContext is what the origin learns",
      path: "/notes",
      headers: [bearer(user.apiKey)],
    },
    {
      status: 200,
      why: "a PAT with its owner's id",
      path: "/notes",
      headers: [bearer(user.pat), `New-Api-User: ${user.account.id}`],
    },
    {
      status: 200,
      why: "a session cookie with its owner's id",
      path: "/notes",
      headers: [`New-Api-User: ${user.account.id}`, `Cookie: ${SESSION_COOKIE}=${user.session.value}`],
    },
    { status: 200, why: "a JWT; its role is the one in D1", path: "/admin", headers: [bearer(admin.jwt)] },
    {
      status: 200,
      why: "the scope notes.write",
      path: "/notes",
      method: "POST",
      headers: [bearer(admin.apiKey)],
    },
    {
      status: 200,
      why: "the permission audit.read; this route asks D1 on every request",
      path: "/vault",
      headers: [bearer(admin.apiKey)],
    },
    { status: 401, why: "nothing presented", path: "/notes" },
    { status: 401, why: "a key with one character changed", path: "/notes", headers: [bearer(tampered)] },
    { status: 401, why: "a PAT without New-Api-User", path: "/notes", headers: [bearer(user.pat)] },
    {
      status: 401,
      why: "a bad key, although a credential is optional",
      path: "/greeting",
      headers: [bearer(tampered)],
    },
    { status: 403, why: "no permission audit.read", path: "/vault", headers: [bearer(user.jwt)] },
    { status: 403, why: "role user, the route wants admin", path: "/admin", headers: [bearer(user.apiKey)] },
    {
      status: 403,
      why: "no scope notes.write",
      path: "/notes",
      method: "POST",
      headers: [bearer(user.apiKey)],
    },
    {
      status: 404,
      why: "no route: what is not declared is closed",
      path: "/secret",
      headers: [bearer(admin.apiKey)],
    },
  ];
}
