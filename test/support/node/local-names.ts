// Host names below `.localhost`, so that one gateway on one port has several sites. Browsers know that they are this
// machine (RFC 6761 section 6.3); the system's resolver often does not.
import dns from "node:dns";

type Lookup = typeof dns.lookup;

const isLocalName = (hostname: string) => hostname.endsWith(".localhost");

/** From now on every client in this process finds those names at 127.0.0.1. Others are looked up as ever. */
export function resolveLocalNames(): void {
  const lookup = dns.lookup as (hostname: string, ...rest: unknown[]) => unknown;
  dns.lookup = ((hostname: string, ...rest: unknown[]) =>
    lookup(isLocalName(hostname) ? "127.0.0.1" : hostname, ...rest)) as Lookup;
}
