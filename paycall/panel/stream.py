"""The stream of events that browsers and programs follow, with ids to resume from.

Rules: an event is published after what it tells is in the database. An id is ``<epoch>-<number>``: the epoch is
another after each start of the panel, and the last events are kept in memory. Whoever asks to resume from an
id that is no longer known gets ``reset`` first and loads the state anew: nothing is missed, nothing doubled.
All of it runs on the event loop's thread.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from paycall.control.hub import HEARD_AT_S
from paycall.domain.ids import new_id

KEPT_EVENTS = 20_000
# A browser that is this far behind is cut off; it comes back and resumes, or is told to start afresh.
_QUEUE_LIMIT = 2_000
HEARTBEAT_S = 10.0

Localise = Callable[[dict[str, Any], str], dict[str, Any]]


def _pause_s() -> float:
    """To the next heartbeat; each follower's own, so that not all of them are checked at once."""
    return HEARTBEAT_S * (0.6 + 0.4 * secrets.randbelow(1000) / 1000)


@dataclass(frozen=True)
class StreamEvent:
    """One event. ``owner_id`` is the operator whose it is; None where nobody has the call yet, or a program began
    the payment.

    ``heard_at_s`` is when the panel heard of it (monotonic), where a cell told.
    """

    number: int
    name: str
    data: dict[str, Any]
    owner_id: str | None
    heard_at_s: float | None = None
    encoded: dict[str, bytes] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class Viewer:
    """Who follows: an operator's own events and those of calls that nobody has, or everybody's."""

    operator_id: str
    sees_all: bool
    language: str
    sees_payments: bool = True

    def may_see(self, event: StreamEvent) -> bool:
        """Whether the event is this viewer's to see, as ``services.visibility`` has it."""
        of_a_call = event.name.startswith("call.")
        if not self.sees_payments and not of_a_call:
            return False
        return self.sees_all or event.owner_id == self.operator_id or (event.owner_id is None and of_a_call)


class EventStream:
    """Publishes to every follower and keeps the last events.

    Parameters
    ----------
    localise
        Adds the sentences of a language to an event's data.
    on_dot
        Told how many seconds a key's progress took from the cell's word to a follower's connection.
    """

    def __init__(self, localise: Localise, on_dot: Callable[[float], None] = lambda _: None) -> None:
        self.epoch = new_id("epoch").removeprefix("epoch_")
        self._localise = localise
        self._on_dot = on_dot
        self._number = 0
        self._kept: deque[StreamEvent] = deque(maxlen=KEPT_EVENTS)
        self._followers: dict[asyncio.Queue[StreamEvent | None], Viewer] = {}
        self._closed = False

    @property
    def last_id(self) -> str:
        """The id of the newest event: a page that shows the present state resumes from here."""
        return f"{self.epoch}-{self._number}"

    def publish(self, name: str, data: dict[str, Any], owner_id: str | None) -> None:
        """Hand an event to every follower."""
        self._number += 1
        event = StreamEvent(self._number, name, data, owner_id, HEARD_AT_S.get())
        self._kept.append(event)
        # Only those whose it is are woken: with many operators that is most of the work saved.
        for queue in [queue for queue, viewer in self._followers.items() if viewer.may_see(event)]:
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:
                self._cut(queue)

    def _cut(self, queue: asyncio.Queue[StreamEvent | None]) -> None:
        self._followers.pop(queue, None)
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(None)

    def followers(self) -> tuple[int, int]:
        """How many follow, and how many operators they are."""
        viewers = list(self._followers.values())
        return len(viewers), len({viewer.operator_id for viewer in viewers})

    def close(self) -> None:
        """End every stream: the panel is stopping, browsers will come back."""
        self._closed = True
        for queue in tuple(self._followers):
            self._cut(queue)

    async def follow(
        self, viewer: Viewer, last_event_id: str | None, still_valid: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[bytes]:
        """The stream in the format of server-sent events, for ever.

        Parameters
        ----------
        last_event_id
            The last id that the follower has seen; None starts with the next event.
        still_valid
            Asked at every heartbeat; the stream ends when it answers False.
        """
        queue: asyncio.Queue[StreamEvent | None] = asyncio.Queue(maxsize=_QUEUE_LIMIT)
        missed = self._missed(last_event_id)
        self._followers[queue] = viewer  # no await since _missed: nothing falls between
        try:
            yield b"retry: 1000\n\n"
            if missed is None:
                yield self._frame(f"{self.epoch}-{self._number}", "reset", b"{}")
                missed = []
            for event in missed:
                if viewer.may_see(event):
                    yield self._encode(event, viewer.language)
            loop = asyncio.get_running_loop()
            check_at = loop.time() + _pause_s()
            while not self._closed:
                try:
                    next_event = await asyncio.wait_for(queue.get(), max(0.0, check_at - loop.time()))
                except TimeoutError:
                    if not await still_valid():
                        return
                    check_at = loop.time() + _pause_s()
                    yield b"event: heartbeat\ndata: {}\n\n"
                    continue
                if next_event is None:
                    return
                yield self._encode(next_event, viewer.language)
                if next_event.name == "capture.progress" and next_event.heard_at_s is not None:
                    self._on_dot(time.monotonic() - next_event.heard_at_s)
        finally:
            self._followers.pop(queue, None)

    def _missed(self, last_event_id: str | None) -> list[StreamEvent] | None:
        """The events after this id, or None if they are not known any more."""
        if not last_event_id:
            return []
        epoch, _, number = last_event_id.rpartition("-")
        if epoch != self.epoch or not number.isdecimal() or int(number) > self._number:
            return None
        first_kept = self._kept[0].number if self._kept else self._number + 1
        if int(number) + 1 < first_kept:
            return None
        return [event for event in self._kept if event.number > int(number)]

    def _encode(self, event: StreamEvent, language: str) -> bytes:
        frame = event.encoded.get(language)
        if frame is None:
            data = json.dumps(self._localise(event.data, language), separators=(",", ":"), ensure_ascii=False)
            frame = self._frame(f"{self.epoch}-{event.number}", event.name, data.encode())
            event.encoded[language] = frame
        return frame

    @staticmethod
    def _frame(event_id: str, name: str, data: bytes) -> bytes:
        return b"id: %s\nevent: %s\ndata: %s\n\n" % (event_id.encode(), name.encode(), data)
