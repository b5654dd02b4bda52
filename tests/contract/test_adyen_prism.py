"""Adyen's adapter against Stoplight Prism, which serves Adyen's own OpenAPI document and refuses what it forbids.

Needs the vendors' schemas beside the project, and Prism (``npm install @stoplight/prism-cli``) on the path or
named by ``PAYCALL_PRISM``; without them it says so and skips.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway_adapters.adyen.adapter import AdyenAcquirer
from paycall.domain.authorization import AuthorizationRequest, OperationOutcome, Outcome
from paycall.domain.card import Expiry
from paycall.domain.card_ports import Card
from paycall.domain.errors import RefusedRequestError
from paycall.domain.ids import new_id
from paycall.domain.money import Money
from paycall.domain.secret import Pan, SecurityCode
from tests.phones.rtp import free_port

INSTALLED = str(
    Path(__file__).parents[2] / "build" / "prism" / "node_modules" / ".bin"
)  # scripts/system-tools.sh
SPEC = Path(__file__).parents[3] / "shared" / "references" / "specs" / "adyen-checkout-v71.trimmed.json"


@pytest.fixture(scope="module")
def prism() -> Iterator[int]:
    program = (
        os.environ.get("PAYCALL_PRISM") or shutil.which("prism") or shutil.which("prism", path=INSTALLED)
    )
    if not SPEC.exists():
        pytest.skip("needs the vendors' schemas beside the project")
    if program is None:
        assert os.environ.get("CI") != "true", (
            "Prism is missing: scripts/system-tools.sh installs it with npm"
        )
        pytest.skip("needs Prism: npm install @stoplight/prism-cli, or PAYCALL_PRISM")
    port = free_port()
    process = subprocess.Popen(
        [program, "mock", "-h", "127.0.0.1", "-p", str(port), str(SPEC)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            with socket.socket() as door:
                if door.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None and time.monotonic() < deadline, "Prism did not start"
            time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait(60)


def run(port: int, work: Any, **settings: str) -> Any:
    async def main() -> Any:
        table = {"url": f"http://127.0.0.1:{port}", "api_key": "k", "merchant_account": "PaycallMOTO"}
        acquirer = AdyenAcquirer.from_settings(table | settings)
        acquirer._http._client.headers["Prefer"] = "example=card-direct"  # which example Prism answers with
        try:
            return await work(acquirer)
        finally:
            await acquirer.aclose()

    return asyncio.run(main())


def test_a_telephone_order_is_accepted_and_authorised(prism: int) -> None:
    request = AuthorizationRequest(
        new_id("att"), new_id("pay"), Money(4200, "EUR"), "order 17", "Two tickets"
    )
    card = Card(Pan("4111111111111111"), Expiry(2030, 3), SecurityCode("737"), "1051")
    result = run(prism, lambda acquirer: acquirer.authorize(request, card))
    assert result.acquirer_reference
    assert (result.outcome, result.approved_minor) == (Outcome.APPROVED, 4200)
    assert result.authorization_code


def test_modifications_are_accepted(prism: int) -> None:
    async def all_of_them(acquirer: AdyenAcquirer) -> list[OperationOutcome]:
        acquirer._http._client.headers.pop("Prefer")
        money = Money(4200, "EUR")
        results = [
            await acquirer.settle(new_id("op"), "PSP1", money),
            await acquirer.void(new_id("op"), "PSP1"),
            await acquirer.refund(new_id("op"), "PSP1", money),
            await acquirer.reverse(new_id("op"), new_id("att"), money, datetime.now(UTC)),
        ]
        return [result.outcome for result in results]

    assert run(prism, all_of_them) == [OperationOutcome.PENDING] * 4


def test_what_their_schema_forbids_is_refused_so_that_the_tests_above_mean_something(prism: int) -> None:
    card = Card(Pan("4111111111111111"), Expiry(2030, 3))
    request = AuthorizationRequest(new_id("att"), new_id("pay"), Money(4200, "EUR"))

    async def without_account(acquirer: AdyenAcquirer) -> None:
        acquirer._merchant_account = None  # type: ignore[assignment]
        await acquirer.authorize(request, card)

    with pytest.raises(RefusedRequestError):
        run(prism, without_account)
