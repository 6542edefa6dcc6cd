"""A small provider of OpenID Connect on this machine, who takes everybody for the person of its `claims`."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT_ID, SECRET = "nucleus", "only the provider and Airflow know it"


@dataclass
class OpenIdProvider:
    """Begin a login at /authorize. `claims` are put into the ID token over what is right; None leaves one out."""

    address: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    key: RSAKey = field(default_factory=cache(lambda: RSAKey.generate_key(2048, {"kid": "1"})))
    signing_key: RSAKey | None = None
    """Another than the published one."""
    logins: dict[str, dict[str, str]] = field(default_factory=dict)
    """What was asked for, by the code that was given for it."""
    stop: Callable[[], None] = lambda: None

    def metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.address,
            "authorization_endpoint": f"{self.address}/authorize",
            "token_endpoint": f"{self.address}/token",
            "jwks_uri": f"{self.address}/keys",
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def authorize(self, asked: dict[str, str]) -> str:
        """Give the address that a person is sent back to."""
        assert (asked["client_id"], asked["response_type"]) == (CLIENT_ID, "code")
        assert "openid" in asked["scope"].split()
        code = f"code-{len(self.logins)}"
        self.logins[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def token(self, sent: dict[str, str], authorization: str) -> dict[str, Any] | None:
        """Give what a code is worth, once, to who knows the secret and began the login; else None."""
        asked = self.logins.pop(sent.get("code", ""), None)
        expected = base64.b64encode(f"{CLIENT_ID}:{SECRET}".encode()).decode()
        challenge = hashlib.sha256(sent.get("code_verifier", "").encode()).digest()
        if asked is None or authorization != f"Basic {expected}" or sent["redirect_uri"] != asked["redirect_uri"]:
            return None
        if base64.urlsafe_b64encode(challenge).decode().rstrip("=") != asked["code_challenge"]:
            return None
        return {"access_token": "a", "token_type": "Bearer", "id_token": self._id_token(asked["nonce"])}

    def _id_token(self, nonce: str) -> str:
        now = int(time.time())
        right = {"iss": self.address, "aud": CLIENT_ID, "sub": "7", "iat": now, "exp": now + 60, "nonce": nonce}
        claims = {name: value for name, value in (right | self.claims).items() if value is not None}
        return jwt.encode({"alg": "RS256", "kid": "1"}, claims, self.signing_key or self.key)


@contextmanager
def running_provider() -> Iterator[OpenIdProvider]:
    """Run one on a free port of the loopback interface."""
    found = OpenIdProvider()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(found))
    found.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    with ExitStack() as stack:
        stack.callback(stop)
        found.stop = stack.close
        yield found


def _handler(of: OpenIdProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            if address.path == "/authorize":
                self.send_response(302)
                self.send_header("Location", of.authorize(_once(address.query)))
                self.end_headers()
            elif address.path == "/keys":
                self._answer({"keys": [of.key.as_dict(private=False)]})
            else:
                assert address.path == "/.well-known/openid-configuration"
                self._answer(of.metadata())

        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._answer(of.token(_once(sent), self.headers["Authorization"]))

        def _answer(self, content: dict[str, Any] | None) -> None:
            self.send_response(200 if content else 400)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(content or {"error": "invalid_grant"}).encode())

        def log_message(self, *_: Any) -> None:
            """Leave the output to the tests."""

    return Handler


def _once(query: str) -> dict[str, str]:
    return {name: value for name, [value] in parse_qs(query).items()}
