"""The panel's client and the vault agree on reusable tokens, over the vault's real socket."""

from __future__ import annotations

import asyncio
import socket

import pytest

from paycall.domain.authorization import AuthorizationRequest, Outcome
from paycall.domain.errors import CardExpiredError, NotFoundError
from paycall.domain.ids import new_id
from paycall.domain.money import Money
from paycall.panel.vault_client import HttpPaymentVault
from paycall.process import web_server
from tests.fakes.vault_harness import VaultHarness

ANNA = new_id("cus")


def test_a_card_is_kept_charged_again_and_forgotten(vault: VaultHarness) -> None:
    vault.changes["reusable_token_months"] = 60

    def order(payment_id: str, keep_for: str = "") -> AuthorizationRequest:
        return AuthorizationRequest(new_id("att"), payment_id, Money(4200, "EUR"), keep_for=keep_for)

    async def main() -> None:
        with socket.socket(socket.AF_UNIX) as bound:
            path = vault.directory / "panel.sock"
            bound.bind(str(path))
            async with vault.running() as inside:
                server = web_server(inside.apps.panel)
                serving = asyncio.create_task(server.serve(sockets=[bound]))
                panel = HttpPaymentVault(f"unix:{path}")
                first, token = await inside.capture()
                assert (await panel.authorize(order(first, ANNA), token)).outcome is Outcome.APPROVED
                (card,) = await panel.kept_cards(ANNA)
                assert (card.last4, card.expiry, card.expired) == ("4242", "12/31", False)
                later = new_id("pay")
                await panel.use_kept_card(later, card.token, ANNA)
                copy = await panel.card(later)
                assert copy is not None and copy.last4 == "4242" and not copy.has_security_code
                assert (await panel.authorize(order(later), copy.token)).outcome is Outcome.APPROVED
                with pytest.raises(NotFoundError):
                    await panel.use_kept_card(new_id("pay"), card.token, new_id("cus"))
                while vault.clock.now().year < 2032:
                    vault.clock.ahead_s += 60 * 86_400
                with pytest.raises(CardExpiredError):
                    await panel.use_kept_card(new_id("pay"), card.token, ANNA)
                await panel.delete_kept_card(ANNA, card.token)
                assert await panel.kept_cards(ANNA) == []
                await panel.close()
                server.should_exit = True
                await serving

    asyncio.run(main())
