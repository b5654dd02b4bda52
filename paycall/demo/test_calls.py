"""The panel's test calls: a scripted caller, and a phone that answers for the operator, two processes a call.

Rules: this side names cards and fields only; the digits are known to the caller's phone process alone, and nothing
that is keyed is logged. At most four test calls run at once, each for ten minutes at most; the phones end by
themselves when the panel does.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Sequence

import structlog

from paycall.demo.phone_client import Event, PhoneError, PhoneProcess
from paycall.domain.errors import StateError
from paycall.domain.fields import Field

log = structlog.get_logger(__name__)

MAX_TEST_CALLS = 4
LIMIT_S = 600.0
TEST_CALL_HEADER = "X-Paycall-Test-Call"
_ACCEPT_S = 0.15  # a full cell says so within milliseconds; a cell waits half a second for its route
_ANSWER_MS = 600
_THINK_S = 0.8
_SMALL_TALK_S = 12.0
_TONE_MS, _PAUSE_MS = 90, 90


class _TestCall:
    """One scripted call: its two phones and what they say to each other."""

    def __init__(self, caller: PhoneProcess, agent: PhoneProcess) -> None:
        self.caller = caller
        self.agent = agent
        self._asked: asyncio.Queue[tuple[Field, ...]] = asyncio.Queue()
        self._card = -1
        self._talk: asyncio.Task[None] | None = None

    @property
    def dialled(self) -> bool:
        """Whether a cell has taken the call."""
        return self._talk is not None

    async def dial(self, uris: Sequence[str], test_call_id: str) -> None:
        """Call the first of the addresses that has room."""
        for uri in uris:
            before = len(self.caller.events)
            await self.caller.tell("call", uri=uri, headers={TEST_CALL_HEADER: test_call_id})
            if not await self._refused(before):
                self._talk = asyncio.create_task(self._converse())
                return
        raise StateError("every line is busy")

    async def _refused(self, before: int) -> bool:
        deadline = asyncio.get_running_loop().time() + _ACCEPT_S
        while asyncio.get_running_loop().time() < deadline:
            names = {event["event"] for event in self.caller.events[before:]}
            if "ended" in names:
                return True
            if names & {"progress", "connected"}:
                return False
            await asyncio.sleep(0.01)
        return False

    def ask(self, fields: Sequence[Field]) -> None:
        """The operator asks for these fields."""
        self._asked.put_nowait(tuple(fields))

    async def _converse(self) -> None:
        with contextlib.suppress(PhoneError):
            await asyncio.gather(*(phone.wait_for("audio", LIMIT_S) for phone in (self.caller, self.agent)))
            await self.agent.tell("say", name="operator-greeting")
            await self.caller.tell("say", name="caller-hello")
            small_talk = itertools.cycle((("caller", "caller-moment"), ("agent", "operator-checking")))
            while True:
                try:
                    fields = await asyncio.wait_for(self._asked.get(), _SMALL_TALK_S)
                except TimeoutError:
                    who, sentence = next(small_talk)
                    await (self.caller if who == "caller" else self.agent).tell("say", name=sentence)
                    continue
                await self._key(fields)

    async def _key(self, fields: Sequence[Field]) -> None:
        """Key the fields as a caller would; asked anew meanwhile, drop the rest."""
        if Field.CARD_NUMBER in fields:
            self._card += 1
            await self.agent.tell("say", name="operator-key" if self._card == 0 else "operator-declined")
            await self.caller.tell("say", name="caller-ready" if self._card == 0 else "caller-other")
        for field in fields:
            await asyncio.sleep(_THINK_S)
            if not self._asked.empty():
                return
            # A number of sixteen digits could go on to nineteen: "#" spares the wait.
            end = "#" if field is Field.CARD_NUMBER else ""
            card = max(self._card, 0)
            await self.caller.tell(
                "key", 60.0, card=card, field=field.value, end=end, tone_ms=_TONE_MS, pause_ms=_PAUSE_MS
            )
        await self.caller.tell("say", name="caller-done")

    async def close(self) -> None:
        """Hang up and end both phones."""
        if self._talk is not None:
            self._talk.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._talk
        await asyncio.gather(self.caller.close(), self.agent.close())


class ScriptedTestCalls:
    """Implements ``domain.ports.TestCalls``.

    Parameters
    ----------
    uris
        The cells' SIP addresses; one that has room gets the call.
    address
        Where the phones bind SIP and RTP.
    """

    def __init__(self, uris: Sequence[str], address: str) -> None:
        self._uris = tuple(uris)
        self._address = address
        self._calls: dict[str, _TestCall | None] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def start(self, test_call_id: str) -> str:
        """Start the phones and call in; gives the answering phone's SIP URI.

        Raises
        ------
        StateError
            Four run already, this one does, every line is busy, or a phone could not be started.
        """
        if test_call_id in self._calls or len(self._calls) >= MAX_TEST_CALLS:
            raise StateError("no more test calls can be started now")
        # Calls that start together do not all ask the same cell first: it may be slow to say that it is full.
        first = len(self._calls) % len(self._uris)
        self._calls[test_call_id] = None  # the place is taken while the phones start
        call: _TestCall | None = None
        try:
            call = await self._phones(test_call_id)
            self._calls[test_call_id] = call
            await call.agent.tell("answer", after_ms=_ANSWER_MS)
            await call.dial(self._uris[first:] + self._uris[:first], test_call_id)
        except BaseException as error:
            self._calls.pop(test_call_id, None)
            if call is not None:
                await call.close()
            if isinstance(error, PhoneError):
                raise StateError("the scripted phones could not be started") from None
            raise
        return call.agent.sip_uri

    async def _phones(self, test_call_id: str) -> _TestCall:
        def watch(event: Event) -> None:
            call = self._calls.get(test_call_id)
            if event["event"] == "ended" and call is not None and call.dialled:
                self._close_soon(test_call_id)

        started = await asyncio.gather(
            *(PhoneProcess.start(self._address, limit_s=LIMIT_S, on_event=watch) for _ in range(2)),
            return_exceptions=True,
        )
        phones = [phone for phone in started if isinstance(phone, PhoneProcess)]
        if len(phones) < 2:
            await asyncio.gather(*(phone.close() for phone in phones))
            raise PhoneError
        return _TestCall(*phones)

    def _close_soon(self, test_call_id: str) -> None:
        task = asyncio.create_task(self.stop(test_call_id))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def asked(self, test_call_id: str, fields: Sequence[Field]) -> None:
        """Let the caller key these fields, after a human pause; harmless if the call is gone."""
        call = self._calls.get(test_call_id)
        if call is not None:
            call.ask(fields)

    async def stop(self, test_call_id: str) -> None:
        """Hang up and end the phones; harmless if they are gone."""
        call = self._calls.pop(test_call_id, None)
        if call is not None:
            await call.close()
            log.info("test_call_over", outcome="stopped")

    async def close(self) -> None:
        """Stop every test call."""
        await asyncio.gather(*(self.stop(test_call_id) for test_call_id in list(self._calls)), *self._closing)
