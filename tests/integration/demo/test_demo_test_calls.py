"""Test calls: alone with phones in the cell's place, and as the panel's button gives them, through a whole stack."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import wave
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from dsp.detector import detect
from paycall.demo.cards import APPROVED, DECLINED
from paycall.demo.operator import OperatorError, ScriptedOperator
from paycall.demo.phone_client import PhoneProcess
from paycall.demo.stack import Stack, start_stack
from paycall.demo.test_calls import MAX_TEST_CALLS, ScriptedTestCalls
from paycall.domain.errors import StateError
from paycall.domain.fields import DEFAULT_FIELDS, Field
from paycall.domain.ids import new_id
from tests.phones import capture
from tests.phones.rtp import all_before_others

pytestmark = pytest.mark.network
PATIENCE_S = 40.0


@contextlib.asynccontextmanager
async def cell_and_calls(count: int = 1) -> AsyncIterator[tuple[list[PhoneProcess], ScriptedTestCalls]]:
    """Phones that answer as cells would, and test calls to them."""
    cells = await asyncio.gather(*(PhoneProcess.start() for _ in range(count)))
    test_calls = ScriptedTestCalls([cell.sip_uri for cell in cells], "127.0.0.1")
    try:
        for cell in cells:
            await cell.tell("answer", after_ms=50)
        yield cells, test_calls
    finally:
        await test_calls.close()
        await asyncio.gather(*(cell.close() for cell in cells))


def test_the_caller_keys_what_is_asked(tmp_path: Path) -> None:
    async def call() -> str:
        async with cell_and_calls() as ([cell], test_calls):
            test_call_id = new_id("test")
            agent_uri = await test_calls.start(test_call_id)
            await cell.wait_for("connected", PATIENCE_S)
            to_agent = await PhoneProcess.start()
            try:
                await to_agent.tell("call", uri=agent_uri)
                await to_agent.wait_for("audio", PATIENCE_S)
                await test_calls.asked(test_call_id, [Field.CARD_NUMBER, Field.SECURITY_CODE])
                for parent in psutil.Process().children():
                    for phone in parent.children():  # ours, and the one that the test call has started
                        all_before_others(phone.pid)
                for _ in range(60):
                    await asyncio.sleep(1)
                    await cell.tell("save", path=str(tmp_path / "keys.wav"))
                    keys = keys_in(tmp_path / "keys.wav")
                    if len(keys) >= len(wanted):
                        break
                await test_calls.stop(test_call_id)
                await to_agent.wait_for("ended", PATIENCE_S)
            finally:
                await to_agent.close()
        return keys

    wanted = f"{DECLINED.number}#{DECLINED.security_code}"
    assert asyncio.run(call()) == wanted


def keys_in(path: Path) -> str:
    """The keys that are heard in a file."""
    with wave.open(str(path)) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)
    return "".join(key for key, _, _ in detect(pcm))


def test_a_busy_cell_is_passed_over_and_all_busy_is_said() -> None:
    async def fill() -> None:
        async with cell_and_calls(2) as (cells, test_calls):
            for _ in cells:
                await test_calls.start(new_id("test"))
            for cell in cells:
                await cell.wait_for("connected", PATIENCE_S)
            with pytest.raises(StateError, match="busy"):
                await test_calls.start(new_id("test"))
            await cells[0].tell("hang_up")  # one runs now: the next asks the second cell first, which is full
            async with asyncio.timeout(PATIENCE_S):
                while not await has_room(test_calls):
                    await asyncio.sleep(0.1)

    asyncio.run(fill())


def test_calls_that_start_together_take_one_cell_each() -> None:
    async def fill() -> None:
        async with cell_and_calls(2) as (cells, test_calls):
            await asyncio.gather(*(test_calls.start(new_id("test")) for _ in cells))
            for cell in cells:
                await cell.wait_for("connected", PATIENCE_S)

    asyncio.run(fill())


def test_no_more_than_four_at_once_and_a_call_that_ended_makes_room() -> None:
    async def fill() -> None:
        async with cell_and_calls(MAX_TEST_CALLS) as (cells, test_calls):
            for _ in cells:
                await test_calls.start(new_id("test"))
            with pytest.raises(StateError, match="no more"):
                await test_calls.start(new_id("test"))
            await cells[0].tell("hang_up")
            async with asyncio.timeout(PATIENCE_S):
                while not await has_room(test_calls):
                    await asyncio.sleep(0.1)

    asyncio.run(fill())


async def has_room(test_calls: ScriptedTestCalls) -> bool:
    """Start another; False if there may not be one more yet."""
    try:
        await test_calls.start(new_id("test"))
    except StateError:
        return False
    return True


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A whole stack, in a folder with a short name: Unix sockets lie in it."""
    folder = Path(tempfile.mkdtemp(prefix="pc-", dir="/tmp"))
    stack = start_stack(folder / "s")
    try:
        with capture.watched(stack.config):
            yield stack
    finally:
        assert stack.stop() == 0
        shutil.rmtree(folder)


@pytest.mark.timeout(240)
def test_a_newcomer_takes_a_test_call_from_decline_to_approval(stack: Stack) -> None:
    async def take() -> Mapping[str, Any]:
        async with ScriptedOperator(stack.panel_url) as operator:
            await operator.sign_in(stack.operator, stack.password)
            await operator.request("POST", "/test-calls")
            connected = await operator.wait_for("call.connected", PATIENCE_S)
            call = connected.data["call"]
            assert call["test"] is True
            with pytest.raises(OperatorError, match="409"):
                await operator.request("POST", "/test-calls")
            payment = await operator.request(
                "POST",
                f"/calls/{call['id']}/payments",
                {"amount_minor": 1250, "currency": "EUR", "fields": [f.value for f in DEFAULT_FIELDS]},
            )
            path = f"/payments/{payment['id']}"
            await operator.wait_for("payment.ready", 60)
            await operator.request("POST", f"{path}/authorize")
            declined = await operator.wait_for("payment.declined", PATIENCE_S)
            steps = {step["step"]: step["fields"] for step in declined.data["payment"]["next_steps"]}
            since = len(operator.events)
            await operator.request("POST", f"{path}/capture", {"fields": steps["other_card"]})
            await operator.wait_for("payment.ready", 60, since)
            await operator.request("POST", f"{path}/authorize")
            await operator.wait_for("payment.settled", PATIENCE_S, since)
            await operator.request("POST", f"/calls/{call['id']}/hang-up")
            await operator.wait_for("call.ended", PATIENCE_S, since)
            received = bytes(operator.received)
            assert APPROVED.number.encode() not in received
            return await operator.request("GET", path)

    payment = asyncio.run(take())
    assert [attempt["state"] for attempt in payment["attempts"]] == ["declined", "approved"]
    assert payment["card"]["last4"] == APPROVED.number[-4:]
