// Passwords that are guessed early whatever their length: patterns, and what stands in the account itself.

/** Neighbours in the alphabet, among the digits and on the keyboard. */
const LINES = ["abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm"];
const ALL_LINES = [...LINES, ...LINES.map((line) => [...line].reverse().join(""))];
const SHORTEST_RUN = 3;
const LONGEST_REPEATED = 3;
const SHORTEST_WORD = 3;

/**
 * Whether it repeats one, two or three characters all along, or consists of nothing but runs of at least three equal or
 * neighbouring characters: `aaaa1111`, `12345678qwerty`. In any case of letters.
 */
export function isPattern(password: string): boolean {
  const characters = [...fold(password)];
  for (let length = 1; length <= LONGEST_REPEATED; length++) {
    if (characters.every((character, i) => i < length || character === characters[i - length])) return true;
  }
  return isAllRuns(fold(password));
}

/**
 * Whether it is made of these words alone, once or repeated, and what people append to them: at most four characters, at
 * most eight that are no letters, or a pattern. In any case of letters. Parts of a word count too, and an e-mail address
 * before its `@`; words of less than three characters do not.
 */
export function isMadeOf(password: string, words: readonly string[]): boolean {
  const parts = new Set(words.map(fold).flatMap((word) => [word, ...word.split(/[^\p{L}\p{N}]+/u)]));
  for (const word of words) parts.add(fold(word.split("@", 1)[0] ?? ""));
  let rest = fold(password);
  for (const part of [...parts].sort((a, b) => b.length - a.length)) {
    if (part.length >= SHORTEST_WORD) rest = rest.replaceAll(part, "");
  }
  if (rest === fold(password)) return false;
  const length = [...rest].length;
  return length <= 4 || (length <= 8 && !/\p{L}/u.test(rest)) || isAllRuns(rest);
}

/** The part that it repeats from beginning to end, twice or more; `null`: it does not. */
export function repeatedPart(password: string): string | null {
  const length = (password + password).indexOf(password, 1);
  return length < password.length ? password.slice(0, length) : null;
}

const fold = (text: string) => text.normalize("NFKC").toLowerCase();

function isAllRuns(text: string): boolean {
  for (let at = 0; at < text.length; ) {
    const length = longestRun(text, at);
    if (length < SHORTEST_RUN) return false;
    at += length;
  }
  return true;
}

function longestRun(text: string, at: number): number {
  let equal = 1;
  while (text[at + equal] === text[at] && at + equal < text.length) equal += 1;
  return Math.max(equal, ...ALL_LINES.map((line) => lengthOnLine(line, text, at)));
}

function lengthOnLine(line: string, text: string, at: number): number {
  const start = line.indexOf(text.charAt(at));
  if (start < 0) return 0;
  let length = 1;
  while (start + length < line.length && line[start + length] === text[at + length]) length += 1;
  return length;
}
