"""What a caller is told while keying: sentences for each field and error, a tick for a key, a tone while waiting.

Rules: no PJSIP here. A site's own file goes before ours, an empty one says nothing. The first key ends whatever is
being said. A sentence says what is asked for, never what was keyed; the tick is the same for every key.
"""

from __future__ import annotations

import threading
import wave
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from paycall.control import messages
from paycall.control.messages import Event
from paycall.domain.errors import SettingsError
from paycall.domain.fields import CaptureError, Field
from paycall.settings import PromptSettings

log = structlog.get_logger(__name__)

Pcm = NDArray[np.int16]
Language = Literal["en", "ru", "uk", "hu"]
LANGUAGES: tuple[Language, ...] = ("en", "ru", "uk", "hu")
RATE_HZ = 8000
COMPLETED = "capture-completed"
RECORDING_NOTICE = "recording-notice"
_ERRORS = (
    CaptureError.INPUT_TIMEOUT,
    CaptureError.INVALID_CARD_NUMBER,
    CaptureError.INVALID_CARD_TYPE,
    CaptureError.INVALID_DATE,
    CaptureError.INVALID_SECURITY_CODE,
    CaptureError.INVALID_POSTAL_CODE,
    CaptureError.TOO_MANY_ATTEMPTS,
    CaptureError.INTERNAL_ERROR,
)
NAMES: tuple[str, ...] = (*Field, *_ERRORS, COMPLETED, RECORDING_NOTICE)
SPEECH = Path(__file__).parent / "speech"

_MAX_S = 30.0
_PAUSE_S = 0.25
# Far from every frequency of a key (697 to 1633 Hz) and from a dial tone's 425 Hz; quiet, and faded at both ends.
_TONE_HZ = 330.0
_TONE_PEAK = 2300  # about -20 dBm0
_TICK_S = 0.04
_WAIT_EVERY_S = 4.0
_WAIT_FOR_S = 32.0  # then the operator has something to say


class Player(Protocol):
    """Where sound goes: the caller, and the operator where that is wished."""

    def play(self, sound: Pcm) -> None:
        """Play after what is being played."""

    def stop(self) -> None:
        """Be silent at once."""


class PromptLibrary:
    """The sentences, read from their files when they are said.

    Parameters
    ----------
    folder
        A site's own, as ``LANGUAGE/NAME.wav``; what it has not is taken from ours.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def check(self) -> None:
        """Read every file of the site's folder.

        Raises
        ------
        SettingsError
            If the folder is not there, or a file in it is not one that can be played; the file is named.
        """
        if self._folder is None:
            return
        if not self._folder.is_dir():
            raise SettingsError(f"setting media.prompts.folder: there is no folder {self._folder}")
        for path in sorted(each for each in self._folder.rglob("*") if each.suffix.lower() == ".wav"):
            said_as = self._folder / path.parent.name / f"{path.stem}.wav"  # not deeper, not .WAV
            if path != said_as or path.parent.name not in LANGUAGES or path.stem not in NAMES:
                raise SettingsError(
                    f"setting media.prompts.folder: {path} is not LANGUAGE/NAME.wav of a prompt"
                )
            try:
                _read(path)
            except (OSError, EOFError, ValueError, wave.Error):
                raise SettingsError(
                    f"setting media.prompts.folder: {path} must be WAV, 8 kHz, 16 bit, one channel, at most 30 s"
                ) from None

    def sound(self, language: Language, name: str) -> Pcm:
        """A sentence, int16 at 8 kHz; nothing where its file cannot be read: a call goes on without it."""
        for folder in (self._folder, SPEECH):
            path = folder / language / f"{name}.wav" if folder is not None else None
            if path is not None and path.exists():
                try:
                    return _read(path)
                except (OSError, EOFError, ValueError, wave.Error) as error:
                    log.error("prompt_not_read", name=name, error=type(error).__name__)
        return np.zeros(0, dtype=np.int16)


class CallPrompts:
    """What one call's caller is told.

    Parameters
    ----------
    language
        Of the sentences; each capture may choose another.
    comfort_tones
        Whether a key is answered by a tick, and waiting for the bank by a tone now and then.
    """

    def __init__(
        self, player: Player, library: PromptLibrary, language: Language, *, comfort_tones: bool
    ) -> None:
        self._player = player
        self._library = library
        self._comfort_tones = comfort_tones
        self._site_language: Language = language
        self._language: Language = language

    def speak(self, language: str) -> None:
        """From now on in this language, or the site's where it is none of ours."""
        self._language = next((known for known in LANGUAGES if known == language), self._site_language)

    def heard(self, event: Event) -> None:
        """Say what an event of the capture asks for."""
        match event:
            case messages.FieldStarted():
                self.say(event.field.value)
            case messages.FieldProgress():
                self.key_pressed()
                if self._comfort_tones:
                    self._player.play(_tone(_TICK_S))
            case messages.FieldFailed():
                if event.error is not CaptureError.TOO_MANY_ATTEMPTS:  # that one follows another
                    self._player.stop()
                self.say(event.error.value)
            case messages.CaptureCompleted():
                self._player.stop()
                self.say(COMPLETED)
                if self._comfort_tones:
                    self._player.play(_waiting_tone())
            case messages.CaptureEnded() | messages.CallEnded():
                self._player.stop()
            case _:
                pass

    def key_pressed(self) -> None:
        """The caller keys: whatever is being said ends."""
        self._player.stop()

    def say(self, name: str) -> None:
        """Say a sentence after what is being said; a name that has none says nothing."""
        if name in NAMES:
            sound = self._library.sound(self._language, name)
            if sound.size:
                self._player.play(np.concatenate([sound, np.zeros(int(_PAUSE_S * RATE_HZ), dtype=np.int16)]))


