// One account, however its name is spelt: what usernames and e-mail addresses are compared by.

/**
 * The form that names are compared in: compatibility characters folded (NFKC), lower case, no white space around. Every
 * spelling of one name has one key, so that a throttle, a look-up and a uniqueness rule cannot disagree.
 * Does not check that it is a name; `null` stays `null`.
 */
export function accountKey<Name extends string | null | undefined>(name: Name): Name | string {
  // Lower-casing can bring out characters that NFKC folds, and the other way round.
  return typeof name === "string" ? name.normalize("NFKC").toLowerCase().normalize("NFKC").trim() : name;
}
