"""All services of one panel, wired in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from paycall.panel.events import CallEvents
from paycall.panel.services.authorizing import AuthorizationService
from paycall.panel.services.calls import CallService
from paycall.panel.services.captures import CaptureService
from paycall.panel.services.cards import CardService
from paycall.panel.services.caretaker import Caretaker
from paycall.panel.services.context import Context
from paycall.panel.services.dialling import DiallingService
from paycall.panel.services.dropping import DroppingService
from paycall.panel.services.kept_cards import KeptCardService
from paycall.panel.services.linking import LinkingService
from paycall.panel.services.operations import OperationService
from paycall.panel.services.reversals import ReversalService
from paycall.panel.services.reviews import ReviewService
from paycall.panel.services.test_calls import TestCallService
from paycall.panel.services.unknown import UnknownOutcomeService


@dataclass(frozen=True)
class Services:
    """What routes and the hub's handler call."""

    captures: CaptureService
    authorizations: AuthorizationService
    kept_cards: KeptCardService
    operations: OperationService
    reviews: ReviewService
    unknown: UnknownOutcomeService
    dropping: DroppingService
    test_calls: TestCallService
    linking: LinkingService
    dialling: DiallingService
    caretaker: Caretaker
    events: CallEvents


def wire(context: Context) -> Services:
    """Build the services; nothing starts yet."""
    kept_cards = KeptCardService(context)
    captures = CaptureService(context, kept_cards)
    cards = CardService(context)
    operations = OperationService(context, captures)
    authorizations = AuthorizationService(context, captures, cards, kept_cards, operations)
    test_calls = TestCallService(context)
    calls = CallService(context, captures, test_calls)
    linking = LinkingService(context)
    reversals = ReversalService(context)
    return Services(
        captures=captures,
        authorizations=authorizations,
        kept_cards=kept_cards,
        operations=operations,
        reviews=ReviewService(context, authorizations, operations, reversals),
        unknown=UnknownOutcomeService(context, captures, authorizations),
        dropping=DroppingService(context, cards),
        test_calls=test_calls,
        caretaker=Caretaker(context, calls, captures, authorizations, operations, reversals),
        linking=linking,
        dialling=DiallingService(context, calls),
        events=CallEvents(context, calls, captures, cards, linking),
    )


def _services(request: Request) -> Services:
    services = request.app.state.services
    assert isinstance(services, Services)  # noqa: S101 - set by create_app
    return services


InServices = Annotated[Services, Depends(_services)]
