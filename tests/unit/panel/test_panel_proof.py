"""What could make an account somebody else's takes a fresh proof of its owner; a session alone is none."""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import httpx
import pyotp
import pytest
from argon2 import PasswordHasher
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select
from webauthn.helpers import encode_cbor

from paycall.panel.roles import Role
from paycall.panel.services import accounts
from paycall.panel.services.sessions import ASKED_ANEW, COOKIE, open_session
from paycall.store.database import reading, writing
from paycall.store.tables import AUDIT, OperatorRow, PasskeyRow
from tests.fakes.panel_world import PASSWORD, PanelWorld

Run = Callable[..., None]
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
RP_ID, ORIGIN = "panel.test", "http://panel.test"
BY_PASSWORD = {"password": PASSWORD}


class Authenticator:
    """A security key in a few lines (WebAuthn level 2, 6.5): one credential, its user always verified."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.id = _b64(hashlib.sha256(b"credential").digest())

    def put_into(self, world: PanelWorld, operator_id: str, name: str = "Laptop") -> None:
        """Register it, as its owner once did."""
        point = self._key.public_key().public_numbers()
        cose = {1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32, "big"), -3: point.y.to_bytes(32, "big")}
        with writing(world.database) as session:
            session.add(
                PasskeyRow(
                    id=self.id,
                    operator_id=operator_id,
                    public_key=_b64(encode_cbor(cose)),
                    sign_count=0,
                    name=name,
                    created_at=world.clock.now(),
                )
            )

    def answer(self, options: dict[str, Any]) -> dict[str, Any]:
        """Sign what was asked."""
        client = {"type": "webauthn.get", "challenge": options["challenge"], "origin": ORIGIN}
        told = json.dumps(client).encode()
        data = hashlib.sha256(RP_ID.encode()).digest() + bytes([0x05]) + bytes(4)
        signature = self._key.sign(data + hashlib.sha256(told).digest(), ec.ECDSA(hashes.SHA256()))
        response = {"clientDataJSON": told, "authenticatorData": data, "signature": signature}
        return {
            "id": self.id,
            "rawId": self.id,
            "type": "public-key",
            "response": {name: _b64(value) for name, value in response.items()},
        }


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


async def _ask(client: httpx.AsyncClient, what: str, proof: dict[str, Any] | None) -> httpx.Response:
    """Change the account in one of the ways that take a proof."""
    method, path, body = {
        "password": ("POST", "/password", {"new": "another-long-password-2"}),
        "codes": ("PUT", "/second-factor", {"secret": SECRET, "code": "000000"}),
        "no codes": ("DELETE", "/second-factor", {}),
        "passkey": ("POST", "/passkeys/options", {}),
        "no passkey": ("DELETE", "/passkeys/abcd", {}),
    }[what]
    given = {} if proof is None else {"proof": proof}
    return await client.request(method, f"/api/v1/account{path}", json={**body, **given})


# What is answered where the proof was right, and the change itself has something else wrong with it, or nothing.
CHANGES = {"password": 204, "codes": 422, "no codes": 204, "passkey": 200, "no passkey": 404}


@pytest.mark.parametrize("what", CHANGES)
def test_a_session_alone_changes_nothing_and_the_password_does(run: Run, what: str) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        for proof in (None, {}, {"code": "123456"}):
            answer = await _ask(anna, what, proof)
            assert (answer.status_code, answer.json()["code"]) == (403, "proof-needed")
        answer = await _ask(anna, what, {"password": "wrong"})
        assert (answer.status_code, answer.json()["code"]) == (403, "proof-refused")
        assert (await _ask(anna, what, BY_PASSWORD)).status_code == CHANGES[what]
        with reading(world.database) as session:
            told = session.execute(select(AUDIT.table.c.action, AUDIT.table.c.result)).all()
        assert told.count(("account-proof", "proof-needed")) == 3
        assert told.count(("account-proof", "proof-refused")) == 1

    run(scenario)


def test_a_passkey_proves_it_once_and_only_the_owners(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        own, others = Authenticator(), Authenticator()
        with reading(world.database) as session:
            anna_id = session.query(OperatorRow).one().id
        own.put_into(world, anna_id)
        others.id = _b64(b"somebody else's")
        others.put_into(world, world.add("boris"))
        anna = await world.signed_in("anna")

        async def asked() -> dict[str, Any]:
            options = (await anna.post("/api/v1/account/proof/options")).json()["options"]
            assert [one["id"] for one in options["allowCredentials"]] == [own.id]
            return dict(options)

        sign_in = (await anna.post("/api/v1/session/passkey/options")).json()["options"]
        for credential in (others.answer(await asked()), own.answer(sign_in), {"id": own.id}):
            refused = await _ask(anna, "no codes", {"passkey": credential})
            assert (refused.status_code, refused.json()["code"]) == (403, "proof-refused")
        credential = own.answer(await asked())
        assert (await _ask(anna, "no codes", {"passkey": credential})).status_code == 204
        assert (await _ask(anna, "no codes", {"passkey": credential})).status_code == 403, "good once"
        removed = await anna.request(
            "DELETE",
            f"/api/v1/account/passkeys/{own.id}",
            json={"proof": {"passkey": own.answer(await asked())}},
        )
        assert removed.status_code == 204
        assert (await anna.post("/api/v1/session")).status_code == 422, "she is signed in still"

    run(scenario)


def test_who_has_no_password_proves_it_with_a_code_or_signs_in_anew(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        operator_id, now = world.add("oksana"), world.clock.now()
        with writing(world.database) as session:
            session.get_one(OperatorRow, operator_id).password_hash = None
            cookies = {way: open_session(session, operator_id, now, way) for way in ("oidc", ASKED_ANEW)}

        def client(way: str) -> httpx.AsyncClient:
            made = world.client()
            made.cookies.set(COOKIE, cookies[way])
            return made

        silent, asked = client("oidc"), client(ASKED_ANEW)
        for proof in (None, {"password": "any-password-1"}, {"code": "000000"}):
            assert (await _ask(silent, "passkey", proof)).json()["code"] == "proof-needed"
        assert (await _ask(asked, "passkey", None)).status_code == 200
        page = (await asked.get("/account", headers={"accept": "text/html"})).text
        assert "proof-dialog" not in page and "account/password" not in page
        with writing(world.database) as session:
            row = session.get_one(OperatorRow, operator_id)
            row.totp_sealed = world.app.state.context.sealer.seal(SECRET, operator_id)
        code = pyotp.TOTP(SECRET).at(world.clock.now())
        assert (await _ask(silent, "passkey", {"code": code})).status_code == 200
        assert (await _ask(silent, "passkey", {"code": code})).json()["code"] == "proof-refused", "good once"
        set_one = await _ask(asked, "password", None)
        assert set_one.status_code == 409, "the provider alone says who it is, and may take it away"
        world.clock.advance(minutes=6)
        assert (await _ask(asked, "passkey", None)).json()["code"] == "proof-needed"

    run(scenario)


def test_wrong_proofs_lock_as_wrong_passwords_do(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        for _ in range(10):
            await _ask(anna, "no passkey", {"password": "wrong"})
        assert (await _ask(anna, "no passkey", BY_PASSWORD)).json()["code"] == "locked"

    run(scenario)


def test_nobody_waits_while_a_password_is_hashed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is free to be written for as long as hashing and comparing take."""

    async def scenario(world: PanelWorld) -> None:
        world.add("boss", Role.ADMINISTRATOR)
        anna, boss = await world.signed_in("anna"), await world.signed_in("boss")
        hashed: list[str] = []

        class Watching(PasswordHasher):
            def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
                self._write()
                return super().hash(password, salt=salt)

            def verify(self, hash: str | bytes, password: str | bytes) -> Any:  # noqa: A002 - argon2's name
                self._write()
                return super().verify(hash, password)

            def _write(self) -> None:
                path = world.url.removeprefix("sqlite:///")
                with closing(sqlite3.connect(path, timeout=0)) as connection:
                    connection.execute("BEGIN IMMEDIATE")
                hashed.append("")

        monkeypatch.setattr(accounts, "_HASHER", Watching(time_cost=1, memory_cost=8, parallelism=1))
        body = {"new": "another-long-password-2", "proof": BY_PASSWORD}
        assert (await anna.post("/api/v1/account/password", json=body)).status_code == 204
        assert len(hashed) == 3, "the present one, the former ones, the new one"
        made = await boss.post("/api/v1/operators", json={"name": "late"})
        assert made.status_code == 201
        path = made.json()["invitation"].removeprefix("http://panel.test")
        taken = await world.client().post(path, data={"password": "a-good-long-password-1"})
        assert taken.status_code == 303 and len(hashed) == 4

    run(scenario)
