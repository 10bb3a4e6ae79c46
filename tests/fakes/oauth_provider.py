"""A stand-in for the hub's OpenID provider, for the unmodified client of Gradio.

It has the authorization-code flow as the hub has it: metadata, a page on which the user consents, a code that is good
once and for one client and address, an id token signed with the key that it publishes, and the user's profile.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlencode, urlsplit

from authlib.jose import JsonWebKey, jwt

CLIENT, SECRET = "the-space", "a secret of the Space"
USER = "visitor"


class Provider:
    """The provider's state. tokens: the access tokens that it gave out."""

    def __init__(self) -> None:
        self.url = ""
        self.key = JsonWebKey.generate_key("RSA", 2048, {"kid": "1"}, is_private=True)
        self.codes: dict[str, dict[str, str]] = {}
        self.tokens: list[str] = []

    @property
    def profile(self) -> dict[str, str]:
        names = {"sub": "1", "name": "A Visitor", "preferred_username": USER}
        return names | {"profile": f"{self.url}/{USER}", "picture": f"{self.url}/{USER}.png"}

    def get(self, path: str, query: dict[str, str], authorization: str) -> tuple[int, object]:
        """The status and the answer to a GET: an address to go to, a page, or JSON."""
        if path == "/.well-known/openid-configuration":
            places = {"authorization": "authorize", "token": "token", "userinfo": "userinfo"}
            metadata = {f"{name}_endpoint": f"{self.url}/oauth/{place}" for name, place in places.items()}
            more = {"issuer": self.url, "jwks_uri": f"{self.url}/jwks", "response_types_supported": ["code"]}
            return 200, metadata | more | {"id_token_signing_alg_values_supported": ["RS256"]}
        if path == "/jwks":
            return 200, {"keys": [self.key.as_dict(is_private=False)]}
        if path == "/oauth/authorize" and query["client_id"] == CLIENT and query["response_type"] == "code":
            code = secrets.token_hex(8)
            self.codes[code] = query
            back = f"{query['redirect_uri']}&{urlencode({'code': code, 'state': query['state']})}"
            return 200, f'<h1>Sign in</h1><a href="{back.replace("&", "&amp;")}">Authorize</a>'
        if path == "/oauth/userinfo" and authorization.removeprefix("Bearer ") in self.tokens:
            return 200, self.profile
        return (200, "") if path == "/favicon.ico" else (400, {"error": "invalid_request"})

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, object]:
        """The status and the answer to a request for a token."""
        client = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        asked = self.codes.pop(form.get("code", ""), None)
        if asked is None or authorization != f"Basic {client}" or asked["redirect_uri"] != form["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        self.tokens.append(f"hf_oauth_{secrets.token_hex(20)}")
        claims = {
            **self.profile,
            "iss": self.url,
            "aud": CLIENT,
            "iat": int(time.time()),
            "exp": int(time.time()) + 600,
        }
        id_token = jwt.encode({"alg": "RS256", "kid": "1"}, claims | {"nonce": asked["nonce"]}, self.key).decode()
        answer = {"access_token": self.tokens[-1], "token_type": "bearer", "expires_in": 600, "id_token": id_token}
        return 200, answer | {"scope": asked["scope"]}


@contextmanager
def provide() -> Iterator[Provider]:
    """Run a provider on loopback."""
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            """Keep the tests' output clean."""

        def do_GET(self) -> None:
            address = urlsplit(self.path)
            self.answer(*provider.get(address.path, flat(address.query), self.headers.get("Authorization", "")))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self.answer(*provider.token(flat(body), self.headers.get("Authorization", "")))

        def answer(self, status: int, content: object) -> None:
            is_page = isinstance(content, str)
            body = content if isinstance(content, str) else json.dumps(content)
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if is_page else "application/json")
            self.end_headers()
            self.wfile.write(body.encode())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def flat(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}
