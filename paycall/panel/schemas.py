"""What the API takes and gives, as OpenAPI describes it. Closed against unknown names; errors hide the input."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from paycall.domain.fields import DEFAULT_FIELDS
from paycall.domain.fields import Field as CardField
from paycall.domain.free_text import holds_card_number
from paycall.domain.ids import ID_PATTERN
from paycall.domain.money import MAX_AMOUNT_MINOR
from paycall.domain.payment import PaymentState
from paycall.panel.roles import Role


def no_card_number(text: str) -> str:
    """Refuse free text that holds a card number: a number that the caller said aloud must not land here."""
    if holds_card_number(text):
        raise ValueError("this looks like a card number")
    return text


Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
Amount = Annotated[
    int, Field(gt=0, le=MAX_AMOUNT_MINOR, strict=True, description="in minor units, e.g. cents")
]
# Free text of an operator. Control characters are refused: they have no business in an order number.
_PLAIN = r"^[^\x00-\x1f\x7f]*$"
Text = Annotated[
    str,
    StringConstraints(max_length=100, pattern=_PLAIN, strip_whitespace=True),
    AfterValidator(no_card_number),
]
# The site's own name of a payment, as long as the vault keeps it.
Reference = Annotated[
    str,
    StringConstraints(max_length=64, pattern=_PLAIN, strip_whitespace=True),
    AfterValidator(no_card_number),
]
LongText = Annotated[str, StringConstraints(max_length=500, pattern=_PLAIN), AfterValidator(no_card_number)]


def _dialled_number(text: str) -> str:
    """A telephone number without what people write between its digits."""
    number = re.sub(r"[ ().\-/]", "", text)
    if not re.fullmatch(r"\+?[0-9]{3,15}", number):
        raise ValueError("this is no telephone number")
    return number if number[0] in "+0" else no_card_number(number)


PhoneNumber = Annotated[
    str,
    StringConstraints(max_length=40, strip_whitespace=True),
    AfterValidator(_dialled_number),
    Field(examples=["+36 1 234 5678"]),
]


class Request(BaseModel):
    """Base of what is taken."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, frozen=True)


class Answer(BaseModel):
    """Base of what is given."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class SignIn(Request):
    """Name, password and, where the account has one, the one-time code."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=60)]
    password: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    code: Annotated[str, StringConstraints(max_length=20)] | None = None


Language = Literal["en", "ru", "uk", "hu"]
Password = Annotated[str, StringConstraints(min_length=1, max_length=200)]
AgentUri = Annotated[str, StringConstraints(max_length=300, pattern=r"^((sips?:)?[^\s<>\x00-\x1f]+)?$")]


class ChangeAccount(Request):
    """What a person may change of the own account."""

    language: Language | None = None
    theme: Literal["auto", "light", "dark"] | None = None


class Proof(Request):
    """That the account's owner asks, not somebody at their screen: one of these.

    ``passkey`` is what ``navigator.credentials.get`` gave (``toJSON``) for ``POST /account/proof/options``. Where
    the account has no password, a one-time ``code`` proves it too, or a sign-in at which the identity provider asked
    anew.
    """

    password: Password | None = None
    code: Annotated[str, StringConstraints(max_length=20)] | None = None
    passkey: dict[str, Any] | None = None


class Proven(Request):
    """Base of what takes a fresh proof."""

    proof: Proof = Proof()


class ChangePassword(Proven):
    """The new password."""

    new: Password


class SetSecondFactor(Proven):
    """The secret that the phone has read, and the code that proves it."""

    secret: Annotated[str, StringConstraints(pattern=r"^[A-Z2-7]{32}$")]
    code: Annotated[str, StringConstraints(max_length=20)]


