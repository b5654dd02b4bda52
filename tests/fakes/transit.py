"""HashiCorp Vault's transit engine, written from its documentation: an HTTP server that really encrypts.

Paths, bodies and status codes as in "Transit secrets engine (API)"; one key, ``aes256-gcm96``; versions with
``min_encryption_version`` and ``min_decryption_version``; associated data authenticated; a wrong token is 403, a
missing key 404, a ciphertext that fails 400.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TOKEN = "s.a-token-for-tests"


class Transit:
    """The server; ``url`` is where it is."""

    def __init__(self) -> None:
        self.keys: dict[int, bytes] = {}
        self.made: dict[int, int] = {}
        self.min_encryption = 0
        self.min_decryption = 1
        transit = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer("GET")

            def do_POST(self) -> None:
                self._answer("POST")

            def do_PUT(self) -> None:
                self._answer("POST")

            def _answer(self, method: str) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
                if self.headers.get("X-Vault-Token") != TOKEN:
                    status, answer = 403, {"errors": ["permission denied"]}
                else:
                    status, answer = transit.answer(method, self.path.removeprefix("/v1/transit/"), body)
                content = json.dumps(answer).encode() if answer is not None else b""
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any] | None]:
        parts = path.split("/")
        latest = max(self.keys, default=0)
        if path == "keys/paycall" and method == "POST":
            self._add()
            return 204, None
        if not self.keys:
            return 404, {"errors": []}
        if path == "keys/paycall":
            shown = {str(v): made for v, made in self.made.items()}
            data = {"latest_version": latest, "keys": shown, "min_decryption_version": self.min_decryption}
            return 200, {"data": data | {"min_encryption_version": self.min_encryption}}
        if path == "keys/paycall/rotate":
            self._add()
            return 204, None
        if path == "keys/paycall/config":
            self.min_encryption = body.get("min_encryption_version", self.min_encryption)
            self.min_decryption = body.get("min_decryption_version", self.min_decryption)
            return 204, None
        if path == "keys/paycall/trim":
            for version in [v for v in self.keys if v < body["min_available_version"]]:
                del self.keys[version], self.made[version]
            return 204, None
        aad = base64.b64decode(body.get("associated_data", ""))
        if parts[0] == "encrypt":
            version = body.get("key_version") or latest
            if version < self.min_encryption:
                return 400, {"errors": ["requested version for encryption is less than the minimum"]}
            nonce = secrets.token_bytes(12)
            sealed = nonce + AESGCM(self.keys[version]).encrypt(
                nonce, base64.b64decode(body["plaintext"]), aad
            )
            return 200, {"data": {"ciphertext": f"vault:v{version}:{base64.b64encode(sealed).decode()}"}}
        try:
            _, name, text = body["ciphertext"].split(":")
            version, sealed = int(name[1:]), base64.b64decode(text, validate=True)
            if version < self.min_decryption or version not in self.keys:
                return 400, {"errors": ["ciphertext or signature version is disallowed by policy (too old)"]}
            plain = AESGCM(self.keys[version]).decrypt(sealed[:12], sealed[12:], aad)
        except (ValueError, InvalidTag):
            return 400, {"errors": ["cipher: message authentication failed"]}
        return 200, {"data": {"plaintext": base64.b64encode(plain).decode()}}

    def _add(self) -> None:
        version = max(self.keys, default=0) + 1
        self.keys[version], self.made[version] = secrets.token_bytes(32), int(time.time())
