// Sites of different realms whose tokens nobody can tell apart.
import type { Issues } from "./issue.ts";
import { areEqual } from "./secrets.ts";
import type { JwtIssuer, Site } from "./types.ts";

/**
 * Warns where one token is good at sites of two realms: verified by the same secret, issuer and audience. Whoever signs in
 * to one of them is then the user of the same id in the other.
 *
 * @param keyOf where the `jwt` of a site stands
 */
export function warnOfSameTokens(
  sites: readonly Site[],
  keyOf: (index: number) => string,
  issues: Issues,
): void {
  for (const [index, site] of sites.entries()) {
    const twin = sites
      .slice(0, index)
      .find(
        ({ realm, jwtIssuers }) =>
          realm.name !== site.realm.name &&
          jwtIssuers.some((one) => site.jwtIssuers.some((other) => takeTheSame(one, other))),
      );
    if (twin === undefined) continue;
    issues.warn(
      keyOf(index),
      `takes the tokens of SITE_${twin.name.toUpperCase()}, whose users are others (realm ${twin.realm.name}): give it a ` +
        "secret, an issuer or an audience of its own, or the same realm",
    );
  }
}

function takeTheSame(one: JwtIssuer, other: JwtIssuer): boolean {
  if (one.keys.kind !== "secret" || other.keys.kind !== "secret") return false;
  if (one.issuer !== other.issuer || !areEqual(one.keys.secret, other.keys.secret)) return false;
  if (one.audience === null || other.audience === null) return true;
  return one.audience.some((name) => other.audience?.includes(name));
}
