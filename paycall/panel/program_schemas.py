"""What the API takes and gives about programs: their keys, and the webhooks that events are sent to."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from paycall.panel.roles import Scope
from paycall.panel.schemas import Answer, Request, Text, no_card_number
from paycall.panel.services.webhook_events import EVENTS


def _event(name: str) -> str:
    if name not in EVENTS:
        raise ValueError("there is no such event")
    return name


Name = Annotated[Text, StringConstraints(min_length=1)]
EventName = Annotated[str, AfterValidator(_event), Field(json_schema_extra={"enum": list(EVENTS)})]


class AddApiKey(Request):
    """A key for a program. ``expires_in_days`` left out: it is good until it is revoked."""

    name: Name = Field(examples=["shop"])
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1, max_length=10)] = Field(
        examples=[["calls:read", "payments:write"]]
    )
    expires_in_days: Annotated[int, Field(ge=1, le=3650)] | None = None


class ApiKey(Answer):
    """A program's key, without the key. ``start`` is how it begins."""

    id: str
    name: str
    start: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="to the minute")


class ApiKeys(Answer):
    """All keys, the newest first."""

    keys: list[ApiKey]


class NewApiKey(Answer):
    """A key that was made. ``key`` is shown now and never again."""

    api_key: ApiKey
    key: str = Field(examples=["paycall_…"])


class AddWebhook(Request):
    """Where events are to be sent, and which."""

    url: Annotated[str, StringConstraints(min_length=1, max_length=500), AfterValidator(no_card_number)] = (
        Field(examples=["https://shop.example/paycall"])
    )
    events: Annotated[tuple[EventName, ...], Field(min_length=1, max_length=40)] = Field(
        examples=[["payment.*"]]
    )


class ChangeWebhook(Request):
    """Send to it, or leave off."""

    enabled: bool


class RollSecret(Request):
    """For how long the former secret signs too, so that the receiver can change over; 0: not any more."""

    grace_hours: Annotated[float, Field(ge=0, le=168)] = 24.0


class Webhook(Answer):
    """Where events are sent. ``failing_since``: the first of the failures that no success followed."""

    id: str
    url: str
    events: list[str]
    enabled: bool
    failing_since: datetime | None
    former_secret_until: datetime | None = Field(
        description="until then the secret before the present one signs too"
    )
    created_at: datetime


class Webhooks(Answer):
    """All webhooks."""

    webhooks: list[Webhook]


class NewWebhook(Answer):
    """A webhook that was made, or has another secret, which signs what is sent: shown now and never again."""

    webhook: Webhook
    secret: str = Field(examples=["whsec_…"])


DeliveryState = Literal["pending", "delivered", "failed"]


class Delivery(Answer):
    """One event on its way to a webhook, or there. ``status`` is the HTTP status of the newest answer."""

    id: str = Field(description="the header webhook-id: the same for every try")
    event: str
    state: DeliveryState
    tries: int
    status: int | None
    error: str | None
    created_at: datetime
    answered_at: datetime | None
    next_try_at: datetime | None


class Deliveries(Answer):
    """The newest deliveries of a webhook."""

    deliveries: list[Delivery]


class OutcomeCount(Answer):
    """How many payments, or declines, have this name."""

    name: str
    count: int


class Taken(Answer):
    """What was taken in a currency, less what was refunded."""

    currency: str
    amount_minor: int
    payments: int


class Report(Answer):
    """The sums of a span of days."""

    first_day: str
    last_day: str
    payments: int
    taken: list[Taken]
    outcomes: list[OutcomeCount]
