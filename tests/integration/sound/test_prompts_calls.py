"""What callers are told while they key: heard on the wire, ended by the first key, never taken for one."""

from __future__ import annotations

import time
import wave
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import dsp
from paycall.domain.fields import CaptureError, Field
from paycall.domain.ports import CaptureRules
from paycall.media.prompts import COMPLETED, Language, PromptLibrary
from tests.phones.call import Call
from tests.phones.rtp import Heard, Stream
from tests.phones.site import Site, until
from tests.phones.sounds import loudness, where
from tests.phones.spandsp import spandsp_keys

OURS = PromptLibrary(None)
CARD = "4111111111111111"
ENGLISH = CaptureRules(language="en")
SURE, NOT_AT_ALL = 0.9, 0.3


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A node whose callers are told, with comfort tones and one sentence of its own."""
    folder = tmp_path_factory.mktemp("prompts")
    (folder / "en").mkdir()
    with wave.open(str(folder / "en" / f"{COMPLETED}.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(own_sentence().tobytes())
    prompts = {"heard_by": "caller", "language": "ru", "comfort_tones": True, "folder": str(folder)}
    with Site(prompts=prompts) as node:
        yield node


def own_sentence() -> np.ndarray:
    """A second of noise: what a site's own file says."""
    return (2000 * np.random.default_rng(5).standard_normal(8000)).astype(np.int16)


def sentence(language: Language, name: str) -> np.ndarray:
    """Ours."""
    return OURS.sound(language, name)


def until_heard(
    heard: Callable[[float], Heard], since: float, sound: np.ndarray, *, after_s: float = 0.0
) -> int:
    """Wait until a phone has heard all of it, not before ``after_s``; gives where it begins, in samples."""
    time.sleep(max(since + after_s + sound.size / 8000 - time.monotonic(), 0))
    found = until(
        lambda: [at for at, score in [where(heard(since).pcm, sound)] if score > SURE], what="whole sentence"
    )
    return int(found[0])


def assert_no_key(heard: Heard) -> None:
    """Neither detector recovers one, and no event came."""
    assert heard.packets > 0
    assert (heard.recovered(), spandsp_keys(heard.pcm), heard.events) == ("", "", [])


def test_the_caller_is_told_in_their_language_and_the_agent_hears_nothing_of_it(site: Site) -> None:
    call = Call(site)
    since = time.monotonic()
    payment = call.capture(fields=[Field.CARD_NUMBER], rules=ENGLISH)
    at = until_heard(call.caller_heard, since, sentence("en", Field.CARD_NUMBER))
    assert at < 16000, "the sentence begins within a second, or two where the machine has no time"
    assert where(call.caller_heard(since).pcm, sentence("ru", Field.CARD_NUMBER))[1] < NOT_AT_ALL
    since = time.monotonic()
    call.caller_plays(Stream().silence(0.2).events("4111111111111112#", 0.06, 0.05))
    site.panel.wait("capture.failed", call_id=call.call_id)
    told = [sentence("en", name) for name in (CaptureError.INVALID_CARD_NUMBER, Field.CARD_NUMBER)]
    second = until_heard(call.caller_heard, since, told[1], after_s=told[0].size / 8000)
    first = until_heard(call.caller_heard, since, told[0])
    assert first + told[0].size < second, "the error is told before the field is asked for again"
    for sound in told:
        assert where(call.agent_heard(since).pcm, sound)[1] < NOT_AT_ALL
    assert_no_key(call.agent_heard(since))
    assert site.vault.values(payment) == {}
    call.hang_up()


def test_the_first_key_ends_the_sentence_and_keys_count_while_it_echoes(site: Site) -> None:
    """The caller's phone sends the sentence back, and the caller keys into it."""
    call = Call(site)
    spoken = sentence("en", Field.CARD_NUMBER)
    echo = (spoken * 0.3).astype(np.int16)
    keys = np.concatenate(
        [np.concatenate([dsp.dtmf_tone(key, 0.07, -10.0), np.zeros(480, np.int16)]) for key in CARD + "#"]
    )
    quiet = int(1.2 * 8000)  # the echo alone first: none of it may be a key
    both = np.zeros(quiet + keys.size + 3200, dtype=np.int16)
    both[: echo.size] += echo[: both.size]
    both[quiet : quiet + keys.size] += keys
    since = time.monotonic()
    payment = call.capture(fields=[Field.CARD_NUMBER], rules=ENGLISH)
    call.caller_plays(Stream().audio(both))
    site.panel.wait("capture.completed", call_id=call.call_id)
    assert site.vault.values(payment) == {Field.CARD_NUMBER: CARD}
    progress = site.panel.of_type("capture.progress", call.call_id)
    assert [event.digits for event in progress] == list(range(1, 17))
    assert_no_key(call.agent_heard(since))
    # While keys came there was nothing to hear but the ticks, each 40 ms.
    pressed_at = next(at for at, _, event in site.panel.events if event is progress[0])
    heard = call.caller_heard(pressed_at + 0.2)
    level = loudness(heard.pcm[: keys.size - 6400])
    assert 0.15 < np.mean(level > 300) < 0.6
    assert where(heard.pcm, spoken[int(1.6 * 8000) :])[1] < NOT_AT_ALL
    call.hang_up()


def test_waiting_sounds_and_a_site_s_own_sentence(site: Site) -> None:
    call = Call(site)
    payment = call.capture(fields=[Field.SECURITY_CODE], rules=ENGLISH)
    since = time.monotonic()
    call.caller_plays(Stream().silence(0.1).events("123", 0.06, 0.05))
    site.panel.wait("capture.completed", call_id=call.call_id)
    at = until_heard(call.caller_heard, since, own_sentence())
    tick = (1000 * np.sin(2 * np.pi * 330 * np.arange(1200) / 8000)).astype(np.int16)
    time.sleep(4.0)
    until(lambda: where(call.caller_heard(since).pcm[at + 8000 :], tick)[1] > 0.8, what="sound of waiting")
    heard = call.caller_heard(since).pcm
    waiting = heard[at + 8000 :]
    assert np.mean(loudness(waiting) > 100) < 0.15, "a tone now and then, else silence"
    assert dsp.detect(heard) == []
    site.panel.run(site.panel.hub.end_capture(call.call_id, payment))
    site.panel.wait("call.mask", 2, call_id=call.call_id)
    since = time.monotonic() + 0.5
    time.sleep(4.5)
    assert loudness(call.caller_heard(since).pcm).max() < 100
    call.hang_up()


def test_the_agent_hears_it_too_where_that_is_wished() -> None:
    with Site(prompts={"heard_by": "both", "language": "uk"}) as node:
        call = Call(node)
        since = time.monotonic()
        call.capture(fields=[Field.CARD_NUMBER])
        spoken = sentence("uk", Field.CARD_NUMBER)
        for heard in (call.caller_heard, call.agent_heard):
            until_heard(heard, since, spoken)
        call.caller_plays(Stream().silence(0.1).keys("4111").silence(0.4))
        node.panel.wait("capture.progress", 4, call_id=call.call_id)
        assert_no_key(call.agent_heard(since))
        assert node.panel.of_type("call.alarm") == []
