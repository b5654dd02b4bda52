"""People: invitations, one-time codes, roles, the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import httpx
import pyotp
import pytest

from paycall import operator_command
from paycall.domain.errors import TamperedError
from paycall.panel.first_operator import create_first_operator
from paycall.panel.roles import Role
from paycall.panel.services.sealed import Sealer
from paycall.store.database import open_database, reading
from paycall.store.tables import OperatorRow
from tests.fakes.panel_world import PASSWORD, PanelWorld

Run = Callable[..., None]
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
PROOF = {"proof": {"password": PASSWORD}}
OTHER_SECRET = "KRSXG5CTMVRXEZLUKRSXG5CTMVRXEZLU"


def test_an_invited_person_sets_a_password_once(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        world.add("boss", Role.ADMINISTRATOR)
        boss = await world.signed_in("boss")
        added = await boss.post("/api/v1/operators", json={"name": "Oksana", "role": "supervisor"})
        assert added.status_code == 201 and added.json()["operator"]["invited"]
        path = added.json()["invitation"].removeprefix("http://panel.test")
        taken = await boss.post("/api/v1/operators", json={"name": "oksana"})
        assert (taken.status_code, taken.json()["code"]) == (422, "name-taken")

        oksana = world.client()
        assert "oksana" in (await oksana.get(path)).text
        weak = await oksana.post(path, data={"password": "short"})
        assert weak.status_code == 422 and "12" in weak.text
        done = await oksana.post(path, data={"password": "a-good-long-password-1"})
        assert done.status_code == 303
        assert (await oksana.get("/api/v1/session")).json()["operator"]["role"] == "supervisor"
        assert (await oksana.get(path)).status_code == 404, "an invitation is good once"

    run(scenario)


def test_an_invitation_leads_where_the_site_says(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        world.add("boss", Role.ADMINISTRATOR)
        boss = await world.signed_in("boss")
        boss.base_url = httpx.URL("https://panel.test")  # as the proxy is asked; the cookie goes nowhere else
        added = await boss.post("/api/v1/operators", json={"name": "late"}, headers={"host": "evil.example"})
        assert added.json()["invitation"].startswith("https://panel.example/invitation/")

    run(scenario, public_url="https://panel.example")


def test_an_invitation_is_too_old_after_three_days(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        world.add("boss", Role.ADMINISTRATOR)
        boss = await world.signed_in("boss")
        added = await boss.post("/api/v1/operators", json={"name": "late"})
        world.clock.advance(days=3, seconds=1)
        path = added.json()["invitation"].removeprefix("http://panel.test")
        answer = await world.client().post(path, data={"password": "a-good-long-password-1"})
        assert answer.status_code == 404

    run(scenario)


def test_a_lock_ends_the_sessions_and_an_administrator_remains(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        boss_id = world.add("boss", Role.ADMINISTRATOR)
        boss, anna = await world.signed_in("boss"), await world.signed_in("anna")
        people = (await boss.get("/api/v1/operators")).json()["operators"]
        anna_id = next(person["id"] for person in people if person["name"] == "anna")
        assert (await boss.patch(f"/api/v1/operators/{anna_id}", json={"locked": True})).status_code == 200
        assert (await anna.get("/api/v1/session")).status_code == 401
        again = await world.client().post("/api/v1/session", json={"name": "anna", "password": PASSWORD})
        assert again.json()["code"] == "locked"
        for change in ({"role": "operator"}, {"locked": True}):
            last = await boss.patch(f"/api/v1/operators/{boss_id}", json=change)
            assert (last.status_code, last.json()["code"]) == (409, "last-administrator")
        assert (await boss.get("/api/v1/session")).status_code == 200

    run(scenario)


def test_one_time_codes_are_asked_for_and_good_once(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        totp = pyotp.TOTP(SECRET)
        wrong = await anna.put(
            "/api/v1/account/second-factor", json={"secret": SECRET, "code": "000000", **PROOF}
        )
        assert (wrong.status_code, wrong.json()["code"]) == (422, "wrong-code")
        code = totp.at(world.clock.now())
        assert (
            await anna.put("/api/v1/account/second-factor", json={"secret": SECRET, "code": code, **PROOF})
        ).status_code == 204
        with reading(world.database) as session:
            assert SECRET not in str(session.query(OperatorRow).one().totp_sealed)

        async def sign_in(**more: str) -> tuple[int, str]:
            body = {"name": "anna", "password": PASSWORD, **more}
            answer = await world.client().post("/api/v1/session", json=body)
            return answer.status_code, answer.json().get("code", "")

        assert await sign_in() == (401, "second-factor-required")
        assert await sign_in(code=code) == (403, "sign-in-failed"), "the code was used to set it up"
        world.clock.advance(seconds=60)
        fresh = totp.at(world.clock.now())
        assert (await sign_in(code=fresh))[0] == 200
        assert await sign_in(code=fresh) == (403, "sign-in-failed"), "a replayed code"
        # Another phone takes the place of hers in two steps, each with a proof.
        other = {"secret": OTHER_SECRET, "code": pyotp.TOTP(OTHER_SECRET).at(world.clock.now()), **PROOF}
        assert (await anna.put("/api/v1/account/second-factor", json=other)).status_code == 409
        removed = await anna.request("DELETE", "/api/v1/account/second-factor", json=PROOF)
        assert removed.status_code == 204
        assert (await anna.put("/api/v1/account/second-factor", json=other)).status_code == 204

    run(scenario)


def test_a_site_can_ask_everybody_for_a_second_factor(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        refused = await anna.get("/api/v1/calls")
        assert (refused.status_code, refused.json()["code"]) == (403, "account-unfinished")
        page = await anna.get("/", headers={"accept": "text/html"})
        assert (page.status_code, page.headers["location"]) == (303, "/account")
        code = pyotp.TOTP(SECRET).at(world.clock.now())
        await anna.put("/api/v1/account/second-factor", json={"secret": SECRET, "code": code, **PROOF})
        assert (await anna.get("/api/v1/calls")).status_code == 200

    run(scenario, require_second_factor=True)


def test_changing_the_password_signs_everybody_else_out(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        here, elsewhere = await world.signed_in("anna"), await world.signed_in("anna")
        body = {"proof": {"password": "wrong"}, "new": "another-long-password-2"}
        assert (await here.post("/api/v1/account/password", json=body)).status_code == 403
        body |= PROOF
        assert (await here.post("/api/v1/account/password", json=body)).status_code == 204
        assert (await here.get("/api/v1/session")).status_code == 200
        assert (await elsewhere.get("/api/v1/session")).status_code == 401

    run(scenario)


def test_the_audit_tells_who_did_what_and_that_it_was_read(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        world.add("lex", Role.AUDITOR)
        await world.client().post("/api/v1/session", json={"name": "anna", "password": "wrong"})
        lex = await world.signed_in("lex")
        text = (await lex.get("/audit")).text.partition("<tbody>")[2]
        assert text.index("Audit read") < text.index("Sign-in")
        assert "refused" in text and "anna" in text and "wrong" not in text
        anna = await world.signed_in("anna")
        assert (await anna.get("/audit")).status_code == 403

    run(scenario)


def test_a_sealed_secret_opens_only_for_its_owner(tmp_path: Path) -> None:
    sealer = Sealer(tmp_path / "folder" / "secret")
    sealed = sealer.seal("hush", "anna")
    assert "hush" not in sealed and Sealer(tmp_path / "folder" / "secret").open(sealed, "anna") == "hush"
    assert (tmp_path / "folder" / "secret").stat().st_mode & 0o777 == 0o600
    for other in (("boris", sealer), ("anna", Sealer(tmp_path / "other"))):
        with pytest.raises(TamperedError):
            other[1].open(sealed, other[0])


def test_the_first_operator_is_made_once(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'panel.sqlite3'}")
    first = create_first_operator(engine)
    assert first is not None and first[0] == "admin" and len(first[1]) >= 12
    assert create_first_operator(engine) is None
    engine.dispose()


def test_the_command_line_adds_locks_and_resets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYCALL_PANEL__DATABASE_URL", f"sqlite:///{tmp_path / 'panel.sqlite3'}")
    monkeypatch.chdir(tmp_path)
    parser = argparse.ArgumentParser()
    parser.set_defaults(config=None)  # the command line adds it to every command
    operator_command.add_arguments(parser)

    def command(*words: str) -> tuple[int, str, str]:
        status = operator_command.run(parser.parse_args(words))
        out = capsys.readouterr()
        return status, out.out, out.err

    status, out, _ = command("add", "Anna", "--role", "supervisor")
    assert status == 0 and "password (shown once): " in out
    assert command("add", "anna")[0] == 1
    assert command("lock", "anna")[1] == "anna is locked\n"
    assert command("list")[1] == "anna\tsupervisor\tlocked\n"
    assert "password (shown once): " in command("reset", "anna")[1]
    assert command("list")[1] == "anna\tsupervisor\topen\n"
    assert command("lock", "nobody")[2] == "paycall operator: there is no account of this name\n"


def test_a_name_is_one_account_however_it_is_typed_and_of_one_alphabet(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        world.add("boss", Role.ADMINISTRATOR)
        boss = await world.signed_in("boss")
        # full-width; a Cyrillic letter among Latin ones; a Tangut letter, which has no name of its own
        for name in ("\uff21nna", "\u0430nna", "\U00017000"):
            answer = await boss.post("/api/v1/operators", json={"name": name})
            assert (answer.status_code, answer.json()["code"]) == (422, "name-taken")
        assert (
            await boss.post("/api/v1/operators", json={"name": "\u0430\u043d\u043d\u0430"})
        ).status_code == 201
        await world.signed_in("\uff21nna")

    run(scenario)


def test_who_is_locked_takes_no_invitation(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        world.add("boss", Role.ADMINISTRATOR)
        boss = await world.signed_in("boss")
        made = (await boss.post("/api/v1/operators", json={"name": "oksana"})).json()
        path = made["invitation"].removeprefix("http://panel.test")
        url = f"/api/v1/operators/{made['operator']['id']}"
        await boss.patch(url, json={"locked": True})
        guest = world.client()
        taken = await guest.post(path, data={"password": "a-good-long-password-1"})
        assert taken.status_code == 404
        await boss.patch(url, json={"locked": False})
        taken = await guest.post(path, data={"password": "a-good-long-password-1"})
        assert taken.status_code == 303

    run(scenario)
