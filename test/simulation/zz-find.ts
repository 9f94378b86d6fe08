import { loadCode } from "./load-code.ts";
import { RULES } from "./rules.ts";
import { simulate } from "./simulation.ts";
for (const rule of RULES) {
  const code = await loadCode(rule); const out: string[] = [];
  for (const w of ["calm","rough","unannounced"] as const) { let s=1; for (; s<=8; s++) if ((await simulate(s,w,code)).violations.length>0) break; out.push(`${w}:${s}`); if (s<=2) break; }
  console.log(rule.name, out.join(" "));
}
