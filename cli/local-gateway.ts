// The gateway on this machine: `wrangler dev` as a child, started anew whenever its configuration has changed.
import { inBrief, isOwnProbe } from "./start-lines.ts";
import { startWrangler, type Wrangler } from "./wrangler.ts";

const READY_DEADLINE_MS = 120_000;
const PROBED = "/_gateway/health";

export interface LocalGateway {
  /** What wrangler printed. */
  output(): string;
  /** @returns the address it answers on, and the status of its first answer. @throws when it does not come up */
  start(port: number): Promise<{ readonly address: string; readonly status: number }>;
  /** Settles when it is gone. */
  stop(): Promise<void>;
}

/**
 * @param args of `wrangler dev`, without the port
 * @param onEnd told when it ends without being asked to
 */
export function localGateway(
  args: readonly string[],
  host: string,
  isVerbose: boolean,
  onEnd: (code: number | null) => unknown,
): LocalGateway {
  let current: Wrangler | null = null;
  let last: Wrangler | null = null;
  /** Requests of our own, whose lines are nobody's business. */
  let probes = 0;
  /** Until it was up for the first time, nothing is shown. */
  let isReady = false;

  function show(line: string): void {
    if (isVerbose) {
      console.log(line);
      return;
    }
    if (probes > 0 && isOwnProbe(line, PROBED)) {
      probes -= 1;
      return;
    }
    // The gateway's own log lines are JSON; the rest is wrangler's.
    const brief = isReady ? inBrief(line) : null;
    if (brief !== null) console.log(brief);
  }

  async function comeUp(started: Wrangler) {
    const [, address = ""] = await started.lineMatching(/Ready on (http:\/\/\S+)/);
    probes += 1;
    const answer = await fetch(`${address}${PROBED}`);
    await answer.body?.cancel();
    return { address, status: answer.status };
  }

  return {
    output: () => last?.output() ?? "",
    async start(port) {
      probes = 0;
      const started = startWrangler(
        ["dev", ...args, "--ip", host, "--port", String(port), "--inspector-port", "0"],
        show,
      );
      current = started;
      last = started;
      const { promise: late, reject } = Promise.withResolvers<never>();
      const timer = setTimeout(
        () => reject(new Error(`no answer within ${READY_DEADLINE_MS / 1000} s`)),
        READY_DEADLINE_MS,
      );
      try {
        const up = await Promise.race([comeUp(started), late]);
        isReady = true;
        started.exited.then((code) => {
          if (current === started) onEnd(code);
        });
        return up;
      } catch (error) {
        current = null;
        await started.stop();
        throw error;
      } finally {
        clearTimeout(timer);
      }
    },
    async stop() {
      const stopped = current;
      current = null;
      await stopped?.stop();
    },
  };
}
