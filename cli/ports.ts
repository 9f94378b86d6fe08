// The port that `npm start` listens on.
import { createServer } from "node:net";

export const HOST = "127.0.0.1";
export const DEFAULT_PORT = 8787;

/**
 * @param given `--port`; without it the usual one, or a free one where that is taken
 * @throws when `given` is no port, or taken
 */
export async function choosePort(given: string | undefined): Promise<number> {
  if (given !== undefined) {
    const port = Number(given);
    if (given.trim() === "" || !Number.isInteger(port) || port < 0 || port > 65_535)
      throw new Error("--port wants a number up to 65535");
    const free = await freePort(port);
    if (free === null)
      throw new Error(`port ${port} is taken; try another one: npm start -- --port ${port + 1}`);
    return free;
  }
  return (await freePort(DEFAULT_PORT)) ?? (await freePort(0)) ?? 0;
}

/** The port that was free a moment ago; `null` when it is taken. For 0, any free one. */
function freePort(port: number): Promise<number | null> {
  return new Promise((resolvePort, reject) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") resolvePort(null);
      else if (error.code === "EACCES")
        reject(new Error(`port ${port} is not ours to have: try one over 1023`));
      else reject(error);
    });
    server.listen(port, HOST, () => {
      const address = server.address();
      server.close(() => resolvePort(typeof address === "object" && address !== null ? address.port : port));
    });
  });
}
