// Two keys of different owners, made elsewhere, and what is said of keys.
import { addCredential, addUser, DB, type Gateway } from "../../../support/worker/gateway.ts";

export const KEY = `sk-${"aB3".repeat(16)}`;
export const OTHER = `sk-${"xY9".repeat(16)}`;

export const relaySaid = (text: string, code = "") =>
  new RegExp(
    `^\\{"error":\\{"code":"${code}","message":"${text} \\(request id: ([^)]+)\\)","type":"new_api_error"\\}\\}$`,
  );
export const INVALID = relaySaid("Invalid token");
export const askingSaid = (message: string) => `{"message":"${message}","success":false}`;

/** KEY is user 7's and OTHER that of 8, who is root; 99 has been deleted. */
export async function addOwners(): Promise<void> {
  await addUser("7", { username: "alice", attributes: { group: "vip" } });
  await addUser("8", { username: "root", role: "root" });
  await addUser("99");
  await DB.prepare("UPDATE users SET status = 'deleted' WHERE id = '99'").run();
  await addCredential("api_key", "key_1", KEY);
  await addCredential("api_key", "key_2", OTHER, { userId: "8" });
}

export async function call(gateway: Gateway, path: string, headers: HeadersInit, method = "POST") {
  const response = await gateway.fetch(path, { method, headers });
  return { status: response.status, body: await response.text(), headers: response.headers };
}
