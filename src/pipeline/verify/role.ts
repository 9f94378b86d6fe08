// Steps of a site's role ladder. A role that is not on it grants nothing: it counts as the lowest step.
import type { Site } from "../../config/types.ts";

export function stepOf(role: string, site: Site): number {
  return Math.max(0, site.ladder.indexOf(role));
}

/** Of several roles the highest step counts. */
export function highestStep(roles: readonly string[], site: Site): number {
  let highest = 0;
  for (const role of roles) highest = Math.max(highest, stepOf(role, site));
  return highest;
}

export function roleAt(step: number, site: Site): string {
  return site.ladder[step] ?? "";
}
