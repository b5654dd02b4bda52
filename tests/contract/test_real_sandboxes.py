"""The real test systems of Stripe, Adyen and Checkout.com: one approval, one decline, one void each.

Opt in with the keys of a test account; without them each says what it needs and skips. They leave this machine.

``PAYCALL_STRIPE_TEST_KEY``     sk_test_…, with raw card numbers and MOTO enabled by Stripe
``PAYCALL_ADYEN_TEST_KEY``      and ``PAYCALL_ADYEN_MERCHANT_ACCOUNT``, a MOTO account with manual capture
``PAYCALL_CHECKOUT_TEST_KEY``   sk_sbox_…, and ``PAYCALL_CHECKOUT_CHANNEL``
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway_adapters.registry import make_acquirer
from paycall.domain.authorization import AuthorizationRequest, OperationOutcome, Outcome
from paycall.domain.card import Expiry
from paycall.domain.card_ports import Acquirer, Card
from paycall.domain.ids import new_id
from paycall.domain.money import Money
from paycall.domain.secret import Pan, SecurityCode

NEEDS: dict[str, dict[str, str]] = {
    "stripe": {"api_key": "PAYCALL_STRIPE_TEST_KEY"},
    "adyen": {"api_key": "PAYCALL_ADYEN_TEST_KEY", "merchant_account": "PAYCALL_ADYEN_MERCHANT_ACCOUNT"},
    "checkout_com": {
        "api_key": "PAYCALL_CHECKOUT_TEST_KEY",
        "processing_channel_id": "PAYCALL_CHECKOUT_CHANNEL",
    },
}
CARDS = {"stripe": "4242424242424242", "adyen": "4111111111111111", "checkout_com": "4242424242424242"}
# what each declines in its test system: a card, an amount, or a security code other than the test card's
DECLINED = {
    "stripe": ("4000000000009995", 4200, "737"),
    "adyen": ("4111111111111111", 4200, "000"),
    "checkout_com": ("4242424242424242", 4205, "737"),
}


@pytest.fixture(params=sorted(NEEDS))
def real(request: pytest.FixtureRequest) -> tuple[str, dict[str, str]]:
    name: str = request.param
    missing = [variable for variable in NEEDS[name].values() if variable not in os.environ]
    if missing:
        pytest.skip(f"the real sandbox of {name} needs {' and '.join(missing)}")
    return name, {setting: os.environ[variable] for setting, variable in NEEDS[name].items()}


def run(real: tuple[str, dict[str, str]], work: Callable[[Acquirer], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        acquirer = make_acquirer(*real)
        try:
            return await work(acquirer)
        finally:
            await acquirer.aclose()

    return asyncio.run(main())


def order(amount_minor: int = 4200) -> AuthorizationRequest:
    return AuthorizationRequest(new_id("att"), new_id("pay"), Money(amount_minor, "EUR"), "paycall test")


def card(number: str, code: str = "737") -> Card:
    return Card(Pan(number), Expiry(2030, 3), SecurityCode(code))


def test_approve_and_void(real: tuple[str, dict[str, str]]) -> None:
    request = order()

    async def work(acquirer: Acquirer) -> None:
        result = await acquirer.authorize(request, card(CARDS[real[0]]))
        assert result.outcome is Outcome.APPROVED
        assert await acquirer.authorize(request, card(CARDS[real[0]])) == result, (
            "the same key, the same answer"
        )
        assert result.acquirer_reference is not None
        voided = await acquirer.void(new_id("op"), result.acquirer_reference)
        assert voided.outcome in (OperationOutcome.DONE, OperationOutcome.PENDING)

    run(real, work)


def test_decline(real: tuple[str, dict[str, str]]) -> None:
    number, amount_minor, code = DECLINED[real[0]]

    async def work(acquirer: Acquirer) -> None:
        result = await acquirer.authorize(order(amount_minor), card(number, code))
        assert result.outcome is Outcome.DECLINED
        assert result.decline is not None
        assert result.decline.reason != "unrecognised"

    run(real, work)
