"""Debian's Glewlwyd, an OpenID Connect provider that this project did not write, in a folder of its own.

Set up through its settings and its own administration (``/api``); people sign in on its own pages.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.phones.rtp import free_port
from tests.phones.site import until

_PLACE = Path("/usr/share/glewlwyd")
_TABLES = Path("/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3")
_MODULES = "/usr/lib/glewlwyd"
_KINDS = {
    ".html": "text/html",
    ".js": "application/javascript",
    ".css": "text/css",
    ".json": "application/json",
}
_FIRST_ADMINISTRATOR = {"username": "admin", "password": "password"}


class Glewlwyd:
    """A running provider; ``issuer`` is what it calls itself."""

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        self._url = f"http://127.0.0.1:{self._port}"
        self.issuer = f"{self._url}/api/oidc"
        self._settings = folder / "glewlwyd.conf"
        self._settings.write_text(self._text(folder), "utf-8")
        with contextlib.closing(sqlite3.connect(folder / "database")) as database:
            database.executescript(_TABLES.read_text("utf-8"))
        shutil.copytree(_PLACE / "webapp", folder / "webapp", ignore=shutil.ignore_patterns("config.json"))
        shutil.copy(_PLACE / "templates" / "config.json", folder / "webapp")
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(
            ["glewlwyd", f"--config-file={self._settings}"],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        self._admin = httpx.Client(base_url=f"{self._url}/api", timeout=30, trust_env=False)
        try:
            until(self._sign_in, what="the provider")
            self._set_up()
        except BaseException:
            self.close()
            raise

    def _text(self, folder: Path) -> str:
        modules = {
            "user": "user",
            "client": "client",
            "user_auth_scheme": "scheme",
            "plugin": "plugin",
        }
        paths = "".join(f'{name}_module_path="{_MODULES}/{where}"\n' for name, where in modules.items())
        kinds = ", ".join(
            f'{{ extension="{end}" mime_type="{kind}" compress=0 }}' for end, kind in _KINDS.items()
        )
        return (
            f'port={self._port}\nbind_address="127.0.0.1"\nexternal_url="{self._url}"\nlogin_url="login.html"\n'
            f'api_prefix="api"\nstatic_files_path="{folder}/webapp/"\nlog_mode="console"\nlog_level="INFO"\n'
            'cookie_domain="127.0.0.1"\ncookie_secure=0\nsession_expiration=3600\nsession_key="SESSION"\n'
            'admin_scope="g_admin"\nprofile_scope="g_profile"\nhash_algorithm="SHA512"\n'
            f'{paths}user_middleware_module_path="{folder}"\n'
            f'database = {{ type="sqlite3" path="{folder}/database" }};\n'
            f"static_files_mime_types = ( {kinds} )\n"
        )

    def _sign_in(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return self._admin.post("/auth/", json=_FIRST_ADMINISTRATOR).status_code == 200
        return False

    def _set_up(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        name = {
            "name": "preferred_username",
            "user-property": "username",
            "type": "string",
            "mandatory": True,
        }
        plugin = {
            "iss": self.issuer,
            "jwt-type": "rsa",
            "jwt-key-size": "256",
            "key": private.decode(),
            "cert": public.decode(),
            "access-token-duration": 3600,
            "refresh-token-duration": 3600,
            "code-duration": 600,
            "auth-type-code-enabled": True,
            "auth-type-id-token-enabled": False,
            "jwks-show": True,
            "pkce-allowed": True,
            "pkce-required": True,
            "claims": [name | {"on-demand": False, "scope": ["openid"]}],
        }
        self._tell("/mod/plugin/", module="oidc", name="oidc", display_name="oidc", parameters=plugin)
        for scope in ("profile", "email"):
            self._tell("/scope/", name=scope, display_name=scope, password_required=False, scheme={})

    def add_person(self, name: str, password: str) -> None:
        """Somebody who may sign in."""
        scopes = ["openid", "profile", "email"]
        self._tell("/user/?source=database", username=name, password=password, scope=scopes, enabled=True)

    def add_client(self, client_id: str, secret: str, redirect_uri: str) -> None:
        """A program that people may sign in to; its secret goes by HTTP Basic."""
        self._tell(
            "/client/?source=database",
            client_id=client_id,
            name=client_id,
            confidential=True,
            client_secret=secret,
            password=secret,
            redirect_uri=[redirect_uri],
            authorization_type=["code"],
            token_endpoint_auth_method=["client_secret_basic"],
            scope=[],
            enabled=True,
        )

    def _tell(self, path: str, **body: Any) -> None:
        assert self._sign_in()  # an administrator's password counts for ten minutes, and a test run is longer
        answer = self._admin.post(path, json=body)
        assert answer.status_code == 200, answer.text

    def close(self) -> None:
        """End it."""
        self._admin.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


@contextmanager
def glewlwyd() -> Iterator[Glewlwyd]:
    """A provider for as long as the context is open."""
    with TemporaryDirectory(prefix="glewlwyd-") as folder:
        provider = Glewlwyd(Path(folder))
        try:
            yield provider
        finally:
            provider.close()
