// What a careful user would write by hand today: hono's own JWT middleware, headers for the origin, a proxy.
import { Hono } from "hono";
import { type JwtVariables, jwt } from "hono/jwt";

interface Env {
  readonly ORIGIN: string;
  readonly JWT_SECRET: string;
}

interface Claims {
  readonly sub: string;
  readonly name?: string;
  readonly role?: string;
}

const app = new Hono<{ Bindings: Env; Variables: JwtVariables<Claims> }>();

app.use("*", (c, next) =>
  jwt({
    secret: c.env.JWT_SECRET,
    alg: "HS256",
    verification: { iss: "https://idp.example.com", aud: "api" },
  })(c, next),
);

app.all("*", (c) => {
  const claims = c.get("jwtPayload");
  const { pathname, search } = new URL(c.req.url);
  const request = new Request(c.env.ORIGIN + pathname + search, c.req.raw);
  request.headers.delete("authorization");
  request.headers.set("x-user-id", claims.sub);
  request.headers.set("x-user-name", claims.name ?? "");
  request.headers.set("x-user-role", claims.role ?? "");
  request.headers.set("x-auth-method", "jwt");
  return fetch(request);
});

// biome-ignore lint/style/noDefaultExport: a Worker's entry
export default app;
