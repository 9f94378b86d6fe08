// Well-formed secrets for checking a configuration where the real ones are not at hand. Random, and never written anywhere.
import { generateKeyPairSync, randomBytes } from "node:crypto";
import type { SecretNeed } from "../src/config/secrets.ts";

/** A secret that passes every check a real one for this need has to pass; `undefined` where none is required. */
export function standIn(need: SecretNeed): string | undefined {
  switch (need.kind) {
    case "list":
      if (!need.isRequired) return undefined;
      return `check:${randomBytes(32).toString("base64url")}`;
    case "signing_keys":
      if (need.algorithms.length === 0) return undefined;
      return JSON.stringify({ keys: need.algorithms.map(signingKey) });
    case "hmac": {
      const encoding = need.encoding === "text" ? "base64url" : need.encoding;
      return randomBytes(need.leastBytes).toString(encoding);
    }
    case "public_key":
      return publicKey(need.algorithms[0] ?? "");
    case "header":
    case "api_keys":
      return randomBytes(16).toString("base64url");
    case "admin_token":
      return undefined; // nobody needs one
  }
}

function signingKey(algorithm: string, index: number): object {
  const { privateKey } =
    algorithm === "EdDSA"
      ? generateKeyPairSync("ed25519")
      : generateKeyPairSync("ec", { namedCurve: "P-256" });
  return { ...privateKey.export({ format: "jwk" }), alg: algorithm, kid: `check-${index}` };
}

const CURVES: Readonly<Record<string, string>> = { ES256: "P-256", ES384: "P-384", ES512: "P-521" };

function publicKey(algorithm: string): string {
  return JSON.stringify({ ...newPublicKey(algorithm).export({ format: "jwk" }), alg: algorithm });
}

function newPublicKey(algorithm: string) {
  const curve = CURVES[algorithm];
  if (curve !== undefined) return generateKeyPairSync("ec", { namedCurve: curve }).publicKey;
  if (algorithm.startsWith("Ed")) return generateKeyPairSync("ed25519").publicKey;
  return generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey;
}
