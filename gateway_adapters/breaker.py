"""What stands before every adapter: a circuit breaker for each operation, and an eye for codes nobody knows.

Rules: an acquirer that does not answer is left alone for a while, so that a caller is not kept waiting for a
time-out that the last five callers have had. Declines and refusals are answers and never count. Void, look-up
and reversal are never held back: they make things right. What is held back was certainly not sent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from paycall.domain.authorization import AuthorizationRequest, AuthorizationResult, OperationResult
from paycall.domain.card_ports import Acquirer, Card, OperationKind, Traits
from paycall.domain.decline_rules import UNRECOGNISED
from paycall.domain.errors import AcquirerFault, NoAnswerError, NotSentError
from paycall.domain.money import Money

FAILURES_TO_OPEN = 5
OPEN_S = 15.0
Note = Callable[..., None]
# acquirer, operation, what became of it, how long it took in seconds
Observe = Callable[[str, str, str, float], None]
_Answer = TypeVar("_Answer")


@dataclass
class Breaker:
    """One breaker. Closed lets all through; open none; after ``open_s`` one probe decides.

    Times are seconds of a clock that only grows.
    """

    failures_to_open: int = FAILURES_TO_OPEN
    open_s: float = OPEN_S
    _failures: int = 0
    _opened_at: float | None = None
    _probing: bool = False

    def allows(self, now: float) -> bool:
        """Whether a call may be made; the first one after the pause is the probe."""
        if self._opened_at is None:
            return True
        if self._probing or now - self._opened_at < self.open_s:
            return False
        self._probing = True
        return True

    @property
    def is_open(self) -> bool:
        """Whether calls are held back, but for a probe."""
        return self._opened_at is not None

    def answered(self) -> None:
        """The acquirer answered, whatever it said."""
        self._failures, self._opened_at, self._probing = 0, None, False

    def failed(self, now: float) -> bool:
        """No connection, or no answer; true if that opened it."""
        self._failures += 1
        opens = self._probing or self._failures == self.failures_to_open
        if opens:
            self._opened_at, self._probing = now, False
        return opens


class GuardedAcquirer:
    """An ``Acquirer`` with a breaker before each operation that moves money forward.

    ``inner`` is the adapter itself. ``note`` is told, as an event and its fields, what should be logged: a
    structlog logger's ``warning``, say. ``observe`` is told of every request: its outcome is the answer's, a fault's
    code, ``time-limit``, ``held-back``, or ``no-answer`` for whatever else went wrong.
    """

    def __init__(
        self,
        inner: Acquirer,
        note: Note | None = None,
        clock: Callable[[], float] = time.monotonic,
        observe: Observe | None = None,
    ) -> None:
        self.inner = inner
        self._note = note or _unheard
        self._observe = observe or _unseen
        self.name = inner.name
        self._clock = clock
        self._breakers = {name: Breaker() for name in ("authorize", "settle", "refund")}

    async def authorize(self, request: AuthorizationRequest, card: Card) -> AuthorizationResult:
        """Reserve the amount, unless the breaker is open."""
        result = await self._guarded("authorize", lambda: self.inner.authorize(request, card))
        if result.decline is not None and result.decline.reason == UNRECOGNISED:
            self._note("decline_code_unknown", acquirer=self.name, code=result.decline.raw_code)
        return result

    @property
    def traits(self) -> Traits:
        """Those of the adapter."""
        return self.inner.traits

    async def look_up(self, attempt_id: str, sent_at: datetime) -> AuthorizationResult | None:
        """Never held back."""
        return await self._observed("look-up", self.inner.look_up(attempt_id, sent_at))

    async def settle(self, key: str, acquirer_reference: str, money: Money) -> OperationResult:
        """Take the amount, unless the breaker is open."""
        return await self._guarded("settle", lambda: self.inner.settle(key, acquirer_reference, money))

    async def void(self, key: str, acquirer_reference: str) -> OperationResult:
        """Never held back."""
        return await self._observed("void", self.inner.void(key, acquirer_reference))

    async def refund(self, key: str, acquirer_reference: str, money: Money) -> OperationResult:
        """Give the amount back, unless the breaker is open."""
        return await self._guarded("refund", lambda: self.inner.refund(key, acquirer_reference, money))

    async def look_up_operation(
        self, kind: OperationKind, key: str, acquirer_reference: str, money: Money
    ) -> OperationResult | None:
        """Never held back."""
        call = self.inner.look_up_operation(kind, key, acquirer_reference, money)
        return await self._observed("look-up", call)

    async def reverse(self, key: str, attempt_id: str, money: Money, sent_at: datetime) -> OperationResult:
        """Never held back."""
        return await self._observed("reverse", self.inner.reverse(key, attempt_id, money, sent_at))

    async def aclose(self) -> None:
        """Release connections."""
        await self.inner.aclose()

    def held_back(self) -> dict[str, bool]:
        """By operation, whether the acquirer is left alone for it now."""
        return {name: breaker.is_open for name, breaker in self._breakers.items()}

    async def _observed(self, operation: str, call: Awaitable[_Answer]) -> _Answer:
        began, outcome = self._clock(), "no-answer"
        try:
            answer = await call
            outcome = _outcome(answer)
            return answer
        except AcquirerFault as fault:
            outcome = fault.code
            raise
        except asyncio.CancelledError:  # whoever asked has a time limit of their own
            outcome = "time-limit"
            raise
        finally:
            self._observe(self.name, operation, outcome, self._clock() - began)

    async def _guarded(self, operation: str, call: Callable[[], Awaitable[_Answer]]) -> _Answer:
        breaker = self._breakers[operation]
        if not breaker.allows(self._clock()):
            self._observe(self.name, operation, "held-back", 0.0)
            raise NotSentError("the acquirer has not answered lately and is left alone for a moment")
        try:
            answer = await self._observed(operation, call())
        except BaseException as error:
            # Whatever else went wrong - a time limit of whoever asked, an adapter's own mistake - is no answer: a
            # probe that ended so must not leave the breaker waiting for it.
            refused = isinstance(error, AcquirerFault) and not isinstance(error, NotSentError | NoAnswerError)
            if refused:
                breaker.answered()  # a refusal is an answer
            elif breaker.failed(self._clock()):
                self._note("acquirer_left_alone", acquirer=self.name, name=operation)
            raise
        breaker.answered()
        return answer


def _outcome(answer: object) -> str:
    if isinstance(answer, AuthorizationResult | OperationResult):
        return answer.outcome.value
    return "not-known"  # a look-up that found nothing


def _unheard(_event: str, **_fields: str | None) -> None:
    return


def _unseen(_acquirer: str, _operation: str, _outcome: str, _seconds: float) -> None:
    return
