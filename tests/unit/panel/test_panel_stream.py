"""The event stream: who sees what, resuming, and starting afresh."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from paycall.panel import stream as stream_module
from paycall.panel.stream import EventStream, Viewer

ANNA = Viewer("anna", sees_all=False, language="en")


def _plain(data: dict[str, Any], _language: str) -> dict[str, Any]:
    return data


async def _valid() -> bool:
    return True


async def _read(frames: AsyncIterator[bytes], count: int) -> list[str]:
    """The names of the next events (the first frame is the retry time)."""
    names: list[str] = []
    while len(names) < count:
        frame = await asyncio.wait_for(anext(frames), 30)
        names += [
            line.removeprefix("event: ") for line in frame.decode().splitlines() if line.startswith("event")
        ]
    return names


def test_a_viewer_sees_its_own_and_the_common_events() -> None:
    async def scenario() -> None:
        stream = EventStream(_plain)
        frames = stream.follow(ANNA, None, _valid)
        await anext(frames)
        stream.publish("payment.ready", {}, "boris")
        stream.publish("call.arrived", {}, None)
        stream.publish("payment.ready", {}, "anna")
        assert await _read(frames, 2) == ["call.arrived", "payment.ready"]

    asyncio.run(scenario())


def test_resuming_misses_nothing_and_doubles_nothing() -> None:
    async def scenario() -> None:
        stream = EventStream(_plain)
        for number in range(5):
            stream.publish(f"call.{number}", {}, None)
        frames = stream.follow(ANNA, f"{stream.epoch}-2", _valid)
        assert await _read(frames, 1) == ["call.2"]
        stream.publish("call.5", {}, None)  # while the missed ones are still being told
        assert await _read(frames, 3) == ["call.3", "call.4", "call.5"]

    asyncio.run(scenario())


@pytest.mark.parametrize("last_id", ["another-3", "99", "x", "-", "nonsense-9999"])
def test_an_unknown_id_starts_afresh(last_id: str) -> None:
    async def scenario() -> None:
        stream = EventStream(_plain)
        stream.publish("call.1", {}, None)
        frames = stream.follow(ANNA, last_id, _valid)
        assert await _read(frames, 1) == ["reset"]

    asyncio.run(scenario())


def test_who_missed_more_than_is_kept_starts_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "KEPT_EVENTS", 3)

    async def scenario() -> None:
        stream = EventStream(_plain)
        for number in range(6):
            stream.publish(f"call.{number}", {}, None)
        assert await _read(stream.follow(ANNA, f"{stream.epoch}-1", _valid), 1) == ["reset"]
        assert await _read(stream.follow(ANNA, f"{stream.epoch}-3", _valid), 3) == [
            "call.3",
            "call.4",
            "call.5",
        ]

    asyncio.run(scenario())


def test_a_reader_that_does_not_read_is_cut_off_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "_QUEUE_LIMIT", 5)

    async def scenario() -> None:
        stream = EventStream(_plain)
        slow = stream.follow(ANNA, None, _valid)
        await anext(slow)
        for number in range(10):
            stream.publish(f"call.{number}", {}, None)
        with pytest.raises(StopAsyncIteration):
            while True:
                await asyncio.wait_for(anext(slow), 30)

    asyncio.run(scenario())


def test_the_stream_ends_when_the_session_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "HEARTBEAT_S", 0.02)

    async def gone() -> bool:
        return False

    async def scenario() -> None:
        frames = EventStream(_plain).follow(ANNA, None, gone)
        await anext(frames)
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(anext(frames), 30)

    asyncio.run(scenario())
