// What password digests use of `node:crypto`; the Worker's types do not describe Node's modules.
declare module "node:crypto" {
  export function scryptSync(
    password: Uint8Array,
    salt: Uint8Array,
    keyBytes: number,
    options: { readonly N: number; readonly r: number; readonly p: number; readonly maxmem: number },
  ): Uint8Array;
  export function pbkdf2Sync(
    password: string,
    salt: Uint8Array,
    iterations: number,
    keyBytes: number,
    hash: "sha1" | "sha256" | "sha512",
  ): Uint8Array;
  export function createHash(hash: "md5" | "sha1" | "sha256"): {
    update(text: string, encoding: "utf8"): { digest(encoding: "hex"): string };
  };
}
