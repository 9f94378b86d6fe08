// What a site says beside its preset: keys that have no meaning there, and settings with which nobody would get in.
import type { Preset } from "../presets/preset.ts";
import type { Issues } from "./issue.ts";
import { DEFAULT_LADDER } from "./realms.ts";
import type { SiteInput } from "./schema.ts";
import type { Scope } from "./scope.ts";
import type { SiteSource } from "./site-input.ts";
import type { Realm } from "./types.ts";

const FOR_PRESETS = ["issue", "introspect", "errors"] as const;
const FOR_ONE_PRESET = ["api_keys", "site_id"] as const;

/** Keys that only presets understand, and what a preset leaves no choice about. */
export function checkPreset(source: SiteSource, realm: Realm, { issues }: Scope): void {
  const { preset, values, jwt, isGiven, failed, keyOf } = source;
  if (preset === null) {
    for (const name of [...FOR_PRESETS, ...FOR_ONE_PRESET]) {
      if (isGiven(name) && !failed.has("preset")) {
        issues.add(keyOf(name), "has a meaning only beside preset");
      }
    }
    return;
  }
  for (const name of FOR_ONE_PRESET) {
    if (isGiven(name) && !preset.settings.includes(name)) {
      issues.add(keyOf(name), `has no meaning with the preset ${preset.name}: leave it out`);
    }
  }
  for (const name of ["credentials", "conflict", "on_invalid"] as const) {
    if (isGiven(name)) {
      issues.add(keyOf(name), `is what the preset ${preset.name} says itself: leave it out`);
    }
  }
  if (isGiven("base_path")) {
    issues.add(
      keyOf("base_path"),
      `does not go with a preset, whose clients know paths of a host: name one in hosts`,
    );
  }
  if (values.issue === true && !preset.canIssue) {
    issues.add(keyOf("issue"), `is not possible with the preset ${preset.name}: leave it out`);
  }
  // In the order of the preset's levels, which is that of its steps.
  const steps = [...new Set(Object.values(preset.levels).flatMap(({ role }) => role ?? []))];
  const ladder = (values.roles ?? DEFAULT_LADDER).filter((role) => steps.includes(role));
  if (ladder.join(" ") !== steps.join(" ") && !failed.has("roles")) {
    issues.add(keyOf("roles"), `must hold the steps that ${preset.name} asks for: ${steps.join(" < ")}`);
  }
  if (values.introspect === true) {
    const flaw = introspectFlaw(preset, values);
    if (flaw !== null) issues.add(keyOf("introspect"), flaw);
  }
  if (preset.jwt !== null && jwt.length === 0 && !failed.has("jwt")) {
    issues.add(keyOf("jwt"), `is required with the preset ${preset.name}: a table with secret = "NAME"`);
  } else if (preset.jwt === null && jwt.length > 0) {
    issues.add(keyOf("jwt"), `has no meaning with the preset ${preset.name}, whose clients have no JWTs`);
  }
  for (const { key, value } of jwt) checkAlgorithms(preset, value.algorithms ?? [], key, issues);
  if (preset.hasOpaqueCredentials && !hasSource(source, realm)) {
    issues.warn(
      keyOf("preset"),
      `${preset.name} makes keys and tokens that nobody here can tell from guesses, so all of them are refused: say introspect = true, or import them and say untagged_keys = true in [vars.GATEWAY.realms.${realm.name}]`,
    );
  }
}

/** Its tokens are signed in one way, and a list with another would only refuse or mislead. */
function checkAlgorithms({ name, jwt }: Preset, given: readonly string[], key: string, issues: Issues): void {
  const { algorithms } = jwt?.defaults ?? {};
  if (algorithms === undefined || given.every((one) => algorithms.some((own) => own === one))) return;
  issues.add(`${key}.algorithms`, `is ${algorithms.join(", ")} with the preset ${name}: leave it out`);
}

/** Whether something says which of the system's opaque credentials are good. Where users are not looked up none is taken. */
function hasSource({ values }: SiteSource, { untaggedKeys }: Realm): boolean {
  const { issue, introspect, users } = values;
  return issue === true || introspect === true || users === "none" || untaggedKeys;
}

/** Why there is nothing to ask, and the mend; `null`: there is. */
function introspectFlaw({ introspection, name }: Preset, { issue, origin }: SiteInput): string | null {
  if (issue === true)
    return "does not go with issue, where Postern knows every credential: leave one of them out";
  if (introspection === undefined) return `is not possible with the preset ${name}: leave it out`;
  return origin === "echo"
    ? "needs an origin that knows credentials, and echo knows none: leave it out"
    : null;
}
