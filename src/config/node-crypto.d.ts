// What the configuration uses of `node:crypto`; the Worker's types do not describe Node's modules.
declare module "node:crypto" {
  export function createPublicKey(
    key: string | { readonly key: Readonly<Record<string, string>>; readonly format: "jwk" },
  ): { export(options: { readonly format: "jwk" }): object };
  export function createHmac(
    hash: "sha256",
    key: Uint8Array,
  ): { update(text: string, encoding: "utf8"): { digest(): Uint8Array } };
}
