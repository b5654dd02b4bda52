"""The scripted phones call each other: speech and keys arrive, in all three ways, and no process is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from dsp.detector import detect
from paycall.demo.cards import APPROVED, DECLINED
from paycall.demo.leg_evidence import LegEvidence, Pressed, Spoken, examine
from paycall.demo.phone_client import PhoneError, PhoneProcess
from paycall.demo.speech import load
from tests.phones.rtp import all_before_others

pytestmark = pytest.mark.network
KEYS = "4242*#0987"
PATIENCE_S = 40.0


@contextlib.asynccontextmanager
async def two_phones() -> AsyncIterator[tuple[PhoneProcess, PhoneProcess]]:
    """A caller and a phone that answers, talking."""
    caller, called = await asyncio.gather(PhoneProcess.start(), PhoneProcess.start())
    for phone in (caller, called):
        all_before_others(phone.pid)
    try:
        await called.tell("answer", after_ms=100)
        await caller.tell("call", uri=called.sip_uri)
        await asyncio.gather(caller.wait_for("audio", PATIENCE_S), called.wait_for("audio", PATIENCE_S))
        yield caller, called
    finally:
        await asyncio.gather(caller.close(), called.close())


def _read(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)


def _is_running(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        process.wait(2)  # the kernel tells of its end a moment before it buries it
    except psutil.NoSuchProcess:
        return False
    except psutil.TimeoutExpired:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


async def _keys_that_arrive(mode: str, folder: Path) -> tuple[str, list[dict[str, object]]]:
    async with two_phones() as (caller, called):
        done = await caller.tell("key", 30, digits=KEYS, mode=mode, tone_ms=80, pause_ms=80)
        assert done["count"] == len(KEYS)
        for _ in range(20):
            await asyncio.sleep(0.4)
            await called.tell("save", path=str(folder / "heard.wav"))
            received = await called.tell("received")
            assert set(received["methods"]) <= {mode}
            in_audio = "".join(key for key, _, _ in detect(_read(folder / "heard.wav")))
            keys = in_audio if mode == "inband" else str(received["keys"])
            if len(keys) >= len(KEYS):  # or the last are still under way
                break
        return keys, [dict(event) for event in caller.events if event["event"] == "key_released"]


@pytest.mark.parametrize("mode", ["inband", "rfc4733", "info"])
def test_every_key_arrives_once_and_its_release_is_reported(mode: str, tmp_path: Path) -> None:
    keys, released = asyncio.run(_keys_that_arrive(mode, tmp_path))
    assert keys == KEYS
    assert [event["index"] for event in released] == list(range(len(KEYS)))
    assert all("digit" not in event and "key" not in event for event in released)
    moments = [float(str(event["ended_at"])) for event in released]
    assert moments == sorted(moments)


def test_speech_arrives_in_both_directions(tmp_path: Path) -> None:
    async def talk() -> list[dict[str, float]]:
        async with two_phones() as (caller, called):
            heard = []
            for speaker, listener, name in (
                (caller, called, "caller-hello"),
                (called, caller, "operator-greeting"),
            ):
                said = await speaker.tell("say", name=name)
                await asyncio.sleep(0.3)
                mine = await speaker.tell("save", path=str(tmp_path / "own.wav"))
                theirs = await listener.tell("save", path=str(tmp_path / "heard.wav"))
                offset = round((mine["spoken_from"] - theirs["heard_from"]) * 8000)
                spoken = [Spoken(load(name), said["start_sample"], "call")]
                heard.append(examine(_read(tmp_path / "heard.wav"), offset, spoken, []).speech_heard)
            return heard

    assert all(heard["call"] >= 0.8 for heard in asyncio.run(talk()))


def test_the_examiner_finds_every_key_of_a_call_that_nobody_masks(tmp_path: Path) -> None:
    """The demo's proof rests on this: with no mask in between, the same examination finds everything."""

    async def call() -> LegEvidence:
        async with two_phones() as (caller, called):
            said = await caller.tell("say", name="caller-hello")
            await caller.tell("key", 30, digits=KEYS, mode="inband")
            await asyncio.sleep(0.4)
            mine = await caller.tell("save", path=str(tmp_path / "own.wav"))
            theirs = await called.tell("save", path=str(tmp_path / "heard.wav"))
            released = [event for event in caller.events if event["event"] == "key_released"]
        pressed = [
            Pressed(key, event["start_sample"], event["end_sample"])
            for key, event in zip(KEYS, released, strict=True)
        ]
        offset = round((mine["spoken_from"] - theirs["heard_from"]) * 8000)
        spoken = [Spoken(load("caller-hello"), said["start_sample"], "before")]
        return examine(_read(tmp_path / "heard.wav"), offset, spoken, pressed)

    found = asyncio.run(call())
    assert found.keys_detected == len(KEYS)
    assert found.keys_matched >= len(KEYS) - 1
    assert found.tone_residual_db > -3


