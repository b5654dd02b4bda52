"""The panel's side of the vault, over HTTP on a Unix socket or TLS.

Rules: a connection that was refused and an answer that did not come are both ``VaultUnavailableError``: what
became of the request is then asked by its id. Errors carry our own text, chosen by the answer's ``code``.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

import httpx

from paycall.domain.authorization import (
    AuthorizationRequest,
    AuthorizationResult,
    CardRetry,
    CardSummary,
    KeptCard,
    OperationOutcome,
    OperationResult,
    Outcome,
    Search,
)
from paycall.domain.declines import decline_from_json
from paycall.domain.errors import (
    CardExpiredError,
    InputError,
    NotAllowedError,
    NotFoundError,
    NotSentError,
    PaycallError,
    RefusedRequestError,
    RetryBudgetSpentError,
    SecurityCodeGoneError,
    SettingsError,
    StateError,
    VaultError,
    VaultUnavailableError,
)
from paycall.domain.money import Money

_QUICK_S = 5.0
# An acquirer may take its time; the vault's own limit is below this.
_PATIENT_S = 90.0
_ERRORS: dict[str, type[PaycallError]] = {
    error.code: error
    for error in (
        CardExpiredError,
        NotFoundError,
        NotSentError,
        RefusedRequestError,
        RetryBudgetSpentError,
        SecurityCodeGoneError,
        StateError,
    )
}
_WEBHOOK_ERRORS: dict[int, type[PaycallError]] = {
    403: NotAllowedError,
    404: NotFoundError,
    409: StateError,
    422: InputError,
}


class HttpPaymentVault:
    """``domain.ports.PaymentVault`` over HTTP.

    Parameters
    ----------
    address
        ``unix:PATH``, ``https://host:port`` or ``tls:host:port``.
    tls
        The client's certificate and whom it trusts, for mutual TLS.

    Raises
    ------
    SettingsError
        If the address is of no known kind.
    """

    def __init__(self, address: str, tls: ssl.SSLContext | None = None) -> None:
        if address.startswith("unix:"):
            nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # no TLS here: nobody's certificates are read
            transport = httpx.AsyncHTTPTransport(uds=address.removeprefix("unix:"), verify=nobody)
            base_url = "http://vault"
        elif address.startswith(("https://", "tls:")):
            transport = httpx.AsyncHTTPTransport(verify=tls or ssl.create_default_context())
            base_url = "https://" + address.removeprefix("https://").removeprefix("tls:")
        else:
            raise SettingsError("panel.vault_address must begin with unix:, https:// or tls:")
        self._client = httpx.AsyncClient(
            transport=transport, base_url=base_url, timeout=_QUICK_S, trust_env=False
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def card(self, payment_id: str) -> CardSummary | None:
        """The payment's captured card, or None while it has none."""
        try:
            data = await self._ask("GET", f"/v1/payments/{payment_id}/card")
        except NotFoundError:
            return None
        return _card(data)

    async def authorize(self, request: AuthorizationRequest, token: str) -> AuthorizationResult:
        """Authorize; the same ``attempt_id`` again answers the same."""
        body = {
            "attempt_id": request.attempt_id,
            "payment_id": request.payment_id,
            "token": token,
            "amount_minor": request.money.amount_minor,
            "currency": request.money.currency,
            "reference": request.reference,
            "description": request.description,
        }
        if request.keep_for:
            body["keep_for"] = request.keep_for
        return _result(await self._ask("POST", "/v1/authorizations", body, _PATIENT_S))

    async def attempt(self, attempt_id: str) -> AuthorizationResult | None:
        """What the vault knows of an attempt now, or None if it has not seen it yet."""
        try:
            return _result(await self._ask("GET", f"/v1/authorizations/{attempt_id}"))
        except NotFoundError:
            return None

    async def abandon(self, attempt_id: str) -> AuthorizationResult | None:
        """The same; None makes sure of it: an attempt that the vault does not know is never sent from then on."""
        try:
            return _result(await self._ask("POST", f"/v1/authorizations/{attempt_id}/abandon"))
        except NotFoundError:
            return None

    async def enquire(self, attempt_id: str) -> AuthorizationResult | None:
        """What the vault knows of an attempt after it has asked the acquirer."""
        try:
            return _result(
                await self._ask("POST", f"/v1/authorizations/{attempt_id}/enquire", None, _PATIENT_S)
            )
        except NotFoundError:
            return None

    async def settle(self, operation_id: str, attempt_id: str, money: Money) -> OperationResult:
        """Take the reserved amount."""
        return await self._operate("settle", operation_id, attempt_id, money)

    async def void(self, operation_id: str, attempt_id: str) -> OperationResult:
        """Release the reservation."""
        return await self._operate("void", operation_id, attempt_id, None)

    async def refund(self, operation_id: str, attempt_id: str, money: Money) -> OperationResult:
        """Give an amount back."""
        return await self._operate("refund", operation_id, attempt_id, money)

    async def close_by_hand(self, subject: str, verdict: str, acquirer_reference: str | None) -> None:
        """Write down what people found."""
        body = {"verdict": verdict, "acquirer_reference": acquirer_reference}
        await self._ask("POST", f"/v1/reviews/{subject}", body)

    async def drop(self, payment_id: str) -> None:
        """The payment is over."""
        await self._ask("DELETE", f"/v1/payments/{payment_id}")

    async def kept_cards(self, customer: str) -> list[KeptCard]:
        """The cards that are kept for a customer."""
        data = await self._ask("GET", f"/v1/customers/{customer}/cards")
        try:
            return [KeptCard(**card) for card in data["cards"]]
        except (KeyError, TypeError):
            raise VaultUnavailableError("the vault's answer was not understood") from None

    async def use_kept_card(self, payment_id: str, token: str, customer: str) -> None:
        """Charge a kept card with this payment."""
        await self._ask("PUT", f"/v1/payments/{payment_id}/card", {"token": token, "customer": customer})

    async def delete_kept_card(self, customer: str, token: str) -> None:
        """Forget a kept card."""
        await self._ask("DELETE", f"/v1/customers/{customer}/cards/{token}")

    async def webhook(self, acquirer: str, headers: Mapping[str, str], body: bytes) -> tuple[str, ...]:
        """Pass an acquirer's webhook on, unread; gives the ids of operations that have failed by it."""
        try:
            answer = await self._client.post(f"/v1/webhooks/{acquirer}", content=body, headers=dict(headers))
        except httpx.HTTPError:
            raise VaultUnavailableError from None
        if not answer.is_success:
            raise _WEBHOOK_ERRORS.get(answer.status_code, VaultUnavailableError)
        try:
            return tuple(str(operation_id) for operation_id in answer.json()["failed"])
        except (KeyError, TypeError, ValueError):
            raise VaultUnavailableError("the vault's answer was not understood") from None

    async def _operate(
        self, kind: str, operation_id: str, attempt_id: str, money: Money | None
    ) -> OperationResult:
        body: dict[str, Any] = {"operation_id": operation_id}
        if money is not None:
            body |= {"amount_minor": money.amount_minor, "currency": money.currency}
        data = await self._ask("POST", f"/v1/authorizations/{attempt_id}/{kind}", body, _PATIENT_S)
        try:
            return OperationResult(
                OperationOutcome(data["outcome"]),
                data.get("acquirer_reference"),
                data.get("raw_code"),
                needs_review=data.get("needs_review") is True,
            )
        except (KeyError, ValueError):
            raise VaultUnavailableError("the vault's answer was not understood") from None

    async def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, timeout_s: float = _QUICK_S
    ) -> dict[str, Any]:
        try:
            answer = await self._client.request(method, path, json=body, timeout=timeout_s)
            data = answer.json() if answer.content else {}
        except (httpx.HTTPError, ValueError):
            raise VaultUnavailableError from None
        if not isinstance(data, dict):
            raise VaultUnavailableError("the vault's answer was not understood")
        if answer.is_success:
            return data
        known = _ERRORS.get(str(data.get("code")))
        if known is not None:
            raise known
        if answer.status_code == 404:
            raise NotFoundError
        if answer.status_code in (400, 413, 415, 422):
            raise VaultError("the vault refused the request")
        raise VaultUnavailableError


