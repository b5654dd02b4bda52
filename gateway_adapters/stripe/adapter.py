"""Stripe's adapter: two calls to authorize, and a way to be sure that a lost attempt can never charge."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from gateway_adapters.http import Answer, HttpExchange, fault_of, text_of
from gateway_adapters.options import Options
from gateway_adapters.stripe import wire
from gateway_adapters.stripe.webhook import events_of
from gateway_adapters.webhooks import WebhookEvent
from paycall.domain.authorization import (
    AuthorizationRequest,
    AuthorizationResult,
    OperationOutcome,
    OperationResult,
    Outcome,
)
from paycall.domain.card_ports import Card, OperationKind, Traits
from paycall.domain.errors import NoAnswerError, NotAllowedError, NotSentError
from paycall.domain.money import Money
from paycall.domain.secret import Secret

_INTENTS = "/v1/payment_intents"
_PAGE = 100
_MOST_PAGES = 50
# Idempotency keys are removed after 24 hours at the earliest (docs.stripe.com/api/idempotent_requests).
_KEY_LIFE_S = 86_400
# An intent of ours is created while its attempt may be sent: within five minutes, and what two clocks differ by.
_BEFORE, _AFTER = timedelta(minutes=2), timedelta(minutes=7)


class StripeAcquirer:
    """Stripe as an ``Acquirer``.

    Parameters
    ----------
    url, api_key
        ``https://api.stripe.com`` and a secret or restricted key. Raw card numbers and MOTO must have been
        enabled for the account by Stripe.
    webhook_secret
        The endpoint's signing secret; without it webhooks are refused.
    read_s
        How long an answer is waited for.
    """

    name = wire.NAME
    traits = Traits(key_life_s=_KEY_LIFE_S)

    def __init__(
        self, url: str, api_key: Secret, *, webhook_secret: Secret | None = None, read_s: float = 30.0
    ) -> None:
        headers = {"Authorization": f"Bearer {api_key.expose()}", "Stripe-Version": wire.VERSION}
        self._http = HttpExchange(url, headers=headers, read_s=read_s)
        self._webhook_secret = webhook_secret

    @classmethod
    def from_settings(cls, table: Mapping[str, Any]) -> StripeAcquirer:
        """Make it from ``[vault.acquirers.stripe]``: url, api_key, webhook_secret, read_s.

        Raises
        ------
        SettingsError
            If a setting is missing, wrong or unknown.
        """
        options = Options(cls.name, table)
        url = options.url("url", "https://api.stripe.com")
        api_key = options.secret("api_key")
        webhook_secret = options.secret("webhook_secret") if "webhook_secret" in table else None
        read_s = options.number("read_s", 30.0, least=0.1, most=120.0)
        options.done()
        return cls(url, api_key, webhook_secret=webhook_secret, read_s=read_s)

    async def authorize(self, request: AuthorizationRequest, card: Card) -> AuthorizationResult:
        """A payment method, then a confirmed intent; both under keys made from the attempt's id."""
        method = await self._payment_method(request.attempt_id, card)
        if isinstance(method, AuthorizationResult):
            return method
        answer = await self._post(_INTENTS, wire.intent_form(request, method), request.attempt_id)
        if answer.status == 200 and answer.body is not None:
            return wire.intent_result(answer.body)
        declined = wire.error_result(answer.body or {})
        if declined is not None:
            return declined
        if wire.is_idempotency_error(answer.body or {}):
            raise NoAnswerError  # this attempt was sent before, or reversed: a look-up knows
        raise fault_of(answer)

    async def look_up(self, attempt_id: str, sent_at: datetime) -> AuthorizationResult | None:
        """Look through the intents of the attempt's minutes: Stripe's search is minutes behind, its lists are not."""
        intent = await self._find(attempt_id, sent_at)
        return wire.intent_result(intent) if intent else None

    async def settle(self, key: str, acquirer_reference: str, money: Money) -> OperationResult:
        """Capture the intent."""
        path = f"{_INTENTS}/{quote(acquirer_reference, safe='')}/capture"
        answer = await self._post(path, wire.amount_form("amount_to_capture", money), key)
        return self._operation(answer, "succeeded")

    async def void(self, key: str, acquirer_reference: str) -> OperationResult:
        """Cancel the intent."""
        answer = await self._post(f"{_INTENTS}/{quote(acquirer_reference, safe='')}/cancel", {}, key)
        return self._operation(answer, "canceled")

    async def refund(self, key: str, acquirer_reference: str, money: Money) -> OperationResult:
        """Refund the intent, or a part of it."""
        form = {
            "payment_intent": acquirer_reference,
            f"metadata[{wire.OPERATION_ID}]": key,
            **wire.amount_form("amount", money),
        }
        answer = await self._post("/v1/refunds", form, key)
        if answer.status == 200 and answer.body is not None:
            return wire.operation_of_refund(answer.body)
        return self._failed(answer)

    async def look_up_operation(
        self, kind: OperationKind, key: str, acquirer_reference: str, money: Money
    ) -> OperationResult | None:
        """Read the intent, or its refund that carries our key."""
        if kind == "refund":
            params = {"payment_intent": acquirer_reference, "limit": str(_PAGE)}
            async for refund in self._listed("/v1/refunds", params):
                if (refund.get("metadata") or {}).get(wire.OPERATION_ID) == key:
                    return wire.operation_of_refund(refund)
            return None
        answer = await self._http.send("GET", f"{_INTENTS}/{quote(acquirer_reference, safe='')}")
        if answer.status != 200 or answer.body is None:
            raise fault_of(answer)
        return (
            wire.capture_seen(answer.body, money) if kind == "settle" else wire.cancellation_seen(answer.body)
        )

    async def reverse(self, key: str, attempt_id: str, money: Money, sent_at: datetime) -> OperationResult:
        """Make sure that the attempt has not charged and never will.

        A harmless intent is created under the attempt's own idempotency key. If that works, the attempt cannot
        arrive any more; if Stripe says that the key was used for another request, it did arrive. Either way the
        attempt's minutes are looked through: a key that Stripe has dropped would let the harmless intent in
        beside a charge. Past the key's life nothing can arrive, and what is listed is all there is.
        """
        spent = (datetime.now(UTC) - sent_at).total_seconds() > _KEY_LIFE_S
        intent: Mapping[str, Any] | None = None
        if not spent:
            answer = await self._post(_INTENTS, wire.tombstone_form(attempt_id, money), attempt_id)
            if answer.status == 200:
                intent = answer.body
            elif not wire.is_idempotency_error(answer.body or {}):
                raise fault_of(answer)
        intent = await self._find(attempt_id, sent_at) or intent
        if intent is None and spent:
            return OperationResult(OperationOutcome.DONE, raw_code="nothing-found")
        reference = text_of(intent, "id") if intent else None
        if reference is None:
            raise NoAnswerError  # the key is taken and the intent not listed yet: ask again
        if intent and wire.intent_result(intent).outcome is Outcome.REVERSED:
            return wire.operation_of_intent(intent, "canceled")
        return await self.void(key, reference)

    def verify_webhook(self, headers: Mapping[str, str], body: bytes, now: float) -> list[WebhookEvent]:
        """The events of a webhook; see ``webhooks.WebhookReceiver``."""
        if self._webhook_secret is None:
            raise NotAllowedError("no webhook secret is set")
        return events_of(self._webhook_secret, headers, body, now)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _payment_method(self, attempt_id: str, card: Card) -> str | AuthorizationResult:
        form = wire.payment_method_form(card)
        try:
            answer = await self._post("/v1/payment_methods", form, f"{attempt_id}-pm")
        except NoAnswerError:
            answer = Answer(500)
        if answer.status == 200 and answer.body is not None:
            method = text_of(answer.body, "id")
            if method is not None:
                return method
        declined = wire.error_result(answer.body or {})
        if declined is not None:
            return declined
        fault = fault_of(answer)
        # A payment method charges nothing: without an answer to this step nothing has been sent that could.
        raise NotSentError if isinstance(fault, NoAnswerError) else fault

    async def _find(self, attempt_id: str, sent_at: datetime) -> dict[str, Any] | None:
        """The attempt's intent; the harmless one of a reversal only if there is no other."""
        params = {
            "limit": str(_PAGE),
            "created[gte]": str(int((sent_at - _BEFORE).timestamp())),
            "created[lte]": str(int((sent_at + _AFTER).timestamp())),
            "expand[0]": "data.latest_charge",
        }
        harmless = None
        async for intent in self._listed(_INTENTS, params):
            metadata = intent.get("metadata") or {}
            if metadata.get(wire.ATTEMPT_ID) == attempt_id:
                if wire.TOMBSTONE not in metadata:
                    return intent
                harmless = intent
        return harmless

    async def _listed(self, path: str, params: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
        """All entries of a list, page by page; no answer if there are too many to be sure."""
        query = dict(params)
        for _ in range(_MOST_PAGES):
            answer = await self._http.send("GET", path, params=query)
            entries = (answer.body or {}).get("data")
            if answer.status != 200 or not isinstance(entries, list):
                raise fault_of(answer)
            for entry in entries:
                if not isinstance(entry, dict):
                    raise NoAnswerError
                yield entry
            if not entries or not (answer.body or {}).get("has_more"):
                return
            query["starting_after"] = str(entries[-1].get("id"))
        raise NoAnswerError

    async def _post(self, path: str, form: Mapping[str, str], key: str) -> Answer:
        return await self._http.send("POST", path, form=form, headers={"Idempotency-Key": key})

    def _operation(self, answer: Answer, done: str) -> OperationResult:
        if answer.status == 200 and answer.body is not None:
            return wire.operation_of_intent(answer.body, done)
        return self._failed(answer)

    def _failed(self, answer: Answer) -> OperationResult:
        failed = wire.failed_operation(answer.body or {})
        if failed is None:
            raise fault_of(answer)
        return failed
