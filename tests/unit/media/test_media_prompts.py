"""What callers are told: every sentence is there in four languages, and none sounds like a key."""

from __future__ import annotations

import tomllib
import wave
from pathlib import Path

import numpy as np
import pytest

import dsp
from paycall.control import messages
from paycall.control.messages import Event
from paycall.domain.errors import SettingsError
from paycall.domain.fields import CaptureError, Field
from paycall.domain.ids import new_id
from paycall.media.prompts import (
    COMPLETED,
    LANGUAGES,
    NAMES,
    SPEECH,
    CallPrompts,
    Language,
    Pcm,
    PromptLibrary,
    SoundQueue,
)

OURS = PromptLibrary(None)


class Ear:
    """Remembers what is to be played."""

    def __init__(self) -> None:
        self.sounds: list[Pcm] = []

    def play(self, sound: Pcm) -> None:
        self.sounds.append(sound)

    def stop(self) -> None:
        self.sounds = []

    def sentences(self, language: Language) -> list[str]:
        """The names of what is waiting, ``tone`` for anything else."""
        found = []
        for sound in self.sounds:
            of_ours = [name for name in NAMES if _begins(sound, OURS.sound(language, name))]
            found.append(of_ours[0] if of_ours else "tone")
        return found


def _begins(sound: Pcm, sentence: Pcm) -> bool:
    return sound.size >= sentence.size and bool(np.array_equal(sound[: sentence.size], sentence))


def asked(field: Field) -> Event:
    return messages.FieldStarted(
        call_id=new_id("call"), payment_id=new_id("pay"), field=field, seconds=20, attempts_left=3
    )


def failed(field: Field, error: CaptureError, left: int) -> Event:
    return messages.FieldFailed(
        call_id=new_id("call"), payment_id=new_id("pay"), field=field, error=error, attempts_left=left
    )


def progress(field: Field, digits: int) -> Event:
    return messages.FieldProgress(
        call_id=new_id("call"), payment_id=new_id("pay"), field=field, digits=digits, seconds=5
    )


