"""Authorizations: once each, no outcome guessed, the security code gone when it is answered."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace

import pytest

from paycall.domain.authorization import AuthorizationResult, Outcome
from paycall.domain.ids import new_id
from paycall.vault.attempts import Attempt, answered
from tests.fakes.vault_harness import CODE, OTHER_NUMBER, Client, VaultHarness


def reserved(vault: VaultHarness) -> int:
    return sum(booking.reserved_minor for booking in vault.acquirer.ledger.values())


async def has_code(client: Client, payment_id: str) -> bool:
    return bool((await client.panel.get(f"/v1/payments/{payment_id}/card")).json()["has_security_code"])


def test_an_approval_is_told_and_wipes_the_code(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            answer = await client.authorize(payment_id, token)
            assert answer.json() == {
                "outcome": "approved",
                "acquirer": "sandbox",
                "acquirer_reference": "ref-1",
                "authorization_code": "OK1234",
                "avs_result": "Y",
                "code_result": "M",
                "approved_minor": 4200,
                "decline": None,
                "needs_review": False,
                "settles_part": True,
                "reversal_due": False,
                "search": None,
            }
            assert not await has_code(client, payment_id)

    asyncio.run(main())


def test_the_same_attempt_again_is_answered_and_not_sent(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            attempt_id = new_id("att")
            first = await client.authorize(payment_id, token, attempt_id)
            again = await client.authorize(payment_id, token, attempt_id)
            assert first.json() == again.json() == await client.attempt(attempt_id)
            other = await client.authorize(payment_id, token, attempt_id, amount_minor=1)
            assert (other.status_code, other.json()["code"]) == (409, "wrong-state")
        async with vault.running() as client:  # also after a restart
            assert (await client.authorize(payment_id, token, attempt_id)).json() == first.json()
        assert vault.acquirer.calls == ["authorize"]

    asyncio.run(main())


def test_twenty_requests_at_once_make_one_authorization(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            one = new_id("att")
            ids = [one] * 10 + [new_id("att") for _ in range(10)]
            answers = await asyncio.gather(*(client.authorize(payment_id, token, i) for i in ids))
            approved = [answer for answer in answers if answer.status_code == 200]
            assert {answer.json()["code"] for answer in answers if answer.status_code != 200} <= {
                "wrong-state"
            }
            assert approved and len({answer.text for answer in approved}) == 1
        assert len(vault.acquirer.ledger) == 1 and reserved(vault) == 4200

    asyncio.run(main())


def test_a_decline_keeps_the_card_and_asks_for_the_code_again(vault: VaultHarness) -> None:
    vault.acquirer.script = ["decline"]

    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            answer = (await client.authorize(payment_id, token)).json()
            assert answer["outcome"] == "declined"
            assert answer["decline"]["reason"] == "generic_decline" and answer["decline"]["raw_code"] == "05"
            gone = await client.authorize(payment_id, token)
            assert (gone.status_code, gone.json()["code"]) == (409, "security-code-gone")
            assert (await client.put(payment_id, "security-code", CODE)).json()["token"] == token
            assert (await client.authorize(payment_id, token)).json()["outcome"] == "approved"

    asyncio.run(main())


def test_the_code_is_gone_after_five_minutes_and_after_a_restart(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            vault.clock.ahead_s += 299
            assert await has_code(client, payment_id)
            vault.clock.ahead_s += 2
            assert (await client.authorize(payment_id, token)).json()["code"] == "security-code-gone"
            await client.put(payment_id, "security-code", CODE)
        async with vault.running() as client:
            assert (await client.authorize(payment_id, token)).json()["code"] == "security-code-gone"
        assert vault.acquirer.calls == []

    asyncio.run(main())


def test_a_card_without_a_code_may_be_charged_without_one(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture(code=None)
            assert (await client.authorize(payment_id, token)).json()["code_result"] is None

    asyncio.run(main())


def test_not_sent_leaves_everything_as_it_was(vault: VaultHarness) -> None:
    vault.acquirer.script = ["not-sent"]

    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            attempt_id = new_id("att")
            answer = await client.authorize(payment_id, token, attempt_id)
            assert (answer.status_code, answer.json()["code"]) == (503, "not-sent")
            assert (await client.panel.get(f"/v1/authorizations/{attempt_id}")).status_code == 404
            assert (await client.authorize(payment_id, token, attempt_id)).json()["outcome"] == "approved"

    asyncio.run(main())


def test_an_attempt_that_was_not_seen_is_never_sent_once_that_was_told(vault: VaultHarness) -> None:
    """Whoever asks may have given up while the request still waits for the database, or lies in a socket."""

    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            attempt_id = new_id("att")
            with sqlite3.connect(vault.directory / "vault" / "vault.sqlite3", isolation_level=None) as lock:
                lock.execute("BEGIN IMMEDIATE")
                waiting = asyncio.create_task(client.authorize(payment_id, token, attempt_id))
                abandoning = asyncio.create_task(
                    client.panel.post(f"/v1/authorizations/{attempt_id}/abandon")
                )
                await asyncio.sleep(0.1)
                lock.execute("ROLLBACK")
            told, charged = await abandoning, await waiting
            lock.close()
            # Whichever came first at the database: what is told as not sent is not sent.
            assert (told.status_code, charged.status_code) in ((404, 409), (200, 200))
            assert len(vault.acquirer.calls) == (told.status_code == 200)

            payment_id, token = await client.capture()
            unseen = new_id("att")
            assert (await client.panel.post(f"/v1/authorizations/{unseen}/abandon")).status_code == 404
            assert (await client.panel.post(f"/v1/authorizations/{unseen}/abandon")).status_code == 404
            refused = await client.authorize(payment_id, token, unseen)
            assert (refused.status_code, refused.json()["code"]) == (409, "wrong-state")
            other = new_id("att")
            assert (await client.authorize(payment_id, token, other)).json()["outcome"] == "approved"
            known = await client.panel.post(f"/v1/authorizations/{other}/abandon")
            assert known.json() == await client.attempt(other)

    asyncio.run(main())


def test_a_refused_request_is_told_and_not_sent_again(vault: VaultHarness) -> None:
    vault.acquirer.script = ["refused"]

    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            attempt_id = new_id("att")
            for _ in range(2):
                answer = await client.authorize(payment_id, token, attempt_id)
                assert (answer.status_code, answer.json()["code"]) == (502, "refused-request")
            assert vault.acquirer.calls == ["authorize"]
            await client.put(payment_id, "security-code", CODE)
            assert (await client.authorize(payment_id, token)).json()["outcome"] == "approved"

    asyncio.run(main())


def test_a_partial_approval_is_reversed_and_shown_as_insufficient_funds(vault: VaultHarness) -> None:
    vault.acquirer.script = ["partial"]
    vault.acquirer.trouble = {"reverse"}  # the reversal's first answers get lost

    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            answer = (await client.authorize(payment_id, token)).json()
            assert (answer["outcome"], answer["decline"]["reason"]) == ("declined", "insufficient_funds")
            await client.put(
                payment_id, "payment-card-number", OTHER_NUMBER
            )  # the operator goes on meanwhile
            async with asyncio.timeout(40):
                while vault.acquirer.calls.count("reverse") < 2:
                    await asyncio.sleep(0.05)
            assert reserved(vault) == 0
            vault.acquirer.trouble = set()
            async with asyncio.timeout(40):
                while open_rows(vault):
                    await asyncio.sleep(0.05)

    asyncio.run(main())


def open_rows(vault: VaultHarness) -> int:
    connection = sqlite3.connect(vault.directory / "vault" / "vault.sqlite3")
    try:
        (count,) = connection.execute(
            "SELECT count(*) FROM attempts WHERE next_try_at IS NOT NULL"
        ).fetchone()
        return int(count)
    finally:
        connection.close()


@pytest.mark.parametrize("step", ["lost-answer", "lost-request", "unclear", "bug"])
def test_no_answer_is_unknown_and_the_same_request_again_finds_out(vault: VaultHarness, step: str) -> None:
    vault.acquirer.script = [step]

    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            attempt_id = new_id("att")
            answer = (await client.authorize(payment_id, token, attempt_id)).json()
            assert answer["outcome"] == "unknown"
            assert (await client.authorize(payment_id, token)).json()["code"] == "wrong-state"
            refused = await client.put(payment_id, "payment-card-number", OTHER_NUMBER)
            assert refused.json()["code"] == "session-in-progress"
            known = await client.until(attempt_id, lambda body: body["outcome"] != "unknown")
            assert known["outcome"] == "approved" and known["code_result"] == "M"
            assert not await has_code(client, payment_id)
        assert len(vault.acquirer.ledger) == 1 and reserved(vault) == 4200

    asyncio.run(main())


def test_a_code_that_is_gone_means_look_up_never_a_second_request(vault: VaultHarness) -> None:
    vault.acquirer.script = ["lost-answer"]

    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            attempt_id = new_id("att")
            vault.acquirer.trouble = {"look_up"}
            await client.authorize(payment_id, token, attempt_id)
        vault.acquirer.trouble = set()
        vault.acquirer.calls.clear()
        async with vault.running() as client:  # the code died with the process
            known = await client.until(attempt_id, lambda body: body["outcome"] != "unknown")
            assert known["outcome"] == "approved"
        assert vault.acquirer.calls == ["look_up"]

    asyncio.run(main())


def test_an_acquirer_that_has_nothing_gets_a_reversal(vault: VaultHarness) -> None:
    vault.acquirer.script = ["lost-request"]

    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            attempt_id = new_id("att")
            await client.authorize(payment_id, token, attempt_id)
            client.apps.services.codes.wipe(token)
            known = await client.until(attempt_id, lambda body: body["outcome"] != "unknown")
            assert known["outcome"] == "reversed"
            assert "authorize" not in vault.acquirer.calls[1:]
            again = await client.put(payment_id, "security-code", CODE)  # the payment may go on
            assert (await client.authorize(payment_id, again.json()["token"])).json()["outcome"] == "approved"

    asyncio.run(main())


def test_nobody_knows_for_six_rounds_and_it_is_reversed_for_good(vault: VaultHarness) -> None:
    vault.acquirer.script = ["lost-answer"]
    vault.acquirer.trouble = {"look_up"}

    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            attempt_id = new_id("att")
            await client.authorize(payment_id, token, attempt_id)
            client.apps.services.codes.wipe(token)
            async with asyncio.timeout(40):
                while (known := await client.attempt(attempt_id))["outcome"] == "unknown":
                    await asyncio.sleep(0.3)
                    vault.clock.ahead_s += 60  # skip the pauses
            assert known["outcome"] == "reversed"
        assert reserved(vault) == 0 and vault.acquirer.calls.count("look_up") == 6

    asyncio.run(main())


def test_a_crash_between_writing_and_answer_is_found_out_after_the_restart(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture(code=None)
            attempt_id = new_id("att")
            asking = await vault.hanging(client, payment_id, token, attempt_id)
            # As after kill -9: the tasks are gone, the row says "sending".
            for _, task in client.apps.services.authorizer._in_flight.values():
                task.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        async with vault.running() as client:
            assert (await client.attempt(attempt_id))["outcome"] == "unknown"
            known = await client.until(attempt_id, lambda body: body["outcome"] != "unknown")
            assert (
                known["outcome"] == "approved"
            )  # it carried no code, so the very same request was sent again
        assert len(vault.acquirer.ledger) == 1

    asyncio.run(main())


def test_an_acquirer_that_hangs_is_unknown_in_time(vault: VaultHarness) -> None:
    vault.acquirer.script = ["hang"]
    vault.changes = {"acquirer_timeout_s": 0.2}

    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            attempt_id = new_id("att")
            assert (await client.authorize(payment_id, token, attempt_id)).json()["outcome"] == "unknown"
            await client.until(attempt_id, lambda body: body["outcome"] == "approved")

    asyncio.run(main())


def test_an_acquirer_that_comes_back_is_asked_then(vault: VaultHarness) -> None:
    vault.acquirer.script = ["lost-answer"]

    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            attempt_id = new_id("att")
            await client.authorize(payment_id, token, attempt_id)
            vault.acquirer.down = True
            await asyncio.sleep(1)
            assert (await client.attempt(attempt_id))["outcome"] == "unknown"
            vault.acquirer.down = False
            vault.clock.ahead_s += 60
            await client.until(attempt_id, lambda body: body["outcome"] == "approved")

    asyncio.run(main())


def test_the_work_goes_on_when_the_panel_goes_away(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            attempt_id = new_id("att")
            asking = await vault.hanging(client, payment_id, token, attempt_id)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            vault.acquirer.release.set()
            known = await client.until(attempt_id, lambda body: body["outcome"] != "unknown")
            assert known["outcome"] == "approved"
        assert vault.acquirer.calls == ["authorize"]

    asyncio.run(main())


@pytest.mark.parametrize(
    "change",
    [
        {"amount_minor": 0},
        {"amount_minor": "4200"},
        {"currency": "EU"},
        {"token": "4242424242424242"},
        {"pan": "1"},
    ],
)
def test_a_malformed_request_is_refused_and_never_repeated(
    vault: VaultHarness, change: dict[str, object]
) -> None:
    async def main() -> None:
        async with vault.running() as client:
            body = {
                "attempt_id": new_id("att"),
                "payment_id": new_id("pay"),
                "token": new_id("tok"),
                "amount_minor": 1,
                "currency": "EUR",
            }
            answer = await client.panel.post("/v1/authorizations", json=body | change)
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid-input")
            assert "4242" not in answer.text

    asyncio.run(main())


def test_an_approval_in_another_currency_is_not_understood() -> None:
    attempt = Attempt(
        attempt_id=new_id("att"),
        payment_id=new_id("pay"),
        token=new_id("tok"),
        fingerprint=b"",
        amount_minor=4200,
        currency="EUR",
        reference="",
        description="",
        acquirer="stripe",
        carried_code=False,
        created_at="2026-11-22T12:00:00+00:00",
        next_try_at="2026-11-22T12:00:00+00:00",
    )
    told = AuthorizationResult(
        Outcome.APPROVED, "stripe", "pi_1", approved_minor=4200, approved_currency="JPY"
    )
    after = answered(attempt, told)
    assert (after.state, after.open) == ("unknown", True), "to be looked up, or reversed"
    assert answered(attempt, replace(told, approved_currency="EUR")).state == "approved"
