// Secrets that nobody had to guess: too short, repeated, counted up, or copied from documentation.

const LEAST_DISTINCT_BYTES = 8;

/** How a secret of 64 characters is made, after what is wrong with one. */
export const MAKE_ONE = "; a new one: openssl rand -base64 48";

/** Parts of well-known defaults and placeholders; compared without case, `-`, `_` and blanks. */
const PLACEHOLDERS = [
  "changeme",
  "changethis",
  "replaceme",
  "replacethis",
  "yoursecret",
  "yourjwtsecret",
  "your256bitsecret",
  "your384bitsecret",
  "your512bitsecret",
  "astringsecretatleast",
  "avalidstringsecret",
  "supersecret",
  "secretsecret",
  "mysecret",
  "secretkey",
  "password",
  "placeholder",
  "insecure",
  "12345678901234567890",
  "qwertyuiop",
];

/**
 * Why these bytes are no secret; `null` when nothing speaks against them. Finds what is weak on its face, and
 * cannot tell a random secret from a clever sentence. The answer never contains any of it.
 */
export function weakness(bytes: Uint8Array, leastBytes: number): string | null {
  if (bytes.length < leastBytes) return `is too short: ${leastBytes} bytes or more are needed`;
  if (new Set(bytes).size < LEAST_DISTINCT_BYTES) return "is weak: it uses only a few different bytes";
  if (isRepetition(bytes)) return "is weak: it repeats itself";
  if (isProgression(bytes)) return "is weak: its bytes are a sequence";
  const letters = new TextDecoder("latin1")
    .decode(bytes)
    .toLowerCase()
    .replace(/[\s_-]/g, "");
  if (PLACEHOLDERS.some((placeholder) => letters.includes(placeholder))) {
    return "is weak: it looks like a default or a placeholder";
  }
  return null;
}

/** Whether a unit of at most half the length is written again and again. */
function isRepetition(bytes: Uint8Array): boolean {
  for (let period = 1; period <= bytes.length / 2; period++) {
    let index = period;
    while (index < bytes.length && bytes[index] === bytes[index - period]) index++;
    if (index === bytes.length) return true;
  }
  return false;
}

function isProgression(bytes: Uint8Array): boolean {
  const step = (bytes[1] ?? 0) - (bytes[0] ?? 0);
  for (let index = 2; index < bytes.length; index++) {
    if ((((bytes[index] ?? 0) - (bytes[index - 1] ?? 0) - step) & 0xff) !== 0) return false;
  }
  return true;
}
