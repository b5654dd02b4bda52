"""A scripted caller and an answering phone (``paycall.demo.phone``), driven from plain code."""

from __future__ import annotations

import asyncio
import threading
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from paycall.demo.phone_client import PhoneProcess
from paycall.demo.stack import Stack
from tests.phones.rtp import all_before_others
from tests.phones.site import until


class Phones:
    """Both sides of one call."""

    def __init__(self, stack: Stack) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.agent = self._run(PhoneProcess.start(port=stack.agent_port))
        self.caller = self._run(PhoneProcess.start())
        for phone in (self.agent, self.caller):
            all_before_others(phone.pid)
        self._tell(self.agent, "answer", after_ms=100)

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def _tell(self, phone: PhoneProcess, what: str, **fields: object) -> Any:
        return self._run(phone.tell(what, 50, **fields))

    def call(self, uri: str) -> None:
        """The caller dials; returns when both hear each other."""
        before = self._count("audio")
        self.dial(uri)
        until(
            lambda: all(now > then for now, then in zip(self._count("audio"), before, strict=True)),
            what="sound",
        )

    def dial(self, uri: str) -> None:
        """The caller dials; whose phone rings is the site's choice."""
        self._tell(self.caller, "call", uri=uri)

    def _count(self, name: str) -> list[int]:
        return [sum(e["event"] == name for e in phone.events) for phone in (self.caller, self.agent)]

    def key(self, digits: str, mode: str = "inband") -> None:
        """The caller keys."""
        self._tell(self.caller, "key", digits=digits, mode=mode, tone_ms=80, pause_ms=80)

    def hang_up(self) -> None:
        """The caller hangs up."""
        self._tell(self.caller, "hang_up")

    def say(self, name: str, *, agent: bool = False) -> None:
        """One of them says a sentence of the demo's."""
        self._tell(self.agent if agent else self.caller, "say", name=name)

    def ended(self) -> list[bool]:
        """Whether the call is over for the caller, for the agent."""
        return [count > 0 for count in self._count("ended")]

    def agent_heard(self, folder: Path) -> np.ndarray:
        """All that the agent's phone received, 8 kHz."""
        path = folder / "agent.wav"
        self._tell(self.agent, "save", path=str(path))
        with wave.open(str(path), "rb") as file:
            return np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)

    def close(self) -> None:
        """End both."""
        self._run(self.caller.close())
        self._run(self.agent.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@contextmanager
def phones(stack: Stack) -> Iterator[Phones]:
    """Two phones at a stack."""
    both = Phones(stack)
    try:
        yield both
    finally:
        both.close()