def call_prompts(settings: PromptSettings, player: Player) -> CallPrompts | None:
    """The prompts of one call; None where the site has none."""
    if settings.heard_by == "nobody":
        return None
    library = PromptLibrary(settings.folder)
    return CallPrompts(player, library, settings.language, comfort_tones=settings.comfort_tones)


class SoundQueue:
    """Sound in blocks, one after the other. Filled in one thread, emptied in another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks: Iterator[Pcm] = iter(())
        self._waiting: deque[Pcm] = deque()

    def put(self, sound: Pcm) -> None:
        """Play this after the rest."""
        with self._lock:
            self._waiting.append(sound)

    def clear(self) -> None:
        """Play nothing more."""
        with self._lock:
            self._waiting.clear()
            self._blocks = iter(())

    def next(self, samples: int) -> Pcm | None:
        """The next block of exactly so many samples, or None."""
        with self._lock:
            block = next(self._blocks, None)
            while block is None and self._waiting:
                self._blocks = _blocks(self._waiting.popleft(), samples)
                block = next(self._blocks, None)
            return block


def _blocks(sound: Pcm, samples: int) -> Iterator[Pcm]:
    """The sound in blocks of equal length, the last one filled up with silence."""
    padded = np.concatenate([sound, np.zeros(-sound.size % samples, dtype=np.int16)])
    return iter(padded.reshape(-1, samples))


def _read(path: Path) -> Pcm:
    """A WAV file's samples, int16.

    Raises
    ------
    OSError, EOFError, ValueError, wave.Error
        If it is none, or not 8 kHz, 16 bit, one channel, at most ``_MAX_S``.
    """
    with wave.open(str(path), "rb") as file:
        if (file.getframerate(), file.getsampwidth(), file.getnchannels()) != (RATE_HZ, 2, 1):
            raise ValueError("not 8 kHz, 16 bit, one channel")
        if file.getnframes() > _MAX_S * RATE_HZ:
            raise ValueError("too long")
        return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(np.int16)


def _tone(seconds: float) -> Pcm:
    """A soft tone, faded in and out over 10 ms."""
    at_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    fade = np.minimum(1.0, np.minimum(at_s, seconds - at_s) / 0.01)
    return (_TONE_PEAK * fade * np.sin(2 * np.pi * _TONE_HZ * at_s)).astype(np.int16)


def _waiting_tone() -> Pcm:
    """Two short tones every few seconds, for a while."""
    silence = np.zeros(int(0.15 * RATE_HZ), dtype=np.int16)
    pair = np.concatenate([_tone(0.15), silence, _tone(0.15)])
    rest = np.zeros(int(_WAIT_EVERY_S * RATE_HZ) - pair.size, dtype=np.int16)
    return np.tile(np.concatenate([rest, pair]), int(_WAIT_FOR_S / _WAIT_EVERY_S))
