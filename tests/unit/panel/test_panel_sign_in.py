"""Signing in: lock-out, idle time, cookies, what is told and what is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pyotp
import pytest
from sqlalchemy import select

from paycall.panel.services.accounts import (
    WeakPasswordError,
    check_password_rules,
    former_passwords,
    hash_password,
    set_password,
)
from paycall.store.database import writing
from paycall.store.tables import AUDIT, OperatorRow, SessionRow
from tests.fakes.panel_world import APPROVED, NO_ANSWER, PASSWORD, PanelWorld, charge, new_payment, until

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
Run = Callable[..., None]


def test_wrong_name_and_wrong_password_are_answered_alike(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        client = world.client()
        answers = [
            await client.post("/api/v1/session", json={"name": name, "password": "wrong-wrong-1"})
            for name in ("anna", "nobody")
        ]
        assert answers[0].status_code == answers[1].status_code == 403
        assert answers[0].json() == answers[1].json()
        assert "wrong-wrong-1" not in answers[0].text

    run(scenario)


def test_ten_wrong_tries_lock_for_half_an_hour(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        client = world.client()
        right = {"name": "anna", "password": PASSWORD}
        for _ in range(10):
            await client.post("/api/v1/session", json={"name": "Anna", "password": "wrong"})
        assert (await client.post("/api/v1/session", json=right)).json()["code"] == "locked"
        world.clock.advance(minutes=29)
        assert (await client.post("/api/v1/session", json=right)).status_code == 403
        world.clock.advance(minutes=2)
        assert (await client.post("/api/v1/session", json=right)).status_code == 200

    run(scenario)


def test_wrong_codes_with_the_right_password_lock_too(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        with writing(world.database) as session:
            row = session.query(OperatorRow).one()
            row.totp_sealed = world.app.state.context.sealer.seal(SECRET, row.id)
        client, right = world.client(), {"name": "anna", "password": PASSWORD}
        for _ in range(10):
            asked = await client.post("/api/v1/session", json=right)
            assert asked.json()["code"] == "second-factor-required", "asking for the code is no wrong try"
            await client.post("/api/v1/session", json=right | {"code": "000000"})
        code = pyotp.TOTP(SECRET).at(world.clock.now())
        locked = await client.post("/api/v1/session", json=right | {"code": code})
        assert locked.json()["code"] == "locked"
        world.clock.advance(minutes=31)
        code = pyotp.TOTP(SECRET).at(world.clock.now())
        assert (await client.post("/api/v1/session", json=right | {"code": code})).status_code == 200
        with writing(world.database) as session:
            results = session.scalars(select(AUDIT.table.c.result)).all()
        assert results.count("second-factor-required") == 10

    run(scenario)


def test_a_flood_of_sign_ins_is_held_back_and_leaves_the_others_alone(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        client = world.client()
        wrong = {"name": "nobody", "password": "wrong-wrong-1"}
        flood = asyncio.gather(*(client.post("/api/v1/session", json=wrong) for _ in range(60)))
        assert (await anna.get("/api/v1/calls")).status_code == 200
        answers = await flood
        assert {answer.status_code for answer in answers} == {403, 429}
        world.clock.advance(minutes=1)
        assert (await client.post("/api/v1/session", json=wrong)).status_code == 403

    run(scenario)


def test_behind_a_proxy_that_ends_tls_the_cookie_is_secure(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        client = world.client()
        answer = await client.post("/api/v1/session", json={"name": "anna", "password": PASSWORD})
        assert "Secure" in answer.headers["set-cookie"]
        assert "strict-transport-security" in answer.headers

    run(scenario, public_url="https://panel.example")


def test_the_cookie_is_for_our_own_requests_and_only_its_hash_is_kept(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        client = world.client()
        client.cookies.set("paycall_session", "chosen-by-an-attacker")
        answer = await client.post("/api/v1/session", json={"name": "anna", "password": PASSWORD})
        header = answer.headers["set-cookie"]
        cookie = header.partition("=")[2].partition(";")[0]
        assert "HttpOnly" in header and "SameSite=lax" in header
        assert cookie != "chosen-by-an-attacker" and len(cookie) >= 40
        with writing(world.database) as session:
            assert cookie not in [row.token_hash for row in session.query(SessionRow)]
            assert "sign-in" in session.scalars(select(AUDIT.table.c.action)).all()

    run(scenario)


def test_idle_ends_the_session_but_not_in_the_middle_of_a_payment(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        call_id = await world.cell.call_in()
        payment = await new_payment(anna, call_id)
        await world.cell.key(call_id, APPROVED)
        world.clock.advance(minutes=16)
        assert (await anna.get("/api/v1/session")).status_code == 200
        await anna.post(f"/api/v1/payments/{payment['id']}/cancel")
        world.clock.advance(minutes=14)
        assert (await anna.get("/api/v1/session")).status_code == 200
        world.clock.advance(minutes=16)
        assert (await anna.get("/api/v1/session")).status_code == 401

    run(scenario)


def test_a_payment_whose_caller_has_gone_keeps_nobody_signed_in_and_is_not_charged_any_more(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        fields = ["payment-card-number", "expiration-date"]
        call_id = await world.cell.call_in()
        ready = (await new_payment(anna, call_id, fields=fields))["id"]
        await world.cell.key(call_id, APPROVED, "1230")
        await until(anna, ready, "ready")
        other = await world.cell.call_in()
        unknown = (await new_payment(anna, other, fields=fields))["id"]
        await world.cell.key(other, NO_ANSWER, "1230")
        await until(anna, unknown, "ready")
        await charge(anna, unknown, "unknown")
        for call in (call_id, other):
            await world.cell.end(call)
        world.clock.advance(minutes=4)
        assert "authorize" in (await until(anna, ready, "ready"))["actions"]
        world.clock.advance(minutes=2)
        assert (await anna.post(f"/api/v1/payments/{ready}/authorize")).status_code == 409
        await until(anna, ready, "cancelled")
        while ready not in world.vault.dropped:
            await asyncio.sleep(0.02)
        world.clock.advance(minutes=16)
        assert (await anna.get(f"/api/v1/payments/{unknown}")).status_code == 401

    run(scenario)


def test_following_the_events_is_not_activity_and_ends_with_the_session(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paycall.panel.stream.HEARTBEAT_S", 0.05)

    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")

        async def follow() -> None:
            async with anna.stream("GET", "/api/v1/events") as stream:
                async for _ in stream.aiter_bytes():
                    pass

        following = asyncio.create_task(follow())
        await asyncio.sleep(0.2)
        assert not following.done()
        world.clock.advance(minutes=16)
        await asyncio.wait_for(following, 40)

    run(scenario)


def test_signing_out_ends_the_session(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        cookies = dict(anna.cookies)
        assert (await anna.delete("/api/v1/session")).status_code == 204
        again = world.client()
        again.cookies.update(cookies)
        assert (await again.get("/api/v1/session")).status_code == 401

    run(scenario)


def test_the_form_signs_in_without_any_script_and_goes_nowhere_else(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        client = world.client()
        page = await client.get("/", headers={"accept": "text/html"})
        assert (page.status_code, page.headers["location"]) == (303, "/sign-in?next=/")
        for target, expected in (
            ("/history", "/history"),
            ("//evil.example", "/"),
            ("https://evil.example/", "/"),
            ("/\\evil.example", "/"),
        ):
            form = {"name": "anna", "password": PASSWORD, "next": target}
            answer = await world.client().post("/sign-in", data=form)
            assert (answer.status_code, answer.headers["location"]) == (303, expected)
        wrong = await client.post("/sign-in", data={"name": '"><script>', "password": "x", "next": "/"})
        assert wrong.status_code == 403 and "<script>" not in wrong.text.partition("<body")[2]

    run(scenario)


def test_passwords_follow_the_rules_and_the_last_four_are_refused(run: Run) -> None:
    for weak in ("short1a", "onlyletterslong", "123456789012345"):
        with pytest.raises(WeakPasswordError):
            check_password_rules(weak)

    async def scenario(world: PanelWorld) -> None:
        with writing(world.database) as session:
            row = session.query(OperatorRow).one()

            def change(password: str) -> None:
                set_password(session, row, hash_password(password, former_passwords(row)), must_change=False)

            for number in range(3):
                change(f"another-password-{number}")
            for old in (PASSWORD, "another-password-2"):
                with pytest.raises(WeakPasswordError):
                    change(old)
            change("another-password-3")
            change(PASSWORD)

    run(scenario)