class AddOperator(Request):
    """A new account; its owner sets the password with the invitation."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=60), AfterValidator(no_card_number)]
    display_name: Text = ""
    role: Role = Role.OPERATOR
    language: Language = "en"
    agent_uri: AgentUri = ""


class ChangeOperator(Request):
    """What an administrator may change of an account; what is left out stays."""

    display_name: Text | None = None
    role: Role | None = None
    agent_uri: AgentUri | None = None
    locked: bool | None = None


TokenType = Literal["one-time", "reusable"]


class CreatePayment(Request):
    """A payment on a call. ``fields`` are asked of the caller in their natural order.

    ``caller_language`` is that of what the caller is told, where the site has prompts; empty: the site's.
    """

    amount_minor: Amount = Field(examples=[1999])
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = Field(examples=["EUR"])
    reference: Reference = Field(default="", examples=["INV-2041"])
    description: Text = Field(default="", examples=["Two tickets"])
    fields: Annotated[tuple[CardField, ...], Field(min_length=1, max_length=4)] = DEFAULT_FIELDS
    caller_language: Literal["", "en", "ru", "uk", "hu"] = ""
    token_type: TokenType = Field(
        default="one-time", description="reusable: the caller agrees that the card is kept for later payments"
    )
    kept_card: Id | None = Field(default=None, description="a kept card's token: charge it; nothing is keyed")
    confirm_duplicate: bool = Field(
        default=False,
        description="start although what became of this caller's charge of the same amount is not known yet",
    )


class PauseRecording(Request):
    """Whether silence is to be recorded from now on."""

    paused: bool


class DialOut(Request):
    """Whom to call. Your own phone rings first."""

    to: PhoneNumber


class TakeFields(Request):
    """Fields to ask the caller for (again)."""

    fields: Annotated[tuple[CardField, ...], Field(min_length=1, max_length=4)] = Field(
        examples=[["security-code"]]
    )


class Authorize(Request):
    """``confirm_duplicate``: charge although the same card was, or may have been, charged the same amount before."""

    confirm_duplicate: bool = False


class Settle(Request):
    """``amount_minor`` left out takes all that was approved; less releases the rest."""

    amount_minor: Amount | None = Field(default=None, examples=[1500])


class Refund(Request):
    """``amount_minor`` left out gives back all that is left."""

    amount_minor: Amount | None = Field(default=None, examples=[500])


class Review(Request):
    """What people found: an authorization ``approved`` or ``reversed``, an operation ``done`` or ``failed``."""

    verdict: Literal["approved", "reversed", "done", "failed"]
    acquirer_reference: Text = Field(default="", description="the acquirer's name of what it approved")


class Operator(Answer):
    """The person who is signed in."""

    id: str
    name: str
    role: str
    language: str
    permissions: list[str]


class Session(Answer):
    """A session that was opened."""

    operator: Operator


class Customer(Request):
    """Who calls from a number."""

    name: Text
    note: LongText = ""


class Account(Answer):
    """An account, as an administrator sees it."""

    id: str
    name: str
    display_name: str
    role: Role
    language: str
    agent_uri: str
    locked: bool
    invited: bool = Field(description="the owner has not set a password yet")
    second_factor: bool
    created_at: datetime
    last_sign_in_at: datetime | None


class Accounts(Answer):
    """All accounts."""

    operators: list[Account]


class Invited(Answer):
    """An account and the link with which its owner sets a password; the link is shown once."""

    operator: Account
    invitation: str


class LinkCode(Answer):
    """Key ``*9`` and this code on the phone: the call on it becomes yours."""

    code: str = Field(description="four digits, good once", examples=["4071"])
    seconds: float = Field(description="for how long it is good")


class Call(Answer):
    """A call in progress or past. The customer is ``caller``, whoever dialled."""

    id: str
    state: Literal["ringing", "connected", "ended"]
    direction: Literal["inbound", "outbound"]
    caller: str
    called: str
    agent_uri: str
    masked: bool
    recording: Literal["off", "on", "paused", "failed"] = Field(
        description="off: it is not recorded; paused: silence is; failed: nothing more can be written"
    )
    alarm: str | None
    agent_leg_keys: int = Field(
        description="keys that the independent listener heard on the agent leg: evidence"
    )
    test: bool
    operator: str | None
    operator_id: str | None
    customer_name: str
    customer_note: str
    payment_id: str | None = Field(description="the newest payment of the call")
    started_at: datetime
    connected_at: datetime | None
    ended_at: datetime | None
    end_reason: str | None


class Calls(Answer):
    """Calls, the newest first."""

    calls: list[Call]


class FieldView(Answer):
    """A field: how many digits are there, never which."""

    field: CardField
    state: Literal["waiting", "collecting", "stored", "failed"]
    digits: int
    error: str | None
    error_digits: int = Field(description="how many digits the refused field had")
    attempts_left: int | None
    seconds_left: float | None
    may_drop: bool = Field(description="it is missing, and the payment could do without it")


class Card(Answer):
    """What may be shown of a card."""

    brand: str | None
    last4: str | None
    expiry: str | None


class DeclineView(Answer):
    """Why it was declined, who declined, what may be tried, and what to say in the reader's language."""

    reason: str
    declined_by: str
    retry: str
    raw_code: str | None
    correct: list[str]
    next_steps: list[str]
    final: bool = Field(default=False, description="the card's network forbids any further attempt")
    happened: str
    say: str


