// What the control plane's endpoints work with; built once per isolate by `runtime.ts`, where a D1 database is bound.
import type { Config } from "../config/types.ts";
import type { CompactSigner } from "../crypto/context-signer.ts";
import type { PasswordHasher } from "../issuer/password-hasher.ts";
import type { Accounts } from "../store/accounts.ts";
import type { AuditLog } from "../store/audit-log.ts";
import type { Cleanup } from "../store/cleanup.ts";
import type { Directory } from "../store/directory.ts";
import type { Imports } from "../store/imports.ts";
import type { SessionChains } from "../store/session-chains.ts";
import type { Throttle } from "../store/throttle.ts";
import type { TokenLookUp } from "../store/token-look-up.ts";
import type { Writes } from "../store/writes.ts";

export interface Services {
  readonly config: Config;
  readonly writes: Writes;
  readonly directory: Directory;
  readonly accounts: Accounts;
  readonly throttle: Throttle;
  readonly chains: SessionChains;
  readonly auditLog: AuditLog;
  readonly cleanup: Cleanup;
  readonly imports: Imports;
  readonly tokens: TokenLookUp;
  readonly hasher: PasswordHasher;
  readonly signer: CompactSigner;
  /** Has this isolate follow the feed now. Does not throw: where it fails, the bound still holds. */
  catchUp(background: (work: Promise<unknown>) => void): Promise<void>;
}
