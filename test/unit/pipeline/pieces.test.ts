import { describe, expect, it } from "vitest";
import {
  cookieValues,
  parameterValues,
  withoutCookies,
  withoutParameters,
} from "../../../src/pipeline/pieces.ts";

/** A string that counts the characters which are looked at. */
function counted(text: string): { text: string; looks: () => number } {
  let looks = 0;
  const methods: Record<string, unknown> = {
    length: text.length,
    charCodeAt: (at: number) => {
      looks += 1;
      return text.charCodeAt(at);
    },
    indexOf: (wanted: string, start: number) => {
      const found = text.indexOf(wanted, start);
      looks += (found === -1 ? text.length : found + 1) - start;
      return found;
    },
    slice: (start: number, end: number) => {
      looks += end - start;
      return text.slice(start, end);
    },
  };
  const get = (_target: object, key: string) => {
    if (Object.hasOwn(methods, key)) return methods[key];
    if (!/^[0-9]+$/.test(key)) throw new Error(`not counted: ${key}`);
    looks += 1;
    return text[Number(key)];
  };
  return { text: new Proxy({}, { get } as ProxyHandler<object>) as string, looks: () => looks };
}

describe("pieces: the work grows with the text, however it is cut", () => {
  const COUNT = 4_000;
  const functions = {
    cookieValues: (text: string) => cookieValues(text, "sid"),
    withoutCookies: (text: string) => withoutCookies(text, ["sid", "sid2"]),
    parameterValues: (text: string) => parameterValues(text, "key"),
    withoutParameters: (text: string) => withoutParameters(text, ["key", "access_token"]),
  };
  const pieces = [";", ",", "&", "a;", "a,", "a&", ",;", ", ", "=", "=,", "sid=,", "a=1; ", "key=&", "a=b&"];

  it.each(Object.keys(functions) as (keyof typeof functions)[])("%s", (name) => {
    for (const piece of pieces) {
      for (const end of ["", "=", "sid=x", "key=x"]) {
        const text = `?${piece.repeat(COUNT)}${end}`;
        const sent = counted(text);
        functions[name](sent.text);
        expect([piece, end, sent.looks() <= 8 * text.length]).toEqual([piece, end, true]);
      }
    }
  });
});
