"""Checkout.com's adapter: one call to authorize; operations are accepted, then read back from the actions."""

# ruff: noqa: ARG002  # a port's methods take what the port says, needed here or not

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from gateway_adapters.checkout_com import wire
from gateway_adapters.http import Answer, HttpExchange, fault_of, text_of
from gateway_adapters.options import Options
from paycall.domain.authorization import (
    AuthorizationRequest,
    AuthorizationResult,
    OperationOutcome,
    OperationResult,
    Outcome,
)
from paycall.domain.card_ports import Card, OperationKind, Traits
from paycall.domain.errors import NoAnswerError
from paycall.domain.money import Money
from paycall.domain.secret import Secret


class CheckoutComAcquirer:
    """Checkout.com as an ``Acquirer``.

    Parameters
    ----------
    url, api_key
        ``https://api.sandbox.checkout.com`` or the live one, and a secret key.
    processing_channel_id
        The channel, where the account has more than one.
    """

    name = wire.NAME
    # Keys expire after 24 hours, and only a 2xx answer is kept under them
    # (checkout.com/docs/payments/manage-payments/idempotency). Nothing holds a payment back that arrives late.
    traits = Traits(key_life_s=86_400, forgets_errors=True, holds_back=False)

    def __init__(
        self, url: str, api_key: Secret, *, processing_channel_id: str | None = None, read_s: float = 30.0
    ) -> None:
        headers = {"Authorization": f"Bearer {api_key.expose()}"}
        self._http = HttpExchange(url, headers=headers, read_s=read_s)
        self._channel = processing_channel_id

    @classmethod
    def from_settings(cls, table: Mapping[str, Any]) -> CheckoutComAcquirer:
        """Make it from ``[vault.acquirers.checkout_com]``.

        Raises
        ------
        SettingsError
            If a setting is missing, wrong or unknown.
        """
        options = Options(cls.name, table)
        url = options.url("url", "https://api.sandbox.checkout.com")
        api_key = options.secret("api_key")
        channel = options.text("processing_channel_id") if "processing_channel_id" in table else None
        read_s = options.number("read_s", 30.0, least=0.1, most=120.0)
        options.done()
        return cls(url, api_key, processing_channel_id=channel, read_s=read_s)

    async def authorize(self, request: AuthorizationRequest, card: Card) -> AuthorizationResult:
        """Reserve the amount; the attempt's id is reference and idempotency key."""
        body = wire.payment_body(request, card, self._channel)
        answer = await self._post("/payments", body, request.attempt_id)
        if answer.status in (200, 201, 202) and answer.body is not None:
            return wire.payment_result(answer.body)
        declined = wire.error_result(answer.body or {})
        if declined is not None:
            return declined
        raise fault_of(answer)

    async def look_up(self, attempt_id: str, sent_at: datetime) -> AuthorizationResult | None:
        """The payments with our reference; None if there is none, unknown if more than one is alive."""
        results = [wire.payment_result(payment) for payment in await self._find(attempt_id)]
        alive = [result for result in results if result.outcome in (Outcome.APPROVED, Outcome.UNKNOWN)]
        if len(alive) > 1:  # which one to keep nobody can say: all of them are voided
            return AuthorizationResult(Outcome.UNKNOWN, self.name)
        return next(iter(alive or results), None)

    async def settle(self, key: str, acquirer_reference: str, money: Money) -> OperationResult:
        """Capture."""
        return await self._operate(acquirer_reference, "captures", wire.capture_body(key, money), key)

    async def void(self, key: str, acquirer_reference: str) -> OperationResult:
        """Void."""
        return await self._operate(acquirer_reference, "voids", wire.operation_body(key), key)

    async def refund(self, key: str, acquirer_reference: str, money: Money) -> OperationResult:
        """Refund, or a part."""
        return await self._operate(acquirer_reference, "refunds", wire.operation_body(key, money), key)

    async def look_up_operation(
        self, kind: OperationKind, key: str, acquirer_reference: str, money: Money
    ) -> OperationResult | None:
        """The payment's action with our reference; None if there is none."""
        path = f"/payments/{quote(acquirer_reference, safe='')}/actions"
        answer = await self._http.send("GET", path)
        if answer.status != 200 or answer.items is None:
            raise fault_of(answer)
        return wire.action_by_reference(answer.items, key)

    async def reverse(self, key: str, attempt_id: str, money: Money, sent_at: datetime) -> OperationResult:
        """Void all that has our reference. A payment that arrives later than this is not held back."""
        undone = OperationResult(OperationOutcome.DONE, raw_code="nothing-found")
        for payment in await self._find(attempt_id):
            result = wire.payment_result(payment)
            if result.outcome in (Outcome.DECLINED, Outcome.REVERSED):
                continue
            if result.acquirer_reference is None:
                raise NoAnswerError
            voided = await self.void(f"{key}-{result.acquirer_reference}", result.acquirer_reference)
            if undone.outcome is OperationOutcome.DONE:
                undone = voided
        return undone

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _find(self, attempt_id: str) -> list[dict[str, Any]]:
        params = {"reference": attempt_id, "limit": "100"}
        answer = await self._http.send("GET", "/payments", params=params)
        payments = (answer.body or {}).get("data")
        if answer.status != 200 or not isinstance(payments, list):
            raise fault_of(answer)
        if not all(isinstance(payment, dict) for payment in payments):
            raise NoAnswerError
        return payments

    async def _operate(
        self, acquirer_reference: str, what: str, body: Mapping[str, Any], key: str
    ) -> OperationResult:
        path = f"/payments/{quote(acquirer_reference, safe='')}"
        answer = await self._post(f"{path}/{what}", body, key)
        if answer.status in (403, 404, 422):
            error = text_of(answer.body or {}, "error_type") or str(answer.status)
            return OperationResult(OperationOutcome.FAILED, raw_code=error)
        action_id = text_of(answer.body or {}, "action_id")
        if answer.status != 202 or action_id is None:
            raise fault_of(answer)
        try:
            read_back = await self._http.send("GET", f"{path}/actions")
        except NoAnswerError:
            return OperationResult(OperationOutcome.PENDING, action_id)
        return wire.action_result(read_back.items or [], action_id)

    async def _post(self, path: str, body: Mapping[str, Any], key: str) -> Answer:
        return await self._http.send("POST", path, json_body=body, headers={"Cko-Idempotency-Key": key})
