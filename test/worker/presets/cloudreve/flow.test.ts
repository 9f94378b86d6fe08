// The day of a client, told once and lived twice: with Cloudreve signing in behind the gateway, and with Postern in its
// place before a Cloudreve that checks each token again. What a client reads is the same to the byte, but for the tokens.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createPasswordHasher } from "../../../../src/issuer/password-hasher.ts";
import { addUser, emptyStores, type Gateway } from "../../../support/worker/gateway.ts";
import { cloudreveOrigin } from "./origin.ts";
import {
  API,
  bearer,
  contextOf,
  expectRefusal,
  LOGIN_REQUIRED,
  ME,
  PING,
  type Sent,
  SITE_ID,
  startCloudreve,
  WRONG_USE,
} from "./stand-in.ts";

const NOW_MS = 1_800_000_300_000;
const ACCOUNT = {
  id: "lpua",
  email: "alice@example.com",
  nickname: "Alice",
  password: "correct horse battery staple",
} as const;
const CREDENTIALS = { email: ACCOUNT.email, password: ACCOUNT.password };
const USER =
  '{"id":"lpua","email":"alice@example.com","nickname":"Alice","status":"active","created_at":"2027-01-15T08:05:00.000+00:00"}';
const SESSION = `${API}/session`;
/** Hashed once: it takes as long as it must. */
const PASSWORD_HASH = await createPasswordHasher().hash(ACCOUNT.password);

interface Pair {
  readonly access: string;
  readonly refresh: string;
}

let gateway: Gateway;

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["Date"], now: NOW_MS });
  await emptyStores();
});
afterEach(async () => {
  await gateway.settle();
  vi.useRealTimers();
});

const later = (seconds: number) => vi.setSystemTime(NOW_MS + seconds * 1_000);

const call = (method: string, path: string, headers: Sent = {}, body?: object) =>
  gateway.fetch(path, {
    method,
    headers: { ...(body && { "content-type": "application/json" }), ...headers },
    ...(body && { body: JSON.stringify(body) }),
  });

async function expectSuccess(response: Response, data: string): Promise<void> {
  expect([response.status, await response.text()]).toEqual([200, `{"code":0,"data":${data},"msg":""}`]);
  expect(response.headers.get("content-type")).toBe("application/json; charset=utf-8");
  expect(response.headers.get("set-cookie")).toBeNull();
  expect(response.headers.get("access-control-allow-origin")).toBeNull();
}

/** The whole answer, compared with what its two random members make of it. */
async function pairOf(
  response: Response,
  ends: Readonly<Record<"access" | "refresh", string>>,
  around: string,
): Promise<Pair> {
  const text = await response.clone().text();
  const access = /"access_token":"([^"]+)"/.exec(text)?.[1] ?? "";
  const refresh = /"refresh_token":"([^"]+)"/.exec(text)?.[1] ?? "";
  const token =
    `{"access_token":"${access}","refresh_token":"${refresh}",` +
    `"access_expires":"${ends.access}","refresh_expires":"${ends.refresh}"}`;
  await expectSuccess(response, around.replace("TOKEN", token));
  return { access, refresh };
}

/** A refusal of a call to sign in, whoever gives it: in the same bytes but for its id. */
async function expectFailure(response: Response, code: number, msg: string): Promise<void> {
  const text = await response.text();
  const id = /"correlation_id":"([0-9a-f-]{36})"/.exec(text)?.[1];
  expect([response.status, text]).toEqual([200, `{"code":${code},"msg":"${msg}","correlation_id":"${id}"}`]);
}

describe.each([
  ["guard", {}],
  ["issue", { issue: true, site_id: SITE_ID }],
])("a day in %s mode", (mode, site) => {
  beforeEach(async () => {
    await addUser(ACCOUNT.id, { email: ACCOUNT.email, name: ACCOUNT.nickname }, PASSWORD_HASH);
    gateway = startCloudreve({ site, origin: cloudreveOrigin(ACCOUNT) });
  });

  it("signs in, calls, refreshes in two tabs, and signs out", async () => {
    await expectSuccess(await call("GET", PING), '"4.18.0"');
    await expectRefusal(await call("GET", ME), LOGIN_REQUIRED);
    await expectSuccess(
      await call("GET", `${SESSION}/prepare?email=alice%40example.com`),
      '{"webauthn_enabled":false,"password_enabled":true}',
    );
    await expectFailure(
      await call("POST", `${SESSION}/token`, {}, { ...CREDENTIALS, password: "wrong" }),
      ...([40080, "Incorrect password or email address"] as const),
    );
    const first = await pairOf(
      await call("POST", `${SESSION}/token`, {}, CREDENTIALS),
      { access: "2027-01-15T09:05:00.000+00:00", refresh: "2027-01-29T08:05:00.000+00:00" },
      `{"user":${USER},"token":TOKEN}`,
    );

    // With Bearer and without; the origin has looked at the token as well.
    await expectSuccess(await call("GET", ME, bearer(first.access)), USER);
    await expectSuccess(await call("GET", ME, { authorization: first.access }), USER);
    await expectSuccess(await call("GET", `${API}/file?uri=x`, bearer(first.access)), '{"signed_in":true}');
    expect(contextOf(gateway.received.at(-1))).toMatchObject({ sub: "lpua" });
    await expectSuccess(await call("GET", `${API}/file?uri=x`), '{"signed_in":false}');
    await expectRefusal(await call("GET", ME, bearer(first.refresh)), WRONG_USE);

    // Ten minutes before the end, in two tabs.
    later(3_000);
    const ends = { access: "2027-01-15T09:55:00.000+00:00", refresh: "2027-01-29T08:55:00.000+00:00" };
    const refresh = (token: string) => call("POST", `${SESSION}/token/refresh`, {}, { refresh_token: token });
    const second = await pairOf(await refresh(first.refresh), ends, "TOKEN");
    const third = await pairOf(await refresh(first.refresh), ends, "TOKEN");
    for (const pair of [first, second, third])
      await expectSuccess(await call("GET", ME, bearer(pair.access)), USER);

    // Run out: nobody, and no error where nobody is needed.
    later(3_600);
    await expectRefusal(await call("GET", ME, bearer(first.access)), LOGIN_REQUIRED);
    await expectSuccess(await call("GET", PING, bearer(first.access)), '"4.18.0"');
    await expectSuccess(await call("GET", `${API}/file?uri=x`, bearer(first.access)), '{"signed_in":false}');

    const signOut = (token: string) => call("DELETE", `${SESSION}/token`, {}, { refresh_token: token });
    await expectFailure(await signOut("garbage"), 40020, "Failed to parse token");
    await expectSuccess(await signOut(second.refresh), '""');
    for (const { refresh: token } of [first, second, third]) {
      await expectFailure(await refresh(token), 40020, "Failed to issue token pair");
    }
    // In guard mode it counts until its end, as in Cloudreve itself; where Postern issues it is over.
    const afterwards = await call("GET", ME, bearer(third.access));
    if (mode === "guard") await expectSuccess(afterwards, USER);
    else await expectRefusal(afterwards, LOGIN_REQUIRED);
    await expectSuccess(await signOut(second.refresh), '""');
  });
});
