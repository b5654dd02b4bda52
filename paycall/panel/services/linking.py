"""Link codes: an operator behind a PBX's queue says on the phone which screen is whose.

Rules: a code is four digits, good once and for 60 s, one an operator; it is kept in memory only and never logged.
Cells know the codes and say which one was keyed on an agent leg. Guesses are limited for each call and for the
site: beyond that even a right code is refused. Everything is audited.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

import structlog
from sqlalchemy.orm import Session

from paycall.control import messages as m
from paycall.domain.call import CallState
from paycall.domain.errors import StateError
from paycall.domain.ids import new_id
from paycall.panel.rate_limit import RateLimit, TooManyError
from paycall.panel.roles import Principal
from paycall.panel.services.audit import note
from paycall.panel.services.context import Context
from paycall.panel.services.owners import hand_over, show_change_of_owner
from paycall.store.tables import CallRow

_log = structlog.get_logger(__name__)

CODE_S = 60.0
_MOST_CODES = 500  # of ten thousand: a guess stays a guess
_SITE = "site"


@dataclass(frozen=True)
class _Code:
    operator_id: str
    code: str = field(repr=False)
    until_s: float


class LinkingService:
    """Gives out link codes and joins call and operator when one is keyed."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._codes: dict[str, _Code] = {}
        self._asked = RateLimit(burst=10, per_second=1 / 6)
        self._guesses_on_call = RateLimit(burst=3, per_second=1 / 60)
        self._guesses = RateLimit(burst=30, per_second=0.5)

    async def issue(self, principal: Principal, address: str) -> tuple[str, float]:
        """A new code for this operator, and for how many seconds it is good; the one before is good no more.

        Raises
        ------
        StateError
            If nobody is there to take a call.
        TooManyError
            If codes were asked for too often, or by too many at once.
        """
        if principal.operator_id is None:
            raise StateError("only a person can take a call")
        now_s = self._context.deps.clock.monotonic()
        self._forget_late(now_s)
        if len(self._codes) >= _MOST_CODES or not self._asked.allows(principal.operator_id, now_s):
            raise TooManyError
        for former in [
            name for name, each in self._codes.items() if each.operator_id == principal.operator_id
        ]:
            del self._codes[former]
            await self._context.deps.calls.forget_link_code(former)
        taken = {each.code for each in self._codes.values()}
        code = secrets.choice([text for number in range(10_000) if (text := f"{number:04d}") not in taken])
        link_id = new_id("link")
        self._codes[link_id] = _Code(principal.operator_id, code, now_s + CODE_S)
        await self._context.deps.calls.expect_link_code(link_id, code, CODE_S)
        await self._context.write(
            lambda session: note(
                session,
                self._context.now(),
                principal.operator_id,
                "link-code-issued",
                target=link_id,
                address=address,
            )
        )
        return code, CODE_S

    def cell_connected(self) -> None:
        """A cell has come (again): it may have missed codes."""
        self._forget_late(self._context.deps.clock.monotonic())
        if self._codes:
            # Not awaited: the cell's answers come over the connection whose event is being handled.
            self._context.tasks.start(self._tell_all(), "link-codes", once=True)

    async def _tell_all(self) -> None:
        for link_id, each in list(self._codes.items()):
            left_s = each.until_s - self._context.deps.clock.monotonic()
            if left_s > 0:
                await self._context.deps.calls.expect_link_code(link_id, each.code, left_s)

    async def keyed(self, event: m.LinkCodeKeyed) -> None:
        """On an agent leg a code was keyed: join call and operator if it is good."""
        now_s = self._context.deps.clock.monotonic()
        self._forget_late(now_s)
        on_call = self._guesses_on_call.allows(event.call_id, now_s)
        on_site = self._guesses.allows(_SITE, now_s)
        found = self._codes.pop(event.link_id, None) if event.link_id else None
        if not (on_call and on_site):
            result = "rate-limited"
        elif found is None:
            result = "unknown-code"
        else:
            result = "linked"

        def join(session: Session) -> tuple[bool, str | None]:
            call = session.get(CallRow, event.call_id, with_for_update=True)
            open_call = call is not None and call.state != CallState.ENDED.value
            former = call.operator_id if call is not None else None
            joined = False
            if result == "linked" and found is not None and call is not None and open_call:
                joined = hand_over(session, call, found.operator_id, self._context.now())
            note(
                session,
                self._context.now(),
                found.operator_id if found else None,
                "call-linked",
                target=event.call_id,
                result=result if open_call else "call-over",
            )
            return joined, former

        joined, former = await self._context.write(join)
        _log.info("link_code_keyed", call_id=event.call_id, outcome=result)
        if event.link_id is not None:
            # It may be another cell that still waits for it.
            self._context.tasks.start(
                self._context.deps.calls.forget_link_code(event.link_id), f"forget:{event.link_id}", once=True
            )
        if joined:
            await show_change_of_owner(self._context, event.call_id, "call.linked", former)

    def _forget_late(self, now_s: float) -> None:
        self._codes = {name: each for name, each in self._codes.items() if each.until_s > now_s}