def completed() -> Event:
    return messages.CaptureCompleted(call_id=new_id("call"), payment_id=new_id("pay"), token=new_id("tok"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_is_there_and_no_detector_takes_it_for_a_key(language: Language) -> None:
    written = tomllib.loads((SPEECH / "sentences.toml").read_text("utf-8"))
    assert set(written[language]) == set(NAMES)
    for name in NAMES:
        sound = OURS.sound(language, name)
        assert 0.5 < sound.size / 8000 < 7, name
        assert -26 < dsp.level_dbm0(sound) < -14, name
        for gain in (1.0, 0.25, 0.05):  # as loud as it is, and as an echo of it
            assert dsp.detect((sound * gain).astype(np.int16)) == [], name
        assert dsp.ToneListener().process(sound) == 0, name


def test_the_number_s_sentence_tells_of_the_hash_key() -> None:
    """A 16-digit number may be the beginning of 19 digits: without the key the caller waits five seconds."""
    written = tomllib.loads((SPEECH / "sentences.toml").read_text("utf-8"))
    words = {"en": "hash", "ru": "решётку", "uk": "решітку", "hu": "kettőskereszt"}
    for language, word in words.items():
        assert word in written[language][Field.CARD_NUMBER]
        assert word in written[language][Field.POSTAL_CODE]


def test_a_field_is_asked_for_and_the_first_key_ends_it() -> None:
    ear = Ear()
    prompts = CallPrompts(ear, OURS, "en", comfort_tones=False)
    prompts.heard(asked(Field.CARD_NUMBER))
    assert ear.sentences("en") == [Field.CARD_NUMBER]
    prompts.heard(progress(Field.CARD_NUMBER, 1))
    assert ear.sounds == []


def test_an_error_is_told_before_the_field_is_asked_for_again() -> None:
    ear = Ear()
    prompts = CallPrompts(ear, OURS, "en", comfort_tones=False)
    prompts.heard(failed(Field.EXPIRY, CaptureError.INVALID_DATE, 2))
    prompts.heard(asked(Field.EXPIRY))
    assert ear.sentences("en") == [CaptureError.INVALID_DATE, Field.EXPIRY]
    prompts.heard(failed(Field.EXPIRY, CaptureError.INVALID_DATE, 0))
    prompts.heard(failed(Field.EXPIRY, CaptureError.TOO_MANY_ATTEMPTS, 0))
    assert ear.sentences("en") == [CaptureError.INVALID_DATE, CaptureError.TOO_MANY_ATTEMPTS]


def test_the_caller_s_language_holds_for_one_capture() -> None:
    ear = Ear()
    prompts = CallPrompts(ear, OURS, "ru", comfort_tones=False)
    prompts.speak("hu")
    prompts.heard(completed())
    assert ear.sentences("hu") == [COMPLETED]
    prompts.speak("")
    prompts.heard(completed())
    assert ear.sentences("ru") == [COMPLETED]


def test_comfort_tones_are_the_same_for_every_key_and_no_keys_themselves() -> None:
    ear = Ear()
    prompts = CallPrompts(ear, OURS, "en", comfort_tones=True)
    ticks = []
    for count in (1, 2, 3):
        prompts.heard(progress(Field.CARD_NUMBER, count))
        ticks.append(ear.sounds[-1])
    assert all(np.array_equal(tick, ticks[0]) for tick in ticks)
    prompts.heard(completed())
    assert ear.sentences("en") == [COMPLETED, "tone"]
    waiting = ear.sounds[-1]
    assert waiting.size / 8000 == 32.0
    for sound in (ticks[0], waiting):
        assert dsp.detect(sound) == []
        assert dsp.ToneListener().process(sound) == 0
        assert -60 < dsp.level_dbm0(sound) < -18
    prompts.heard(messages.CaptureEnded(call_id=new_id("call"), payment_id=new_id("pay"), error=None))
    assert ear.sounds == []


def write(path: Path, pcm: Pcm, rate_hz: int = 8000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(pcm.tobytes())


def test_a_site_s_own_file_goes_before_ours_and_an_empty_one_says_nothing(tmp_path: Path) -> None:
    own = np.full(8000, 1234, dtype=np.int16)
    write(tmp_path / "en" / "invalid-date.wav", own)
    write(tmp_path / "en" / "capture-completed.wav", own[:0])
    library = PromptLibrary(tmp_path)
    library.check()
    assert np.array_equal(library.sound("en", "invalid-date"), own)
    assert np.array_equal(library.sound("en", "input-timeout"), OURS.sound("en", "input-timeout"))
    ear = Ear()
    CallPrompts(ear, library, "en", comfort_tones=False).heard(completed())
    assert ear.sounds == []


@pytest.mark.parametrize("fault", ["rate", "name", "language", "capitals", "depth", "text", "long"])
def test_a_file_that_cannot_be_played_is_named_at_the_start(fault: str, tmp_path: Path) -> None:
    where = {
        "name": "en/no-such-prompt.wav",
        "language": "xx/invalid-date.wav",
        "capitals": "en/invalid-date.WAV",
        "depth": "site/en/invalid-date.wav",
    }
    path = tmp_path / where.get(fault, "en/invalid-date.wav")
    sound = np.zeros(8000 * (31 if fault == "long" else 1), dtype=np.int16)
    write(path, sound, 16000 if fault == "rate" else 8000)
    if fault == "text":
        path.write_text("no sound")
    with pytest.raises(SettingsError, match=rf"^setting media\.prompts\.folder: .*{path.name}"):
        PromptLibrary(tmp_path).check()


def test_sound_is_given_in_whole_blocks_and_in_order() -> None:
    queue = SoundQueue()
    queue.put(np.arange(1, 251, dtype=np.int16))
    queue.put(np.full(160, 7, dtype=np.int16))
    blocks = [queue.next(160) for _ in range(4)]
    assert [block is not None for block in blocks] == [True, True, True, False]
    played = np.concatenate([block for block in blocks if block is not None])
    assert played[:250].tolist() == list(range(1, 251))
    assert not played[250:320].any()
    assert (played[320:] == 7).all()
    queue.put(np.ones(320, dtype=np.int16))
    assert queue.next(160) is not None
    queue.clear()
    assert queue.next(160) is None
