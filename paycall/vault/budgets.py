"""How often the card networks still let a card be tried: counted by the card's fingerprint over all payments.

The rules are ``paycall.domain.retry_budget``. What is refused here was not sent; the panel learns the same numbers
with the card's summary, before anybody asks for an authorization.
"""

from __future__ import annotations

import json
from datetime import datetime

import structlog
from sqlalchemy import Connection

from paycall.domain.authorization import CardRetry
from paycall.domain.card import Brand
from paycall.domain.declines import decline_from_json
from paycall.domain.errors import RetryBudgetSpentError
from paycall.domain.ports import Clock
from paycall.domain.retry_budget import MONTH, PastDecline, RetryBudget, retry_budget
from paycall.vault.cards import StoredCard
from paycall.vault.store import Store

_log = structlog.get_logger(__name__)


class RetryBudgets:
    """Counts the declines of a card. ``counting`` False lets every card be tried. Blocking."""

    def __init__(self, store: Store, clock: Clock, *, counting: bool) -> None:
        self._store = store
        self._clock = clock
        self._counting = counting

    def check(self, connection: Connection, card: StoredCard, attempt_id: str) -> None:
        """Refuse a card that may not be tried now; this attempt itself does not count.

        Raises
        ------
        RetryBudgetSpentError
            If its network allows no attempt; nothing was sent.
        """
        if self._counting and card.fingerprint is not None:
            # Two payments may try one card at once.
            self._store.lock_fingerprint(connection, card.fingerprint)
        if not self._of(connection, card, attempt_id).allowed:
            _log.warning("retry_budget_spent", brand=card.brand)
            raise RetryBudgetSpentError

    def told(self, payment_id: str) -> CardRetry | None:
        """What the panel is told of the payment's card; None while it has no number."""
        with self._store.reading() as connection:
            card = self._store.card_of(connection, payment_id)
            if card is None or card.fingerprint is None:
                return None
            budget = self._of(connection, card)
        again_at = budget.again_at.isoformat() if budget.again_at else None
        return CardRetry(budget.allowed, budget.left, again_at)

    def _of(self, connection: Connection, card: StoredCard, but: str | None = None) -> RetryBudget:
        if not self._counting or card.fingerprint is None:
            return RetryBudget(allowed=True)
        now = self._clock.now()
        since = (now - MONTH).isoformat()
        past = [
            PastDecline(datetime.fromisoformat(at), decline_from_json(json.loads(decline)))
            for at, decline in self._store.declines_of(connection, card.fingerprint, since)
        ]
        under_way = self._store.attempts_under_way(connection, card.fingerprint, but)
        return retry_budget(Brand(card.brand) if card.brand else None, past, now, under_way)
