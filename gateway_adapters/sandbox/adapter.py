"""The simulator's adapter: its wire over HTTP."""

# ruff: noqa: ARG002  # a port's methods take what the port says, needed here or not

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from gateway_adapters.http import Answer, HttpExchange, fault_of
from gateway_adapters.options import Options
from gateway_adapters.sandbox import wire
from paycall.domain.authorization import (
    AuthorizationRequest,
    AuthorizationResult,
    OperationOutcome,
    OperationResult,
)
from paycall.domain.card_ports import Card, OperationKind, Traits
from paycall.domain.money import Money
from paycall.domain.secret import Secret


class SandboxAcquirer:
    """The acquirer simulator as an ``Acquirer``.

    Parameters
    ----------
    url, api_key
        Where the simulator is, and the key it was started with.
    read_s
        How long an answer is waited for.
    """

    name = wire.NAME
    # The simulator keeps keys for ever; here it stands for an acquirer that keeps them for a day.
    traits = Traits(key_life_s=86_400)

    def __init__(self, url: str, api_key: Secret, *, read_s: float = 20.0) -> None:
        # httpx shows the header as [secure]; the key has to be in clear on the wire
        headers = {"Authorization": f"Bearer {api_key.expose()}"}
        self._http = HttpExchange(url, headers=headers, read_s=read_s)

    @classmethod
    def from_settings(cls, table: Mapping[str, Any]) -> SandboxAcquirer:
        """Make it from ``[vault.acquirers.sandbox]``: url, api_key, read_s.

        Raises
        ------
        SettingsError
            If a setting is missing, wrong or unknown.
        """
        options = Options(cls.name, table)
        url = options.url("url", "http://127.0.0.1:8090")
        api_key = options.secret("api_key")
        read_s = options.number("read_s", 20.0, least=0.1, most=120.0)
        options.done()
        return cls(url, api_key, read_s=read_s)

    async def authorize(self, request: AuthorizationRequest, card: Card) -> AuthorizationResult:
        """Reserve the amount; the attempt's id is the idempotency key."""
        answer = await self._http.send(
            "POST",
            "/v1/authorizations",
            json_body=wire.authorization_body(request, card),
            headers={"Idempotency-Key": request.attempt_id},
        )
        return wire.authorization_result(_body(answer))

    async def look_up(self, attempt_id: str, sent_at: datetime) -> AuthorizationResult | None:
        """What the simulator has with our reference; None if it says that there is nothing."""
        answer = await self._http.send("GET", "/v1/authorizations", params={"reference": attempt_id})
        if answer.status == 404 and answer.body == {"code": "not-found"}:
            return None
        return wire.authorization_result(_body(answer))

    async def settle(self, key: str, acquirer_reference: str, money: Money) -> OperationResult:
        """Take the amount."""
        return await self._operate(key, acquirer_reference, "settle", {"amount_minor": money.amount_minor})

    async def void(self, key: str, acquirer_reference: str) -> OperationResult:
        """Release the reservation."""
        return await self._operate(key, acquirer_reference, "void", {})

    async def refund(self, key: str, acquirer_reference: str, money: Money) -> OperationResult:
        """Give the amount back."""
        return await self._operate(key, acquirer_reference, "refund", {"amount_minor": money.amount_minor})

    async def look_up_operation(
        self, kind: OperationKind, key: str, acquirer_reference: str, money: Money
    ) -> OperationResult | None:
        """What the simulator did under our key; None if it says that there is nothing."""
        answer = await self._http.send("GET", f"/v1/operations/{quote(key, safe='')}")
        if answer.status == 404 and answer.body == {"code": "not-found"}:
            return None
        return wire.operation_result(_body(answer))

    async def reverse(self, key: str, attempt_id: str, money: Money, sent_at: datetime) -> OperationResult:
        """Undo the attempt, whether it was booked or not."""
        body = {
            "reference": attempt_id,
            "amount_minor": money.amount_minor,
            "currency": money.currency,
        }
        answer = await self._http.send(
            "POST", "/v1/reversals", json_body=body, headers={"Idempotency-Key": key}
        )
        return wire.operation_result(_body(answer))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _operate(
        self, key: str, acquirer_reference: str, what: str, body: Mapping[str, Any]
    ) -> OperationResult:
        answer = await self._http.send(
            "POST",
            f"/v1/authorizations/{quote(acquirer_reference, safe='')}/{what}",
            json_body=body,
            headers={"Idempotency-Key": key},
        )
        if answer.status == 404 and answer.body == {"code": "not-found"}:
            return OperationResult(OperationOutcome.FAILED, raw_code="not-found")
        return wire.operation_result(_body(answer))


def _body(answer: Answer) -> dict[str, Any]:
    if answer.status == 200 and answer.body is not None:
        return answer.body
    raise fault_of(answer)