class Attempt(Answer):
    """One authorization."""

    id: str
    number: int
    state: Literal["authorizing", "approved", "declined", "unknown", "reversed", "not_sent"]
    amount_minor: int
    currency: str
    acquirer: str | None
    acquirer_reference: str | None
    authorization_code: str | None
    avs_result: str | None
    code_result: str | None
    decline: DeclineView | None
    reversal_due: bool = Field(description="a part was approved, and is being given back")
    error: str | None
    started_at: datetime
    answered_at: datetime | None


class Operation(Answer):
    """A settle, void or refund."""

    id: str
    kind: Literal["settle", "void", "refund"]
    state: Literal["pending", "done", "failed"]
    amount_minor: int
    currency: str
    acquirer_reference: str | None
    error: str | None
    created_at: datetime
    finished_at: datetime | None


class Step(Answer):
    """A next step that the decline allows; ``fields`` go to ``/capture``, none means charge or stop."""

    step: str
    fields: list[CardField]


class CardRetry(Answer):
    """How often the card's network lets the captured card be tried still; ``left`` null: no limit."""

    allowed: bool
    left: int | None
    again_at: datetime | None = Field(description="when it is allowed again; null: it is now, or never")


class Search(Answer):
    """What is being done to find out what became of a charge."""

    rounds: int = Field(description="how often the acquirer was asked so far")
    asks_again: bool = Field(description="the very same request is sent again; else it is only looked up")
    reversing: bool
    next_in_s: float
    people_in_s: float | None = Field(description="then a supervisor has to look it up")
    enquiring: bool = Field(description="the acquirer is being asked at somebody's word")
    enquire_in_s: float = Field(description="when `/enquire` may be asked again; 0: now")


class Payment(Answer):
    """A payment with its fields, attempts and operations."""

    id: str
    call_id: str
    state: PaymentState
    amount_minor: int
    currency: str
    reference: str
    description: str
    operator: str | None
    operator_id: str | None
    fields: list[FieldView]
    missing: list[CardField]
    capture_open: bool
    collecting: CardField | None
    masked: bool
    call_open: bool
    brand: str | None
    card: Card | None
    token: str | None
    token_type: TokenType
    kept_token: str | None = Field(description="the reusable token, once the card is kept")
    security_code_seconds_left: float | None
    retry: CardRetry | None
    attempts: list[Attempt]
    operations: list[Operation]
    settled_minor: int = Field(description="what was taken of the approved amount")
    refunded_minor: int
    settles_part: bool = Field(description="whether a part of the approved amount can be settled")
    decision_deadline: datetime | None = Field(
        description="a late approval is voided then, unless it is settled"
    )
    actions: list[str]
    needs_review: Literal["authorization", "reversal", "settle", "void", "refund"] | None = Field(
        description="what nobody but people can find out, with the acquirer's own tool"
    )
    search: Search | None = Field(description="while the state is `unknown` and the vault can be reached")
    set_aside: bool = Field(description="its operator has stopped waiting for an unknown outcome")
    paid_again: bool = Field(
        description="a later payment has taken the same amount; keeping this one doubles it"
    )
    next_steps: list[Step]
    created_at: datetime
    updated_at: datetime


class KeptCard(Answer):
    """A card that is kept for a customer's later payments."""

    token: str
    brand: str | None
    last4: str | None
    expiry: str | None
    expired: bool
    created_at: datetime
    used_at: datetime


class KeptCards(Answer):
    """A customer's kept cards, the one that was used last first."""

    kept_cards: list[KeptCard]


class Payments(Answer):
    """Payments, the newest first."""

    payments: list[Payment]


class TestCall(Answer):
    """A scripted call that was started."""

    __test__ = False

    test_call_id: str


class Health(Answer):
    """The panel answers."""

    status: Literal["ok"] = "ok"
