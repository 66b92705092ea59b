"""A small OpenID Connect provider on this machine: its documents, a token for a code, and who the person is."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt

CLIENT_ID, CLIENT_SECRET = "prefloop", "a secret between the two"
KEY = "signs the provider's tokens, long enough for HS256"


class Provider:
    """Whoever comes with `claims` as the next person; `asked` is what the site sent."""

    def __init__(self) -> None:
        self.claims: dict[str, Any] = {}
        self.challenge = ""
        self.asked: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def authorise(self, address: str) -> dict[str, str]:
        """What the person's browser brings back after they agreed at this address: a code and the site's state."""
        given = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert given["client_id"] == CLIENT_ID
        assert given["response_type"] == "code"
        assert given["code_challenge_method"] == "S256"
        self.challenge = given["code_challenge"]
        return {"code": "one-time", "state": given["state"]}

    def _token(self, form: dict[str, list[str]]) -> tuple[int, dict[str, Any]]:
        verifier = hashlib.sha256(form["code_verifier"][0].encode()).digest()
        if base64.urlsafe_b64encode(verifier).rstrip(b"=").decode() != self.challenge:
            return 400, {"error": "invalid_grant"}
        told = {"iss": self.url, "aud": CLIENT_ID, "iat": 0, "exp": 2**33, **self.claims}
        return 200, {"access_token": "t", "token_type": "Bearer", "id_token": jwt.encode(told, KEY, algorithm="HS256")}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked.append(self.path)
                if self.path == "/userinfo":
                    self._say(200, provider.claims)
                else:
                    places = {
                        "authorization_endpoint": "/authorise",
                        "token_endpoint": "/token",
                        "userinfo_endpoint": "/userinfo",
                        "jwks_uri": "/keys",
                    }
                    self._say(200, {"issuer": provider.url, **{name: provider.url + at for name, at in places.items()}})

            def do_POST(self) -> None:
                provider.asked.append(self.path)
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                self._say(*provider._token(parse_qs(body)))

            def _say(self, status: int, content: dict[str, Any]) -> None:
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Not on the tests' output."""

        return Handler
