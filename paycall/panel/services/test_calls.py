"""The "test call" button: a scripted caller, so that a newcomer can take the operator's side by hand."""

from __future__ import annotations

import asyncio

import structlog

from paycall.domain.errors import PaycallError, StateError
from paycall.domain.ids import new_id
from paycall.panel.roles import Principal
from paycall.panel.services.context import Context

_log = structlog.get_logger(__name__)
# A cell waits half a second for its route; a scripted phone that takes longer loses the call to the default.
_ROUTE_WAIT_S = 5.0
# A scripted caller whose call has not come by then never will: the line was lost before it reached the panel.
ARRIVES_WITHIN_S = 15.0


class TestCallService:
    """Knows which test calls are running, and for whom."""

    __test__ = False  # not a test class, whatever its name looks like

    def __init__(self, context: Context) -> None:
        self._context = context
        self._uris: dict[str, asyncio.Future[str]] = {}
        self._owners: dict[str, str] = {}
        self._arrived: set[str] = set()

    async def start(self, principal: Principal) -> str:
        """Start a scripted call to this operator; gives its id.

        Raises
        ------
        StateError
            If this site has no test calls, or one is running for this operator, or it can't start.
        """
        test_calls = self._context.deps.test_calls
        if test_calls is None or principal.operator_id is None:
            raise StateError("there are no test calls here")
        if principal.operator_id in self._owners.values():
            raise StateError("your test call is running already")
        test_call_id = new_id("test")
        self._owners[test_call_id] = principal.operator_id
        uri: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._uris[test_call_id] = uri
        try:
            uri.set_result(await test_calls.start(test_call_id))
        except BaseException:
            uri.cancel()
            self.forget(test_call_id)
            raise
        self._context.tasks.start(self._expect(test_call_id), f"test-call-arrival:{test_call_id}")
        return test_call_id

    async def _expect(self, test_call_id: str) -> None:
        await asyncio.sleep(ARRIVES_WITHIN_S)
        if test_call_id in self._owners and test_call_id not in self._arrived:
            _log.warning("test_call_never_arrived")
            self.over(test_call_id)

    def forget(self, test_call_id: str) -> None:
        """The test call is not there any more."""
        self._owners.pop(test_call_id, None)
        self._uris.pop(test_call_id, None)
        self._arrived.discard(test_call_id)

    def arrived(self, test_call_id: str | None) -> str | None:
        """The call is there; gives the operator who started it."""
        if test_call_id is None or test_call_id not in self._owners:
            return None
        self._arrived.add(test_call_id)
        return self._owners[test_call_id]

    async def agent_uri(self, test_call_id: str | None) -> str:
        """Where the call is to be routed: the scripted phone, or "" for the default route."""
        waiting = self._uris.get(test_call_id) if test_call_id else None
        if waiting is None:
            return ""
        try:
            return await asyncio.wait_for(asyncio.shield(waiting), _ROUTE_WAIT_S)
        except (TimeoutError, asyncio.CancelledError):
            return ""

    def over(self, test_call_id: str | None) -> None:
        """The call has ended: release the scripted parts."""
        if test_call_id is None or self._context.deps.test_calls is None:
            return
        self.forget(test_call_id)
        self._context.tasks.start(self._stop(test_call_id), f"test-call:{test_call_id}", once=True)

    async def _stop(self, test_call_id: str) -> None:
        if self._context.deps.test_calls is None:
            return
        try:
            await self._context.deps.test_calls.stop(test_call_id)
        except PaycallError as error:
            _log.warning("test_call_not_stopped", code=error.code)
