"""A scripted operator: drives the panel through its public HTTP API, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from paycall.domain.errors import PaycallError
from paycall.domain.ids import new_id

_CONNECT_S = 10.0


class OperatorError(PaycallError):
    """The panel did not answer as the script expects. The text names the call or the event, never its content."""

    code = "demo-failed"
    text = "the panel did not answer as expected"


@dataclass(frozen=True)
class PanelEvent:
    """One server-sent event. ``at`` is on the monotonic clock, when its last byte was here."""

    number: int
    at: float
    name: str
    data: Mapping[str, Any]


class ScriptedOperator:
    """One signed-in operator who follows the events.

    Attributes
    ----------
    events
        Every event so far.
    received
        Every byte that the panel sent to this operator: answers and events.
    """

    def __init__(self, url: str) -> None:
        self.events: list[PanelEvent] = []
        self.received = bytearray()
        self._client = httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=_CONNECT_S)
        self._changed = asyncio.Condition()
        self._following: asyncio.Task[None] | None = None
        self._open = asyncio.Event()

    async def __aenter__(self) -> ScriptedOperator:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError, httpx.HTTPError):
                await self._following
        await self._client.aclose()

    async def sign_in(self, name: str, password: str) -> None:
        """Open a session and follow the events."""
        await self.request("POST", "/session", {"name": name, "password": password})
        self._following = asyncio.create_task(self._follow())
        await asyncio.wait_for(self._open.wait(), _CONNECT_S)

    async def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Call the API; gives the answer's JSON object.

        Raises
        ------
        OperatorError
            The answer is an error; the text names its code.
        """
        headers = {"Idempotency-Key": new_id("demo")} if method == "POST" else {}
        answer = await self._client.request(method, path, json=body, headers=headers)
        self.received += answer.content + b"\n"
        if answer.is_error:
            code = answer.json().get("code", "") if "json" in answer.headers.get("content-type", "") else ""
            raise OperatorError(f"{method} {path.split('/')[1]}: {answer.status_code} {code}")
        return dict(answer.json()) if answer.content else {}

    async def _follow(self) -> None:
        no_limit = httpx.Timeout(_CONNECT_S, read=None)
        async with self._client.stream("GET", "/events", timeout=no_limit) as stream:
            name, data = "", ""
            async for line in stream.aiter_lines():
                self.received += line.encode() + b"\n"
                self._open.set()
                kind, _, value = line.partition(": ")
                if kind == "event":
                    name = value
                elif kind == "data":
                    data = value
                elif not line and name:
                    await self._publish(name, data)
                    name, data = "", ""

    async def _publish(self, name: str, data: str) -> None:
        at = time.monotonic()
        async with self._changed:
            self.events.append(PanelEvent(len(self.events), at, name, json.loads(data)))
            self._changed.notify_all()

    async def wait_for(
        self,
        names: str | Sequence[str],
        timeout_s: float,
        since: int = 0,
        where: Callable[[Mapping[str, Any]], bool] | None = None,
    ) -> PanelEvent:
        """The first event, from number ``since`` on, with one of these names and accepted by ``where``.

        Raises
        ------
        OperatorError
            It did not come in time, or the stream ended.
        """
        wanted = (names,) if isinstance(names, str) else tuple(names)

        def found() -> PanelEvent | None:
            return next(
                (e for e in self.events[since:] if e.name in wanted and (where is None or where(e.data))),
                None,
            )

        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: found() is not None)
        except TimeoutError:
            last = ", ".join(event.name for event in self.events[-3:])
            raise OperatorError(f"no event {' or '.join(wanted)} in time (the last: {last})") from None
        event = found()
        assert event is not None  # noqa: S101 - that is what was waited for
        return event
