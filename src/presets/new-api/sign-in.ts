// What both generations of New API share where Postern issues: the body of a sign-in, the user as its clients read it, and
// answers as they come.
import * as v from "valibot";
import { Password } from "../../control/fields.ts";
import { parseInput, readInput } from "../../control/input.ts";
import type { Services } from "../../control/services.ts";
import { failureMayShow, type SignedIn, signInByPassword } from "../../issuer/sessions.ts";
import { Problem } from "../../problem.ts";
import type { UserView } from "../../store/directory.ts";
import type { AnswerCall } from "../answer.ts";

/** Members that are not known are passed over, as the original does. */
const LoginBody = v.object({
  username: v.pipe(v.string(), v.minLength(1), v.maxLength(254)),
  password: Password,
});

const ROLE_NUMBERS: Readonly<Record<string, number>> = { user: 1, admin: 10, root: 100 };
const ENABLED = 1;
const DISABLED = 2;
/** What a 64-bit integer of the original has room for and a JavaScript number is exact about; no sign, no leading zero. */
const USER_ID = /^[1-9][0-9]{0,14}$/;

/**
 * The user whose name (or e-mail address) and password the body holds. JSON only: a page of another origin can send a
 * form without asking, and would sign its visitor in to somebody else's account.
 *
 * @throws Problem `input_invalid`, `request_malformed`, `content_type_unsupported`, `content_too_large`,
 *   `sign_in_failed`, `rate_limited`, `sign_in_busy`
 */
export async function signInByBody({ match, context }: AnswerCall, services: Services): Promise<SignedIn> {
  const mayFail = failureMayShow();
  const { request } = context.arrival;
  const input = parseInput(await readInput(request), request.headers, LoginBody, "json");
  const { username: name, password } = v.parse(LoginBody, input);
  const { realm } = match.site;
  const signedIn = await signInByPassword({ realm, name, password }, mayFail, context, services);
  // Their clients send the id back as an integer, and nothing else would be let in with it.
  if (!USER_ID.test(signedIn.user.id)) throw new Problem("sign_in_failed", "the user's id is no number");
  return signedIn;
}

/** Role 0 is New API's guest: nobody's but of a role that it does not have. */
export function toNewApiUser({ id, username, name, role, status, attributes }: UserView) {
  return {
    id: Number(id),
    username: username ?? "",
    display_name: name ?? username ?? "",
    role: ROLE_NUMBERS[role] ?? 0,
    status: status === "active" ? ENABLED : DISABLED,
    group: typeof attributes.group === "string" ? attributes.group : "default",
  };
}

/** JSON as gin writes it. Never stored. */
export function ginJson(content: unknown, headers: Readonly<Record<string, string>> = {}): Response {
  return new Response(JSON.stringify(content), {
    headers: {
      "content-type": "application/json; charset=utf-8",
      "cache-control": "no-store",
      ...headers,
    },
  });
}