def _card(data: Mapping[str, Any]) -> CardSummary:
    try:
        return CardSummary(
            token=data["token"],
            brand=data["brand"],
            last4=data["last4"],
            expiry=data["expiry"],
            has_security_code=data["has_security_code"],
            security_code_seconds_left=data["security_code_seconds_left"],
            retry=CardRetry(**data["retry"]) if data.get("retry") else None,
        )
    except (KeyError, TypeError):
        raise VaultUnavailableError("the vault's answer was not understood") from None


def _result(data: Mapping[str, Any]) -> AuthorizationResult:
    try:
        return AuthorizationResult(
            outcome=Outcome(data["outcome"]),
            acquirer=data["acquirer"],
            acquirer_reference=data.get("acquirer_reference"),
            authorization_code=data.get("authorization_code"),
            avs_result=data.get("avs_result"),
            code_result=data.get("code_result"),
            approved_minor=data.get("approved_minor"),
            decline=decline_from_json(data["decline"]) if data.get("decline") else None,
            needs_review=data.get("needs_review") is True,
            settles_part=data.get("settles_part") is True,
            reversal_due=data.get("reversal_due") is True,
            search=Search(**data["search"]) if data.get("search") else None,
        )
    except (KeyError, ValueError, TypeError):
        raise VaultUnavailableError("the vault's answer was not understood") from None