def test_a_card_is_keyed_by_its_place_in_the_wallet(tmp_path: Path) -> None:
    async def key() -> str:
        async with two_phones() as (caller, called):
            for card, field in ((0, "payment-card-number"), (1, "security-code"), (7, "expiration-date")):
                await caller.tell("key", 30, card=card, field=field, mode="info", tone_ms=20, pause_ms=20)
            for _ in range(80):
                await asyncio.sleep(0.1)
                keys = str((await called.tell("received"))["keys"])
                if len(keys) >= len(wanted):
                    break
            return keys

    wanted = DECLINED.number + APPROVED.security_code + APPROVED.expiry
    assert asyncio.run(key()) == wanted


def test_hanging_up_ends_the_other_side_and_no_process_stays() -> None:
    async def call() -> list[int]:
        async with two_phones() as (caller, called):
            await called.tell("hang_up")
            await caller.wait_for("ended", PATIENCE_S)
            pids = [caller.pid, called.pid]
        assert caller.over
        return pids

    assert not any(_is_running(pid) for pid in asyncio.run(call()))


def test_a_phone_whose_driver_goes_away_hangs_up_and_ends() -> None:
    async def vanish() -> bool:
        async with two_phones() as (caller, called):
            await caller.close()  # closes its input, as the end of the driver would
            await called.wait_for("ended", PATIENCE_S)
            return _is_running(caller.pid)

    assert asyncio.run(vanish()) is False


def test_what_a_phone_cannot_do_is_refused_and_the_call_goes_on() -> None:
    async def misuse() -> None:
        async with two_phones() as (caller, called):
            for what, fields in (
                ("dance", {}),
                ("say", {"name": "no-such-sentence"}),
                ("key", {"digits": "x", "mode": "inband"}),
                ("key", {"digits": "1", "mode": "smoke"}),
                ("call", {"uri": called.sip_uri}),
                ("save", {"path": "/no/such/folder/a.wav"}),
            ):
                with pytest.raises(PhoneError):
                    await caller.tell(what, **fields)
            await caller.tell("say", silence_ms=100)
            assert [event["event"] for event in called.events].count("ended") == 0

    asyncio.run(misuse())


def test_a_second_call_is_busy_and_the_first_goes_on() -> None:
    async def intrude() -> int:
        async with two_phones() as (_, called):
            intruder = await PhoneProcess.start()
            try:
                await intruder.tell("call", uri=called.sip_uri)
                ended = await intruder.wait_for("ended", PATIENCE_S)
            finally:
                await intruder.close()
            await called.tell("say", silence_ms=100)
            return int(ended["code"])

    assert asyncio.run(intrude()) == 486


def test_phones_have_one_parent_which_is_started_anew_when_it_has_gone() -> None:
    async def start() -> tuple[PhoneProcess, PhoneProcess, PhoneProcess]:
        first = await PhoneProcess.start()
        second = await PhoneProcess.start()
        parent = psutil.Process(first.pid).parent()
        assert parent is not None
        assert psutil.Process(second.pid).ppid() == parent.pid
        parent.kill()
        parent.wait(5)
        third = await PhoneProcess.start()
        assert third.pid not in (first.pid, second.pid)
        for phone in (first, second, third):  # the first two go on
            await phone.tell("received")
            await phone.close()
        return first, second, third

    assert not any(_is_running(phone.pid) for phone in asyncio.run(start()))


def test_phones_and_their_parent_end_with_who_started_them() -> None:
    program = (
        "import asyncio, os, psutil\n"
        "from paycall.demo.phone_client import PhoneProcess\n"
        "phone = asyncio.run(PhoneProcess.start())\n"
        "print(phone.pid, psutil.Process(phone.pid).ppid(), flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, timeout=PATIENCE_S, check=False
    )
    assert [_is_running(int(pid)) for pid in said.stdout.split()] == [False, False]


def test_a_phone_that_cannot_start_says_so() -> None:
    async def start_twice() -> None:
        first = await PhoneProcess.start()
        try:
            with pytest.raises(PhoneError):
                await PhoneProcess.start(port=int(first.sip_uri.rpartition(":")[2]))
        finally:
            await first.close()

    asyncio.run(start_twice())
