// Every endpoint of the control plane that people and programs call. The router and the OpenAPI document are made of it.
import { auditEndpoints } from "./audit.ts";
import { authEndpoints } from "./auth.ts";
import { credentialEndpoints } from "./credentials.ts";
import type { Endpoint } from "./endpoint.ts";
import { explainEndpoints } from "./explain.ts";
import { importEndpoints } from "./imports.ts";
import { oauthEndpoints } from "./oauth.ts";
import { revocationEndpoints } from "./revocations.ts";
import { selfEndpoints } from "./self.ts";
import { sessionEndpoints } from "./sessions.ts";
import { userEndpoints } from "./users.ts";

export const ENDPOINTS: readonly Endpoint[] = [
  ...authEndpoints,
  ...oauthEndpoints,
  ...selfEndpoints,
  ...userEndpoints,
  ...credentialEndpoints,
  ...sessionEndpoints,
  ...revocationEndpoints,
  ...auditEndpoints,
  ...explainEndpoints,
  ...importEndpoints,
];
