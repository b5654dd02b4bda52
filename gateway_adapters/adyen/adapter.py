"""Adyen's adapter: one call to authorize; everything else is answered later, by webhook."""

# ruff: noqa: ARG002  # a port's methods take what the port says, needed here or not

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from gateway_adapters.adyen import wire
from gateway_adapters.adyen.webhook import events_of, hmac_key
from gateway_adapters.http import Answer, HttpExchange, fault_of, text_of
from gateway_adapters.options import Options
from gateway_adapters.webhooks import WebhookEvent
from paycall.domain.authorization import (
    AuthorizationRequest,
    AuthorizationResult,
    OperationOutcome,
    OperationResult,
    Outcome,
)
from paycall.domain.card_ports import Card, OperationKind, Traits
from paycall.domain.errors import NoAnswerError, NotAllowedError
from paycall.domain.money import Money
from paycall.domain.secret import Secret


class AdyenAcquirer:
    """Adyen as an ``Acquirer``.

    Parameters
    ----------
    url, api_key
        The Checkout endpoint with its version: ``https://checkout-test.adyen.com/v71``, or
        ``https://PREFIX-checkout-live.adyenpayments.com/checkout/v71``.
    merchant_account
        An account that Adyen has set up for MOTO.
    webhook_hmac_key
        The hexadecimal key of the standard webhook; without it webhooks are refused.
    return_url
        Adyen asks for it on every payment; on telephone orders nobody is sent there.
    """

    name = wire.NAME
    # Keys are kept for 7 days at least (docs.adyen.com/development-resources/api-idempotency). That a cancellation
    # by our reference stops a payment that arrives later is promised nowhere. Without webhooks nothing that gets no
    # answer would ever be known.
    traits = Traits(
        key_life_s=7 * 86_400,
        holds_back=False,
        reads_operations=False,
        live_settings=frozenset({"webhook_hmac_key"}),
    )

    def __init__(
        self,
        url: str,
        api_key: Secret,
        merchant_account: str,
        *,
        webhook_hmac_key: Secret | None = None,
        return_url: str = "https://localhost/",
        read_s: float = 30.0,
    ) -> None:
        headers = {"X-API-Key": api_key.expose()}
        self._http = HttpExchange(url, headers=headers, read_s=read_s)
        self._merchant_account = merchant_account
        self._webhook_hmac_key = webhook_hmac_key
        self._return_url = return_url

    @classmethod
    def from_settings(cls, table: Mapping[str, Any]) -> AdyenAcquirer:
        """Make it from ``[vault.acquirers.adyen]``.

        Raises
        ------
        SettingsError
            If a setting is missing, wrong or unknown.
        """
        options = Options(cls.name, table)
        url = options.url("url", "https://checkout-test.adyen.com/v71")
        api_key = options.secret("api_key")
        account = options.text("merchant_account")
        key = options.secret("webhook_hmac_key") if "webhook_hmac_key" in table else None
        return_url = options.text("return_url", "https://localhost/")
        read_s = options.number("read_s", 30.0, least=0.1, most=120.0)
        options.done()
        if key is not None:
            key = hmac_key(key, "vault.acquirers.adyen.webhook_hmac_key")
        return cls(url, api_key, account, webhook_hmac_key=key, return_url=return_url, read_s=read_s)

    async def authorize(self, request: AuthorizationRequest, card: Card) -> AuthorizationResult:
        """Reserve the amount; the attempt's id is reference and idempotency key."""
        body = wire.payment_body(request, card, self._merchant_account, self._return_url)
        answer = await self._post("/payments", body, request.attempt_id)
        if answer.status == 200 and answer.body is not None:
            return wire.payment_result(answer.body, request.money)
        declined = wire.error_result(answer.body or {})
        if declined is not None:
            return declined
        if text_of(answer.body or {}, "errorCode") == wire.IN_PROGRESS:
            raise NoAnswerError
        raise fault_of(answer)

    async def look_up(self, attempt_id: str, sent_at: datetime) -> AuthorizationResult | None:
        """Adyen has no look-up: the outcome is unknown until its webhook, or a reversal's, tells."""
        return AuthorizationResult(Outcome.UNKNOWN, self.name)

    async def settle(self, key: str, acquirer_reference: str, money: Money) -> OperationResult:
        """Capture."""
        body = wire.modification_body(self._merchant_account, key, money)
        return await self._modify(key, acquirer_reference, "captures", body)

    async def void(self, key: str, acquirer_reference: str) -> OperationResult:
        """Cancel."""
        body = wire.modification_body(self._merchant_account, key)
        return await self._modify(key, acquirer_reference, "cancels", body)

    async def refund(self, key: str, acquirer_reference: str, money: Money) -> OperationResult:
        """Refund, or a part."""
        body = wire.modification_body(self._merchant_account, key, money)
        return await self._modify(key, acquirer_reference, "refunds", body)

    async def look_up_operation(
        self, kind: OperationKind, key: str, acquirer_reference: str, money: Money
    ) -> OperationResult | None:
        """Adyen has no look-up: its webhook tells."""
        return OperationResult(OperationOutcome.UNKNOWN)

    async def reverse(self, key: str, attempt_id: str, money: Money, sent_at: datetime) -> OperationResult:
        """Cancel by our own reference. Adyen cancels the whole payment, whatever its amount."""
        body = wire.cancel_body(self._merchant_account, key, attempt_id)
        return self._received(await self._post("/cancels", body, key))

    def verify_webhook(self, headers: Mapping[str, str], body: bytes, now: float) -> list[WebhookEvent]:
        """The events of a webhook; see ``webhooks.WebhookReceiver``. The signatures are in the items."""
        if self._webhook_hmac_key is None:
            raise NotAllowedError("no webhook key is set")
        return events_of(self._webhook_hmac_key, body)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _modify(
        self, key: str, acquirer_reference: str, what: str, body: Mapping[str, Any]
    ) -> OperationResult:
        path = f"/payments/{quote(acquirer_reference, safe='')}/{what}"
        return self._received(await self._post(path, body, key))

    async def _post(self, path: str, body: Mapping[str, Any], key: str) -> Answer:
        return await self._http.send("POST", path, json_body=body, headers={"Idempotency-Key": key})

    def _received(self, answer: Answer) -> OperationResult:
        body = answer.body or {}
        if answer.status in (200, 201) and body:
            return wire.modification_result(body)
        code = text_of(body, "errorCode")
        if code == wire.IN_PROGRESS:
            raise NoAnswerError
        if answer.status == 422 and code is not None:
            return OperationResult(OperationOutcome.FAILED, raw_code=code)
        raise fault_of(answer)
