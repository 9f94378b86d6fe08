// An OAuth server that MCP clients find by themselves: metadata (RFC 8414), codes with PKCE (RFC 7636), resource indicators (RFC 8707).
// Whoever comes is its one user, who agrees to everything.
import { createHash, randomUUID } from "node:crypto";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { close, listen } from "./recording-origin.ts";

export interface OAuthServer {
  readonly issuer: string;
  /** What was asked for at the authorization endpoint, oldest first. */
  readonly asked: readonly Readonly<Record<string, string>>[];
  stop(): Promise<void>;
}

export async function startOAuthServer(subject: string): Promise<OAuthServer> {
  const asked: Readonly<Record<string, string>>[] = [];
  const codes = new Map<string, Readonly<Record<string, string>>>();
  const { privateKey, publicKey } = await generateKeyPair("ES256", { extractable: true });
  const keys = [{ ...(await exportJWK(publicKey)), kid: "o1", alg: "ES256" }];
  let issuer = "";

  /** Where the client is sent back to. */
  function authorize(parameters: URLSearchParams): string {
    const request = Object.fromEntries(parameters);
    asked.push(request);
    const code = randomUUID();
    codes.set(code, request);
    return `${request.redirect_uri}?code=${code}`;
  }

  /** A token for the resource and the scopes that were asked for; `null`: the code is not this client's. */
  async function exchange(parameters: URLSearchParams): Promise<object | null> {
    const request = codes.get(parameters.get("code") ?? "");
    const challenge = createHash("sha256")
      .update(parameters.get("code_verifier") ?? "")
      .digest("base64url");
    if (request === undefined || request.code_challenge !== challenge) return null;
    const { scope = "", resource = "" } = request;
    const access_token = await new SignJWT({ scope })
      .setProtectedHeader({ alg: "ES256", kid: "o1", typ: "at+jwt" })
      .setIssuer(issuer)
      .setSubject(subject)
      .setAudience(resource)
      .setIssuedAt()
      .setExpirationTime("10m")
      .sign(privateKey);
    return { access_token, token_type: "Bearer", expires_in: 600, scope };
  }

  const { server, port } = await listen(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += String(chunk);
    const { pathname, searchParams } = new URL(request.url ?? "", issuer);
    const sendJson = (answer: object | null) => {
      response.writeHead(answer === null ? 400 : 200, { "content-type": "application/json" });
      response.end(JSON.stringify(answer ?? { error: "invalid_grant" }));
    };
    switch (pathname) {
      case "/.well-known/oauth-authorization-server":
        return sendJson(metadataOf(issuer));
      case "/jwks":
        return sendJson({ keys });
      case "/authorize":
        return void response.writeHead(302, { location: authorize(searchParams) }).end();
      case "/token":
        return sendJson(await exchange(new URLSearchParams(body)));
      default:
        return void response.writeHead(404).end();
    }
  });
  issuer = `http://127.0.0.1:${port}`;
  return { issuer, asked, stop: () => close(server) };
}

const metadataOf = (issuer: string) => ({
  issuer,
  authorization_endpoint: `${issuer}/authorize`,
  token_endpoint: `${issuer}/token`,
  response_types_supported: ["code"],
  grant_types_supported: ["authorization_code"],
  code_challenge_methods_supported: ["S256"],
  token_endpoint_auth_methods_supported: ["none"],
});
