// Clients of language models that this project did not write, in front of both New APIs (wire contract 3.2 and 3.5).
import Anthropic from "@anthropic-ai/sdk";
import { ApiError, GoogleGenAI } from "@google/genai";
import OpenAI from "openai";
import { beforeAll, describe, expect, it } from "vitest";
import { MODEL, TEXT } from "../../support/node/relay-origin.ts";
import type { ClientGateway } from "./gateway.ts";

const QUESTION = { role: "user", content: "Say something." } as const;
/** Well-formed, and nobody's. */
const WRONG_KEY = `sk-${"0".repeat(48)}`;
const INVALID = /^Invalid token \(request id: [0-9a-f-]{36}\)$/;
const THROWS = "nothing was thrown";

const errorOf = (work: PromiseLike<unknown>): Promise<unknown> =>
  Promise.resolve(work).then(
    () => THROWS,
    (error: unknown) => error,
  );

/** What the origin got last: of the credential, and of who is calling. */
const lastOf = ({ relay }: ClientGateway) => relay.received.at(-1)?.headers ?? {};

export function describeRelay(site: "classic" | "current", gateway: () => ClientGateway): void {
  let key = "";
  beforeAll(async () => {
    ({ key } = await gateway().newKey(site));
  });

  describe(`the OpenAI client, preset of ${site}.localhost`, () => {
    const clientWith = (apiKey: string) =>
      new OpenAI({ apiKey, baseURL: `${gateway().urlOf(site)}/v1`, maxRetries: 0 });
    const ask = (client: OpenAI) => client.chat.completions.create({ model: MODEL, messages: [QUESTION] });

    it("chats, and the origin learns who is calling", async () => {
      const { choices } = await ask(clientWith(key));
      expect(choices[0]?.message.content).toBe(TEXT);
      expect(lastOf(gateway())).toMatchObject({
        authorization: `Bearer ${key}`,
        "x-user-context": expect.stringMatching(/^[^.]+\.[^.]+\.[^.]+$/),
      });
    });

    it("streams", async () => {
      const stream = await clientWith(key).chat.completions.create({
        ...{ model: MODEL, messages: [QUESTION], stream: true },
      });
      let text = "";
      for await (const { choices } of stream) text += choices[0]?.delta.content ?? "";
      expect(text).toBe(TEXT);
    });

    it("lists models", async () => {
      const { data } = await clientWith(key).models.list();
      expect(data.map(({ id }) => id)).toEqual([MODEL]);
    });

    it.each([
      ["unknown", () => WRONG_KEY],
      ["a character short", () => key.slice(0, -1)],
      ["without its first characters", () => key.slice(4)],
    ])(
      "a wrong key, %s: an AuthenticationError in the system's words, before the origin",
      async (_, wrong) => {
        const before = gateway().relay.received.length;
        const error = await errorOf(ask(clientWith(wrong())));
        expect(error).toBeInstanceOf(OpenAI.AuthenticationError);
        expect(error).toMatchObject({
          status: 401,
          type: "new_api_error",
          error: { message: expect.stringMatching(INVALID), type: "new_api_error", code: "" },
        });
        expect(gateway().relay.received).toHaveLength(before);
      },
    );

    it("a key works until it is revoked", async () => {
      const client = clientWith((await gateway().newKey(site)).key);
      const other = await gateway().newKey(site);
      expect((await ask(clientWith(other.key))).id).toBe("chatcmpl-1");
      await gateway().revoke(site, other.id);
      const before = gateway().relay.received.length;
      expect(await errorOf(ask(clientWith(other.key)))).toBeInstanceOf(OpenAI.AuthenticationError);
      expect(gateway().relay.received).toHaveLength(before);
      expect((await ask(client)).id).toBe("chatcmpl-1");
    });
  });

  // Newer releases send the key as a bearer token, earlier ones and most others in the header of its own.
  describe.each([
    ["authorization", (apiKey: string) => ({ apiKey })],
    ["x-api-key", (apiKey: string) => ({ apiKey: null, defaultHeaders: { "x-api-key": apiKey } })],
  ])(`the Anthropic client with its key in %s, preset of ${site}.localhost`, (place, optionsFor) => {
    const clientWith = (apiKey: string) =>
      new Anthropic({ ...optionsFor(apiKey), baseURL: gateway().urlOf(site), maxRetries: 0 });
    const question = { model: MODEL, max_tokens: 16, messages: [QUESTION] };

    it("is answered, and the origin finds the key in that one place", async () => {
      const message = await clientWith(key).messages.create(question);
      expect(message.content).toEqual([{ type: "text", text: TEXT }]);
      const { authorization, "x-api-key": xApiKey } = lastOf(gateway());
      expect([authorization, xApiKey]).toEqual(
        place === "x-api-key" ? [undefined, key] : [`Bearer ${key}`, undefined],
      );
    });

    it("streams", async () => {
      const message = await clientWith(key).messages.stream(question).finalMessage();
      expect(message.content).toEqual([{ type: "text", text: TEXT }]);
    });

    it("a wrong key: an AuthenticationError, before the origin", async () => {
      const before = gateway().relay.received.length;
      const error = await errorOf(clientWith(WRONG_KEY).messages.create(question));
      expect(error).toBeInstanceOf(Anthropic.AuthenticationError);
      expect(error).toMatchObject({ status: 401, error: { error: { type: "new_api_error" } } });
      expect(gateway().relay.received).toHaveLength(before);
    });
  });

  describe(`the Google client, preset of ${site}.localhost`, () => {
    const clientWith = (apiKey: string) =>
      new GoogleGenAI({ apiKey, httpOptions: { baseUrl: gateway().urlOf(site) } });
    const question = { model: MODEL, contents: QUESTION.content };

    it("sends x-goog-api-key, and that is where the origin finds it", async () => {
      expect((await clientWith(key).models.generateContent(question)).text).toBe(TEXT);
      expect(lastOf(gateway())).toMatchObject({ "x-goog-api-key": key });
    });

    it("streams", async () => {
      let text = "";
      for await (const part of await clientWith(key).models.generateContentStream(question)) {
        text += part.text ?? "";
      }
      expect(text).toBe(TEXT);
    });

    it("a wrong key: an error with the status, before the origin", async () => {
      const before = gateway().relay.received.length;
      const error = await errorOf(clientWith(WRONG_KEY).models.generateContent(question));
      expect(error).toBeInstanceOf(ApiError);
      expect(error).toMatchObject({ status: 401, message: expect.stringContaining("Invalid token") });
      expect(gateway().relay.received).toHaveLength(before);
    });
  });
}
