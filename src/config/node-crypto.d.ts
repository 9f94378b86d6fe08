// The one function of `node:crypto` that the configuration uses; the Worker's types do not describe Node's modules.
declare module "node:crypto" {
  export function createPublicKey(
    key: string | { readonly key: Readonly<Record<string, string>>; readonly format: "jwk" },
  ): { export(options: { readonly format: "jwk" }): object };
}
