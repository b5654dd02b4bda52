"""Protocols without card data: what the panel asks of cells, of the vault and of its surroundings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from paycall.domain.authorization import (
    AuthorizationRequest,
    AuthorizationResult,
    CardSummary,
    KeptCard,
    OperationResult,
)
from paycall.domain.card import Brand
from paycall.domain.errors import InputError
from paycall.domain.fields import Field
from paycall.domain.money import Money

MAX_POSTAL_CODE_LENGTH = 10
MAX_CAPTURE_SECONDS = 600.0  # as long as Twilio's Timeout may be


@dataclass(frozen=True)
class CaptureRules:
    """How a capture treats the caller's keys.

    Times in seconds. ``brands`` empty accepts all. ``end_key`` ends a field, ``clear_key`` empties it. ``language``
    is the caller's, for what is said to them; empty: the site's.

    Raises
    ------
    InputError
        If a rule makes no sense, before any caller meets it.
    """

    first_key_s: float = 20.0
    between_keys_s: float = 5.0
    attempts: int = 3
    brands: tuple[str, ...] = field(default=())
    end_key: str = "#"
    clear_key: str = "*"
    min_postal_code_length: int = 3
    language: str = ""

    def __post_init__(self) -> None:
        if not (
            0 < self.first_key_s <= MAX_CAPTURE_SECONDS and 0 < self.between_keys_s <= MAX_CAPTURE_SECONDS
        ):
            raise InputError("the seconds to a key must be more than 0 and at most 600")
        if self.attempts < 1:
            raise InputError("a field needs at least one attempt")
        if not set(self.brands) <= {brand.value for brand in Brand}:
            raise InputError("a brand is not one that paycall knows")
        if {self.end_key, self.clear_key} != {"#", "*"}:
            raise InputError("the end key and the clear key must be # and *, one each")
        if not 1 <= self.min_postal_code_length <= MAX_POSTAL_CODE_LENGTH:
            raise InputError("the shortest postal code must have 1 to 10 digits")


class Clock(Protocol):
    """The time, as an argument that tests can choose."""

    def now(self) -> datetime:
        """The present moment, in UTC, with its zone."""

    def monotonic(self) -> float:
        """Seconds that only grow."""


class CallControl(Protocol):
    """What the panel can tell the cell that holds a call.

    Every method raises ``NotFoundError`` (no cell has this call), ``StateError`` (refused by the cell, nothing
    changed) or ``LinkError`` (the cell did not answer in time).
    """

    def connected(self) -> set[str]:
        """The cells and nodes that are connected now."""

    async def start_capture(
        self, call_id: str, payment_id: str, fields: Sequence[Field], rules: CaptureRules
    ) -> None:
        """Mask the agent leg and take these fields."""

    async def capture_fields(self, call_id: str, payment_id: str, fields: Sequence[Field]) -> None:
        """Take these fields (again), the others are kept."""

    async def drop_field(self, call_id: str, payment_id: str, field: Field) -> None:
        """Do without this field; the others are asked for as before."""

    async def end_capture(self, call_id: str, payment_id: str) -> None:
        """End the capture; the mask comes off two seconds after the last key at the earliest."""

    async def route_call(self, call_id: str, agent_uri: str) -> None:
        """Dial this agent for a call that has arrived."""

    async def pause_recording(self, call_id: str, paused: bool) -> None:
        """Record silence from now on, or sound again."""

    async def hang_up(self, call_id: str) -> None:
        """End the call."""

    def can_dial_out(self) -> bool:
        """Whether a cell that is connected has a trunk."""

    async def dial_out(self, call_id: str, agent_uri: str, number: str) -> None:
        """Ring this phone of an operator's, then dial the number.

        Raises ``StateError`` if every line is busy or there is no trunk, ``InputError`` if its settings forbid it,
        ``LinkError`` if the cell did not answer: it hangs up, should it dial all the same.
        """

    async def expect_link_code(self, link_id: str, code: str, seconds: float) -> None:
        """Have every cell wait for this code on its agent legs. Raises nothing."""

    async def forget_link_code(self, link_id: str) -> None:
        """Have every cell forget it. Raises nothing."""


class PaymentVault(Protocol):
    """The panel's side of the vault: tokens and amounts, never a card.

    Raises ``VaultUnavailableError`` if the vault did not answer, ``NotFoundError``, ``StateError``,
    ``SecurityCodeGoneError``, ``NotSentError`` and ``RefusedRequestError``.
    """

    async def card(self, payment_id: str) -> CardSummary | None:
        """The payment's captured card, or None while it has none."""

    async def authorize(self, request: AuthorizationRequest, token: str) -> AuthorizationResult:
        """Authorize; the same ``attempt_id`` again answers the same."""

    async def attempt(self, attempt_id: str) -> AuthorizationResult | None:
        """What the vault knows of an attempt now, or None if it has not seen it yet."""

    async def abandon(self, attempt_id: str) -> AuthorizationResult | None:
        """The same; None makes sure of it: an attempt that the vault does not know is never sent from then on."""

    async def enquire(self, attempt_id: str) -> AuthorizationResult | None:
        """The same as ``attempt``, after the acquirer was asked what it has. Nothing is sent that could charge."""

    async def settle(self, operation_id: str, attempt_id: str, money: Money) -> OperationResult:
        """Take the reserved amount."""

    async def void(self, operation_id: str, attempt_id: str) -> OperationResult:
        """Release the reservation."""

    async def refund(self, operation_id: str, attempt_id: str, money: Money) -> OperationResult:
        """Give an amount back."""

    async def close_by_hand(self, subject: str, verdict: str, acquirer_reference: str | None) -> None:
        """Write down what people found of an attempt (approved, reversed) or operation (done, failed).

        Raises
        ------
        StateError
            If it does not wait for people.
        """

    async def drop(self, payment_id: str) -> None:
        """The payment is over: forget its security code now, its card by the site's retention."""

    async def kept_cards(self, customer: str) -> list[KeptCard]:
        """The cards that are kept for a customer, the one that was used last first."""

    async def use_kept_card(self, payment_id: str, token: str, customer: str) -> None:
        """Charge a customer's kept card with this payment: its card is there as if it had been keyed.

        Raises
        ------
        NotFoundError, CardExpiredError, StateError
            No such card of this customer's; past its expiry date; cards are not kept, or the payment is charged.
        """

    async def delete_kept_card(self, customer: str, token: str) -> None:
        """Forget a kept card; ``NotFoundError`` if there is none."""

    async def webhook(self, acquirer: str, headers: Mapping[str, str], body: bytes) -> tuple[str, ...]:
        """Pass an acquirer's webhook on, unread; gives the ids of operations that have failed by it.

        Raises
        ------
        NotFoundError, NotAllowedError, InputError, StateError
            No such acquirer; not signed; not understood; too early, to be delivered again.
        """


class TestCalls(Protocol):
    """The scripted caller and phone behind the panel's "test call" button."""

    async def start(self, test_call_id: str) -> str:
        """Start a scripted caller and phone; gives the phone's SIP URI, which the call is to be routed to.

        The caller's INVITE carries ``X-Paycall-Test-Call`` with this id. Raises ``StateError`` if it can't start.
        """

    async def asked(self, test_call_id: str, fields: Sequence[Field]) -> None:
        """What the operator would say on the phone: please key these fields."""

    async def stop(self, test_call_id: str) -> None:
        """Hang up and release the scripted parts; harmless if they are gone."""
