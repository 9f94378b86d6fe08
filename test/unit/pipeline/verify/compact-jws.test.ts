import { describe, expect, it } from "vitest";
import { readCompactJws } from "../../../../src/pipeline/verify/compact-jws.ts";
import { segment } from "./fixtures.ts";

const HEADER = segment('{"alg":"HS256"}');
const PAYLOAD = segment('{"sub":"7"}');
const token = (header: string) => `${segment(header)}.${PAYLOAD}.AAAA`;

describe("requirement 9: strict compact JWS only (RFC 7515 §7.1)", () => {
  it("reads alg, kid, typ and the payload", () => {
    const jws = readCompactJws(token('{"alg":"ES256","kid":"k1","typ":"application/AT+JWT","x":1}'));
    expect(jws).toEqual({
      algorithm: "ES256",
      keyId: "k1",
      type: "at+jwt",
      payload: new TextEncoder().encode('{"sub":"7"}'),
    });
  });

  it("tells an absent kid and typ", () => {
    expect(readCompactJws(token('{"alg":"ES256"}'))).toMatchObject({ keyId: null, type: "" });
  });

  it.each([
    ["nothing", ""],
    ["no dot", HEADER],
    ["two segments", `${HEADER}.${PAYLOAD}`],
    ["four segments", `${HEADER}.${PAYLOAD}.AAAA.AAAA`],
    ["five segments, a JWE", `${HEADER}.AAAA.AAAA.AAAA.AAAA`],
    ["dots alone", "...."],
    ["an empty header", `.${PAYLOAD}.AAAA`],
    ["an empty payload", `${HEADER}..AAAA`],
    ["an empty signature", `${HEADER}.${PAYLOAD}.`],
    ["JSON serialization", `{"protected":"${HEADER}","payload":"${PAYLOAD}","signature":"AAAA"}`],
    ["padding", `${HEADER}.${PAYLOAD}.AA==`],
    ["padding in the header", `${segment('{"alg":"HS256"} ')}=.${PAYLOAD}.AAAA`],
    ["a blank before", ` ${HEADER}.${PAYLOAD}.AAAA`],
    ["a blank behind", `${HEADER}.${PAYLOAD}.AAAA `],
    ["a line feed inside", `${HEADER}.${PAYLOAD.slice(0, 4)}\n${PAYLOAD.slice(4)}.AAAA`],
    ["the standard alphabet's plus", `${HEADER}.${PAYLOAD}.AA+A`],
    ["the standard alphabet's slash", `${HEADER}.${PAYLOAD}.AA/A`],
    ["a character beyond ASCII", `${HEADER}.${PAYLOAD}.AAAé`],
    ["a character beyond the base plane", `${HEADER}.${PAYLOAD}.AA😀`],
    ["NUL", `${HEADER}.${PAYLOAD}.AAA\0`],
    ["a length no bytes have", `${HEADER}.${PAYLOAD}.AAAAA`],
    ["bits beyond the last byte, two characters", `${HEADER}.${PAYLOAD}.AB`],
    ["bits beyond the last byte, the upper two of four", `${HEADER}.${PAYLOAD}.AE`],
    ["bits beyond the last byte, three characters", `${HEADER}.${PAYLOAD}.AAB`],
  ])("refuses %s", (_name, text) => {
    expect(readCompactJws(text)).toBeNull();
  });

  it("accepts the canonical spellings of the same lengths", () => {
    expect(readCompactJws(`${HEADER}.${PAYLOAD}.AQ`)).not.toBeNull();
    expect(readCompactJws(`${HEADER}.${PAYLOAD}.AAE`)).not.toBeNull();
  });

  it.each([
    ["an array", "[]"],
    ["a string", '"HS256"'],
    ["no JSON", "alg=HS256"],
    ["no alg", "{}"],
    ["an alg that is no string", '{"alg":["HS256"]}'],
    ["alg named twice", '{"alg":"none","alg":"HS256"}'],
    ["crit (RFC 7515 §4.1.11)", '{"alg":"HS256","crit":["exp"],"exp":1}'],
    ["an empty crit", '{"alg":"HS256","crit":[]}'],
    ["crit of null", '{"alg":"HS256","crit":null}'],
    ["b64 (RFC 7797 §7)", '{"alg":"HS256","b64":false,"crit":["b64"]}'],
    ["b64 without crit", '{"alg":"HS256","b64":true}'],
    ["a kid that is no string", '{"alg":"HS256","kid":7}'],
    ["a kid of null", '{"alg":"HS256","kid":null}'],
    ["a typ that is no string", '{"alg":"HS256","typ":["JWT"]}'],
    ["a byte-order mark", '\ufeff{"alg":"HS256"}'],
  ])("refuses a header with %s", (_name, header) => {
    expect(readCompactJws(token(header))).toBeNull();
  });

  it("accepts 8,192 bytes and refuses 8,193", () => {
    const start = `${HEADER}.${PAYLOAD}.`;
    const sized = (bytes: number) => start + "A".repeat(bytes - start.length);
    // Both are lengths that base64url has, so that nothing but the limit tells them apart.
    expect((8_192 - start.length) % 4).toBe(3);
    expect(readCompactJws(sized(8_192))).not.toBeNull();
    expect(readCompactJws(sized(8_193))).toBeNull();
    expect(readCompactJws(`${HEADER}.${".".repeat(1_000_000)}`)).toBeNull();
  });
});
