// The same, for an origin that wants proof of who is calling: a signed header instead of plain ones.
import { Hono } from "hono";
import { type JwtVariables, jwt, sign } from "hono/jwt";

interface Env {
  readonly ORIGIN: string;
  readonly JWT_SECRET: string;
  readonly ORIGIN_SECRET: string;
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

app.all("*", async (c) => {
  const { sub, name, role } = c.get("jwtPayload");
  const { pathname, search } = new URL(c.req.url);
  const request = new Request(c.env.ORIGIN + pathname + search, c.req.raw);
  const iat = Math.floor(Date.now() / 1_000);
  const token = await sign(
    { sub, name, role, aud: "bench", iat, exp: iat + 60 },
    c.env.ORIGIN_SECRET,
    "HS256",
  );
  request.headers.delete("authorization");
  request.headers.set("x-user-context", token);
  return fetch(request);
});

// biome-ignore lint/style/noDefaultExport: a Worker's entry
export default app;
