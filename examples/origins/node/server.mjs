// An origin behind Postern, in Node with jose. Answers with who the gateway says is calling.
import { createServer } from "node:http";
import { createRemoteJWKSet, jwtVerify } from "jose";

const issuer = process.env.GATEWAY_ISSUER ?? "http://127.0.0.1:8787";
const jwksUrl = process.env.GATEWAY_JWKS ?? `${issuer}/_gateway/jwks.json`;
const audience = process.env.GATEWAY_SITE ?? "demo";
const keys = createRemoteJWKSet(new URL(jwksUrl)); // cached; fetched again for an unknown kid

async function userContext(request) {
  const header = request.headers["x-user-context"];
  if (typeof header !== "string") throw new Error("no X-User-Context");
  const { payload } = await jwtVerify(header, keys, {
    algorithms: ["ES256"],
    typ: "user-context+jwt",
    issuer,
    audience,
    requiredClaims: ["exp"],
  });
  return payload;
}

createServer(async (request, response) => {
  const reply = (status, body) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(`${JSON.stringify(body)}\n`);
  };
  try {
    const { user, auth, anonymous } = await userContext(request);
    reply(
      200,
      anonymous ? { hello: "stranger" } : { hello: user.name ?? user.id, role: user.role, by: auth.kind },
    );
  } catch {
    reply(401, { error: "this server is reached through its gateway only" });
  }
}).listen(Number(process.env.PORT ?? 9000), "127.0.0.1");
