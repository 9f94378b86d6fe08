"""An origin behind Postern, in Python with PyJWT. Answers with who the gateway says is calling."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt

ISSUER = os.environ.get("GATEWAY_ISSUER", "http://127.0.0.1:8787")
JWKS_URL = os.environ.get("GATEWAY_JWKS", ISSUER + "/_gateway/jwks.json")
AUDIENCE = os.environ.get("GATEWAY_SITE", "demo")

keys = jwt.PyJWKClient(JWKS_URL, lifespan=600)  # cached; fetched again for an unknown kid


def user_context(token: str) -> dict:
    key = keys.get_signing_key_from_jwt(token)
    verified = jwt.decode_complete(
        token,
        key,
        algorithms=["ES256"],
        issuer=ISSUER,
        audience=AUDIENCE,
        options={"require": ["exp", "iss", "aud"]},
    )
    if verified["header"].get("typ") != "user-context+jwt":
        raise jwt.InvalidTokenError("not a user context")
    return verified["payload"]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            context = user_context(self.headers.get("X-User-Context", ""))
        except jwt.PyJWTError:
            return self.reply(401, {"error": "this server is reached through its gateway only"})
        if context.get("anonymous"):
            return self.reply(200, {"hello": "stranger"})
        user = context["user"]
        name = user.get("name") or user["id"]
        self.reply(200, {"hello": name, "role": user["role"], "by": context["auth"]["kind"]})

    def reply(self, status: int, body: dict):
        data = (json.dumps(body) + "\n").encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "9000"))), Handler).serve_forever()
