// Request targets from an alphabet of everything that has ever fooled a gateway. SEED=… and CASES=… replay or lengthen.
import fc from "fast-check";

const SEED = Number(process.env.SEED ?? 20_261_117);
const CASES = Number(process.env.CASES ?? 400);

export const RUNS = { seed: SEED, numRuns: CASES };

const words = (text: string) => text.split(" ");

const piece = fc.constantFrom(
  ...words("/ / / . .. \\ ; ? # % @ : // ./ ../ /../ /./ ..; a=b x ~ * + & ="),
  ...words("%2e %2E %2f %2F %5c %5C %3b %00 %09 %0a %25 %20 %23 %3f %7e %61 %41 %64 %252e %252f"),
  ...words("%c0%ae %c0%af %e0%80%ae %u002e %zz %4 %ff %e4%bd%a0"),
  ...words("public admin private PUBLIC Admin pub lic a dmin d min index.html admin/x public/x .. .."),
  "\t",
  "\x01",
  "\x7f",
  "\xe9",
);
const start = fc.constantFrom(
  "/",
  "/public/",
  "/public/",
  "/public",
  "/admin/",
  "/ADMIN/",
  "/%61dMin/",
  "",
  "http://evil.example/",
  "//",
);

/** Most are refused, many are not; latin1 characters are bytes. */
export const hostileTargets = fc
  .tuple(start, fc.array(piece, { maxLength: 10 }))
  .map(([first, pieces]) => first + pieces.join(""));
